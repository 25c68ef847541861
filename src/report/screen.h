/* SPDX-License-Identifier: BSD-3-Clause */
/* One stream of whole lines, and on a terminal one live line below them: keeps the two apart,
 * gathers what is written within a tenth of a second, and lets log messages through. Knows what a
 * line is, not what it says. */
#ifndef PILOT_REPORT_SCREEN_H
#define PILOT_REPORT_SCREEN_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/buf.h"
#include "common/log.h"
#include "report/outq.h"

#define SCREEN_FLUSH_MS 100

enum screen_mark {
    SCREEN_STARTED,
    SCREEN_DONE,
    SCREEN_FAILED,
    SCREEN_RETRY,
    SCREEN_SKIPPED,
    SCREEN_CANCELLED,
};

struct screen {
    struct outq out;
    struct outq err; /* standard error; unused when it is the same file as out */
    bool err_same;
    bool terminal; /* of known width, able to move its cursor: has a live line */
    bool utf8, colour;
    bool err_colour;
    bool told_failed;    /* that out has failed has been said */
    struct buf lines;    /* whole lines, not yet in out */
    struct buf live;     /* wanted text of the live line; empty: none */
    unsigned live_shown; /* columns of the live line on the terminal; 0: there is none */
    uint64_t dropped;    /* lines for which there was no room */
    int64_t flushed_ms;  /* when out was last given something */
    time_t stamp_second; /* the second that stamp tells */
    char stamp[24];
};

void screen_init(struct screen *s, int fd);
/* Erases the live line and writes what is left, waiting a little while for a slow reader. */
void screen_fini(struct screen *s);

/* A line: begin, add text to the buffer that came back, end. NULL: there is no room for it. Where
 * there is no live line, it begins with the time of day. */
struct buf *screen_begin(struct screen *s);
struct buf *screen_begin_mark(struct screen *s, enum screen_mark mark);
struct buf *screen_begin_bare(struct screen *s); /* never with the time of day */
void screen_end(struct screen *s);
/* Adds the coloured sign for mark and a space. */
void screen_mark(struct screen *s, enum screen_mark mark);

/* Columns for the live line; 0: no live line here. */
unsigned screen_width(const struct screen *s);
/* The buffer for the new text of the live line; cleared. Shown at the next flush. */
struct buf *screen_live(struct screen *s);

/* Writes lines and live line out, as far as they go without waiting. */
void screen_flush(struct screen *s, int64_t now_ms);
/* When the next flush should be because something is held; INT64_MAX: nothing is. */
int64_t screen_due_ms(const struct screen *s);
/* Ends the live line and writes everything, waiting a little while for a slow reader. */
void screen_drain(struct screen *s);
void screen_log(struct screen *s, enum log_level level, const char *text);

#endif
