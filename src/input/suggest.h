/* SPDX-License-Identifier: BSD-3-Clause */
/* "did you mean ...?" */
#ifndef PILOT_INPUT_SUGGEST_H
#define PILOT_INPUT_SUGGEST_H

/* The one of names (NULL-terminated) that is nearest to given: at most two letters inserted, left
 * out, changed or swapped with their neighbour (one where both are of four letters or fewer, since
 * there everything is near to everything); case does not count. The first of several equally near
 * ones; NULL when none is near enough. */
const char *suggest_name(const char *given, const char *const *names);

#endif
