/* SPDX-License-Identifier: BSD-3-Clause */
/* Random workloads: sim_random [FIRST-SEED [COUNT]]. Tasks of mixed widths and priorities with
 * dependencies, added before and during the run, some from an earlier run; attempts that fail,
 * time out, are lost; nodes that go and come back larger or smaller, whose attempts then report
 * too late; tasks lent behind others, that come back or whose end is known first; cancels, retries,
 * a drain, a deadline. Two seeds in three have tasks with memory too. After every event the
 * scheduler checks itself and is compared with the reference; every seed runs twice and must act
 * the same, byte for byte.
 *
 * Two seeds in five have tasks that are mostly alike. One seed in three is calm (no cancels, no
 * limit of losses, no deadline): then the final status of every task is known before the run, from
 * the outcomes alone, and must be the one that comes out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "reference.h"
#include "world.h"

enum kind { EVENT, ADD, TOGGLE_NODE };

struct run {
    uint64_t seed, random;
    bool calm;
    bool alike; /* most tasks are: so that some are lent */
    struct sched *s;
    struct reference ref; /* large: a run lives on the heap */
    struct happenings todo;
    struct sched_actions out;
    struct buf trace;
    int64_t now_ms;
    unsigned max_cores;  /* of nodes; node 0 has so many, and is up in the end */
    unsigned max_memory; /* likewise; 0: no task has memory, and nobody knows what nodes have */
    unsigned starts, holds, late, loans, deep;
};

/* ---- What will happen --------------------------------------------------------------------------
 */

/* How attempt number `failures` + 1 that is not lost ends. */
static struct sched_event outcome(const struct run *r, task_id_t task, unsigned failures)
{
    static const enum attempt_reason reasons[] = {REASON_EXIT, REASON_SIGNAL, REASON_TIMEOUT,
                                                  REASON_SPAWN};
    uint64_t x = random_of(r->seed, task, failures);
    struct sched_event ev = {.type = SCHED_ATTEMPT_ENDED, .task = task, .reason = REASON_EXIT};

    if (x % 100 < 75)
        return ev;
    ev.reason = reasons[x / 100 % 4];
    ev.exit_code = ev.reason == REASON_EXIT ? 1 + (int)(x / 1000 % 255) : -1;
    return ev;
}

/* ---- What the scheduler says -------------------------------------------------------------------
 */

static void record(struct run *r)
{
    for (size_t i = 0; i < r->out.len; i++) {
        const struct sched_action *a = &r->out.v[i];

        buf_put_i64(&r->trace, r->now_ms);
        buf_put_u8(&r->trace, (uint8_t)a->type);
        buf_put_u32(&r->trace, a->task);
        buf_put_u32(&r->trace, a->cause);
        buf_put_u32(&r->trace, a->node);
        buf_put_u32(&r->trace, a->attempt);
        buf_put_u8(&r->trace, (uint8_t)a->status);
        buf_put_u8(&r->trace, a->retry);
        buf_put_u32(&r->trace, a->after);
        buf_put_u8(&r->trace, a->sent);
    }
}

static void on_start(struct run *r, const struct sched_action *a)
{
    struct sched_event end = outcome(r, a->task, r->ref.tasks[a->task].failures);
    uint32_t range = r->seed % 4 == 3 ? 100 : r->seed % 2 ? 400 : 3000;
    int64_t lasts = (int64_t)(random_of(r->seed, a->task, a->attempt + 1000) % range);

    if (!r->calm && random_of(r->seed, a->task, a->attempt + 2000) % 30 == 0) {
        end.reason = REASON_STOP;
        end.exit_code = -1;
    }
    end.attempt = a->attempt;
    end.node = a->node;
    happenings_add(&r->todo, r->now_ms + lasts, EVENT, end);
    r->starts++;
}

/* Most often the node begins it when the one before has ended, and that is known first; but it may
 * come back, and what it was may be known first. */
static void on_lend(struct run *r, const struct sched_action *a)
{
    uint64_t x = random_of(r->seed, a->task, a->attempt + 3000 + r->loans);
    struct sched_event end = outcome(r, a->task, r->ref.tasks[a->task].failures);

    r->loans++;
    r->deep += r->ref.tasks[a->after].lent;
    end.attempt = a->attempt;
    end.node = a->node;
    if (x % 4 == 0)
        end = (struct sched_event){
            .type = SCHED_RETURNED, .task = a->task, .attempt = a->attempt, .node = a->node};
    if (x % 4 < 2)
        happenings_add(&r->todo, r->now_ms + (int64_t)(x / 4 % 200), EVENT, end);
}

/* A lent one comes back, unless it has begun unseen. */
static void on_wanted_back(struct run *r, const struct sched_action *a, bool may_have_begun)
{
    struct sched_event ev = {
        .type = SCHED_RETURNED, .task = a->task, .attempt = a->attempt, .node = a->node};

    if (may_have_begun && random_below(&r->random, 2)) {
        ev.type = SCHED_ATTEMPT_ENDED;
        ev.reason = REASON_CANCEL;
        ev.exit_code = -1;
    }
    happenings_add(&r->todo, r->now_ms + random_below(&r->random, 4), EVENT, ev);
}

static void act(struct run *r)
{
    record(r);
    for (size_t i = 0; i < r->out.len; i++) {
        const struct sched_action *a = &r->out.v[i];
        struct sched_event end = {.type = SCHED_ATTEMPT_ENDED,
                                  .task = a->task,
                                  .attempt = a->attempt,
                                  .reason = REASON_CANCEL,
                                  .exit_code = -1};

        if (a->type == SCHED_START)
            on_start(r, a);
        else if (a->type == SCHED_LEND)
            on_lend(r, a);
        else if (a->type == SCHED_RECALL || (a->type == SCHED_KILL && r->ref.tasks[a->task].lent))
            on_wanted_back(r, a, a->type == SCHED_KILL);
        else if (a->type == SCHED_KILL)
            happenings_add(&r->todo, r->now_ms + random_below(&r->random, 4), EVENT, end);
        else if (a->status == TASK_SKIPPED && a->cause != a->task) {
            enum task_status cause = r->ref.tasks[a->cause].status;

            if (cause == TASK_COMPLETED || cause == TASK_RUNNING)
                world_fail("task %u was skipped because of %u, which is %s", a->task, a->cause,
                           task_status_name(cause));
        }
    }
    r->out.len = 0;
}

/* ---- Tasks and nodes come and go
 * ----------------------------------------------------------------- */

static struct sched_task random_task(struct run *r, task_id_t number, task_id_t *deps)
{
    struct sched_task t = {.deps = deps};
    uint64_t *x = &r->random;

    t.max_retries = random_below(x, 3);
    t.cores = 1;
    if (r->alike && random_below(x, 50))
        return t;
    t.cores = random_below(x, 3) ? 1 + random_below(x, 2) : 1 + random_below(x, r->max_cores);
    if (r->max_memory > 0 && random_below(x, 3))
        t.memory = random_below(x, 2) ? 1 + random_below(x, 2) : random_below(x, r->max_memory + 1);
    t.priority = random_below(x, 4) ? 0 : (int32_t)random_below(x, 5) - 2;
    if (random_below(x, 2))
        t.timeout_ms = 50 + random_below(x, 2000);
    if (number > 0 && random_below(x, 2) == 0)
        for (t.dep_count = 0; t.dep_count < random_below(x, REF_DEPS + 1); t.dep_count++)
            deps[t.dep_count] = random_below(x, number);
    if (random_below(x, 20) == 0) {
        static const enum task_status old[] = {TASK_COMPLETED, TASK_FAILED, TASK_SKIPPED,
                                               TASK_CANCELLED};

        t.status = old[random_below(x, 4)];
        t.attempts = 1;
    }
    return t;
}

/* Turns a batch around, so that tasks depend on later ones too. */
static void reverse(struct sched_task *batch, size_t count, task_id_t first)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct sched_task swap = batch[i];

        batch[i] = batch[count - 1 - i];
        batch[count - 1 - i] = swap;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t d = 0; d < batch[i].dep_count; d++) {
            task_id_t *dep = (task_id_t *)&batch[i].deps[d]; /* ours: see add_tasks */

            if (*dep >= first)
                *dep = first + (task_id_t)count - 1 - (*dep - first);
        }
}

static void add_tasks(struct run *r, uint32_t count)
{
    struct sched_task batch[REF_TASKS];
    task_id_t deps[REF_TASKS][REF_DEPS];
    task_id_t first = sched_count(r->s);

    if (first + count > REF_TASKS)
        count = REF_TASKS - first;
    for (uint32_t i = 0; i < count; i++)
        batch[i] = random_task(r, first + i, deps[i]);
    if (random_below(&r->random, 2))
        reverse(batch, count, first);
    if (sched_add(r->s, batch, count, r->now_ms, &r->out) < 0)
        world_fail("sched_add");
    ref_add(&r->ref, batch, count);
    sched_check(r->s);
    ref_compare(&r->ref, r->s);
    act(r);
}

static void plan(struct run *r)
{
    uint64_t *x = &r->random;
    uint32_t nodes = 1 + random_below(x, 8), faults = random_below(x, 3) * 8;

    for (uint32_t n = 0; n < nodes; n++)
        happenings_add(&r->todo, random_below(x, 2) * random_below(x, 500), TOGGLE_NODE,
                       (struct sched_event){.node = n});
    for (uint32_t i = 0; i < faults; i++)
        happenings_add(&r->todo, random_below(x, 8000), TOGGLE_NODE,
                       (struct sched_event){.node = random_below(x, nodes)});
    for (uint32_t i = random_below(x, 6) + 1; i > 0; i--)
        happenings_add(&r->todo, random_below(x, 2) * random_below(x, 5000), ADD,
                       (struct sched_event){.cores = 1 + random_below(x, r->alike ? 300 : 60)});
    if (r->calm)
        return;
    for (uint32_t i = random_below(x, 30); i > 0; i--)
        happenings_add(&r->todo, random_below(x, 8000), EVENT,
                       (struct sched_event){.type = SCHED_CANCEL, .task = random_below(x, 150)});
    for (uint32_t i = random_below(x, 2) * 60; i > 0; i--)
        happenings_add(&r->todo, random_below(x, 80) * 100, EVENT,
                       (struct sched_event){.type = SCHED_RETRY, .task = random_below(x, 150)});
    if (random_below(x, 8) == 0)
        happenings_add(&r->todo, random_below(x, 8000), EVENT,
                       (struct sched_event){.type = SCHED_DRAIN});
}

/* ---- Turns
 * --------------------------------------------------------------------------------------- */

static void pass(struct run *r)
{
    task_id_t task;
    node_id_t before = NODE_ID_NONE, after = NODE_ID_NONE;

    (void)sched_get_hold(r->s, &task, &before);
    ref_begin_pass(&r->ref, r->now_ms);
    if (sched_place(r->s, r->now_ms, &r->out) < 0)
        world_fail("sched_place");
    sched_check(r->s);
    if (sched_get_hold(r->s, &task, &after))
        r->holds++;
    for (size_t i = 0; i < r->out.len; i++) {
        const struct sched_action *a = &r->out.v[i];

        if (a->type == SCHED_START) /* a hold may have been made or left within the pass */
            ref_start(&r->ref, a->task, a->node, a->attempt, a->node == before ? before : after);
        else if (a->type == SCHED_LEND)
            ref_lend(&r->ref, a);
    }
    ref_end_pass(&r->ref, after);
    ref_compare(&r->ref, r->s);
    if (sched_next_ms(r->s, r->now_ms) <= r->now_ms)
        world_fail("nothing was done, and sched_next_ms says: again");
    act(r);
}

static void apply(struct run *r, const struct sched_event *ev)
{
    if (sched_apply(r->s, ev, r->now_ms, &r->out) < 0)
        world_fail("sched_apply");
    ref_apply(&r->ref, ev);
    sched_check(r->s);
    ref_compare(&r->ref, r->s);
    act(r);
}

static void toggle_node(struct run *r, node_id_t node)
{
    struct sched_event ev = {.type = SCHED_NODE_DOWN, .node = node};

    if (!r->ref.nodes[node].up) {
        ev.type = SCHED_NODE_UP;
        ev.cores = node == 0 ? r->max_cores : 1 + random_below(&r->random, r->max_cores);
        if (r->max_memory > 0)
            ev.memory = node == 0 ? r->max_memory : 1 + random_below(&r->random, r->max_memory);
    }
    apply(r, &ev);
}

static void happen(struct run *r, const struct happening *h)
{
    bool of_task = h->event.type != SCHED_NODE_UP && h->event.type != SCHED_NODE_DOWN &&
                   h->event.type != SCHED_DRAIN;

    if (h->kind == ADD)
        add_tasks(r, h->event.cores);
    else if (h->kind == TOGGLE_NODE)
        toggle_node(r, h->event.node);
    else if (!of_task || h->event.task < sched_count(r->s))
        apply(r, &h->event);
}

/* ---- The end -----------------------------------------------------------------------------------
 */

/* From outcomes alone; only for a calm run. */
static enum task_status predict(const struct run *r, task_id_t task)
{
    const struct ref_task *t = &r->ref.tasks[task];

    if (t->spec.status != TASK_PENDING)
        return t->spec.status;
    for (size_t d = 0; d < t->spec.dep_count; d++)
        if (predict(r, t->deps[d]) != TASK_COMPLETED)
            return TASK_SKIPPED;
    for (unsigned failures = 0; failures <= t->spec.max_retries; failures++) {
        struct sched_event end = outcome(r, task, failures);

        if (end.reason == REASON_EXIT && end.exit_code == 0)
            return TASK_COMPLETED;
    }
    return TASK_FAILED;
}

/* Nothing runs and all nodes have room: what is left is late, or waits for something that is. */
static void check_left(const struct run *r, const struct sched_counts *counts)
{
    task_id_t late = 0;

    for (task_id_t i = 0; i < r->ref.count; i++) {
        late += ref_is_late(&r->ref, i);
        if (ref_is_ready(&r->ref, i) && !ref_is_late(&r->ref, i))
            world_fail("task %u is ready at the end", i);
    }
    if (counts->late != late)
        world_fail("%u late tasks at the end, must be %u", counts->late, late);
    if (sched_stuck(r->s) != (late > 0) || (late == 0 && counts->by_status[TASK_PENDING] > 0))
        world_fail("%u tasks pending at the end", counts->by_status[TASK_PENDING]);
}

static void check_end(struct run *r)
{
    struct sched_counts counts;

    sched_get_counts(r->s, &counts);
    if (counts.cores_busy || counts.by_status[TASK_RUNNING] || counts.lent)
        world_fail("something runs at the end");
    if (!r->ref.draining)
        check_left(r, &counts);
    r->late = counts.late;
    for (task_id_t i = 0; i < r->ref.count && r->calm; i++)
        if (predict(r, i) != r->ref.tasks[i].status)
            world_fail("task %u is %s, predicted %s", i, task_status_name(r->ref.tasks[i].status),
                       task_status_name(predict(r, i)));
}

static struct sched_config random_config(struct run *r)
{
    static const int64_t patience_ms[] = {0, 100, 1000, INT64_MAX};
    struct sched_config config = {.patience_ms = patience_ms[random_below(&r->random, 4)],
                                  .look_ms = random_below(&r->random, 2) * 50,
                                  .lend_ms = (int64_t)r->seed % 5 * 800};

    if (random_below(&r->random, 4) == 0)
        config.max_running = 1 + random_below(&r->random, 6);
    if (!r->calm && random_below(&r->random, 2))
        config.deadline_ms = 500 + random_below(&r->random, 7000);
    if (!r->calm)
        config.max_losses = random_below(&r->random, 4);
    return config;
}

/* All that is due happens, in one turn or one by one; then one pass. */
static bool turn(struct run *r)
{
    int64_t happens_ms = happenings_next_ms(&r->todo);
    int64_t wake_ms = sched_next_ms(r->s, r->now_ms);
    struct happening h;

    if (happens_ms == INT64_MAX)
        return false;
    r->now_ms = happens_ms < wake_ms ? happens_ms : wake_ms;
    while (happenings_next_ms(&r->todo) <= r->now_ms && happenings_pop(&r->todo, &h)) {
        happen(r, &h);
        if (r->seed % 3 == 0)
            break;
    }
    pass(r);
    return true;
}

static void simulate(struct run *r, uint64_t seed)
{
    r->seed = seed;
    r->random = random_of(seed, 1, 2) | 1;
    r->calm = seed % 3 == 1;
    r->alike = seed % 5 >= 3;
    r->max_cores = 2 + random_below(&r->random, r->alike ? 3 : 9);
    if (seed / 3 % 3 != 0)
        r->max_memory = 2 + random_below(&r->random, 500);
    r->ref.config = random_config(r);
    r->s = sched_create(&r->ref.config);
    if (!r->s)
        world_fail("sched_create");
    plan(r);
    while (turn(r))
        ;
    if (!r->ref.nodes[0].up) { /* the last word: what still waits can run */
        toggle_node(r, 0);
        pass(r);
    }
    while (turn(r))
        ;
    check_end(r);
}

static void run_fini(struct run *r)
{
    sched_destroy(r->s);
    happenings_fini(&r->todo);
    sched_actions_fini(&r->out);
    buf_fini(&r->trace);
    free(r);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    unsigned long long starts = 0, holds = 0, tasks = 0, late = 0, loans = 0, deep = 0;

    printf("seeds %llu to %llu\n", (unsigned long long)seed,
           (unsigned long long)(seed + count - 1));
    for (uint64_t end = seed + count; seed < end; seed++) {
        struct run *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));

        world_set_seed(seed);
        if (!a || !b)
            world_fail("no memory");
        simulate(a, seed);
        simulate(b, seed);
        if (!buf_ok(&a->trace) || a->trace.len != b->trace.len ||
            (a->trace.len && memcmp(a->trace.data, b->trace.data, a->trace.len) != 0))
            world_fail("two runs of one seed differ");
        tasks += a->ref.count;
        starts += a->starts;
        holds += a->holds;
        late += a->late;
        loans += a->loans;
        deep += a->deep;
        run_fini(a);
        run_fini(b);
    }
    printf("%llu tasks, %llu starts, %llu lent, %llu of them behind lent ones, %llu late in the "
           "end, a node "
           "held in %llu passes\n",
           tasks, starts, loans, deep, late, holds);
    return 0;
}
