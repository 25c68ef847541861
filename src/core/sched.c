/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the life of a task: the transition table, the one function that changes a status, and what
 * each event means. add.c takes tasks in, place.c starts them, hold.c keeps room for wide ones,
 * check.c verifies what is promised here. No clock, no I/O, no printing.
 *
 *                      dependency dead
 *            +------------------------------> SKIPPED --+
 *            |            cancel                        |
 *            |  +---------------------------> CANCELLED |
 *            |  |                              ^   |    |
 *            |  |            cancel, at its end|   |    |
 *   add -> PENDING ---- place ----> RUNNING ---+   |    |
 *            ^  ^                    | |  |        |    |
 *            |  +-- retry or loss ---+ |  +-----> FAILED |      no retry left, or lost too often
 *            |                         |           |    |
 *            |                     COMPLETED       |    |      exit code 0; never left again
 *            +------------ SCHED_RETRY ------------+----+
 *
 * A pending task is blocked while one of its dependencies has not completed; else it is ready, or
 * late once a pass has found that it cannot end before the deadline, or lent (lend.c). Nobody goes
 * looking for late tasks: the deadline does not move, so one that is late remains so, and it is
 * taken out of its heap when it comes to the top of the order. A retry is counted against
 * max_retries, a loss against max_losses; both keep the task's place in the order.
 *
 * Invariants, between two calls (sched_check verifies them all):
 *  1. by_status, blocked, late, lent and, for each shape, tasks, pending (without the late and the
 *     lent ones) and ready are true counts.
 *  2. waits of a task = its edges to tasks that have not completed. Since completed is for ever,
 *     waits only falls, and needs no repair when a task is skipped, cancelled or retried.
 *  3. A pending task has no dead (failed, skipped, cancelled) dependency, except for those retried
 *     since the last pass: the caller may retry a task before what it depends on.
 *  4. A ready task has exactly one entry in its shape's heap; a task that is not ready has at most
 *     one dead entry, and then `queued` is set; the top of a heap is never dead; the tournament
 *     agrees with the tops.
 *  5. For each node that is up: free cores + cores of the tasks running there = cores, and the same
 *     with memory; the tasks' node and slot point back; the node is in the index under its free
 *     cores, with its free memory once any task has memory, unless it is held. Nothing runs on a
 *     node that is not up.
 *  6. The hold's task is ready, and its node is up and has enough cores and memory; no hold while
 *     draining.
 *  7. A late task is pending, waits for nothing, and is in no heap; without a deadline none is.
 *  8. A lent task is pending, waits for nothing, is not late, and is in no heap. Its node and slot
 *     say where one runs that needs as much, and it is in the ring of those behind that place, of
 *     which there are at most LENT_MAX; it has no share of the node itself. */
#include "core/sched.h"

#include <stdlib.h>

#include "common/error.h"
#include "common/large.h"
#include "core/state.h"

#define MEMORY_PLENTY (UINT64_C(1) << 62) /* of a node of which nobody knows how much it has */

static const bool may_change[TASK_STATUS_COUNT][TASK_STATUS_COUNT] = {
    /* from \ to */
    [TASK_PENDING] = {[TASK_RUNNING] = true, [TASK_SKIPPED] = true, [TASK_CANCELLED] = true},
    [TASK_RUNNING] = {[TASK_PENDING] = true,
                      [TASK_COMPLETED] = true,
                      [TASK_FAILED] = true,
                      [TASK_CANCELLED] = true},
    [TASK_COMPLETED] = {false},
    [TASK_FAILED] = {[TASK_PENDING] = true},
    [TASK_SKIPPED] = {[TASK_PENDING] = true},
    [TASK_CANCELLED] = {[TASK_PENDING] = true},
};

/* ---- Memory and actions ------------------------------------------------------------------------
 */

int state_reserve(void **v, size_t *cap, size_t len, size_t more, size_t size)
{
    size_t want = *cap + *cap / 2;
    void *grown;

    if (more <= *cap - len)
        return 0;
    if (more > SIZE_MAX / size / 2 - len)
        return PILOT_ENOMEM;
    if (want < len + more)
        want = len + more;
    grown = realloc(*v, want * size);
    if (!grown)
        return PILOT_ENOMEM;
    large_pages(grown, want * size);
    *v = grown;
    *cap = want;
    return 0;
}

int state_reserve_actions(struct sched_actions *out, size_t more)
{
    void *v = out->v;
    int rc = state_reserve(&v, &out->cap, out->len, more, sizeof(*out->v));

    out->v = v;
    return rc;
}

void state_append(struct sched_actions *out, const struct sched_action *action)
{
    BUG_ON(out->len == out->cap);
    out->v[out->len++] = *action;
}

void sched_actions_fini(struct sched_actions *a)
{
    free(a->v);
    *a = (struct sched_actions){0};
}

struct sched *sched_create(const struct sched_config *config)
{
    struct sched *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->config = *config;
    s->hold.key = s->unknown_key = KEY_NONE;
    s->wake_ms = INT64_MAX;
    nodes_init(&s->nodes);
    return s;
}

void sched_destroy(struct sched *s)
{
    if (!s)
        return;
    readyq_fini(&s->ready);
    nodes_fini(&s->nodes);
    free(s->tasks);
    free(s->edges);
    free(s->fresh);
    free(s->retried);
    free(s->ends);
    free(s);
}

/* ---- Small questions ---------------------------------------------------------------------------
 */

bool state_is_dead(enum task_status status)
{
    return status == TASK_FAILED || status == TASK_SKIPPED || status == TASK_CANCELLED;
}

task_id_t state_blame(const struct sched *s, task_id_t id)
{
    task_id_t cause = s->tasks[id].status == TASK_SKIPPED ? s->tasks[id].cause : id;

    return state_is_dead(s->tasks[cause].status) ? cause : id; /* that one was retried since */
}

uint32_t state_deps_end(const struct sched *s, task_id_t id)
{
    return id + 1 < s->count ? s->tasks[id + 1].first_dep : s->edge_count;
}

uint32_t state_next_edge(const struct sched *s, task_id_t id, uint32_t e)
{
    uint32_t last = s->tasks[id].last_edge;

    if (e == last) /* also without any edge: both are EDGE_NONE */
        return EDGE_NONE;
    return s->edges[e == EDGE_NONE ? last : e].next;
}

task_id_t state_dead_dep(const struct sched *s, task_id_t id)
{
    for (uint32_t e = s->tasks[id].first_dep; e < state_deps_end(s, id); e++)
        if (state_is_dead(s->tasks[s->edges[e].dependency].status))
            return s->edges[e].dependency;
    return TASK_ID_NONE;
}

uint64_t state_key(const struct sched *s, task_id_t id)
{
    return key_of(s->tasks[id].priority, id);
}

uint32_t state_cores(const struct sched *s, task_id_t id)
{
    return s->ready.v[s->tasks[id].shape].cores;
}

uint64_t state_memory(const struct sched *s, task_id_t id)
{
    return s->ready.v[s->tasks[id].shape].memory;
}

task_id_t state_ready_count(const struct sched *s)
{
    return s->by_status[TASK_PENDING] - s->blocked - s->late - s->lent;
}

int64_t state_add_ms(int64_t a_ms, int64_t b_ms)
{
    int64_t sum;

    return __builtin_add_overflow(a_ms, b_ms, &sum) ? INT64_MAX : sum;
}

/* ---- Status ------------------------------------------------------------------------------------
 */

/* A pending task that waits for nothing (any more) joins its heap, where a dead entry of it, left
 * from before it was cancelled, comes to life again: its key is the same. */
static void make_ready(struct sched *s, task_id_t id)
{
    struct task *t = &s->tasks[id];

    s->ready.v[t->shape].ready++;
    if (!t->queued)
        readyq_push(&s->ready, t->shape, state_key(s, id));
    t->queued = true;
}

static void drop_dead_tops(struct sched *s, uint32_t shape)
{
    uint64_t key;

    while ((key = readyq_top(&s->ready, shape)) != KEY_NONE) {
        struct task *t = &s->tasks[key_task(key)];

        if (t->status == TASK_PENDING)
            return;
        t->queued = false;
        readyq_pop(&s->ready, shape);
    }
}

void state_enter(struct sched *s, task_id_t id)
{
    struct task *t = &s->tasks[id];

    s->by_status[t->status]++;
    if (t->status != TASK_PENDING)
        return;
    s->ready.v[t->shape].pending++;
    t->since_ms = NEVER_MS;
    if (t->waits > 0)
        s->blocked++;
    else
        make_ready(s, id);
}

void state_leave_heap(struct sched *s, task_id_t id)
{
    struct task *t = &s->tasks[id];

    BUG_ON(readyq_top(&s->ready, t->shape) != state_key(s, id));
    t->queued = false;
    s->ready.v[t->shape].pending--;
    s->ready.v[t->shape].ready--;
    readyq_pop(&s->ready, t->shape);
    drop_dead_tops(s, t->shape);
}

void state_set_late(struct sched *s, task_id_t id)
{
    state_leave_heap(s, id);
    s->tasks[id].late = true;
    s->late++;
}

static void leave_lent(struct sched *s, task_id_t id)
{
    s->tasks[id].lent = false;
    s->lent--;
}

/* A pending task goes, or comes to another status. */
static void leave_pending(struct sched *s, task_id_t id)
{
    struct task *t = &s->tasks[id];

    if (t->late) {
        t->late = false;
        s->late--;
        return;
    }
    if (t->lent) {
        leave_lent(s, id);
        return;
    }
    s->ready.v[t->shape].pending--;
    if (t->waits > 0)
        s->blocked--;
    else
        s->ready.v[t->shape].ready--;
    if (s->hold.key == state_key(s, id))
        hold_release(s);
}

void state_begin(struct sched *s, task_id_t id, bool sent, int64_t now_ms,
                 struct sched_actions *out)
{
    struct task *t = &s->tasks[id];

    t->attempts++;
    state_set_status(s, id, TASK_RUNNING,
                     (struct why){.cause = TASK_ID_NONE, .node = t->node, .attempt = t->attempts},
                     out);
    t->since_ms = now_ms;
    state_append(out, &(struct sched_action){.type = SCHED_START,
                                             .task = id,
                                             .cause = TASK_ID_NONE,
                                             .node = t->node,
                                             .attempt = t->attempts,
                                             .status = TASK_RUNNING,
                                             .sent = sent});
}

void state_set_status(struct sched *s, task_id_t id, enum task_status to, struct why why,
                      struct sched_actions *out)
{
    struct task *t = &s->tasks[id];
    enum task_status from = t->status;

    if (!may_change[from][to])
        BUG("task %u: from %s to %s", id, task_status_name(from), task_status_name(to));
    s->by_status[from]--;
    if (from == TASK_PENDING)
        leave_pending(s, id);
    t->status = to;
    if (from == TASK_PENDING)
        drop_dead_tops(s, t->shape);
    state_enter(s, id);
    s->failed += to == TASK_FAILED;
    state_append(out, &(struct sched_action){.type = SCHED_STATUS,
                                             .task = id,
                                             .cause = why.cause,
                                             .node = why.node,
                                             .attempt = why.attempt,
                                             .status = to,
                                             .retry = why.retry});
}

/* The actions appended so far serve as the queue of a breadth-first walk: no memory, no recursion,
 * however long the chain is. */
static void skip_dependents(struct sched *s, task_id_t id, task_id_t cause,
                            struct sched_actions *out)
{
    struct why why = {.cause = cause, .node = NODE_ID_NONE};

    for (size_t next = out->len;; id = out->v[next++].task) {
        for (uint32_t e = state_next_edge(s, id, EDGE_NONE); e != EDGE_NONE;
             e = state_next_edge(s, id, e)) {
            task_id_t d = s->edges[e].dependent;

            if (s->tasks[d].status != TASK_PENDING)
                continue;
            state_set_status(s, d, TASK_SKIPPED, why, out);
            s->tasks[d].cause = cause;
        }
        if (next == out->len)
            return;
    }
}

void state_skip(struct sched *s, task_id_t id, task_id_t cause, struct sched_actions *out)
{
    struct why why = {.cause = cause, .node = NODE_ID_NONE};

    state_set_status(s, id, TASK_SKIPPED, why, out);
    s->tasks[id].cause = cause;
    skip_dependents(s, id, cause, out);
}

/* What waited for the task that has just completed. */
static void release_dependents(struct sched *s, task_id_t id)
{
    for (uint32_t e = state_next_edge(s, id, EDGE_NONE); e != EDGE_NONE;
         e = state_next_edge(s, id, e)) {
        struct task *d = &s->tasks[s->edges[e].dependent];

        if (--d->waits > 0 || d->status != TASK_PENDING)
            continue;
        s->blocked--;
        make_ready(s, s->edges[e].dependent);
    }
}

/* How many tasks may be skipped if this one fails or is cancelled. */
static size_t skip_bound(const struct sched *s, task_id_t id)
{
    return s->tasks[id].last_edge == EDGE_NONE ? 0 : s->blocked;
}

/* ---- Events ------------------------------------------------------------------------------------
 */

static bool succeeded(enum attempt_reason reason, int exit_code)
{
    return reason == REASON_EXIT && exit_code == 0;
}

/* Counts how the attempt ended, and says what becomes of its task. */
static enum task_status judge(struct sched *s, struct task *t, enum attempt_reason reason,
                              int exit_code, bool *retry)
{
    if (t->cancelling || reason == REASON_CANCEL)
        return TASK_CANCELLED;
    if (succeeded(reason, exit_code))
        return TASK_COMPLETED;
    if (reason == REASON_STOP || reason == REASON_DISK)
        return TASK_PENDING;
    if (reason == REASON_LOST) {
        t->losses += t->losses < UINT16_MAX;
        return s->config.max_losses && t->losses >= s->config.max_losses ? TASK_FAILED
                                                                         : TASK_PENDING;
    }
    t->failures++;
    *retry = t->failures <= t->max_retries;
    return *retry ? TASK_PENDING : TASK_FAILED;
}

/* The task's share of its node goes to the first lent behind it, which is returned, or is free. */
static task_id_t leave_place(struct sched *s, task_id_t id)
{
    const struct task *t = &s->tasks[id];
    struct place *place = &s->nodes.v[t->node].running[t->slot];
    task_id_t next = place->lent;

    if (t->node == s->nodes.held)
        hold_touch(s);
    if (next != TASK_ID_NONE) {
        lend_unlink(s, next);
        place->task = next;
        return next;
    }
    if (nodes_give(&s->nodes, t->node, state_cores(s, id), state_memory(s, id), t->slot)) {
        s->tasks[place->task].slot = t->slot;
        lend_moved(s, place, t->slot);
    }
    return TASK_ID_NONE;
}

/* How long the attempt took. Its node knows best: ends come in batches, the first of them late. But
 * a clock that was set meanwhile must not count; what was lent may have begun that long before it
 * was known. */
static int64_t ran_ms(const struct sched *s, const struct task *t, const struct sched_event *ev,
                      int64_t now_ms)
{
    int64_t known_ms = now_ms - t->since_ms;
    int64_t most_ms = state_add_ms(known_ms, 2 * s->config.lend_ms);

    if (ev->ran_ms <= 0)
        return known_ms;
    return ev->ran_ms < most_ms ? ev->ran_ms : most_ms;
}

/* What the end of its attempt means for a task and for those behind it. Needs room for 1 +
 * skip_bound actions. */
static void conclude(struct sched *s, task_id_t id, const struct sched_event *ev, int64_t now_ms,
                     struct sched_actions *out)
{
    struct task *t = &s->tasks[id];
    struct why why = {.cause = TASK_ID_NONE, .node = t->node, .attempt = t->attempts};
    int64_t took_ms = ran_ms(s, t, ev, now_ms);
    enum task_status to = judge(s, t, ev->reason, ev->exit_code, &why.retry);

    t->cancelling = false;
    state_set_status(s, id, to, why, out);
    if (to == TASK_COMPLETED) {
        estimate_add(readyq_estimate(&s->ready, t->shape), took_ms);
        release_dependents(s, id);
    } else if (state_is_dead(to)) {
        skip_dependents(s, id, id, out);
    }
}

/* Needs room for 3 + skip_bound actions. */
static void end_attempt(struct sched *s, task_id_t id, const struct sched_event *ev, int64_t now_ms,
                        struct sched_actions *out)
{
    task_id_t next = leave_place(s, id);

    conclude(s, id, ev, now_ms, out);
    if (next != TASK_ID_NONE)
        state_begin(s, next, true, now_ms, out);
}

/* A lent task has begun and ended, but the end of the one before it is not known yet: it had no
 * share of its own. Needs room for 3 + skip_bound actions. */
static void end_lent(struct sched *s, const struct sched_event *ev, int64_t now_ms,
                     struct sched_actions *out)
{
    lend_unlink(s, ev->task);
    state_begin(s, ev->task, true, now_ms, out);
    conclude(s, ev->task, ev, now_ms, out);
}

/* How many actions the loss of all that a node has may lead to. */
static size_t loss_bound(const struct sched *s, const struct node *node)
{
    size_t ends = node->running_len, skips = 0;

    for (uint32_t i = 0; i < node->running_len; i++) {
        const struct place *place = &node->running[i];

        if (skips == 0)
            skips = skip_bound(s, place->task);
        for (task_id_t t = place->lent; t != TASK_ID_NONE; t = lend_next(s, place, t)) {
            ends += 3; /* it begins, too */
            if (skips == 0)
                skips = skip_bound(s, t);
        }
    }
    return ends + skips;
}

static int on_node_down(struct sched *s, node_id_t id, int64_t now_ms, struct sched_actions *out)
{
    const struct sched_event lost = {.reason = REASON_LOST, .exit_code = -1};
    struct node *node;
    int rc;

    if (id >= s->nodes.len || !s->nodes.v[id].up)
        BUG("node %u goes down, but it is not up", id);
    node = &s->nodes.v[id];
    rc = state_reserve_actions(out, loss_bound(s, node));
    if (rc < 0)
        return rc;
    /* What was lent may have run there too: its turn comes in the same place, and it is lost. */
    while (node->running_len > 0)
        end_attempt(s, node->running[node->running_len - 1].task, &lost, now_ms, out);
    if (s->nodes.held == id)
        hold_release(s);
    nodes_remove(&s->nodes, id);
    return 0;
}

static int on_attempt_ended(struct sched *s, const struct sched_event *ev, int64_t now_ms,
                            struct sched_actions *out)
{
    const struct task *t = &s->tasks[ev->task];
    task_id_t next;
    int rc;

    if (t->lent ? t->attempts + 1 != ev->attempt
                : t->status != TASK_RUNNING || t->attempts != ev->attempt)
        return 0; /* stale: a node that was declared lost speaks again */
    rc = state_reserve_actions(
        out,
        3 + (succeeded(ev->reason, ev->exit_code) && !t->cancelling ? 0 : skip_bound(s, ev->task)));
    if (rc == 0)
        rc = lend_reserve(s);
    if (rc < 0)
        return rc;
    if (t->lent) {
        end_lent(s, ev, now_ms, out);
        return 0;
    }
    next = s->nodes.v[t->node].running[t->slot].lent;
    end_attempt(s, ev->task, ev, now_ms, out);
    if (next != TASK_ID_NONE)
        lend_note(s, next);
    return 0;
}

static int on_returned(struct sched *s, const struct sched_event *ev, struct sched_actions *out)
{
    struct task *t = &s->tasks[ev->task];
    int rc;

    if (!t->lent || t->attempts + 1 != ev->attempt)
        return 0;
    rc = state_reserve_actions(out, 1 + (t->cancelling ? skip_bound(s, ev->task) : 0));
    if (rc < 0)
        return rc;
    lend_unlink(s, ev->task);
    if (t->cancelling) {
        t->cancelling = false;
        state_set_status(s, ev->task, TASK_CANCELLED, WHY_NONE, out);
        skip_dependents(s, ev->task, ev->task, out);
        return 0;
    }
    leave_lent(s, ev->task);
    t->since_ms = NEVER_MS;
    s->ready.v[t->shape].pending++;
    make_ready(s, ev->task);
    return 0;
}

/* A person's wish may cross the task's end on the way here: then it is too late, not an error. */
static int on_cancel(struct sched *s, task_id_t id, struct sched_actions *out)
{
    struct task *t = &s->tasks[id];
    int rc;

    if ((t->status != TASK_PENDING && t->status != TASK_RUNNING) || t->cancelling)
        return 0;
    rc = state_reserve_actions(out, 1 + skip_bound(s, id));
    if (rc < 0)
        return rc;
    if (t->status == TASK_PENDING && !t->lent) {
        state_set_status(s, id, TASK_CANCELLED, WHY_NONE, out);
        skip_dependents(s, id, id, out);
        return 0;
    }
    t->cancelling = true;
    state_append(out, &(struct sched_action){.type = SCHED_KILL,
                                             .task = id,
                                             .cause = TASK_ID_NONE,
                                             .node = t->node,
                                             .attempt = t->attempts + t->lent,
                                             .status = (enum task_status)t->status});
    return 0;
}

static int on_drain(struct sched *s, struct sched_actions *out)
{
    int rc = state_reserve_actions(out, s->lent);

    if (rc < 0)
        return rc;
    s->draining = true;
    s->wake_ms = INT64_MAX;
    hold_release(s);
    lend_recall(s, out);
    return 0;
}

static int on_retry(struct sched *s, task_id_t id, struct sched_actions *out)
{
    struct task *t = &s->tasks[id];
    void *retried = s->retried;
    int rc;

    if (!state_is_dead(t->status))
        return 0;
    rc = state_reserve_actions(out, 1);
    if (rc == 0)
        rc = state_reserve(&retried, &s->retried_cap, s->retried_len, 1, sizeof(*s->retried));
    s->retried = retried;
    if (rc < 0)
        return rc;
    t->failures = 0;
    t->losses = 0;
    state_set_status(s, id, TASK_PENDING, WHY_NONE, out);
    if (t->waits > 0)
        s->retried[s->retried_len++] = id;
    return 0;
}

int sched_apply(struct sched *s, const struct sched_event *ev, int64_t now_ms,
                struct sched_actions *out)
{
    bool of_task = ev->type == SCHED_ATTEMPT_ENDED || ev->type == SCHED_RETURNED ||
                   ev->type == SCHED_CANCEL || ev->type == SCHED_RETRY;

    if (of_task && ev->task >= s->count)
        BUG("event %d of task %u, but there are %u tasks", (int)ev->type, ev->task, s->count);
    switch (ev->type) {
    case SCHED_NODE_UP:
        return nodes_add(&s->nodes, ev->node, ev->cores, ev->memory ? ev->memory : MEMORY_PLENTY);
    case SCHED_NODE_DOWN:
        return on_node_down(s, ev->node, now_ms, out);
    case SCHED_ATTEMPT_ENDED:
        return on_attempt_ended(s, ev, now_ms, out);
    case SCHED_RETURNED:
        return on_returned(s, ev, out);
    case SCHED_CANCEL:
        return on_cancel(s, ev->task, out);
    case SCHED_DRAIN:
        return on_drain(s, out);
    case SCHED_RETRY:
        return on_retry(s, ev->task, out);
    }
    BUG("event of type %d", (int)ev->type);
}

/* ---- Questions ---------------------------------------------------------------------------------
 */

task_id_t sched_count(const struct sched *s)
{
    return s->count;
}

void sched_get_counts(const struct sched *s, struct sched_counts *out)
{
    *out = (struct sched_counts){.blocked = s->blocked,
                                 .late = s->late,
                                 .lent = s->lent,
                                 .cores_total = s->nodes.cores_total,
                                 .cores_busy = s->nodes.cores_busy,
                                 .nodes_up = s->nodes.up,
                                 .failures = s->failed};
    for (int i = 0; i < TASK_STATUS_COUNT; i++)
        out->by_status[i] = s->by_status[i];
}

void sched_get_task(const struct sched *s, task_id_t task, struct sched_task_info *out)
{
    const struct task *t = &s->tasks[task];

    BUG_ON(task >= s->count);
    *out = (struct sched_task_info){.status = t->status,
                                    .attempts = t->attempts,
                                    .failures = t->failures,
                                    .losses = t->losses,
                                    .lent = t->lent,
                                    .node = t->status == TASK_RUNNING || t->lent ? t->node
                                                                                 : NODE_ID_NONE,
                                    .cores = state_cores(s, task)};
}

uint32_t sched_max_node_cores(const struct sched *s)
{
    return s->nodes.max_cores;
}

bool sched_stuck(const struct sched *s)
{
    return s->by_status[TASK_RUNNING] == 0 && state_ready_count(s) + s->late > 0 &&
           state_first_possible(s) == KEY_NONE;
}

bool sched_get_hold(const struct sched *s, task_id_t *task, node_id_t *node)
{
    if (s->hold.key == KEY_NONE)
        return false;
    *task = key_task(s->hold.key);
    *node = s->hold.node;
    return true;
}
