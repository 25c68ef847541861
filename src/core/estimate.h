/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a task is expected to run, learned from those like it that completed: the longest of
 * the recent ones, forgotten slowly, and a margin. Not a mean: where one task in ten is long, a
 * mean is wrong for all of them, and the price of a guess that is too short (a wide task waits) is
 * higher than that of one that is too long (a core idles). Whole numbers only: the same durations
 * give the same guesses on every machine. */
#ifndef PILOT_CORE_ESTIMATE_H
#define PILOT_CORE_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#define ESTIMATE_UNKNOWN INT64_MAX

struct estimate {   /* all zero: nothing learned yet */
    int64_t peak;   /* in 1/64 ms */
    uint32_t count; /* durations seen, up to a few */
};

void estimate_add(struct estimate *e, int64_t duration_ms);
/* At least 1, or ESTIMATE_UNKNOWN. */
int64_t estimate_ms(const struct estimate *e);
/* Enough durations have been seen that another one as long as these is no luck. */
bool estimate_is_settled(const struct estimate *e);

#endif
