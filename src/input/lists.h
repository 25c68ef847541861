/* SPDX-License-Identifier: BSD-3-Clause */
/* The fields of a task that are lists: command as an array, depends_on, env. */
#ifndef PILOT_INPUT_LISTS_H
#define PILOT_INPUT_LISTS_H

#include "input/fields.h"

/* All return 0 (perhaps with complaints, *out is then NULL) or PILOT_ENOMEM. */
int lists_argv(struct fields *f, const struct scan_text *value, char ***out);
/* An array of ids or one id; an id given twice counts once. */
int lists_ids(struct fields *f, const struct scan_text *value, char ***out);
/* An object of names and texts. */
int lists_env(struct fields *f, const struct scan_text *value, char ***out);

/* What of defaults env does not set itself and, behind it, env; a fresh list (env is freed).
 * 0 or PILOT_ENOMEM (env is as it was). */
int lists_merge_env(char ***env, char *const *defaults);

/* For qsort over "NAME=value" strings: by name. */
int lists_compare_env(const void *a, const void *b);

#endif
