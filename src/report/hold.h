/* SPDX-License-Identifier: BSD-3-Clause */
/* When more task lines are wanted than anybody can read: which are written, which are held back
 * and only counted. Pure: time is an argument. */
#ifndef PILOT_REPORT_HOLD_H
#define PILOT_REPORT_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

#define HOLD_LINES 50    /* task lines a second, failures not counted */
#define HOLD_FAILURES 20 /* failures and last retries a second */
#define HOLD_COUNT_MS 1000
#define HOLD_COUNT_MAX_MS 10000

enum hold_kind {
    HOLD_STARTED,
    HOLD_COMPLETED,
    HOLD_FAILED,
    HOLD_RETRIED,
    HOLD_SKIPPED,
    HOLD_CANCELLED,
};
#define HOLD_KINDS 6

struct hold {
    int64_t second_ms; /* start of the second that is being counted */
    unsigned wanted;   /* ordinary lines that it wanted */
    unsigned failures; /* urgent lines that it was given */
    bool closed;       /* the second before wanted too many: no ordinary line in this one */
    uint64_t held[HOLD_KINDS];
    int64_t count_due_ms; /* INT64_MAX: nothing is held */
    int64_t count_every_ms;
};

void hold_init(struct hold *h, int64_t now_ms);
/* True: write the line. False: it was counted. */
bool hold_pass(struct hold *h, enum hold_kind kind, bool urgent, int64_t now_ms);
/* When the next line of counts should be written; INT64_MAX: nothing is held. */
int64_t hold_due_ms(const struct hold *h);
/* Adds "... 2,345 more started, 2,301 completed" (failures_only: only failures and retries, if
 * any) and forgets all counts. False: nothing to say. */
bool hold_count(struct hold *h, bool failures_only, int64_t now_ms, struct buf *b);

#endif
