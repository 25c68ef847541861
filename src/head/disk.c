/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: what a disk without room means for the run. There are two of them, which may be one: that
 * of the state, of which the store tells (store_waits), and that of the tasks' output, of which the
 * agents tell (ROOM). While one of them is short nothing is started, so that no result is made that
 * may be lost and no task fails that is not to blame; what runs may end. People are told when it
 * begins, once a minute, and when it is over.
 *
 *              short                      short for --disk-wait
 *     (none) --------> waiting, no starts ----------------------> the run has failed
 *       ^                  |
 *       +------------------+ room again
 *
 * The store tries again by itself. The agents that told of a lack are asked, at a pace of
 * PROBE_FIRST_MS to PROBE_LAST_MS. A lack that comes back within SAME_MS of its end is the same
 * one: its time goes on, so that one that comes and goes ends the run too, instead of for ever
 * starting what cannot start. That output has room is believed, and said, when it has had so for
 * SETTLED_MS: agents look in one place, and tasks write in many. */
#include "head/impl.h"

#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "common/log.h"

#define SAY_MS 60000
#define SAME_MS 10000
#define SETTLED_MS 1000
#define OUTPUT "the output of tasks"
#define PROBE_FIRST_MS 250
#define PROBE_LAST_MS 5000

void disk_init(struct head *h)
{
    h->disk.state.over_ms = h->disk.output.over_ms = INT64_MIN;
}

/* "2 min 5 s" */
static const char *duration(int64_t ms, char *text, size_t size)
{
    long long s = (long long)(ms + 999) / 1000;

    if (s < 120)
        snprintf(text, size, "%lld s", s);
    else
        snprintf(text, size, "%lld min", (s + 30) / 60);
    return text;
}

static int64_t left_ms(const struct head *h, const struct disk_trouble *t, int64_t now_ms)
{
    int64_t left = t->since_ms + h->opt->disk_wait_ms - now_ms;

    return left > 0 ? left : 0;
}

static void say(struct head *h, struct disk_trouble *t, const char *what, int64_t now_ms)
{
    char text[MSG_TEXT_MAX + 200], left[32];

    snprintf(text, sizeof(text), "%s: %s. Nothing is started meanwhile; giving up in %s", what,
             t->why, duration(left_ms(h, t, now_ms), left, sizeof(left)));
    report_notice(h->report, text);
    t->said = true;
    t->said_ms = now_ms;
}

static void begin(struct disk_trouble *t, const char *why, int64_t now_ms)
{
    snprintf(t->why, sizeof(t->why), "%.1000s", why);
    if (t->on)
        return;
    t->on = true;
    if (t->over_ms == INT64_MIN || now_ms - t->over_ms > SAME_MS) {
        t->since_ms = now_ms;
        t->said_ms = now_ms - SAY_MS;
    }
}

static void end(struct disk_trouble *t, int64_t now_ms)
{
    t->on = false;
    t->over_ms = now_ms;
}

/* Says that it has ended. */
static void settle(struct head *h, struct disk_trouble *t, const char *what)
{
    char text[100], after[32];

    if (t->on || !t->said)
        return;
    t->said = false;
    snprintf(text, sizeof(text), "there is room for %s again, after %s; going on", what,
             duration(t->over_ms - t->since_ms, after, sizeof(after)));
    report_notice(h->report, text);
}

/* ---- Output ---------------------------------------------------------------------------------- */

void disk_handle_room(struct head *h, node_id_t node, const struct msg_room *m, int64_t now_ms)
{
    struct disk *d = &h->disk;
    bool again = d->output.over_ms != INT64_MIN && now_ms - d->output.over_ms <= SAME_MS;

    h->nodes[node].no_room = m->why[0] != '\0';
    if (m->why[0] == '\0')
        return; /* the turn sees whether it was the last */
    if (!d->output.on) {
        d->probe_pause_ms = again ? d->probe_pause_ms : PROBE_FIRST_MS;
        d->probe_ms = now_ms + d->probe_pause_ms;
    }
    begin(&d->output, m->why, now_ms);
}

/* Asks those who had no room; false: there are none (any more). */
static bool probe(struct head *h, int64_t now_ms)
{
    bool due = now_ms >= h->disk.probe_ms, any = false;

    for (unsigned i = 0; i < h->node_count; i++) {
        if (!h->nodes[i].no_room || h->nodes[i].state != NODE_UP)
            continue;
        any = true;
        if (due)
            msg_put_empty(node_frame(h, i), MSG_PROBE);
    }
    if (due) {
        h->disk.probe_pause_ms *= 2;
        if (h->disk.probe_pause_ms > PROBE_LAST_MS)
            h->disk.probe_pause_ms = PROBE_LAST_MS;
        h->disk.probe_ms = now_ms + h->disk.probe_pause_ms;
    }
    return any;
}

static void output_turn(struct head *h, int64_t now_ms)
{
    struct disk_trouble *t = &h->disk.output;
    struct pilot_error err;

    if (!t->on) {
        if (t->said && now_ms - t->over_ms >= SETTLED_MS)
            settle(h, t, OUTPUT);
        return;
    }
    if (!probe(h, now_ms)) {
        end(t, now_ms);
        return;
    }
    if (now_ms - t->said_ms >= SAY_MS)
        say(h, t, "no room for the output of tasks", now_ms);
    if (left_ms(h, t, now_ms) > 0 || h->stop != STOP_NOT)
        return;
    /* What runs has its output open and its result can be kept: it may end. */
    err_set(&err, PILOT_EIO, "%s (it was waited for, --disk-wait); then go on with --resume",
            t->why);
    h->failed = true;
    h->failure = err;
    log_error("%s", err.text);
    head_stop(h, STOP_DRAIN, "no room for the output of tasks");
}

/* ---- The state ------------------------------------------------------------------------------- */

static void state_turn(struct head *h, int64_t now_ms)
{
    struct disk_trouble *t = &h->disk.state;
    struct pilot_error why, err;

    if (!store_waits(h->store, &why)) {
        if (t->on && !store_failed(h->store, NULL)) {
            end(t, now_ms);
            settle(h, t, "the state");
        }
        return;
    }
    begin(t, why.text, now_ms);
    if (now_ms - t->said_ms >= SAY_MS)
        say(h, t, "no room for the state", now_ms);
    if (left_ms(h, t, now_ms) > 0 || h->stop >= STOP_TERM)
        return;
    err_set(&err, PILOT_ESTORE, "%s (it was waited for, --disk-wait); then go on with --resume",
            t->why);
    head_fail(h, &err);
    head_stop(h, STOP_TERM, "no room for the state"); /* also if it had failed before */
}

/* ---- Both ------------------------------------------------------------------------------------ */

void disk_turn(struct head *h, int64_t now_ms)
{
    state_turn(h, now_ms);
    output_turn(h, now_ms);
}

void disk_end(struct head *h)
{
    settle(h, &h->disk.output, OUTPUT);
}

bool disk_holds_state(const struct head *h)
{
    return h->disk.state.on;
}

bool disk_holds(const struct head *h)
{
    return h->disk.state.on || h->disk.output.on;
}

/* gives_up: the run would be given up for it. */
static int64_t next_of(const struct head *h, const struct disk_trouble *t, bool gives_up)
{
    int64_t give_up_ms = t->since_ms + h->opt->disk_wait_ms, say_ms = t->said_ms + SAY_MS;

    if (!t->on)
        return INT64_MAX;
    return give_up_ms < say_ms && gives_up ? give_up_ms : say_ms;
}

int64_t disk_next_ms(const struct head *h)
{
    const struct disk *d = &h->disk;
    int64_t next = next_of(h, &d->state, h->stop < STOP_TERM);
    int64_t output = next_of(h, &d->output, h->stop == STOP_NOT);

    if (output < next)
        next = output;
    if (d->output.on && d->probe_ms < next)
        next = d->probe_ms;
    if (!d->output.on && d->output.said && d->output.over_ms + SETTLED_MS < next)
        next = d->output.over_ms + SETTLED_MS;
    return next;
}

const char *disk_note(struct head *h, int64_t now_ms)
{
    struct disk *d = &h->disk;
    const struct disk_trouble *t = d->state.on ? &d->state : &d->output;
    char left[32];

    if (!t->on)
        return NULL;
    snprintf(d->note, sizeof(d->note), "NO ROOM for %s, %s left to wait",
             t == &d->state ? "the state" : "output",
             duration(left_ms(h, t, now_ms), left, sizeof(left)));
    return d->note;
}
