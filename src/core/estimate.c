/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the arithmetic of estimate.h. The first durations seen of tasks that started together are
 * the shortest ones, so the margin begins at twice the peak and shrinks to an eighth of it. */
#include "core/estimate.h"

#define UNIT 64                              /* a shorter duration pulls the peak 1/64 of the way */
#define ENOUGH 16                            /* durations after which the margin stays */
#define LONGEST_MS (INT64_MAX / (UNIT * 64)) /* 70,000 years: nothing below can overflow */

void estimate_add(struct estimate *e, int64_t duration_ms)
{
    int64_t x;

    if (duration_ms < 0)
        duration_ms = 0;
    if (duration_ms > LONGEST_MS)
        duration_ms = LONGEST_MS;
    x = duration_ms * UNIT;
    e->peak = x > e->peak ? x : e->peak - (e->peak - x) / 64;
    e->count += e->count < ENOUGH;
}

bool estimate_is_settled(const struct estimate *e)
{
    return e->count == ENOUGH;
}

int64_t estimate_ms(const struct estimate *e)
{
    int64_t ms;

    if (e->count == 0)
        return ESTIMATE_UNKNOWN;
    ms = (e->peak + 2 * e->peak / e->count + UNIT - 1) / UNIT;
    return ms > 0 ? ms : 1;
}
