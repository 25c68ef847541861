/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the hold: the node that is kept for the first task in order that fits nowhere, once it has
 * waited long enough, and what may still start there.
 *
 * One hold at a time bounds both the idle cores and the work: all running attempts are looked at
 * when a hold is made or reviewed, once or twice for each task that is first in order and waits for
 * look_ms at least, and otherwise only those of the held node. The expected start never moves to a
 * later time: guesses that prove too short then cost idle cores, not the wide task's turn. */
#include "core/state.h"

#include <stdlib.h>

#include "common/error.h"

#define REVIEW_MS 1000 /* a hold is not reviewed more often than this */

struct hold_end {
    int64_t end_ms;
    uint32_t cores;
    uint64_t memory;
};

/* What a task needs, or what a node has free. */
struct room {
    uint32_t cores;
    uint64_t memory;
};

static bool fits(struct room need, struct room free)
{
    return need.cores <= free.cores && need.memory <= free.memory;
}

static struct room room_of(const struct sched *s, task_id_t id)
{
    return (struct room){state_cores(s, id), state_memory(s, id)};
}

static struct room free_now(const struct sched *s, node_id_t id)
{
    return (struct room){s->nodes.v[id].free_cores, s->nodes.memory[id].free};
}

static int64_t expected_ms(const struct sched *s, const struct task *t)
{
    int64_t ms = estimate_ms(readyq_estimate(&s->ready, t->shape));

    return t->timeout_ms && t->timeout_ms < ms ? t->timeout_ms : ms;
}

/* When a running attempt is expected to end; INT64_MAX: unknown. One that has outlived its
 * estimate is expected to run as long again, up to its timeout. */
static int64_t expected_end(const struct sched *s, const struct task *t, int64_t now_ms)
{
    int64_t end = state_add_ms(t->since_ms, expected_ms(s, t));
    int64_t limit = t->timeout_ms ? t->since_ms + t->timeout_ms : INT64_MAX;
    int64_t ran_ms = now_ms - t->since_ms;

    if (end > now_ms)
        return end;
    end = state_add_ms(now_ms, ran_ms > 0 ? ran_ms : 1);
    return limit > now_ms && limit < end ? limit : end;
}

/* What of the node is expected to be free at that time (unless something starts there). */
static struct room free_at(const struct sched *s, node_id_t id, int64_t at_ms, int64_t now_ms)
{
    const struct node *node = &s->nodes.v[id];
    struct room free = free_now(s, id);

    for (uint32_t i = 0; i < node->running_len; i++) {
        if (expected_end(s, &s->tasks[node->running[i].task], now_ms) > at_ms)
            continue;
        free.cores += state_cores(s, node->running[i].task);
        free.memory += state_memory(s, node->running[i].task);
    }
    return free;
}

static int by_end(const void *a, const void *b)
{
    const struct hold_end *x = a, *y = b;

    return (x->end_ms > y->end_ms) - (x->end_ms < y->end_ms);
}

/* When the node is expected to have so much free, if that is before limit_ms; else limit_ms. Of
 * `told` only what somebody said counts, not what was learned. The limit spares most nodes the
 * sorting. Needs s->ends as long as the node's list. */
static int64_t start_on(struct sched *s, node_id_t id, struct room need, bool told, int64_t now_ms,
                        int64_t limit_ms)
{
    const struct node *node = &s->nodes.v[id];
    struct room then = free_now(s, id);
    size_t n = 0, i = 0;

    for (uint32_t r = 0; r < node->running_len; r++) {
        const struct task *t = &s->tasks[node->running[r].task];
        struct hold_end end = {expected_end(s, t, now_ms), s->ready.v[t->shape].cores,
                               s->ready.v[t->shape].memory};

        if (end.end_ms >= limit_ms || (told && !t->timeout_ms))
            continue;
        s->ends[n++] = end;
        then.cores += end.cores;
        then.memory += end.memory;
    }
    if (!fits(need, then))
        return limit_ms;
    qsort(s->ends, n, sizeof(*s->ends), by_end);
    for (then = free_now(s, id); !fits(need, then); i++) {
        then.cores += s->ends[i].cores;
        then.memory += s->ends[i].memory;
    }
    return i > 0 ? s->ends[i - 1].end_ms : now_ms;
}

/* Scratch for start_on on that node; NODE_ID_NONE: on any. */
static int reserve_ends(struct sched *s, node_id_t only)
{
    void *ends = s->ends;
    size_t most = only == NODE_ID_NONE ? 0 : s->nodes.v[only].running_len;
    int rc;

    for (node_id_t id = 0; id < s->nodes.len && only == NODE_ID_NONE; id++)
        if (s->nodes.v[id].running_len > most)
            most = s->nodes.v[id].running_len;
    rc = state_reserve(&ends, &s->ends_cap, 0, most, sizeof(*s->ends));
    s->ends = ends;
    return rc;
}

/* The node where so much is free soonest; while nobody knows, the one with the most free;
 * then the lowest number. `at`, if it is one, is only left for a node that is strictly sooner. */
static node_id_t soonest_node(struct sched *s, struct room need, bool told, node_id_t at,
                              int64_t now_ms, int64_t *start_ms)
{
    node_id_t best = at;

    *start_ms = at == NODE_ID_NONE ? INT64_MAX : start_on(s, at, need, told, now_ms, INT64_MAX);
    for (node_id_t id = 0; id < s->nodes.len; id++) {
        const struct node *node = &s->nodes.v[id];
        int64_t then;

        if (!node->up || !fits(need, (struct room){node->cores, s->nodes.memory[id].all}) ||
            id == at)
            continue;
        then = start_on(s, id, need, told, now_ms, *start_ms);
        if (then < *start_ms || best == NODE_ID_NONE ||
            (then == INT64_MAX && at == NODE_ID_NONE &&
             node->free_cores > s->nodes.v[best].free_cores))
            best = id;
        *start_ms = then;
    }
    return best;
}

static void set_spare(struct sched *s, int64_t now_ms)
{
    struct room need = room_of(s, key_task(s->hold.key)), then;

    s->hold.spare = 0;
    s->hold.spare_memory = 0;
    s->hold.stale = false;
    if (s->hold.start_ms == INT64_MAX)
        return;
    then = free_at(s, s->hold.node, s->hold.start_ms, now_ms);
    if (then.cores > need.cores)
        s->hold.spare = then.cores - need.cores;
    if (then.memory > need.memory)
        s->hold.spare_memory = then.memory - need.memory;
}

/* When to look whether the choice was a good one: as long after the expected start as it was ahead
 * when the choice was made; twice as long after each review. So a task that is moved again and
 * again comes to rest. */
static int64_t next_review(const struct sched *s, int64_t start_ms, int64_t now_ms)
{
    int64_t ahead_ms = start_ms != INT64_MAX && start_ms > now_ms ? start_ms - now_ms : 0;
    int64_t grace_ms = s->config.patience_ms > REVIEW_MS ? s->config.patience_ms : REVIEW_MS;

    if (grace_ms < ahead_ms)
        grace_ms = ahead_ms;
    for (unsigned i = 0; i < s->hold.reviews; i++)
        grace_ms = state_add_ms(grace_ms, grace_ms);
    return state_add_ms(now_ms + ahead_ms, grace_ms);
}

/* `told`: only if what the running tasks said of themselves tells when it fits; else the task is
 * remembered. */
static int make_hold(struct sched *s, uint64_t key, bool told, int64_t now_ms)
{
    bool review = s->hold.key == key;
    unsigned reviews = review ? s->hold.reviews + (s->hold.reviews < 62) : 0;
    struct room need = room_of(s, key_task(key));
    int64_t start_ms;
    node_id_t node;
    int rc = reserve_ends(s, NODE_ID_NONE);

    if (rc < 0)
        return rc;
    node = soonest_node(s, need, told, review ? s->hold.node : NODE_ID_NONE, now_ms, &start_ms);
    BUG_ON(node == NODE_ID_NONE);
    if (start_ms == INT64_MAX && told) {
        s->unknown_key = key;
        return 0;
    }
    if (!review || node != s->hold.node) {
        s->hold = (struct hold){.key = key, .node = node, .start_ms = start_ms};
        nodes_hold(&s->nodes, node);
    }
    s->hold.reviews = reviews;
    s->hold.review_ms = next_review(s, start_ms, now_ms);
    set_spare(s, now_ms);
    return 0;
}

/* Once a pass: the node's attempts may have ended early or outlived their estimates, or something
 * may have become known about them. */
static int refresh_hold(struct sched *s, int64_t now_ms)
{
    struct room need = room_of(s, key_task(s->hold.key));
    int rc = reserve_ends(s, s->hold.node);

    if (rc < 0)
        return rc;
    s->hold.start_ms = start_on(s, s->hold.node, need, false, now_ms, s->hold.start_ms);
    set_spare(s, now_ms);
    return 0;
}

/* Until when the first task in order waits before a node is held for it. A look at all that runs
 * costs about 20 ns for each; it may take a fiftieth of the time. */
static int64_t patient_until(const struct sched *s, uint64_t key)
{
    int64_t since_ms = s->tasks[key_task(key)].since_ms;
    int64_t look_ms = s->config.look_ms + s->by_status[TASK_RUNNING] / 1000;

    if (s->config.look_ms == 0 || s->unknown_key == key || look_ms > s->config.patience_ms)
        look_ms = s->config.patience_ms;
    return state_add_ms(since_ms, look_ms);
}

int hold_update(struct sched *s, uint64_t key, int64_t now_ms)
{
    struct task *t = &s->tasks[key_task(key)];
    struct room need = room_of(s, key_task(key));
    int rc = 0;

    if (t->since_ms == NEVER_MS)
        t->since_ms = now_ms;
    if (s->hold.key == key && now_ms >= s->hold.review_ms)
        return make_hold(s, key, false, now_ms);
    /* With nothing smaller about, what comes free next is its own anyway. */
    if (s->hold.key != key && readyq_has_smaller(&s->ready, need.cores, need.memory)) {
        if (now_ms >= patient_until(s, key))
            rc = make_hold(s, key, now_ms < state_add_ms(t->since_ms, s->config.patience_ms),
                           now_ms);
        if (rc < 0 || s->hold.key == key)
            return rc;
        s->wake_ms = patient_until(s, key);
    }
    return s->hold.key == KEY_NONE ? 0 : refresh_hold(s, now_ms);
}

void hold_touch(struct sched *s)
{
    s->hold.stale = true;
}

void hold_release(struct sched *s)
{
    nodes_hold(&s->nodes, NODE_ID_NONE);
    s->hold = (struct hold){.key = KEY_NONE};
}

bool hold_allows(struct sched *s, uint64_t key, int64_t now_ms)
{
    const struct task *t = &s->tasks[key_task(key)];
    struct room need = room_of(s, key_task(key));

    if (s->hold.key == KEY_NONE || !fits(need, free_now(s, s->hold.node)))
        return false;
    if (key <= s->hold.key)
        return true;
    if (s->hold.start_ms == INT64_MAX)
        return false;
    if (s->hold.stale)
        set_spare(s, now_ms);
    return fits(need, (struct room){s->hold.spare, s->hold.spare_memory}) ||
           state_add_ms(now_ms, expected_ms(s, t)) <= s->hold.start_ms;
}
