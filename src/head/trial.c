/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: tasks that take the node of rank 0 down, and this pilot with it. Nothing is left then that
 * could say so, and what it leaves in the state looks the same after a kill -9, a preemption or a
 * power cut, of which there may be many without any task's fault. So the next pilots find out:
 *
 *   - What ran on the pilot's own node when that ended without a word is suspected, if it did so at
 *     STORE_SUSPECT ends.
 *   - Trial: for a time that is drawn by lot, up to --lost-after, nothing is started on the node.
 *     Then the suspects are, and for a short while (a WATCH_SHARE-th of the longest wait) nothing
 *     else. What ran before goes on running. All that are suspected for the first time share one
 *     trial, so that a node full of innocent tasks is not held up for long; if that ends the pilot,
 *     each has trials of its own (STORE_ALONE).
 *   - An end without a word in that short while of its own trial counts against a task, and
 *     --max-lost of them, in a row, make it fail. An end during the wait clears it of those before;
 *     if it lives through the while, it is no suspect any more.
 *
 * Whoever ends the pilot without regard to the task, at whatever moments, hits that while in one of
 * WATCH_SHARE trials at most, because the lot is drawn anew each time: 3 times in a row in one of
 * 3,375. A task that does it by itself does it each time.
 *
 * The state must have a start before the task can end us: starts are stored first when there is a
 * trial, and for some time after the last pilot was cut off. Otherwise nothing here waits for a
 * disk. docs/scheduling.md has the rule for people, store/load.c reckons what an end meant. */
#include "head/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

#define WATCH_SHARE 15
#define LONGEST_WAIT_MS 60000
/* By then what was ready at the beginning has been started, whatever it is that ends us at once. */
#define STORED_FIRST_MS 30000
#define LENT_MS 200 /* what was sent ahead before the wait has begun by then, or has come back */
#define OWN_NODE 0  /* rank 0's node, see ranks.c */

static bool is_suspect(const struct head *h, task_id_t task)
{
    return h->tasks.v[task].suspicion >= STORE_SUSPECT;
}

static bool is_tried_alone(const struct head *h, task_id_t task)
{
    return h->tasks.v[task].suspicion >= STORE_ALONE;
}

static unsigned hits_of(const struct head_task *task)
{
    return task->suspicion > STORE_ALONE ? task->suspicion - STORE_ALONE : 0;
}

/* ---- Judgement --------------------------------------------------------------------------------
 */

bool trial_convicts(const struct head *h, const struct head_task *task)
{
    return h->opt->max_lost > 0 && task->status == TASK_PENDING && hits_of(task) > 0 &&
           hits_of(task) + task->losses >= h->opt->max_lost;
}

static void give_up(struct head *h, task_id_t id)
{
    struct head_task *task = &h->tasks.v[id];
    struct notice n = {.what = TOLD_ENDED,
                       .task = id,
                       .node = NODE_ID_NONE,
                       .attempt = task->attempts,
                       .status = TASK_FAILED,
                       .event = events_want(h, TASK_FAILED)};

    n.result = calloc(1, sizeof(*n.result));
    if (n.result == NULL || (n.event && (n.text = strdup("")) == NULL))
        BUG("out of memory for the end of a task");
    *n.result = (struct attempt_result){.reason = REASON_LOST, .exit_code = -1};
    snprintf(n.result->message, sizeof(n.result->message),
             "the pilot itself, %u times just after its start (--max-lost %u)", hits_of(task),
             h->opt->max_lost);
    store_task_status(h->store, id, TASK_FAILED, "lost", n.event);
    tell_later(h, &n);
}

void trial_begin(struct head *h)
{
    unsigned suspects = 0;

    if (h->opt->max_lost == 0)
        return;
    for (task_id_t i = 0; i < h->tasks.len; i++) {
        const struct head_task *task = &h->tasks.v[i];

        if (task->convicted && task->status == TASK_FAILED)
            give_up(h, i);
        suspects += task->status == TASK_PENDING && is_suspect(h, i);
    }
    if (store_was_cut_off(h->store))
        h->trial.stored_first_until_ms = h->start_ms + STORED_FIRST_MS;
    if (suspects > 0)
        log_info("the last pilots ended without a word while %u of the tasks %s running; %s "
                 "started apart from others now, to see whether that was the cause",
                 suspects, suspects == 1 ? "was" : "were", suspects == 1 ? "it is" : "they are");
}

/* ---- The queue of starts -----------------------------------------------------------------------
 */

static bool is_free(const struct head *h, const struct sched_action *a, int64_t now_ms)
{
    const struct trial *t = &h->trial;

    return a->node != OWN_NODE || h->agent == NULL || h->opt->max_lost == 0 ||
           (t->len == 0 && t->phase == TRIAL_NONE && now_ms >= t->stored_first_until_ms &&
            !is_suspect(h, a->task));
}

bool trial_allows_loan(const struct head *h, const struct sched_action *a, int64_t now_ms)
{
    return is_free(h, a, now_ms);
}

bool trial_holds_start(struct head *h, const struct sched_action *a, int64_t now_ms)
{
    struct trial *t = &h->trial;

    if (is_free(h, a, now_ms))
        return false;
    if (t->len == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        struct held_start *v = realloc(t->held, cap * sizeof(*v));

        if (v == NULL)
            BUG("out of memory for the start of a task");
        t->held = v;
        t->cap = cap;
    }
    t->held[t->len++] = (struct held_start){.task = a->task, .attempt = a->attempt};
    return true;
}

void trial_cancel(struct head *h, task_id_t task)
{
    for (size_t i = 0; i < h->trial.len; i++)
        if (h->trial.held[i].task == task)
            h->trial.held[i].cancelled = true;
}

static void forget(struct trial *t, size_t first, size_t count)
{
    memmove(t->held + first, t->held + first + count, (t->len - first - count) * sizeof(*t->held));
    t->len -= count;
}

/* It ends without having been started; a trial without anybody in it is over. */
static void withdraw(struct head *h, size_t i, enum attempt_reason reason, int64_t now_ms)
{
    struct trial *t = &h->trial;
    struct msg_ended m = {.task = t->held[i].task,
                          .attempt = t->held[i].attempt,
                          .result = {.reason = reason, .exit_code = -1}};

    m.result.start_wall_ms = m.result.end_wall_ms = clock_wall_ms();
    if (i < t->group && --t->group == 0)
        t->phase = TRIAL_NONE;
    forget(t, i, 1);
    actions_ended(h, OWN_NODE, &m, now_ms);
}

static size_t first_not_sent(const struct trial *t)
{
    return t->phase == TRIAL_WATCHED ? t->group : 0;
}

void trial_withdraw_all(struct head *h, int64_t now_ms)
{
    while (h->trial.len > first_not_sent(&h->trial))
        withdraw(h, h->trial.len - 1, REASON_STOP, now_ms);
}

static void withdraw_cancelled(struct head *h, int64_t now_ms)
{
    for (size_t i = h->trial.len; i-- > first_not_sent(&h->trial);)
        if (h->trial.held[i].cancelled)
            withdraw(h, i, REASON_CANCEL, now_ms);
}

static bool is_stored(const struct head *h, uint64_t barrier)
{
    return barrier != 0 && store_committed(h->store) >= barrier;
}

/* What was given to the store in this turn. */
static uint64_t this_barrier(struct head *h)
{
    h->changed = h->hurry = true;
    return h->last_barrier + 1;
}

/* ---- A trial -----------------------------------------------------------------------------------
 */

static int64_t longest_wait_ms(const struct head *h)
{
    return h->opt->lost_after_ms < LONGEST_WAIT_MS ? h->opt->lost_after_ms : LONGEST_WAIT_MS;
}

static int64_t draw_wait_ms(const struct head *h)
{
    uint32_t lot;

    if (getrandom(&lot, sizeof(lot), GRND_NONBLOCK) != sizeof(lot))
        lot = (uint32_t)clock_mono_us() * 2654435769u;
    return (int64_t)((uint64_t)longest_wait_ms(h) * lot >> 32);
}

/* For the first in the queue, and those like it. */
static void begin_wait(struct head *h, int64_t now_ms)
{
    struct trial *t = &h->trial;

    t->until_ms = now_ms + LENT_MS + draw_wait_ms(h);
    t->phase = TRIAL_WAITING;
    t->group = 1;
    if (!is_tried_alone(h, t->held[0].task))
        return;
    store_trial(h->store, t->held[0].task, STORE_TRIAL_WAITS);
    h->changed = true;
}

/* All that share the trial come to the front of the queue. */
static void gather(struct head *h)
{
    struct trial *t = &h->trial;

    if (is_tried_alone(h, t->held[0].task))
        return;
    for (size_t i = 1; i < t->len; i++) {
        struct held_start s = t->held[i];

        if (!is_suspect(h, s.task) || is_tried_alone(h, s.task))
            continue;
        memmove(t->held + t->group + 1, t->held + t->group, (i - t->group) * sizeof(s));
        t->held[t->group++] = s;
    }
}

static void store_group(struct head *h)
{
    struct trial *t = &h->trial;

    gather(h);
    for (size_t i = 0; i < t->group; i++) {
        actions_store_start(h, t->held[i].task, OWN_NODE, t->held[i].attempt);
        store_trial(h->store, t->held[i].task,
                    t->group == 1 ? STORE_TRIAL_WATCHED : STORE_TRIAL_SHARED);
    }
    t->held[0].barrier = this_barrier(h);
    t->phase = TRIAL_STORING;
}

static void watch_group(struct head *h, int64_t now_ms)
{
    struct trial *t = &h->trial;

    t->until_ms = now_ms + longest_wait_ms(h) / WATCH_SHARE;
    t->phase = TRIAL_WATCHED;
    for (size_t i = 0; i < t->group; i++)
        actions_send_start(h, t->held[i].task, OWN_NODE, t->held[i].attempt);
}

/* If so, its end has been stored, and with it that this is no suspect any more. */
static bool has_ended(const struct head *h, const struct held_start *s)
{
    struct sched_task_info info;

    sched_get_task(h->sched, s->task, &info);
    return info.status != TASK_RUNNING || info.attempts != s->attempt;
}

static bool all_have_ended(const struct head *h)
{
    for (size_t i = 0; i < h->trial.group; i++)
        if (!has_ended(h, &h->trial.held[i]))
            return false;
    return true;
}

static void acquit_group(struct head *h)
{
    struct trial *t = &h->trial;

    for (size_t i = 0; i < t->group; i++) {
        h->tasks.v[t->held[i].task].suspicion = 0;
        if (!has_ended(h, &t->held[i]))
            store_trial(h->store, t->held[i].task, STORE_TRIAL_PASSED);
    }
    forget(t, 0, t->group);
    t->group = 0;
    t->phase = TRIAL_NONE;
    h->changed = h->hurry = true;
}

/* One step; false: nothing can be done now. */
static bool step_trial(struct head *h, int64_t now_ms)
{
    struct trial *t = &h->trial;

    switch (t->phase) {
    case TRIAL_NONE:
        if (t->len == 0 || !is_suspect(h, t->held[0].task))
            return false;
        begin_wait(h, now_ms);
        return true;
    case TRIAL_WAITING:
        if (now_ms >= t->until_ms)
            store_group(h);
        return false;
    case TRIAL_STORING:
        if (is_stored(h, t->held[0].barrier))
            watch_group(h, now_ms);
        return false;
    case TRIAL_WATCHED:
        if (now_ms < t->until_ms && !all_have_ended(h))
            return false;
        acquit_group(h);
        return true;
    }
    return false;
}

/* ---- The rest ----------------------------------------------------------------------------------
 */

/* Those at the front of the queue that are no suspects; all that are stored already are there. */
static void start_others(struct head *h, int64_t now_ms)
{
    struct trial *t = &h->trial;
    size_t sent = 0;

    if (t->phase != TRIAL_NONE)
        return;
    for (size_t i = 0; i < t->len && !is_suspect(h, t->held[i].task); i++) {
        struct held_start *s = &t->held[i];

        if (s->barrier == 0) {
            actions_store_start(h, s->task, OWN_NODE, s->attempt);
            s->barrier = this_barrier(h);
        }
        if (sent < i || !(is_stored(h, s->barrier) || now_ms >= t->stored_first_until_ms))
            continue;
        actions_send_start(h, s->task, OWN_NODE, s->attempt);
        sent++;
    }
    forget(t, 0, sent);
}

void trial_turn(struct head *h, int64_t now_ms)
{
    struct trial *t = &h->trial;

    if (t->len == 0 && t->phase == TRIAL_NONE)
        return;
    if (h->stop != STOP_NOT)
        trial_withdraw_all(h, now_ms);
    withdraw_cancelled(h, now_ms);
    if (disk_holds(h)) /* what is to be stored first cannot be, for long */
        return;
    do
        start_others(h, now_ms);
    while (step_trial(h, now_ms));
}

int64_t trial_next_ms(const struct head *h)
{
    const struct trial *t = &h->trial;

    return t->phase == TRIAL_WAITING || t->phase == TRIAL_WATCHED ? t->until_ms : INT64_MAX;
}

void trial_fini(struct head *h)
{
    free(h->trial.held);
}
