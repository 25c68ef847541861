/* SPDX-License-Identifier: BSD-3-Clause */
/* The line that tells how it goes: rate and time left out of the history of counts, and the whole
 * put into a given width. Pure: time and width are arguments; nothing is written. */
#ifndef PILOT_REPORT_LIVE_H
#define PILOT_REPORT_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "report/report.h"

/* History: samples of ever greater age at ever greater distance. Level k holds the latest
 * LIVE_SLOTS samples taken LIVE_STEP_MS << k apart, so that a window of any age can be found to
 * within an eighth of it, for months, in a fixed amount of memory. */
#define LIVE_LEVELS 24
#define LIVE_SLOTS 8
#define LIVE_STEP_MS 500

struct live_sample {
    int64_t at_ms;
    uint64_t ended; /* tasks */
    double busy_ms; /* sum over time of the tasks that ran */
};

struct live_pace {
    struct live_sample first, last;
    uint64_t running; /* since last */
    struct live_sample ring[LIVE_LEVELS][LIVE_SLOTS];
    uint64_t taken[LIVE_LEVELS];
};

void live_pace_init(struct live_pace *pace, uint64_t ended, int64_t now_ms);
void live_pace_update(struct live_pace *pace, const struct report_progress *p, int64_t now_ms);
/* Tasks ended a second, lately; 0: none, or too early to say. */
double live_rate(const struct live_pace *pace);
/* Milliseconds until all is done; -1: not known. */
int64_t live_left_ms(const struct live_pace *pace, const struct report_progress *p);

/* "1234/5000 done, 3 failed, 8 running, 3755 waiting | 8/8 cores | 212.3/s | 0:17 left". width 0:
 * all of it, without the bar. A note comes first and is never left out. Else it begins with a bar
 * and has at most width columns (ASCII characters): what matters less is left out first. */
void live_text(struct buf *b, const struct live_pace *pace, const struct report_progress *p,
               unsigned width);

#endif
