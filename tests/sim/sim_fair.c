/* SPDX-License-Identifier: BSD-3-Clause */
/* A wide task in a stream of narrow ones that never ends starts within a bound that does not depend
 * on the stream; the cores that wait for it are used where that costs it nothing. Each case also
 * runs with a patience without end: there the wide task must starve, or the case proves nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    double bound; /* the k-th wide task starts within k * (patience + bound * longest) */
};

#define PATIENCE_MS 10000
#define WARM_UP_MS 100000 /* the stream alone */
#define STREAM_MS 900000

static const struct workload workloads[] = {
    {"constant, one wide task", 4, 8, 1, 8, 1, CONSTANT, false, 20000, 1.1},
    {"uniform, one wide task", 4, 8, 1, 8, 1, UNIFORM, false, 20000, 1.1},
    {"uniform with timeouts", 4, 8, 1, 8, 1, UNIFORM, true, 20000, 1.1},
    {"uniform, the wide one leaves room", 2, 16, 1, 10, 1, UNIFORM, false, 20000, 1.1},
    {"two kinds of duration", 4, 8, 1, 8, 1, TWO_KINDS, false, 30000, 2.1},
    {"several wide tasks", 2, 8, 1, 8, 4, UNIFORM, false, 20000, 1.1},
    {"narrow tasks of 3 cores", 3, 8, 3, 7, 3, UNIFORM, false, 20000, 1.1},
    {"one node", 1, 4, 1, 4, 3, UNIFORM, false, 10000, 1.1},
    {"short tasks, many nodes", 64, 8, 1, 8, 2, UNIFORM, false, 500, 1.1},
};

struct stream {
    const struct workload *w;
    struct sched *s;
    struct happenings todo;
    struct sched_actions out;
    uint64_t random;
    int64_t now_ms;
    task_id_t first_wide, wide_seen;
    int64_t wide_started_ms[8];
    int64_t busy_core_ms, wide_wait_from_ms;
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
        return random_below(&t->random, 10) ? longest / 20 : longest;
    }
    return longest;
}

/* Always more narrow tasks waiting than could start. */
static void feed(struct stream *t)
{
    uint64_t enough = (uint64_t)t->w->nodes * t->w->cores * 2;

    for (; t->waiting < enough && t->now_ms < STREAM_MS; t->waiting++) {
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
    if (t->first_wide == TASK_ID_NONE && t->now_ms >= WARM_UP_MS)
        add_wide(t);
    feed(t);
    if (sched_place(t->s, t->now_ms, &t->out) < 0)
        world_fail("sched_place");
    act(t);
}

static struct stream stream_run(const struct workload *w, int64_t patience_ms)
{
    struct stream t = {.w = w, .random = 77, .first_wide = TASK_ID_NONE};
    struct sched_config config = {.patience_ms = patience_ms};
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

int main(void)
{
    for (size_t i = 0; i < sizeof(workloads) / sizeof(*workloads); i++) {
        const struct workload *w = &workloads[i];
        struct stream fair = stream_run(w, PATIENCE_MS), starved = stream_run(w, INT64_MAX);
        double each = PATIENCE_MS + w->bound * (double)w->longest_ms;
        double busy;

        for (unsigned k = 0; k < w->wide_tasks; k++)
            if ((double)(fair.wide_started_ms[k] - WARM_UP_MS) > (k + 1) * each)
                world_fail("%s: wide task %u started %.1f s after it was added, %.1f s allowed",
                           w->name, k, (double)(fair.wide_started_ms[k] - WARM_UP_MS) / 1e3,
                           (k + 1) * each / 1e3);
        if (starved.wide_started_ms[w->wide_tasks - 1] < STREAM_MS)
            world_fail("%s: the wide task does not starve without patience's end: no test",
                       w->name);
        busy =
            (double)fair.busy_core_ms /
            ((double)(fair.wide_started_ms[w->wide_tasks - 1] - WARM_UP_MS) * w->nodes * w->cores);
        printf("%-36s last of %u started after %6.1f s, cores busy meanwhile %3.0f %%\n", w->name,
               w->wide_tasks, (double)(fair.wide_started_ms[w->wide_tasks - 1] - WARM_UP_MS) / 1e3,
               100 * busy);
    }
    return 0;
}
