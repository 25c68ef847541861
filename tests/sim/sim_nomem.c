/* SPDX-License-Identifier: BSD-3-Clause */
/* Every allocation of the scheduler core fails once: the call says so, nothing has happened (a
 * pass: what it did is whole), the same call again succeeds, and the end is the one of a run in
 * which nothing failed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pilot.h"
#include "world.h"

/* ---- The allocator, wrapped by the linker ------------------------------------------------------
 */

static unsigned long calls, fail_at; /* 0: never */

static bool fails_now(void)
{
    return ++calls == fail_at;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails_now() ? NULL : __real_realloc(p, size);
}

/* ---- One run -----------------------------------------------------------------------------------
 */

enum { TASKS = 90, NODES = 5 };

struct run {
    struct sched *s;
    struct sched_actions out;
    size_t acted;
    task_id_t queue[4 * TASKS]; /* attempts that run, oldest first */
    unsigned attempts[4 * TASKS];
    size_t queue_head, queue_len;
    int64_t now_ms;
    unsigned refused;
    uint64_t digest;
};

/* A failed call must leave all as it was; the caller then makes it again. */
static bool again(struct run *r, int rc, const struct sched_counts *before, bool is_pass)
{
    struct sched_counts after;

    sched_check(r->s);
    if (rc == 0)
        return false;
    if (rc != PILOT_ENOMEM || r->refused++ > 0)
        world_fail("allocation %lu: the call returned %d", fail_at, rc);
    sched_get_counts(r->s, &after);
    if (!is_pass && memcmp(before, &after, sizeof(after)) != 0)
        world_fail("allocation %lu: the call failed, and something had changed", fail_at);
    return true;
}

static void apply(struct run *r, struct sched_event ev)
{
    struct sched_counts before;

    do
        sched_get_counts(r->s, &before);
    while (again(r, sched_apply(r->s, &ev, r->now_ms, &r->out), &before, false));
}

static void add(struct run *r, const struct sched_task *batch, size_t count)
{
    struct sched_counts before;

    do
        sched_get_counts(r->s, &before);
    while (again(r, sched_add(r->s, batch, count, r->now_ms, &r->out), &before, false));
}

static void pass(struct run *r)
{
    struct sched_counts before;

    do
        sched_get_counts(r->s, &before);
    while (again(r, sched_place(r->s, r->now_ms, &r->out), &before, true));
    for (; r->acted < r->out.len; r->acted++) {
        const struct sched_action *a = &r->out.v[r->acted];

        r->digest = r->digest * 31 + random_of(a->type, a->task, a->node) + a->status;
        if (a->type != SCHED_START)
            continue;
        r->queue[r->queue_head + r->queue_len] = a->task;
        r->attempts[r->queue_head + r->queue_len++] = a->attempt;
    }
    /* Not cleared: so the list grows, and growing fails, at many places. */
}

/* Tasks of 1 to 4 cores, in two batches, the second behind the first and with edges forward. */
static void add_all(struct run *r)
{
    struct sched_task batch[TASKS];
    task_id_t deps[TASKS][2];

    for (task_id_t i = 0; i < TASKS; i++) {
        bool second = i >= TASKS / 2;

        deps[i][0] = second ? i - TASKS / 2 : 0;
        deps[i][1] = i + 1;
        batch[i] = (struct sched_task){.cores = 1 + i * 7 % 4,
                                       .memory = second ? i % 4 : 0,
                                       .priority = (int32_t)(i % 3),
                                       .timeout_ms = INT64_C(1) << (i % 9),
                                       .max_retries = i % 2,
                                       .deps = deps[i],
                                       .dep_count = second ? 1 + (i % 5 == 0) : 0};
    }
    add(r, batch, TASKS / 2);
    add(r, batch + TASKS / 2, TASKS / 2);
}

static uint64_t run_once(void)
{
    struct sched_config config = {.max_losses = 3};
    struct run r = {0};
    struct sched_task late = {.cores = 1, .dep_count = 1, .deps = &(task_id_t){TASKS - 1}};
    struct sched_counts counts;

    while (!(r.s = sched_create(&config)))
        if (r.refused++ > 0)
            world_fail("sched_create");
    apply(&r, (struct sched_event){.type = SCHED_NODE_UP, .node = 2, .cores = 1, .memory = 2});
    add_all(&r);
    for (node_id_t n = 0; n < NODES; n++)
        apply(&r, (struct sched_event){
                      .type = SCHED_NODE_UP, .node = n * 3, .cores = 2 + n, .memory = 3 + n});
    pass(&r);
    apply(&r, (struct sched_event){.type = SCHED_CANCEL, .task = 3});
    for (int step = 0; r.queue_len > 0; step++) {
        task_id_t task = r.queue[r.queue_head];

        apply(&r, (struct sched_event){.type = SCHED_ATTEMPT_ENDED,
                                       .task = task,
                                       .attempt = r.attempts[r.queue_head],
                                       .reason = step % 7 == 3 ? REASON_SIGNAL : REASON_EXIT});
        r.queue_head++;
        r.queue_len--;
        r.now_ms += 5;
        if (step == 10)
            apply(&r, (struct sched_event){.type = SCHED_NODE_DOWN, .node = 6});
        if (step == 12)
            add(&r, &late, 1);
        pass(&r);
    }
    for (task_id_t i = sched_count(r.s); i-- > 0;)
        apply(&r, (struct sched_event){.type = SCHED_RETRY, .task = i});
    pass(&r);
    sched_get_counts(r.s, &counts);
    for (int i = 0; i < TASK_STATUS_COUNT; i++)
        r.digest = r.digest * 31 + counts.by_status[i];
    sched_destroy(r.s);
    sched_actions_fini(&r.out);
    if (fail_at && calls >= fail_at && r.refused != 1)
        world_fail("allocation %lu failed, and nobody was told", fail_at);
    return r.digest;
}

int main(void)
{
    uint64_t expected = run_once();
    unsigned long total = calls;

    world_set_seed(0);
    for (fail_at = 1; fail_at <= total; fail_at++) {
        calls = 0;
        if (run_once() != expected)
            world_fail("allocation %lu failed, and the end is another one", fail_at);
    }
    printf("each of %lu allocations failed once\n", total);
    return 0;
}
