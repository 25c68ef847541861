/* SPDX-License-Identifier: BSD-3-Clause */
/* A wide task in a stream of narrow ones that never ends starts within a bound that does not depend
 * on the stream; the cores that wait for it are used where that costs it nothing. Each case also
 * runs with a patience without end: there the wide task must starve, or the case proves nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "world.h"

enum durations { CONSTANT, UNIFORM, TWO_KINDS };

struct workload {
    const char *name;
    uint32_t nodes, cores; /* cores a node */
    uint32_t narrow, wide; /* cores of the tasks */
    unsigned wide_tasks;
    enum durations durations;
    bool timeouts; /* twice the duration of each narrow task is its timeout */
    int64_t longest_ms;
};

#define PATIENCE_MS 10000
/* The k-th wide task starts within k * (patience + BOUND * the longest duration): the estimate puts
 * its start within 1.125 of the longest, and what was let in by an estimate that was too short may
 * have begun just before that, and last the longest once more. */
#define BOUND 2.2

static const struct workload workloads[] = {
    {"constant, one wide task", 4, 8, 1, 8, 1, CONSTANT, false, 20000},
    {"uniform, one wide task", 4, 8, 1, 8, 1, UNIFORM, false, 20000},
    {"uniform with timeouts", 4, 8, 1, 8, 1, UNIFORM, true, 20000},
    {"uniform, the wide one leaves room", 2, 16, 1, 10, 1, UNIFORM, false, 20000},
    {"two kinds of duration", 4, 8, 1, 8, 1, TWO_KINDS, false, 30000},
    {"two kinds, both long", 4, 8, 1, 8, 1, TWO_KINDS, false, 600000},
    {"several wide tasks", 2, 8, 1, 8, 4, UNIFORM, false, 20000},
    {"narrow tasks of 3 cores", 3, 16, 3, 14, 3, UNIFORM, false, 20000},
    {"one node", 1, 4, 1, 4, 3, UNIFORM, false, 10000},
    {"short tasks, many nodes", 64, 8, 1, 8, 2, UNIFORM, false, 500},
};

struct stream {
    const struct workload *w;
    struct sched *s;
    struct happenings todo;
    struct sched_actions out;
    uint64_t random;
    int64_t now_ms;
    int64_t warm_up_ms; /* the stream alone, until then */
    int64_t stream_ms;  /* it ends then */
    task_id_t first_wide, wide_seen;
    int64_t wide_started_ms[8];
    int64_t busy_core_ms;
    uint64_t waiting; /* narrow tasks added and not started */
};

static int64_t duration(struct stream *t)
{
    int64_t longest = t->w->longest_ms;

    switch (t->w->durations) {
    case CONSTANT: /* but for the first ones, or all would end together */
        return t->now_ms ? longest : 1 + random_below(&t->random, (uint32_t)longest);
    case UNIFORM:
        return 1 + random_below(&t->random, (uint32_t)longest);
    case TWO_KINDS:
        return random_below(&t->random, 10) ? 1 + random_below(&t->random, (uint32_t)longest / 20)
                                            : longest;
    }
    return longest;
}

/* Always more narrow tasks waiting than could start. */
static void feed(struct stream *t)
{
    uint64_t enough = (uint64_t)t->w->nodes * t->w->cores * 2;

    for (; t->waiting < enough && t->now_ms < t->stream_ms; t->waiting++) {
        struct sched_task task = {.cores = t->w->narrow,
                                  .timeout_ms = t->w->timeouts ? t->w->longest_ms : 0};

        if (sched_add(t->s, &task, 1, t->now_ms, &t->out) < 0)
            world_fail("sched_add");
    }
}

static void add_wide(struct stream *t)
{
    struct sched_task task = {.cores = t->w->wide, .priority = 1}; /* else some go before it */

    t->first_wide = sched_count(t->s);
    for (unsigned i = 0; i < t->w->wide_tasks; i++)
        if (sched_add(t->s, &task, 1, t->now_ms, &t->out) < 0)
            world_fail("sched_add");
}

static bool is_wide(const struct stream *t, task_id_t task)
{
    return task >= t->first_wide && task < t->first_wide + t->w->wide_tasks;
}

static void act(struct stream *t)
{
    for (size_t i = 0; i < t->out.len; i++) {
        const struct sched_action *a = &t->out.v[i];
        struct sched_event end = {.type = SCHED_ATTEMPT_ENDED,
                                  .task = a->task,
                                  .attempt = a->attempt,
                                  .reason = REASON_EXIT};

        if (a->type != SCHED_START)
            continue;
        if (is_wide(t, a->task))
            t->wide_started_ms[t->wide_seen++] = t->now_ms;
        else
            t->waiting--;
        happenings_add(&t->todo, t->now_ms + duration(t), 0, end);
    }
    t->out.len = 0;
}

static void turn(struct stream *t, int64_t at_ms)
{
    struct sched_counts counts;
    struct happening h;

    sched_get_counts(t->s, &counts);
    if (t->first_wide != TASK_ID_NONE && t->wide_seen < t->w->wide_tasks)
        t->busy_core_ms += counts.cores_busy * (at_ms - t->now_ms);
    t->now_ms = at_ms;
    while (happenings_next_ms(&t->todo) <= t->now_ms && happenings_pop(&t->todo, &h))
        if (sched_apply(t->s, &h.event, t->now_ms, &t->out) < 0)
            world_fail("sched_apply");
    if (t->first_wide == TASK_ID_NONE && t->now_ms >= t->warm_up_ms)
        add_wide(t);
    feed(t);
    if (sched_place(t->s, t->now_ms, &t->out) < 0)
        world_fail("sched_place");
    act(t);
}

static struct stream stream_run(const struct workload *w, uint64_t seed, int64_t patience_ms)
{
    struct stream t = {.w = w,
                       .random = random_of(seed, 1, 1) | 1,
                       .first_wide = TASK_ID_NONE,
                       .warm_up_ms = 5 * w->longest_ms,
                       .stream_ms = w->wide_tasks * 2 * PATIENCE_MS + 40 * w->longest_ms};
    struct sched_config config = {.patience_ms = patience_ms,
                                  .look_ms = patience_ms < INT64_MAX ? SCHED_LOOK_MS : 0};
    struct sched_counts counts;

    t.s = sched_create(&config);
    if (!t.s)
        world_fail("sched_create");
    for (node_id_t n = 0; n < w->nodes; n++) {
        struct sched_event up = {.type = SCHED_NODE_UP, .node = n, .cores = w->cores};

        if (sched_apply(t.s, &up, 0, &t.out) < 0)
            world_fail("sched_apply");
    }
    turn(&t, 0);
    for (;;) {
        int64_t next_ms = happenings_next_ms(&t.todo), wake_ms = sched_next_ms(t.s, t.now_ms);

        if (next_ms == INT64_MAX)
            break;
        turn(&t, wake_ms < next_ms ? wake_ms : next_ms);
    }
    sched_check(t.s);
    sched_get_counts(t.s, &counts);
    if (counts.by_status[TASK_COMPLETED] != sched_count(t.s))
        world_fail("%s: not all completed", w->name);
    sched_destroy(t.s);
    happenings_fini(&t.todo);
    sched_actions_fini(&t.out);
    return t;
}

static void try_seed(const struct workload *w, uint64_t seed, double *worst_s, double *busy)
{
    struct stream fair = stream_run(w, seed, PATIENCE_MS);
    struct stream starved = stream_run(w, seed, INT64_MAX);
    int64_t last_ms = 0;

    for (unsigned k = 0; k < w->wide_tasks; k++) {
        double allowed_ms = (k + 1) * (PATIENCE_MS + BOUND * (double)w->longest_ms);

        last_ms = fair.wide_started_ms[k] - fair.warm_up_ms;
        if ((double)last_ms > allowed_ms)
            world_fail("%s: wide task %u started %.1f s after it was added, %.1f s allowed",
                       w->name, k, (double)last_ms / 1e3, allowed_ms / 1e3);
    }
    if (starved.wide_started_ms[w->wide_tasks - 1] < starved.stream_ms)
        world_fail("%s: without a hold the wide tasks do not starve: no test", w->name);
    if ((double)last_ms / 1e3 > *worst_s)
        *worst_s = (double)last_ms / 1e3;
    *busy += (double)fair.busy_core_ms / ((double)last_ms * w->nodes * w->cores);
}

/* sim_fair [FIRST-SEED [COUNT]] */
int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 20;

    for (size_t i = 0; i < sizeof(workloads) / sizeof(*workloads); i++) {
        const struct workload *w = &workloads[i];
        double worst_s = 0, busy = 0;

        for (uint64_t seed = first; seed < first + count; seed++) {
            world_set_seed(seed);
            try_seed(w, seed, &worst_s, &busy);
        }
        printf(
            "%-36s %u wide: last started after %5.1f s at worst, cores busy meanwhile %3.0f %%\n",
            w->name, w->wide_tasks, worst_s, 100 * busy / (double)count);
    }
    return 0;
}
