/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a task is expected to run, learned from those like it that completed: a mean that
 * forgets, and four times the mean deviation on top, so that the guess is seldom too short. Whole
 * numbers only: the same durations give the same guesses on every machine. */
#ifndef PILOT_CORE_ESTIMATE_H
#define PILOT_CORE_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#define ESTIMATE_UNKNOWN INT64_MAX

struct estimate {      /* all zero: nothing learned yet */
    int64_t mean;      /* in 1/16 ms */
    int64_t deviation; /* in 1/16 ms */
    bool known;
};

void estimate_add(struct estimate *e, int64_t duration_ms);
/* At least 1, or ESTIMATE_UNKNOWN. */
int64_t estimate_ms(const struct estimate *e);

#endif
