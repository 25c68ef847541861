/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns lending: the next tasks in order are sent to a node while another one still runs there,
 * whose place they take over, one after the other, so that in between nobody has to be asked. A
 * lent one stays pending, in no heap and without cores, until the end of the one before it is known
 * (sched.c promotes it then); or it comes back, because that took longer than expected.
 *
 * What is lent is out of the order. That is harmless where it is next in the order anyway, all are
 * expected to be over soon, and so much more of its kind is ready that no other node could go
 * without: then at most a few dozen ms of short tasks on each place are ahead of what comes later.
 * So nobody needs to be asked back when something of higher priority comes. Only one is lent behind
 * or in place of a task that others wait for: ends of a long queue are told in batches.
 *
 * Whoever kills a slot takes all that is lent there with it, for any of these may have begun. So a
 * task that was lost once, perhaps by its own doing, is neither lent nor followed any more. */
#include "core/state.h"

#include "common/error.h"

/* So many times what runs (and is ahead of it) must be ready of the same shape. */
#define PLENTY 4

/* More than one is lent of those that take so small a part of lend_ms at most, and only while what
 * is ahead takes so much of it together. */
#define QUICK_PART 10
#define AHEAD_PART(ms) ((ms) / 5 * 2)

int lend_reserve(struct sched *s)
{
    void *fresh = s->fresh;
    int rc;

    if (s->config.lend_ms <= 0)
        return 0;
    rc = state_reserve(&fresh, &s->fresh_cap, s->fresh_len, 1, sizeof(*s->fresh));
    s->fresh = fresh;
    return rc;
}

void lend_note(struct sched *s, task_id_t id)
{
    if (s->config.lend_ms <= 0)
        return;
    BUG_ON(s->fresh_len == s->fresh_cap);
    s->fresh[s->fresh_len++] = id;
}

static struct place *place_of(const struct sched *s, const struct task *t)
{
    return &s->nodes.v[t->node].running[t->slot];
}

/* The last in that place: what the next one follows. */
static task_id_t last_of(const struct sched *s, const struct place *place)
{
    return place->lent == TASK_ID_NONE ? place->task : s->tasks[place->lent].queue.before;
}

/* Somebody said so, or those like it were; INT64_MAX: nobody knows. */
static int64_t expected_ms(const struct sched *s, const struct task *t)
{
    const struct estimate *e = readyq_estimate(&s->ready, t->shape);
    int64_t ms = t->timeout_ms ? t->timeout_ms : INT64_MAX;

    return estimate_is_settled(e) && estimate_ms(e) < ms ? estimate_ms(e) : ms;
}

static bool is_short(const struct sched *s, const struct task *t)
{
    return expected_ms(s, t) <= s->config.lend_ms;
}

/* It runs, and will be over soon; and the last one behind it is not about to come back. */
static bool may_precede(const struct sched *s, const struct task *t, int64_t now_ms)
{
    return t->status == TASK_RUNNING && !t->cancelling && t->losses == 0 &&
           now_ms - t->since_ms <= s->config.lend_ms && is_short(s, t) &&
           !s->tasks[last_of(s, place_of(s, t))].cancelling;
}

/* Behind others that have not begun: all are over in a moment, and nobody waits for any. */
static bool may_lengthen(const struct sched *s, const struct place *place, const struct task *t)
{
    int64_t ahead_ms = expected_ms(s, &s->tasks[place->task]);
    bool awaited = t->last_edge != EDGE_NONE || s->tasks[place->task].last_edge != EDGE_NONE;

    for (task_id_t id = place->lent; id != TASK_ID_NONE; id = lend_next(s, place, id)) {
        ahead_ms = state_add_ms(ahead_ms, expected_ms(s, &s->tasks[id]));
        awaited |= s->tasks[id].last_edge != EDGE_NONE;
    }
    return !awaited && expected_ms(s, t) <= s->config.lend_ms / QUICK_PART &&
           ahead_ms <= AHEAD_PART(s->config.lend_ms);
}

/* id, the next in order, would do no harm in that place. */
static bool may_follow(const struct sched *s, const struct place *place, task_id_t id,
                       int64_t now_ms)
{
    const struct task *t = &s->tasks[id];
    const struct shape *shape = &s->ready.v[t->shape];
    uint64_t ahead = lend_count(s, place);

    return shape->cores == state_cores(s, place->task) &&
           shape->memory == state_memory(s, place->task) && is_short(s, t) && t->losses == 0 &&
           ahead < LENT_MAX && shape->ready / PLENTY >= (1 + ahead) * s->by_status[TASK_RUNNING] &&
           (ahead == 0 || may_lengthen(s, place, t)) &&
           !state_is_late(s, id, state_add_ms(now_ms, 2 * s->config.lend_ms));
}

/* ---- The ring of those behind one place --------------------------------------------------------
 */

task_id_t lend_next(const struct sched *s, const struct place *place, task_id_t id)
{
    task_id_t next = s->tasks[id].queue.behind;

    return next == place->lent ? TASK_ID_NONE : next;
}

uint32_t lend_count(const struct sched *s, const struct place *place)
{
    uint32_t n = 0;

    for (task_id_t id = place->lent; id != TASK_ID_NONE; id = lend_next(s, place, id))
        n++;
    return n;
}

void lend_moved(struct sched *s, const struct place *place, uint32_t slot)
{
    for (task_id_t id = place->lent; id != TASK_ID_NONE; id = lend_next(s, place, id))
        s->tasks[id].slot = slot;
}

static void link_last(struct sched *s, struct place *place, task_id_t id)
{
    struct task *t = &s->tasks[id];

    if (place->lent == TASK_ID_NONE) {
        place->lent = t->queue.before = t->queue.behind = id;
        return;
    }
    t->queue.behind = place->lent;
    t->queue.before = s->tasks[place->lent].queue.before;
    s->tasks[t->queue.before].queue.behind = id;
    s->tasks[place->lent].queue.before = id;
}

void lend_unlink(struct sched *s, task_id_t id)
{
    const struct task *t = &s->tasks[id];
    struct place *place = place_of(s, t);

    s->tasks[t->queue.before].queue.behind = t->queue.behind;
    s->tasks[t->queue.behind].queue.before = t->queue.before;
    if (place->lent == id)
        place->lent = t->queue.behind == id ? TASK_ID_NONE : t->queue.behind;
}

/* ---- Lending and recalling ---------------------------------------------------------------------
 */

static void lend(struct sched *s, task_id_t id, const struct task *runs, struct sched_actions *out)
{
    struct task *t = &s->tasks[id];
    struct place *place = place_of(s, runs);
    task_id_t after = last_of(s, place);

    state_leave_heap(s, id);
    t->lent = true;
    s->lent++;
    t->node = runs->node;
    t->slot = runs->slot;
    link_last(s, place, id);
    state_append(out, &(struct sched_action){.type = SCHED_LEND,
                                             .task = id,
                                             .cause = TASK_ID_NONE,
                                             .node = t->node,
                                             .attempt = t->attempts + 1,
                                             .after = after,
                                             .status = TASK_PENDING});
}

/* What may be behind that one. False: nothing is left that could be lent at all. */
static bool fill(struct sched *s, const struct task *runs, int64_t now_ms,
                 struct sched_actions *out)
{
    const struct place *place = place_of(s, runs);

    for (;;) {
        uint64_t key = state_first_in_time(s, now_ms);

        if (key == KEY_NONE)
            return false;
        if (!may_follow(s, place, key_task(key), now_ms))
            return true;
        lend(s, key_task(key), runs, out);
    }
}

int lend_pass(struct sched *s, int64_t now_ms, struct sched_actions *out)
{
    int rc = state_reserve_actions(out, LENT_MAX * s->fresh_len);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < s->fresh_len && s->hold.key == KEY_NONE && s->config.max_losses != 1;
         i++) {
        const struct task *runs = &s->tasks[s->fresh[i]];

        if (may_precede(s, runs, now_ms) && !fill(s, runs, now_ms, out))
            break;
    }
    s->fresh_len = 0;
    return 0;
}

static void recall(const struct sched *s, task_id_t id, struct sched_actions *out)
{
    const struct task *t = &s->tasks[id];

    state_append(out, &(struct sched_action){.type = SCHED_RECALL,
                                             .task = id,
                                             .cause = TASK_ID_NONE,
                                             .node = t->node,
                                             .attempt = t->attempts + 1,
                                             .status = TASK_PENDING});
}

void lend_recall(struct sched *s, struct sched_actions *out)
{
    for (node_id_t id = 0; s->lent > 0 && id < s->nodes.len; id++) {
        const struct node *node = &s->nodes.v[id];

        for (uint32_t i = 0; i < node->running_len; i++) {
            const struct place *place = &node->running[i];

            for (task_id_t t = place->lent; t != TASK_ID_NONE; t = lend_next(s, place, t))
                recall(s, t, out);
        }
    }
}
