/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the arithmetic of estimate.h. The first duration counts with a deviation of half itself:
 * one sample says little, and a guess of three times that sample is on the safe side. */
#include "core/estimate.h"

#define UNIT 16
#define LONGEST_MS                                                                                 \
    (INT64_MAX / (UNIT * 64)) /* half a million years: sums below cannot overflow                  \
                               */

void estimate_add(struct estimate *e, int64_t duration_ms)
{
    int64_t x, off;

    if (duration_ms < 0)
        duration_ms = 0;
    if (duration_ms > LONGEST_MS)
        duration_ms = LONGEST_MS;
    x = duration_ms * UNIT;
    if (!e->known) {
        *e = (struct estimate){.mean = x, .deviation = x / 2, .known = true};
        return;
    }
    off = x - e->mean;
    e->mean += off / 8;
    e->deviation += ((off < 0 ? -off : off) - e->deviation) / 4;
}

int64_t estimate_ms(const struct estimate *e)
{
    int64_t ms;

    if (!e->known)
        return ESTIMATE_UNKNOWN;
    ms = (e->mean + 4 * e->deviation + UNIT - 1) / UNIT;
    return ms > 0 ? ms : 1;
}
