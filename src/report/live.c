/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the estimates, and what is left out of the line when it is narrow. Must not ask for the
 * time or the width itself.
 *
 * The window for the rate must be recent, but also long enough to be fair: with 8 tasks of a minute
 * each, all 8 end within a moment, once a minute. So it spans two generations of what runs. */
#include "report/live.h"

#include <stdio.h>
#include <string.h>

#include "report/text.h"

#define WINDOW_MIN_MS 5000
#define WINDOW_MIN_ENDED 10
#define RATE_AFTER_MS 500

void live_pace_init(struct live_pace *pace, uint64_t ended, int64_t now_ms)
{
    memset(pace, 0, sizeof(*pace));
    pace->first.at_ms = now_ms;
    pace->first.ended = ended;
    pace->last = pace->first;
}

void live_pace_update(struct live_pace *pace, const struct report_progress *p, int64_t now_ms)
{
    struct live_sample *last = &pace->last;
    int64_t before = (last->at_ms - pace->first.at_ms) / LIVE_STEP_MS;
    int64_t tick;

    if (now_ms > last->at_ms) {
        last->busy_ms += (double)pace->running * (double)(now_ms - last->at_ms);
        last->at_ms = now_ms;
    }
    if (p->completed + p->failed > last->ended)
        last->ended = p->completed + p->failed;
    pace->running = p->running;
    tick = (last->at_ms - pace->first.at_ms) / LIVE_STEP_MS;
    for (int k = 0; k < LIVE_LEVELS && tick >> k != before >> k; k++)
        pace->ring[k][pace->taken[k]++ % LIVE_SLOTS] = *last;
}

/* The i-th sample of all, level by level, youngest first in each; NULL: none there. */
static const struct live_sample *sample(const struct live_pace *pace, unsigned i)
{
    unsigned k = i / LIVE_SLOTS, age = i % LIVE_SLOTS + 1;

    return age <= pace->taken[k] ? &pace->ring[k][(pace->taken[k] - age) % LIVE_SLOTS] : NULL;
}

/* The youngest sample that makes a window long enough, else the first of all; and from there back
 * to the end before, so that n ends stand for n durations, not for the n - 1 between them. */
static const struct live_sample *window_start(const struct live_pace *pace)
{
    const struct live_sample *start = &pace->first, *s;
    uint64_t enough = pace->running * 2;

    if (enough < WINDOW_MIN_ENDED)
        enough = WINDOW_MIN_ENDED;
    for (unsigned i = 0; i < LIVE_LEVELS * LIVE_SLOTS && start == &pace->first; i++)
        if ((s = sample(pace, i)) != NULL && pace->last.at_ms - s->at_ms >= WINDOW_MIN_MS &&
            pace->last.ended - s->ended >= enough)
            start = s;
    for (unsigned i = 0; i < LIVE_LEVELS * LIVE_SLOTS; i++)
        if ((s = sample(pace, i)) != NULL && s->ended == start->ended && s->at_ms < start->at_ms)
            start = s;
    return start->ended == pace->first.ended ? &pace->first : start;
}

double live_rate(const struct live_pace *pace)
{
    const struct live_sample *start = window_start(pace);
    int64_t ms = pace->last.at_ms - start->at_ms;

    if (ms < RATE_AFTER_MS)
        return 0;
    return (double)(pace->last.ended - start->ended) * 1000 / (double)ms;
}

int64_t live_left_ms(const struct live_pace *pace, const struct report_progress *p)
{
    const struct live_sample *start = window_start(pace);
    double rate = live_rate(pace), each, left;

    if (rate <= 0)
        return -1;
    /* What waits goes at the rate of late. Of what runs, the last one is as far from its end as the
     * longest of n random remainders of a task's mean duration: n/(n+1) of it. */
    each = (pace->last.busy_ms - start->busy_ms) / (double)(pace->last.ended - start->ended);
    left = (double)p->waiting * 1000 / rate + each * (double)p->running / (double)(p->running + 1);
    return left < 1e13 ? (int64_t)left : -1;
}

/* ---- The line -------------------------------------------------------------------------------- */

enum part {
    PART_NOTE,
    PART_BAR,
    PART_DONE,
    PART_FAILED,
    PART_SKIPPED,
    PART_RUNNING,
    PART_WAITING,
    PART_CORES,
    PART_RATE,
    PART_LEFT,
};
#define PARTS 10
#define BAR_MIN 10
#define BAR_MAX 40

struct line {
    char part[PARTS][3 * TEXT_NUM];
};

#define SET(line, which, ...) snprintf((line)->part[which], sizeof((line)->part[0]), __VA_ARGS__)

static void fill_parts(struct line *l, const struct live_pace *pace,
                       const struct report_progress *p)
{
    int64_t left = live_left_ms(pace, p);
    double rate = live_rate(pace);
    char a[TEXT_NUM], b[TEXT_NUM];

    memset(l, 0, sizeof(*l));
    if (p->note != NULL)
        SET(l, PART_NOTE, "%s | ", p->note);
    SET(l, PART_DONE, "%s/%s done", text_count(a, p->completed), text_count(b, p->total));
    if (p->failed > 0)
        SET(l, PART_FAILED, ", %s failed", text_count(a, p->failed));
    if (p->skipped > 0)
        SET(l, PART_SKIPPED, ", %s skipped", text_count(a, p->skipped));
    SET(l, PART_RUNNING, ", %s running", text_count(a, p->running));
    SET(l, PART_WAITING, ", %s waiting", text_count(a, p->waiting));
    SET(l, PART_CORES, " | %s/%s cores", text_count(a, p->cores_busy), text_count(b, p->cores));
    if (rate > 0)
        SET(l, PART_RATE, " | %s", text_rate(a, rate));
    if (left >= 0)
        SET(l, PART_LEFT, " | %s left", text_left(a, left));
}

static size_t length(const struct line *l)
{
    size_t sum = 0;

    for (int i = 0; i < PARTS; i++)
        sum += strlen(l->part[i]);
    return sum;
}

static void fill_bar(char *dst, const struct report_progress *p, size_t cells)
{
    uint64_t ended = p->completed + p->failed + p->skipped;
    size_t full = 0;

    if (p->total > 0)
        full =
            ended >= p->total ? cells : (size_t)((double)ended / (double)p->total * (double)cells);
    dst[0] = '[';
    memset(dst + 1, '#', full);
    memset(dst + 1 + full, '.', cells - full);
    memcpy(dst + 1 + cells, "] ", sizeof("] "));
}

static void fit(struct line *l, const struct report_progress *p, size_t width)
{
    static const enum part dispensable[] = {
        PART_CORES, PART_RATE, PART_SKIPPED, PART_RUNNING, PART_WAITING, PART_LEFT, PART_FAILED,
    };
    size_t bare = length(l);

    if (bare + BAR_MIN + 3 <= width) {
        /* In steps: a bar that is a little longer or shorter each time is hard to look at. */
        size_t cells = (width - bare - 3) / BAR_MIN * BAR_MIN;

        fill_bar(l->part[PART_BAR], p, cells < BAR_MAX ? cells : BAR_MAX);
        return;
    }
    for (size_t i = 0; i < sizeof(dispensable) / sizeof(dispensable[0]); i++) {
        if (length(l) <= width)
            return;
        l->part[dispensable[i]][0] = '\0';
    }
}

void live_text(struct buf *b, const struct live_pace *pace, const struct report_progress *p,
               unsigned width)
{
    struct line l;
    size_t room = width > 0 ? width : SIZE_MAX;

    fill_parts(&l, pace, p);
    if (width > 0)
        fit(&l, p, width);
    for (int i = 0; i < PARTS; i++) {
        size_t n = strlen(l.part[i]);

        if (n > room)
            n = room;
        buf_put(b, l.part[i], n);
        room -= n;
    }
}
