/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast the scheduler core is: sim_bench [--nodes N] [--tasks N] [--cores N] [--mixed]
 * [--deps PERCENT] [--memory] [--each] [--patience MS] [--least-rate N]. Only the time inside the
 * core is counted.
 * --mixed: 1 to 8 cores, five priorities, timeouts, a dependency for so many tasks in a hundred
 * (25); else all tasks are alike.
 * --memory: three tasks in four have memory, one in eight an amount of its own.
 * --each: a placement pass after each event, as if they came one by one; else one a virtual
 * millisecond.
 * --least-rate: fails below so many events a second (a start and an end are one each): set far
 * below what any machine reaches, it catches work that grows with tasks x nodes. */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "world.h"

#define LONGEST_MS 4096 /* of a task, less one: the wheel below has a slot a millisecond */

struct bench {
    unsigned long nodes, tasks, cores, patience_ms, least_rate, deps;
    bool mixed, memory, each;
    struct sched *s;
    struct sched_actions out;
    struct attempt {
        task_id_t next; /* in the same slot */
        unsigned number;
    } * attempts;                /* by task */
    task_id_t wheel[LONGEST_MS]; /* by end, modulo: the first task */
    int64_t now_ms;
    uint64_t events, passes;
    int64_t spent_us, add_us;
};

static struct sched_task make_task(const struct bench *b, task_id_t id, task_id_t *dep)
{
    uint64_t x = random_of(1, id, 0);
    struct sched_task t = {.cores = 1};

    if (b->memory && x / 7 % 4 > 0)
        t.memory = x / 28 % 8 ? (UINT64_C(1) << 30) << x / 224 % 4
                              : (UINT64_C(1) << 30) + x / 224 % (UINT64_C(7) << 30);
    if (!b->mixed)
        return t;
    t.cores = 1 + (uint32_t)(x % 8);
    t.priority = (int32_t)(x / 8 % 5);
    t.timeout_ms = x / 64 % 2 ? 1000 << (x / 128 % 6) : 0;
    if (id > 1000 && x / 4096 % 100 < b->deps) {
        *dep = id - 1 - (task_id_t)(x / 409600 % 1000);
        t.deps = dep;
        t.dep_count = 1;
    }
    return t;
}

static void add_tasks(struct bench *b)
{
    struct sched_task *batch = malloc(b->tasks * sizeof(*batch));
    task_id_t *deps = malloc(b->tasks * sizeof(*deps));
    size_t before, after;
    int64_t start_us;

    if (!batch || !deps)
        world_fail("no memory");
    for (task_id_t i = 0; i < b->tasks; i++)
        batch[i] = make_task(b, i, &deps[i]);
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    start_us = clock_mono_us();
    if (sched_add(b->s, batch, b->tasks, 0, &b->out) < 0)
        world_fail("sched_add");
    start_us = clock_mono_us() - start_us;
    b->add_us = start_us;
    after = mallinfo2().uordblks + mallinfo2().hblkhd;
    printf("add: %lu tasks in %.3f s, %.1f bytes a task\n", b->tasks, (double)start_us / 1e6,
           (double)(after - before) / (double)b->tasks);
    free(batch);
    free(deps);
}

static void bring_up(struct bench *b)
{
    int64_t start_us = clock_mono_us();

    for (node_id_t n = 0; n < b->nodes; n++) {
        struct sched_event up = {.type = SCHED_NODE_UP,
                                 .node = n,
                                 .cores = (uint32_t)b->cores,
                                 .memory = b->memory ? UINT64_C(16) << 30 : 0};

        if (sched_apply(b->s, &up, 0, &b->out) < 0)
            world_fail("sched_apply");
    }
    printf("up: %lu nodes of %lu cores in %.3f s\n", b->nodes, b->cores,
           (double)(clock_mono_us() - start_us) / 1e6);
}

static void pass(struct bench *b)
{
    if (sched_place(b->s, b->now_ms, &b->out) < 0)
        world_fail("sched_place");
    b->passes++;
}

/* Outside the clock: what the nodes would do. */
static void act(struct bench *b)
{
    for (size_t i = 0; i < b->out.len; i++) {
        const struct sched_action *a = &b->out.v[i];
        int64_t lasts_ms = 1 + (int64_t)(random_of(2, a->task, 0) % (LONGEST_MS - 1));
        task_id_t *slot = &b->wheel[(b->now_ms + lasts_ms) % LONGEST_MS];

        if (a->type != SCHED_START)
            continue;
        b->attempts[a->task] = (struct attempt){*slot, a->attempt};
        *slot = a->task;
        b->events++;
    }
    b->out.len = 0;
}

/* All that ends in this virtual millisecond. */
static void turn(struct bench *b)
{
    task_id_t *slot = &b->wheel[b->now_ms % LONGEST_MS], id = *slot;
    int64_t start_us = clock_mono_us();

    *slot = TASK_ID_NONE;
    for (; id != TASK_ID_NONE; id = b->attempts[id].next) {
        struct sched_event end = {.type = SCHED_ATTEMPT_ENDED,
                                  .task = id,
                                  .attempt = b->attempts[id].number,
                                  .reason = REASON_EXIT};

        if (sched_apply(b->s, &end, b->now_ms, &b->out) < 0)
            world_fail("sched_apply");
        b->events++;
        if (b->each)
            pass(b);
    }
    pass(b);
    b->spent_us += clock_mono_us() - start_us;
    act(b);
    b->now_ms++;
}

static void run(struct bench *b)
{
    struct sched_counts counts;
    double rate;

    do {
        turn(b);
        sched_get_counts(b->s, &counts);
    } while (counts.by_status[TASK_COMPLETED] < b->tasks && b->now_ms < INT32_MAX);
    if (counts.by_status[TASK_COMPLETED] != b->tasks || b->events != 2 * (uint64_t)b->tasks)
        world_fail("not all tasks completed, or some ran twice");
    rate = (double)b->events / ((double)(b->spent_us + 1) / 1e6);
    printf("run: %.0f events a second (%llu in %.3f s, %llu passes, %.0f virtual s)\n", rate,
           (unsigned long long)b->events, (double)b->spent_us / 1e6, (unsigned long long)b->passes,
           (double)b->now_ms / 1e3);
    printf("cost: %.4f us a task (%.4f to add it)\n",
           (double)(b->spent_us + b->add_us) / (double)b->tasks,
           (double)b->add_us / (double)b->tasks);
    if (rate < (double)b->least_rate)
        world_fail("fewer than %lu events a second", b->least_rate);
}

static bool parse(struct bench *b, int argc, char **argv)
{
    static const struct option options[] = {
        {"nodes", 1, NULL, 'n'},      {"tasks", 1, NULL, 't'},
        {"cores", 1, NULL, 'c'},      {"mixed", 0, NULL, 'm'},
        {"memory", 0, NULL, 'M'},     {"each", 0, NULL, 'e'},
        {"least-rate", 1, NULL, 'r'}, {"patience", 1, NULL, 'p'},
        {"deps", 1, NULL, 'd'},       {0}};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'n')
            b->nodes = strtoul(optarg, NULL, 10);
        else if (c == 't')
            b->tasks = strtoul(optarg, NULL, 10);
        else if (c == 'c')
            b->cores = strtoul(optarg, NULL, 10);
        else if (c == 'p')
            b->patience_ms = strtoul(optarg, NULL, 10);
        else if (c == 'd')
            b->deps = strtoul(optarg, NULL, 10);
        else if (c == 'r')
            b->least_rate = strtoul(optarg, NULL, 10);
        else if (c == 'm')
            b->mixed = true;
        else if (c == 'M')
            b->memory = true;
        else if (c == 'e')
            b->each = true;
        else
            return false;
    }
    return b->nodes && b->tasks && b->tasks < TASK_ID_NONE && b->cores >= 8 && optind == argc;
}

int main(int argc, char **argv)
{
    static struct bench b = {
        .nodes = 10000, .tasks = 1000000, .cores = 8, .patience_ms = SCHED_PATIENCE_MS, .deps = 25};
    struct sched_config config = {0};

    if (!parse(&b, argc, argv)) {
        fprintf(stderr, "usage: see the top of sim_bench.c\n");
        return 2;
    }
    config.patience_ms = (int64_t)b.patience_ms;
    config.look_ms = SCHED_LOOK_MS;
    b.s = sched_create(&config);
    b.attempts = calloc(b.tasks, sizeof(*b.attempts));
    if (!b.s || !b.attempts)
        world_fail("no memory");
    for (int i = 0; i < LONGEST_MS; i++)
        b.wheel[i] = TASK_ID_NONE;
    add_tasks(&b);
    bring_up(&b);
    run(&b);
    sched_check(b.s);
    sched_destroy(b.s);
    sched_actions_fini(&b.out);
    free(b.attempts);
    return 0;
}
