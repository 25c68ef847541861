/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns lending: the next task in order is sent to a node while another one still runs there, whose
 * place it takes over, so that between the two nobody has to be asked. It stays pending, in no heap
 * and without cores, until the end of the one before it is known (sched.c promotes it then); or it
 * comes back, because that took longer than expected.
 *
 * What is lent is out of the order. That is harmless where it is next in the order anyway, both are
 * expected to be over soon, and so much more of its kind is ready that no other node could go
 * without: then at most one short task for each place is ahead of what comes later. So nobody
 * needs to be asked back when something of higher priority comes. */
#include "core/state.h"

#include "common/error.h"

/* So many times what runs must be ready of the same shape. */
#define PLENTY 4

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

/* Somebody said so, or those like it were. */
static bool is_short(const struct sched *s, const struct task *t)
{
    const struct estimate *e = readyq_estimate(&s->ready, t->shape);

    return (t->timeout_ms && t->timeout_ms <= s->config.lend_ms) ||
           (estimate_is_settled(e) && estimate_ms(e) <= s->config.lend_ms);
}

/* It runs, nothing is behind it yet, and it will be over soon. */
static bool may_precede(const struct sched *s, const struct task *t, int64_t now_ms)
{
    return t->status == TASK_RUNNING && !t->cancelling && place_of(s, t)->lent == TASK_ID_NONE &&
           now_ms - t->since_ms <= s->config.lend_ms && is_short(s, t);
}

/* id, the next in order, would do no harm behind that one. */
static bool may_follow(const struct sched *s, const struct task *before, task_id_t id,
                       int64_t now_ms)
{
    const struct task *t = &s->tasks[id];
    const struct shape *shape = &s->ready.v[t->shape], *place = &s->ready.v[before->shape];

    return shape->cores == place->cores && shape->memory == place->memory && is_short(s, t) &&
           shape->ready / PLENTY >= s->by_status[TASK_RUNNING] &&
           !state_is_late(s, id, state_add_ms(now_ms, 2 * s->config.lend_ms));
}

static void lend(struct sched *s, task_id_t id, task_id_t before, struct sched_actions *out)
{
    struct task *t = &s->tasks[id];

    state_leave_heap(s, id);
    t->lent = true;
    s->lent++;
    t->node = s->tasks[before].node;
    t->slot = s->tasks[before].slot;
    place_of(s, t)->lent = id;
    state_append(out, &(struct sched_action){.type = SCHED_LEND,
                                             .task = id,
                                             .cause = TASK_ID_NONE,
                                             .node = t->node,
                                             .attempt = t->attempts + 1,
                                             .after = before,
                                             .status = TASK_PENDING});
}

int lend_pass(struct sched *s, int64_t now_ms, struct sched_actions *out)
{
    int rc = state_reserve_actions(out, s->fresh_len);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < s->fresh_len && s->hold.key == KEY_NONE; i++) {
        task_id_t before = s->fresh[i];
        uint64_t key;

        if (!may_precede(s, &s->tasks[before], now_ms))
            continue;
        key = state_first_in_time(s, now_ms);
        if (key == KEY_NONE)
            break;
        if (may_follow(s, &s->tasks[before], key_task(key), now_ms))
            lend(s, key_task(key), before, out);
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

        for (uint32_t i = 0; i < node->running_len; i++)
            if (node->running[i].lent != TASK_ID_NONE)
                recall(s, node->running[i].lent, out);
    }
}

void lend_unlink(struct sched *s, task_id_t id)
{
    place_of(s, &s->tasks[id])->lent = TASK_ID_NONE;
}
