/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns sched_check: recomputes from scratch everything that the other files keep up to date, and
 * compares. The numbers are those of the list of invariants in sched.c. */
#include "core/sched.h"

#include "common/error.h"
#include "core/state.h"

static bool was_retried(const struct sched *s, task_id_t id)
{
    for (size_t i = 0; i < s->retried_len; i++)
        if (s->retried[i] == id)
            return true;
    return false;
}

/* 2 and 3. */
static void check_deps(const struct sched *s, task_id_t id)
{
    const struct task *t = &s->tasks[id];
    uint32_t waits = 0;

    for (uint32_t e = t->first_dep; e < state_deps_end(s, id); e++) {
        BUG_ON(s->edges[e].dependent != id);
        waits += s->tasks[s->edges[e].dependency].status != TASK_COMPLETED;
    }
    BUG_ON(t->waits != waits);
    BUG_ON(t->status == TASK_RUNNING && waits > 0);
    BUG_ON(t->status == TASK_PENDING && state_dead_dep(s, id) != TASK_ID_NONE &&
           !was_retried(s, id));
}

static bool is_behind(const struct sched *s, const struct place *place, task_id_t id)
{
    for (task_id_t t = place->lent; t != TASK_ID_NONE; t = lend_next(s, place, t))
        if (t == id)
            return true;
    return false;
}

/* 8 */
static void check_lent(const struct sched *s, task_id_t id)
{
    const struct task *t = &s->tasks[id];
    const struct place *place;

    if (!t->lent)
        return;
    BUG_ON(t->status != TASK_PENDING || t->waits > 0 || t->late || t->queued);
    BUG_ON(t->node >= s->nodes.len || !s->nodes.v[t->node].up);
    BUG_ON(t->slot >= s->nodes.v[t->node].running_len);
    place = &s->nodes.v[t->node].running[t->slot];
    BUG_ON(s->tasks[t->queue.before].queue.behind != id ||
           s->tasks[t->queue.behind].queue.before != id);
    BUG_ON(!is_behind(s, place, id) || lend_count(s, place) > LENT_MAX);
    BUG_ON(state_cores(s, place->task) != state_cores(s, id) ||
           state_memory(s, place->task) != state_memory(s, id));
}

/* 1, 2, 3, 7, 8 and the tasks' side of 5. */
static void check_tasks(const struct sched *s)
{
    task_id_t by_status[TASK_STATUS_COUNT] = {0}, blocked = 0, late = 0, lent = 0;

    for (task_id_t id = 0; id < s->count; id++) {
        const struct task *t = &s->tasks[id];

        by_status[t->status]++;
        blocked += t->status == TASK_PENDING && t->waits > 0;
        check_deps(s, id);
        late += t->late;
        lent += t->lent;
        BUG_ON(t->cancelling && t->status != TASK_RUNNING && !t->lent);
        check_lent(s, id);
        BUG_ON(t->late && (t->status != TASK_PENDING || t->waits > 0 || t->queued));
        BUG_ON(t->late && (!s->config.deadline_ms || !t->timeout_ms));
        if (t->status == TASK_RUNNING) {
            BUG_ON(t->node >= s->nodes.len || !s->nodes.v[t->node].up);
            BUG_ON(t->slot >= s->nodes.v[t->node].running_len);
            BUG_ON(s->nodes.v[t->node].running[t->slot].task != id);
        }
    }
    for (int i = 0; i < TASK_STATUS_COUNT; i++)
        BUG_ON(by_status[i] != s->by_status[i]);
    BUG_ON(blocked != s->blocked || late != s->late || lent != s->lent);
}

/* 4, without the counts: one heap and its leaf of the tournament. */
static void check_heap(const struct sched *s, uint32_t number)
{
    const struct shape *shape = &s->ready.v[number];
    uint32_t ready = 0;

    BUG_ON(shape->len > shape->cap || shape->cap < shape->tasks);
    for (uint32_t i = 0; i < shape->len; i++) {
        task_id_t id = key_task(shape->heap[i]);
        const struct task *t = &s->tasks[id];

        BUG_ON(i > 0 && shape->heap[(i - 1) / 2] >= shape->heap[i]);
        BUG_ON(shape->heap[i] != state_key(s, id) || t->shape != number || !t->queued);
        ready += t->status == TASK_PENDING && t->waits == 0;
        BUG_ON(i == 0 && t->status != TASK_PENDING);
    }
    BUG_ON(ready != shape->ready);
    BUG_ON(s->ready.by_width[shape->position] != number);
    BUG_ON(s->ready.tree[s->ready.cap + shape->position] != readyq_top(&s->ready, number));
}

/* 1 and 4. Linear: the shapes' counts of tasks are compared through their sums, and a ready task
 * has an entry because each shape has as many living entries as ready tasks, each of another
 * task (a heap has no key twice: its order is strict along every path, and `queued` tasks and
 * entries are equally many). */
static void check_shapes(const struct sched *s)
{
    const struct readyq *q = &s->ready;
    uint64_t tasks = 0, pending = 0, ready = 0, entries = 0, queued = 0;

    for (uint32_t i = 0; i < q->len; i++) {
        check_heap(s, i);
        tasks += q->v[i].tasks;
        pending += q->v[i].pending;
        ready += q->v[i].ready;
        entries += q->v[i].len;
    }
    for (task_id_t id = 0; id < s->count; id++) {
        const struct task *t = &s->tasks[id];

        queued += t->queued;
        BUG_ON(t->status == TASK_PENDING && t->waits == 0 && !t->queued && !t->late && !t->lent);
    }
    BUG_ON(tasks != s->count || queued != entries);
    BUG_ON(pending + s->late + s->lent != s->by_status[TASK_PENDING] ||
           ready != state_ready_count(s));
    for (uint32_t i = 1; i < q->cap; i++) {
        uint64_t left = q->tree[2 * i], right = q->tree[2 * i + 1];

        BUG_ON(q->tree[i] != (left < right ? left : right));
    }
    for (uint32_t i = 0; i + 1 < q->len; i++) {
        const struct shape *a = &q->v[q->by_width[i]], *b = &q->v[q->by_width[i + 1]];

        BUG_ON(a->cores > b->cores || (a->cores == b->cores && a->memory > b->memory));
        BUG_ON(a->cores == b->cores && a->memory == b->memory &&
               a->timeout_class >= b->timeout_class);
        BUG_ON(a->memory > 0 && !q->uses_memory);
    }
}

/* 5, of one node that is up. */
static void check_memory_index(const struct nodes *n, node_id_t id)
{
    const struct node *node = &n->v[id];
    uint64_t at = (uint64_t)node->free_cores * n->cap + id;

    BUG_ON(n->use_memory &&
           maxtree_get(&n->by_memory, at) != (id != n->held ? n->memory[id].free + 1 : 0));
    BUG_ON(n->most_memory[node->cores] <= n->memory[id].all);
}

/* The largest memory of each width is that of a node which is up. */
static void check_most_memory(const struct nodes *n)
{
    for (uint32_t cores = 0; n->most_memory && cores <= n->indexed_cores; cores++) {
        bool found = n->most_memory[cores] == 0;

        for (node_id_t id = 0; id < n->len && !found; id++)
            found = n->v[id].up && n->v[id].cores >= cores &&
                    n->memory[id].all + 1 == n->most_memory[cores];
        BUG_ON(!found && n->use_memory);
    }
}

/* 5. */
static void check_nodes(const struct sched *s)
{
    const struct nodes *n = &s->nodes;
    unsigned up = 0, total = 0, busy = 0, running = 0, lent = 0;
    uint32_t max_cores = 0, max_count = 0, indexed = 0;

    for (node_id_t id = 0; id < n->len; id++) {
        const struct node *node = &n->v[id];
        uint64_t used = 0, memory = 0;

        BUG_ON(!node->up && node->running_len > 0);
        if (!node->up)
            continue;
        for (uint32_t i = 0; i < node->running_len; i++) {
            const struct task *t = &s->tasks[node->running[i].task];

            BUG_ON(t->status != TASK_RUNNING || t->node != id || t->slot != i);
            lent += lend_count(s, &node->running[i]);
            used += s->ready.v[t->shape].cores;
            memory += s->ready.v[t->shape].memory;
        }
        BUG_ON(node->free_cores + used != node->cores);
        BUG_ON(n->memory[id].free + memory != n->memory[id].all);
        check_memory_index(n, id);
        BUG_ON(idset_has(&n->by_free, (uint64_t)node->free_cores * n->cap + id) != (id != n->held));
        indexed += id != n->held;
        up++;
        total += node->cores;
        busy += (unsigned)used;
        running += node->running_len;
        max_count = node->cores > max_cores ? 1 : max_count + (node->cores == max_cores);
        max_cores = node->cores > max_cores ? node->cores : max_cores;
    }
    for (uint64_t at = idset_next(&n->by_free, 0); at != IDSET_NONE;
         at = idset_next(&n->by_free, at + 1))
        BUG_ON(indexed-- == 0);
    BUG_ON(indexed != 0);
    check_most_memory(n);
    BUG_ON(up != n->up || total != n->cores_total || busy != n->cores_busy);
    BUG_ON(running != s->by_status[TASK_RUNNING] || lent != s->lent);
    BUG_ON(max_cores != n->max_cores || (up > 0 && max_count != n->max_count));
}

/* 6. */
static void check_hold(const struct sched *s)
{
    const struct hold *h = &s->hold;
    task_id_t id;

    if (h->key == KEY_NONE) {
        BUG_ON(s->nodes.held != NODE_ID_NONE);
        return;
    }
    id = key_task(h->key);
    BUG_ON(s->draining || h->node != s->nodes.held || state_key(s, id) != h->key);
    BUG_ON(s->tasks[id].status != TASK_PENDING || s->tasks[id].waits > 0 || s->tasks[id].late);
    BUG_ON(!s->nodes.v[h->node].up || s->nodes.v[h->node].cores < state_cores(s, id));
    BUG_ON(s->nodes.memory[h->node].all < state_memory(s, id));
}

void sched_check(const struct sched *s)
{
    check_tasks(s);
    check_shapes(s);
    check_nodes(s);
    check_hold(s);
}
