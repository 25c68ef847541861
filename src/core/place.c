/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the placement pass. Tasks are taken in order until one fits nowhere; from there on only
 * those narrow enough for what is free are looked at, each found in log(shapes) steps, each node
 * in a handful. A pass in which nothing can start costs as little as that. docs/scheduling.md has
 * the rule in words. */
#include "core/sched.h"

#include "common/error.h"
#include "core/state.h"

/* Retried tasks whose dependency was not retried with them have nothing to wait for. */
static int skip_orphans(struct sched *s, struct sched_actions *out)
{
    int rc;

    if (s->retried_len == 0)
        return 0;
    rc = state_reserve_actions(out, s->blocked);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < s->retried_len; i++) {
        task_id_t id = s->retried[i], dead;

        if (s->tasks[id].status != TASK_PENDING)
            continue;
        dead = state_dead_dep(s, id);
        if (dead != TASK_ID_NONE)
            state_skip(s, id, state_blame(s, dead), out);
    }
    s->retried_len = 0;
    return 0;
}

/* It could end only after the deadline. Its timeout is the longest that it runs, so this is never
 * too careful; a task that says nothing is never late. */
bool state_is_late(const struct sched *s, task_id_t id, int64_t start_ms)
{
    const struct task *t = &s->tasks[id];

    return s->config.deadline_ms && t->timeout_ms &&
           state_add_ms(start_ms, t->timeout_ms) > s->config.deadline_ms;
}

/* The first key of the shape that is not late. */
static uint64_t top_in_time(struct sched *s, uint32_t shape, int64_t now_ms)
{
    uint64_t key;

    while ((key = readyq_top(&s->ready, shape)) != KEY_NONE &&
           state_is_late(s, key_task(key), now_ms))
        state_set_late(s, key_task(key));
    return key;
}

/* A node is kept for a task only as long as that can start. */
static void release_late_hold(struct sched *s, int64_t now_ms)
{
    if (s->hold.key != KEY_NONE && state_is_late(s, key_task(s->hold.key), now_ms))
        hold_release(s);
}

/* Look again when the task that a node is kept for becomes late. */
static void wake_for_hold(struct sched *s)
{
    const struct task *t;
    int64_t late_ms;

    if (s->hold.key == KEY_NONE || !s->config.deadline_ms)
        return;
    t = &s->tasks[key_task(s->hold.key)];
    late_ms = s->config.deadline_ms - t->timeout_ms + 1;
    if (t->timeout_ms && late_ms < s->wake_ms)
        s->wake_ms = late_ms;
}

static bool is_full(const struct sched *s)
{
    return s->config.max_running && s->by_status[TASK_RUNNING] >= s->config.max_running;
}

/* Cores of the widest pending task that some node could hold. */
static uint32_t widest_pending(const struct sched *s)
{
    for (uint32_t i = readyq_narrower(&s->ready, s->nodes.max_cores); i-- > 0;) {
        const struct shape *shape = &s->ready.v[s->ready.by_width[i]];

        if (shape->pending > 0)
            return shape->cores;
    }
    return 0;
}

typedef uint64_t below_f(const struct nodes *n, uint32_t cores);

/* The first ready task in order of at most so many cores whose memory is below what the function
 * says for its cores: a step or two for each width that is asked for. */
static uint64_t first_below(const struct sched *s, uint32_t max_cores, below_f *below)
{
    const struct readyq *q = &s->ready;
    uint32_t end = readyq_narrower(q, max_cores);
    uint64_t first = KEY_NONE;

    if (!q->uses_memory)
        return readyq_between(q, 0, end);
    for (uint32_t at = 0, next; at < end; at = next) {
        uint32_t cores = q->v[q->by_width[at]].cores;
        uint64_t key = readyq_between(q, at, readyq_position(q, cores, below(&s->nodes, cores)));

        next = readyq_narrower(q, cores);
        first = key < first ? key : first;
    }
    return first;
}

/* The same, of the tasks that are not late. Each late one is taken out once, so that a pass costs
 * no more for them than for as many starts. */
static uint64_t first_in_time(struct sched *s, uint32_t max_cores, below_f *below, int64_t now_ms)
{
    uint64_t key;

    while ((key = first_below(s, max_cores, below)) != KEY_NONE &&
           state_is_late(s, key_task(key), now_ms))
        state_set_late(s, key_task(key));
    return key;
}

uint64_t state_first_possible(const struct sched *s)
{
    return first_below(s, s->nodes.max_cores, nodes_fits_ever_below);
}

/* The widest go where most is free (each has the more of its node to itself, and for others like
 * it that leaves as many places as any other choice); narrower ones fill gaps. The held node
 * comes last. */
static node_id_t choose_node(struct sched *s, uint64_t key, uint32_t widest, int64_t now_ms)
{
    uint32_t cores = state_cores(s, key_task(key));
    uint64_t memory = state_memory(s, key_task(key));
    node_id_t node = cores >= widest ? nodes_emptiest(&s->nodes, cores, memory)
                                     : nodes_fullest(&s->nodes, cores, memory);

    if (node == NODE_ID_NONE && hold_allows(s, key, now_ms))
        node = s->nodes.held;
    return node;
}

uint64_t state_first_in_time(struct sched *s, int64_t now_ms)
{
    return first_in_time(s, s->nodes.max_cores, nodes_fits_ever_below, now_ms);
}

static int start(struct sched *s, uint64_t key, node_id_t node, int64_t now_ms,
                 struct sched_actions *out)
{
    task_id_t id = key_task(key);
    struct task *t = &s->tasks[id];
    int rc = state_reserve_actions(out, 2);

    if (rc == 0)
        rc = nodes_reserve(&s->nodes, node);
    if (rc == 0)
        rc = lend_reserve(s);
    if (rc < 0)
        return rc;
    t->node = node;
    t->slot = nodes_take(&s->nodes, node, state_cores(s, id), state_memory(s, id), id);
    if (node == s->nodes.held)
        hold_touch(s);
    state_begin(s, id, false, now_ms, out);
    lend_note(s, id);
    return 0;
}

/* The first task in order that may start on the held node; looks at one task a shape. */
static uint64_t first_for_held(struct sched *s, int64_t now_ms)
{
    uint64_t first = KEY_NONE;
    uint32_t shapes;

    if (s->nodes.held == NODE_ID_NONE)
        return KEY_NONE;
    shapes = readyq_narrower(&s->ready, s->nodes.v[s->nodes.held].free_cores);
    for (uint32_t i = 0; i < shapes; i++) {
        uint64_t key = top_in_time(s, s->ready.by_width[i], now_ms);

        if (key < first && hold_allows(s, key, now_ms))
            first = key;
    }
    return first;
}

/* Starts tasks in order up to the first that fits nowhere: *front, or KEY_NONE. */
static int start_in_order(struct sched *s, int64_t now_ms, uint64_t *front,
                          struct sched_actions *out)
{
    uint64_t key = KEY_NONE;
    int rc = 0;

    while (rc == 0 && !is_full(s)) {
        node_id_t node;

        key = state_first_in_time(s, now_ms);
        if (key == KEY_NONE)
            break;
        node = choose_node(s, key, widest_pending(s), now_ms);
        if (node == NODE_ID_NONE)
            break;
        rc = start(s, key, node, now_ms, out);
        key = KEY_NONE;
    }
    *front = key;
    return rc;
}

/* Starts what fits although the first in order does not. */
static int start_behind(struct sched *s, int64_t now_ms, struct sched_actions *out)
{
    int rc = 0;

    while (rc == 0 && !is_full(s)) {
        uint64_t open = first_in_time(s, nodes_max_free(&s->nodes), nodes_fits_now_below, now_ms);
        uint64_t held = first_for_held(s, now_ms);
        uint64_t key = open < held ? open : held;

        if (key == KEY_NONE)
            break;
        rc = start(s, key, choose_node(s, key, widest_pending(s), now_ms), now_ms, out);
    }
    return rc;
}

int sched_place(struct sched *s, int64_t now_ms, struct sched_actions *out)
{
    uint64_t front;
    int rc = skip_orphans(s, out);

    s->wake_ms = INT64_MAX;
    if (rc < 0 || s->draining)
        return rc;
    release_late_hold(s, now_ms);
    rc = start_in_order(s, now_ms, &front, out);
    if (rc == 0 && front != KEY_NONE)
        rc = hold_update(s, front, now_ms);
    if (rc == 0 && front != KEY_NONE)
        rc = start_behind(s, now_ms, out);
    if (rc == 0)
        rc = lend_pass(s, now_ms, out);
    wake_for_hold(s);
    return rc;
}

int64_t sched_next_ms(const struct sched *s, int64_t now_ms)
{
    if (s->wake_ms == INT64_MAX || s->wake_ms > now_ms)
        return s->wake_ms;
    return now_ms; /* overdue: at once, and the pass that follows moves it */
}
