/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim/campaign.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "core/sched.h"

/* The end of an attempt that runs; a heap by time, equals in the order of their starts, so that the
 * same tasks always give the same run. */
struct ending {
    int64_t at_ms;
    uint64_t sequence;
    task_id_t task;
    node_id_t node;
    unsigned attempt;
};

/* The longest chain that ends with a task. */
struct chain {
    int64_t ms;
    uint32_t tasks;
};

struct run {
    const struct campaign_task *tasks;
    task_id_t count;
    const struct campaign_machine *machine;
    struct campaign_result *out;
    struct sched *sched;
    struct sched_actions actions;
    struct ending *heap;
    size_t heap_len;
    struct chain *chains;
    uint64_t started;
    int64_t now_ms;
    double idle_fitting, idle_waiting, idle_tail, busy; /* core milliseconds */
};

static bool earlier(const struct ending *a, const struct ending *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->sequence < b->sequence;
}

/* There is room: no more than all tasks run at once. */
static void push(struct run *r, struct ending e)
{
    size_t i = r->heap_len++;

    for (; i > 0 && earlier(&e, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = e;
}

static struct ending pop(struct run *r)
{
    struct ending first = r->heap[0], last = r->heap[--r->heap_len];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < r->heap_len) {
        if (child + 1 < r->heap_len && earlier(&r->heap[child + 1], &r->heap[child]))
            child++;
        if (!earlier(&r->heap[child], &last))
            break;
        r->heap[i] = r->heap[child];
        i = child;
    }
    r->heap[i] = last;
    return first;
}

static int64_t duration_of(const struct campaign_task *t)
{
    return t->duration_ms > 0 ? t->duration_ms : 1;
}

static void note_chain(struct run *r, task_id_t id)
{
    const struct campaign_task *t = &r->tasks[id];
    struct chain longest = {0, 0};

    for (size_t i = 0; i < t->dep_count; i++)
        if (r->chains[t->deps[i]].ms > longest.ms)
            longest = r->chains[t->deps[i]];
    longest.ms += duration_of(t);
    longest.tasks++;
    r->chains[id] = longest;
    if (longest.ms > r->out->path_ms) {
        r->out->path_ms = longest.ms;
        r->out->path_tasks = longest.tasks;
        r->out->path_last = id;
    }
}

static void take_starts(struct run *r)
{
    for (size_t i = 0; i < r->actions.len; i++) {
        const struct sched_action *a = &r->actions.v[i];

        if (a->type != SCHED_START)
            continue;
        note_chain(r, a->task); /* what it depends on has run */
        push(r, (struct ending){.at_ms = r->now_ms + duration_of(&r->tasks[a->task]),
                                .sequence = r->started++,
                                .task = a->task,
                                .node = a->node,
                                .attempt = a->attempt});
    }
    r->actions.len = 0;
    if (r->heap_len > r->out->most_running)
        r->out->most_running = (uint32_t)r->heap_len;
}

/* The cores' time from now until next_ms goes where it belongs. */
static void account(struct run *r, int64_t next_ms)
{
    struct sched_counts c;
    double ms = (double)(next_ms - r->now_ms), idle;

    sched_get_counts(r->sched, &c);
    idle = ms * (c.cores_total - c.cores_busy);
    r->busy += ms * c.cores_busy;
    if (c.by_status[TASK_PENDING] == 0)
        r->idle_tail += idle;
    else if (c.by_status[TASK_PENDING] == c.blocked)
        r->idle_waiting += idle;
    else
        r->idle_fitting += idle;
    r->now_ms = next_ms;
}

static int end_one(struct run *r)
{
    struct ending e = pop(r);
    struct sched_event ev = {.type = SCHED_ATTEMPT_ENDED,
                             .node = e.node,
                             .task = e.task,
                             .attempt = e.attempt,
                             .reason = REASON_EXIT};

    return sched_apply(r->sched, &ev, r->now_ms, &r->actions);
}

static int loop(struct run *r)
{
    int rc = sched_place(r->sched, 0, &r->actions);

    take_starts(r);
    while (rc == 0 && r->heap_len > 0) {
        int64_t next_ms = r->heap[0].at_ms, wake_ms = sched_next_ms(r->sched, r->now_ms);

        /* Overdue patience is settled by the next pass in any case. */
        if (wake_ms > r->now_ms && wake_ms < next_ms)
            next_ms = wake_ms;
        account(r, next_ms);
        while (rc == 0 && r->heap_len > 0 && r->heap[0].at_ms == r->now_ms)
            rc = end_one(r);
        if (rc == 0)
            rc = sched_place(r->sched, r->now_ms, &r->actions);
        take_starts(r);
    }
    return rc;
}

static int nodes_up(struct run *r)
{
    int rc = 0;

    for (node_id_t i = 0; i < r->machine->nodes && rc == 0; i++) {
        struct sched_event ev = {.type = SCHED_NODE_UP,
                                 .node = i,
                                 .cores = r->machine->cores_per_node,
                                 .memory = (uint64_t)r->machine->memory_per_node};

        rc = sched_apply(r->sched, &ev, 0, &r->actions);
    }
    return rc;
}

static int add_tasks(struct run *r)
{
    struct sched_task *list = calloc(r->count ? r->count : 1, sizeof(*list));
    int rc;

    if (list == NULL)
        return PILOT_ENOMEM;
    for (task_id_t i = 0; i < r->count; i++) {
        const struct campaign_task *t = &r->tasks[i];

        list[i].cores = t->cores;
        list[i].memory = (uint64_t)t->memory;
        list[i].priority = t->priority;
        list[i].timeout_ms = t->timeout_ms;
        list[i].deps = t->deps;
        list[i].dep_count = t->dep_count;
    }
    rc = sched_add(r->sched, list, r->count, 0, &r->actions);
    free(list);
    return rc;
}

static void conclude(struct run *r)
{
    struct campaign_result *out = r->out;
    double cores = (double)r->machine->nodes * r->machine->cores_per_node;
    double whole = cores * (double)r->now_ms;

    out->makespan_ms = r->now_ms;
    out->area_ms = (int64_t)(r->busy / cores + 0.5);
    if (whole <= 0)
        return;
    out->utilisation = r->busy / whole;
    out->idle_fitting = r->idle_fitting / whole;
    out->idle_waiting = r->idle_waiting / whole;
    out->idle_tail = r->idle_tail / whole;
}

int campaign_run(const struct campaign_task *tasks, task_id_t count,
                 const struct campaign_machine *machine, struct campaign_result *out,
                 struct pilot_error *err)
{
    struct sched_config config = {.max_running = machine->max_running,
                                  .patience_ms = SCHED_PATIENCE_MS,
                                  .look_ms = SCHED_LOOK_MS};
    struct run r = {.tasks = tasks, .count = count, .machine = machine, .out = out};
    int rc = 0;

    memset(out, 0, sizeof(*out));
    out->path_last = TASK_ID_NONE;
    for (task_id_t i = 0; i < count; i++)
        if (tasks[i].cores > machine->cores_per_node ||
            (machine->memory_per_node > 0 && tasks[i].memory > machine->memory_per_node))
            return err_set(err, PILOT_EINVAL, "task %u needs more cores or memory than a node has",
                           i);
    r.sched = sched_create(&config);
    r.heap = calloc((size_t)count + 1, sizeof(*r.heap));
    r.chains = calloc((size_t)count + 1, sizeof(*r.chains));
    if (r.sched == NULL || r.heap == NULL || r.chains == NULL || (rc = nodes_up(&r)) < 0 ||
        (rc = add_tasks(&r)) < 0 || (rc = loop(&r)) < 0)
        rc = err_set(err, PILOT_ENOMEM, "out of memory for a simulation of %u tasks on %u nodes",
                     count, machine->nodes);
    else
        conclude(&r);
    sched_actions_fini(&r.actions);
    if (r.sched != NULL)
        sched_destroy(r.sched);
    free(r.heap);
    free(r.chains);
    return rc;
}
