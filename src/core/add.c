/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns sched_add: takes a batch of tasks in, all or none. Everything that needs memory happens
 * before the first visible change. Edges to tasks that have completed already are not kept:
 * completed is for ever, so nobody will ask for them (a resumed run of a million finished tasks
 * costs no edges). */
#include "core/sched.h"

#include <stdlib.h>

#include "common/error.h"
#include "core/state.h"

/* The status of a dependency, which may be in the same batch. */
static enum task_status status_of(const struct sched *s, const struct sched_task *batch,
                                  task_id_t id)
{
    return id < s->count ? (enum task_status)s->tasks[id].status : batch[id - s->count].status;
}

struct survey {
    size_t edges;   /* to keep */
    bool forward;   /* a task depends on a later one of the batch: there could be a cycle */
    bool dead_deps; /* some will be skipped at once */
    bool memory;    /* some ask for memory */
};

static struct survey survey_batch(const struct sched *s, const struct sched_task *batch,
                                  size_t count)
{
    struct survey found = {0};

    for (size_t i = 0; i < count; i++) {
        BUG_ON(batch[i].cores == 0 || batch[i].status == TASK_RUNNING);
        found.memory |= batch[i].memory > 0;
        for (size_t d = 0; d < batch[i].dep_count; d++) {
            task_id_t dep = batch[i].deps[d];
            enum task_status status;

            if (dep >= s->count + count)
                BUG("task %zu depends on %u, which does not exist", s->count + i, dep);
            status = status_of(s, batch, dep);
            found.forward |= dep >= s->count + i;
            found.edges += status != TASK_COMPLETED;
            found.dead_deps |= state_is_dead(status);
        }
    }
    return found;
}

/* A walk in depth over the batch alone, with a stack of its own: BUG() on a cycle. */
static int refuse_cycles(const struct sched *s, const struct sched_task *batch, size_t count)
{
    struct frame {
        uint32_t task;
        size_t dep;
    } *stack = malloc(count * sizeof(*stack));
    enum { WHITE, GREY, BLACK };
    unsigned char *colour = calloc(count, 1);
    size_t depth = 0;

    if (!stack || !colour) {
        free(stack);
        free(colour);
        return PILOT_ENOMEM;
    }
    for (uint32_t root = 0; root < count; root++) {
        if (colour[root] != WHITE)
            continue;
        colour[root] = GREY;
        stack[depth++] = (struct frame){.task = root};
        while (depth > 0) {
            struct frame *top = &stack[depth - 1];
            uint32_t dep;

            if (top->dep == batch[top->task].dep_count) {
                colour[top->task] = BLACK;
                depth--;
                continue;
            }
            if (batch[top->task].deps[top->dep++] < s->count)
                continue;
            dep = batch[top->task].deps[top->dep - 1] - s->count;
            if (colour[dep] == GREY)
                BUG("task %u depends on itself", s->count + dep);
            if (colour[dep] == WHITE) {
                colour[dep] = GREY;
                stack[depth++] = (struct frame){.task = dep};
            }
        }
    }
    free(stack);
    free(colour);
    return 0;
}

static int reserve_tables(struct sched *s, size_t count, size_t edges)
{
    size_t cap = s->cap, edge_cap = s->edge_cap;
    void *tasks = s->tasks, *all_edges = s->edges;
    int rc;

    if (count >= TASK_ID_NONE - s->count || edges >= EDGE_NONE - s->edge_count)
        return PILOT_ENOMEM;
    rc = state_reserve(&tasks, &cap, s->count, count, sizeof(*s->tasks));
    s->tasks = tasks;
    s->cap = cap < TASK_ID_NONE ? (task_id_t)cap : TASK_ID_NONE;
    if (rc < 0)
        return rc;
    rc = state_reserve(&all_edges, &edge_cap, s->edge_count, edges, sizeof(*s->edges));
    s->edges = all_edges;
    s->edge_cap = edge_cap < EDGE_NONE ? (uint32_t)edge_cap : EDGE_NONE;
    return rc;
}

int sched_reserve(struct sched *s, size_t count)
{
    return reserve_tables(s, count, 0);
}

/* Finds each task's shape and counts it there, then gives every heap its room, so that no later
 * push needs memory. On failure the counts are as before. */
static int reserve_shapes(struct sched *s, const struct sched_task *batch, size_t count)
{
    size_t counted = 0;
    int64_t rc = 0;

    for (; counted < count && rc >= 0; counted += rc >= 0) {
        rc = readyq_shape(&s->ready, batch[counted].cores, sched_memory(batch[counted].memory),
                          batch[counted].timeout_ms);
        if (rc < 0)
            break;
        s->tasks[s->count + counted].shape = (uint32_t)rc;
        s->ready.v[rc].tasks++;
    }
    for (size_t i = 0; i < count && rc >= 0; i++) {
        uint32_t shape = s->tasks[s->count + i].shape;

        rc = readyq_reserve(&s->ready, shape, s->ready.v[shape].tasks);
    }
    if (rc >= 0)
        return 0;
    while (counted > 0)
        s->ready.v[s->tasks[s->count + --counted].shape].tasks--;
    return (int)rc;
}

static uint32_t cut_timeout(int64_t timeout_ms)
{
    if (timeout_ms <= 0)
        return 0;
    return timeout_ms < UINT32_MAX ? (uint32_t)timeout_ms : UINT32_MAX;
}

static void fill_task(struct sched *s, const struct sched_task *from, task_id_t id)
{
    s->tasks[id] = (struct task){
        .since_ms = NEVER_MS,
        .timeout_ms = cut_timeout(from->timeout_ms),
        .priority = from->priority,
        .max_retries = from->max_retries,
        .attempts = from->attempts,
        .failures = from->failures,
        .cause = id, /* of one skipped in an earlier run nobody remembers more */
        .shape = s->tasks[id].shape,
        .last_edge = EDGE_NONE,
        .losses = from->losses < UINT16_MAX ? (uint16_t)from->losses : UINT16_MAX,
        .status = (uint8_t)from->status,
    };
}

static void append_edge(struct sched *s, task_id_t dependency, task_id_t dependent)
{
    struct task *to = &s->tasks[dependency];
    uint32_t e = s->edge_count++, first = e;

    if (to->last_edge != EDGE_NONE) {
        first = s->edges[to->last_edge].next;
        s->edges[to->last_edge].next = e;
    }
    s->edges[e] = (struct edge){.dependency = dependency, .dependent = dependent, .next = first};
    to->last_edge = e;
}

static void fill_edges(struct sched *s, const struct sched_task *from, task_id_t id)
{
    struct task *t = &s->tasks[id];

    t->first_dep = s->edge_count;
    for (size_t d = 0; d < from->dep_count; d++) {
        if (s->tasks[from->deps[d]].status == TASK_COMPLETED)
            continue;
        append_edge(s, from->deps[d], id);
        t->waits++;
    }
}

int sched_add(struct sched *s, const struct sched_task *tasks, size_t count, int64_t now_ms,
              struct sched_actions *out)
{
    task_id_t first = s->count;
    struct survey found;
    int rc;

    (void)now_ms; /* nothing here depends on it: waiting is timed from the first pass */
    if (count >= TASK_ID_NONE - s->count)
        return PILOT_ENOMEM;
    found = survey_batch(s, tasks, count);
    rc = found.forward ? refuse_cycles(s, tasks, count) : 0;
    if (rc == 0 && found.dead_deps)
        rc = state_reserve_actions(out, count);
    if (rc == 0 && found.memory)
        rc = nodes_use_memory(&s->nodes);
    if (rc == 0)
        rc = reserve_tables(s, count, found.edges);
    if (rc == 0)
        rc = reserve_shapes(s, tasks, count);
    if (rc < 0)
        return rc;

    s->count += (task_id_t)count;
    for (size_t i = 0; i < count; i++)
        fill_task(s, &tasks[i], first + (task_id_t)i);
    for (size_t i = 0; i < count; i++)
        fill_edges(s, &tasks[i], first + (task_id_t)i);
    for (task_id_t id = first; id < s->count; id++)
        state_enter(s, id);
    for (task_id_t id = first; id < s->count && found.dead_deps; id++) {
        task_id_t dead = s->tasks[id].status == TASK_PENDING ? state_dead_dep(s, id) : TASK_ID_NONE;

        if (dead != TASK_ID_NONE)
            state_skip(s, id, state_blame(s, dead), out);
    }
    return 0;
}
