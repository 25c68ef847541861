/* SPDX-License-Identifier: BSD-3-Clause */
/* The scheduler core, one behaviour a test. What it does is written as text: "0@1#2" is attempt 2
 * of task 0 started on node 1, "kill 0@1#2" its end asked for, "0:failed" a status, "2:skipped(0)"
 * one with its cause, "0:pending*" a retry that counts. sched_check runs after every step. The
 * running status is not written: every start must follow it. */
#include "core/sched.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/estimate.h"
#include "core/idset.h"

/* ---- The scheduler under test ------------------------------------------------------------------
 */

struct fixture {
    struct sched *s;
    struct sched_actions out;
    int64_t now_ms;
    char text[4096];
};

static struct fixture begin_with(struct sched_config config)
{
    struct fixture f = {.s = sched_create(&config)};

    assert_non_null(f.s);
    return f;
}

static struct fixture begin(void)
{
    return begin_with((struct sched_config){.patience_ms = 1000});
}

static void finish(struct fixture *f)
{
    sched_actions_fini(&f->out);
    sched_destroy(f->s);
}

static void put(struct fixture *f, const char *fmt, ...)
{
    size_t len = strlen(f->text);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->text + len, sizeof(f->text) - len, fmt, ap);
    va_end(ap);
}

static void put_status(struct fixture *f, const struct sched_action *a)
{
    put(f, "%s%u:%s", f->text[0] ? " " : "", a->task, task_status_name(a->status));
    if (a->cause != TASK_ID_NONE)
        put(f, "(%u)", a->cause);
    if (a->retry)
        put(f, "*");
    assert_int_equal(a->cause != TASK_ID_NONE, a->status == TASK_SKIPPED);
    assert_int_equal(a->attempt == 0, a->node == NODE_ID_NONE);
}

/* What happened since the last call must be this. */
static void expect(struct fixture *f, const char *text)
{
    sched_check(f->s);
    f->text[0] = '\0';
    for (size_t i = 0; i < f->out.len; i++) {
        const struct sched_action *a = &f->out.v[i];
        const char *gap = f->text[0] ? " " : "";

        if (a->type == SCHED_STATUS && a->status == TASK_RUNNING) {
            assert_true(i + 1 < f->out.len && a[1].type == SCHED_START && a[1].task == a->task);
            assert_true(a[1].attempt == a->attempt && a[1].node == a->node);
        } else if (a->type == SCHED_STATUS) {
            put_status(f, a);
        } else {
            put(f, "%s%s%u@%u#%u", gap, a->type == SCHED_KILL ? "kill " : "", a->task, a->node,
                a->attempt);
        }
    }
    f->out.len = 0;
    assert_string_equal(f->text, text);
}

static void apply(struct fixture *f, struct sched_event ev)
{
    assert_int_equal(sched_apply(f->s, &ev, f->now_ms, &f->out), 0);
}

static void up(struct fixture *f, node_id_t node, uint32_t cores)
{
    apply(f, (struct sched_event){.type = SCHED_NODE_UP, .node = node, .cores = cores});
}

static void down(struct fixture *f, node_id_t node)
{
    apply(f, (struct sched_event){.type = SCHED_NODE_DOWN, .node = node});
}

static void end(struct fixture *f, task_id_t task, unsigned attempt, enum attempt_reason reason,
                int exit_code)
{
    apply(f, (struct sched_event){.type = SCHED_ATTEMPT_ENDED,
                                  .task = task,
                                  .attempt = attempt,
                                  .reason = reason,
                                  .exit_code = exit_code});
}

static void done(struct fixture *f, task_id_t task)
{
    struct sched_task_info info;

    sched_get_task(f->s, task, &info);
    end(f, task, info.attempts, REASON_EXIT, 0);
}

static void cancel(struct fixture *f, task_id_t task)
{
    apply(f, (struct sched_event){.type = SCHED_CANCEL, .task = task});
}

static void retry(struct fixture *f, task_id_t task)
{
    apply(f, (struct sched_event){.type = SCHED_RETRY, .task = task});
}

static void add(struct fixture *f, struct sched_task t)
{
    if (t.cores == 0)
        t.cores = 1;
    assert_int_equal(sched_add(f->s, &t, 1, f->now_ms, &f->out), 0);
}

static void add_cores(struct fixture *f, uint32_t cores)
{
    add(f, (struct sched_task){.cores = cores});
}

static void add_after(struct fixture *f, task_id_t dep)
{
    add(f, (struct sched_task){.deps = &dep, .dep_count = 1});
}

static void place(struct fixture *f)
{
    assert_int_equal(sched_place(f->s, f->now_ms, &f->out), 0);
}

static void place_at(struct fixture *f, int64_t now_ms)
{
    f->now_ms = now_ms;
    place(f);
}

static enum task_status status(const struct fixture *f, task_id_t task)
{
    struct sched_task_info info;

    sched_get_task(f->s, task, &info);
    return info.status;
}

/* ---- Order and placement -----------------------------------------------------------------------
 */

static void higher_priority_starts_first_then_file_order(void **state)
{
    struct fixture f = begin();

    (void)state;
    for (int i = 0; i < 6; i++)
        add(&f, (struct sched_task){.priority = i % 3 - 1});
    add(&f, (struct sched_task){.priority = INT32_MAX});
    add(&f, (struct sched_task){.priority = INT32_MIN});
    up(&f, 0, 8);
    place(&f);
    expect(&f, "6@0#1 2@0#1 5@0#1 1@0#1 4@0#1 0@0#1 3@0#1 7@0#1");
    finish(&f);
}

static void order_holds_across_widths(void **state)
{
    struct fixture f = begin();

    (void)state;
    add_cores(&f, 2);
    add_cores(&f, 1);
    add(&f, (struct sched_task){.cores = 3, .priority = 1});
    add(&f, (struct sched_task){.cores = 1, .timeout_ms = 5000});
    up(&f, 0, 4);
    place(&f);
    expect(&f, "2@0#1 1@0#1");
    done(&f, 2);
    place(&f);
    expect(&f, "2:completed 0@0#1 3@0#1");
    finish(&f);
}

static void tasks_of_one_width_spread_over_the_nodes(void **state)
{
    struct fixture f = begin();

    (void)state;
    for (node_id_t n = 0; n < 3; n++)
        up(&f, n, 2);
    for (int i = 0; i < 5; i++)
        add_cores(&f, 1);
    place(&f);
    expect(&f, "0@0#1 1@1#1 2@2#1 3@0#1 4@1#1");
    finish(&f);
}

static void narrow_tasks_fill_gaps_while_wider_ones_wait(void **state)
{
    struct fixture f = begin();

    (void)state;
    for (node_id_t n = 0; n < 3; n++)
        up(&f, n, 4);
    for (int i = 0; i < 4; i++)
        add_cores(&f, 1);
    add_cores(&f, 4);
    add_cores(&f, 4);
    place(&f);
    expect(&f, "0@0#1 1@0#1 2@0#1 3@0#1 4@1#1 5@2#1");
    finish(&f);
}

static void narrow_tasks_make_room_for_wide_ones_that_are_blocked_still(void **state)
{
    struct fixture f = begin();
    task_id_t dep = 0;

    (void)state;
    up(&f, 0, 4);
    up(&f, 1, 4);
    add_cores(&f, 1);
    add_cores(&f, 1);
    add(&f, (struct sched_task){.cores = 4, .deps = &dep, .dep_count = 1});
    place(&f);
    expect(&f, "0@0#1 1@0#1");
    done(&f, 0);
    place(&f);
    expect(&f, "0:completed 2@1#1");
    finish(&f);
}

static void max_running_bounds_the_tasks_at_once(void **state)
{
    struct fixture f = begin_with((struct sched_config){.max_running = 2});

    (void)state;
    up(&f, 0, 8);
    for (int i = 0; i < 4; i++)
        add_cores(&f, 1);
    place(&f);
    expect(&f, "0@0#1 1@0#1");
    assert_true(sched_next_ms(f.s, 0) == INT64_MAX);
    done(&f, 1);
    place(&f);
    expect(&f, "1:completed 2@0#1");
    finish(&f);
}

static void drain_starts_nothing_more(void **state)
{
    struct fixture f = begin();

    (void)state;
    up(&f, 0, 1);
    add(&f, (struct sched_task){.max_retries = 1});
    add_cores(&f, 1);
    place(&f);
    expect(&f, "0@0#1");
    apply(&f, (struct sched_event){.type = SCHED_DRAIN});
    end(&f, 0, 1, REASON_EXIT, 1);
    place(&f);
    expect(&f, "0:pending*");
    finish(&f);
}

/* ---- Ends of attempts --------------------------------------------------------------------------
 */

static void failures_of_every_kind_are_retried_then_final(void **state)
{
    static const struct {
        enum attempt_reason reason;
        int exit_code;
    } failures[] = {
        {REASON_EXIT, 3}, {REASON_SIGNAL, -1}, {REASON_TIMEOUT, -1}, {REASON_SPAWN, -1}};

    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        struct fixture f = begin();
        struct sched_counts counts;

        up(&f, 0, 1);
        add(&f, (struct sched_task){.max_retries = 1});
        add_cores(&f, 1);
        place(&f);
        expect(&f, "0@0#1");
        end(&f, 0, 1, failures[i].reason, failures[i].exit_code);
        place(&f);
        expect(&f, "0:pending* 0@0#2"); /* before task 1: it keeps its place */
        end(&f, 0, 2, failures[i].reason, failures[i].exit_code);
        place(&f);
        expect(&f, "0:failed 1@0#1");
        sched_get_counts(f.s, &counts);
        assert_int_equal(counts.failures, 1);
        assert_int_equal(counts.by_status[TASK_FAILED], 1);
        finish(&f);
    }
}

static void losses_use_up_no_retry_but_have_a_bound(void **state)
{
    struct fixture f = begin_with((struct sched_config){.max_losses = 3});
    struct sched_task_info info;

    (void)state;
    add_cores(&f, 1);
    for (unsigned i = 1; i <= 3; i++) {
        up(&f, 0, 1);
        place(&f);
        down(&f, 0);
        place(&f);
        expect(&f, i == 1 ? "0@0#1 0:pending" : i == 2 ? "0@0#2 0:pending" : "0@0#3 0:failed");
    }
    sched_get_task(f.s, 0, &info);
    assert_int_equal(info.losses, 3);
    assert_int_equal(info.failures, 0);
    finish(&f);
}

static void without_a_bound_losses_never_fail_a_task(void **state)
{
    struct fixture f = begin();

    (void)state;
    up(&f, 0, 1);
    add_cores(&f, 1);
    for (unsigned i = 1; i <= 50; i++) {
        place(&f);
        end(&f, 0, i, REASON_LOST, -1);
    }
    assert_int_equal(status(&f, 0), TASK_PENDING);
    finish(&f);
}

static void stale_ends_are_ignored(void **state)
{
    struct fixture f = begin();

    (void)state;
    up(&f, 0, 1);
    add_cores(&f, 1);
    end(&f, 0, 0, REASON_EXIT, 0);
    end(&f, 0, 1, REASON_EXIT, 0);
    place(&f);
    expect(&f, "0@0#1");
    down(&f, 0);
    end(&f, 0, 1, REASON_EXIT, 0);
    up(&f, 0, 1);
    place(&f);
    expect(&f, "0:pending 0@0#2");
    end(&f, 0, 1, REASON_EXIT, 0);
    expect(&f, "");
    end(&f, 0, 2, REASON_EXIT, 0);
    end(&f, 0, 2, REASON_EXIT, 1);
    expect(&f, "0:completed");
    finish(&f);
}

static void a_node_may_come_back_with_other_cores(void **state)
{
    struct fixture f = begin();
    struct sched_counts counts;

    (void)state;
    up(&f, 5, 4);
    add_cores(&f, 4);
    place(&f);
    down(&f, 5);
    up(&f, 5, 2);
    place(&f);
    expect(&f, "0@5#1 0:pending");
    assert_int_equal(sched_max_node_cores(f.s), 2);
    assert_true(sched_stuck(f.s));
    up(&f, 0, 6);
    assert_false(sched_stuck(f.s));
    place(&f);
    expect(&f, "0@0#2");
    sched_get_counts(f.s, &counts);
    assert_int_equal(counts.cores_total, 8);
    assert_int_equal(counts.cores_busy, 4);
    assert_int_equal(counts.nodes_up, 2);
    finish(&f);
}

/* ---- Dependencies ------------------------------------------------------------------------------
 */

static void dependents_start_when_all_dependencies_completed(void **state)
{
    struct fixture f = begin();
    task_id_t both[] = {0, 1, 1}; /* named twice: harmless */
    struct sched_counts counts;

    (void)state;
    up(&f, 0, 4);
    add_cores(&f, 1);
    add_cores(&f, 1);
    add(&f, (struct sched_task){.deps = both, .dep_count = 3});
    sched_get_counts(f.s, &counts);
    assert_int_equal(counts.blocked, 1);
    place(&f);
    expect(&f, "0@0#1 1@0#1");
    done(&f, 1);
    place(&f);
    expect(&f, "1:completed");
    done(&f, 0);
    place(&f);
    expect(&f, "0:completed 2@0#1");
    add_after(&f, 0); /* on one that has completed: ready at once */
    place(&f);
    expect(&f, "3@0#1");
    finish(&f);
}

static void a_batch_may_name_later_tasks(void **state)
{
    struct fixture f = begin();
    task_id_t one = 1, two = 2;
    struct sched_task batch[] = {{.cores = 1, .deps = &one, .dep_count = 1},
                                 {.cores = 1, .deps = &two, .dep_count = 1},
                                 {.cores = 1}};

    (void)state;
    up(&f, 0, 4);
    assert_int_equal(sched_add(f.s, batch, 3, 0, &f.out), 0);
    place(&f);
    done(&f, 2);
    place(&f);
    done(&f, 1);
    place(&f);
    expect(&f, "2@0#1 2:completed 1@0#1 1:completed 0@0#1");
    finish(&f);
}

static void a_failure_skips_everything_behind_it_with_its_cause(void **state)
{
    struct fixture f = begin();
    task_id_t mixed[] = {1, 4};

    (void)state;
    up(&f, 0, 4);
    add_cores(&f, 1);
    add_after(&f, 0);
    add_after(&f, 1);
    add_after(&f, 0);
    add_cores(&f, 1);
    add(&f, (struct sched_task){.deps = mixed, .dep_count = 2});
    place(&f);
    expect(&f, "0@0#1 4@0#1");
    end(&f, 0, 1, REASON_EXIT, 1);
    expect(&f, "0:failed 1:skipped(0) 3:skipped(0) 2:skipped(0) 5:skipped(0)");
    add_after(&f, 2); /* added behind a skipped one: the cause is still task 0 */
    expect(&f, "6:skipped(0)");
    done(&f, 4);
    expect(&f, "4:completed");
    finish(&f);
}

static void a_batch_behind_a_failed_task_is_skipped_at_once(void **state)
{
    struct fixture f = begin();
    task_id_t zero = 0, one = 1, three = 3;
    struct sched_task batch[] = {{.cores = 1, .status = TASK_CANCELLED},
                                 {.cores = 1, .deps = &three, .dep_count = 1},
                                 {.cores = 1, .deps = &one, .dep_count = 1},
                                 {.cores = 1, .deps = &zero, .dep_count = 1}};

    (void)state;
    assert_int_equal(sched_add(f.s, batch, 4, 0, &f.out), 0);
    expect(&f, "3:skipped(0) 1:skipped(0) 2:skipped(0)");
    finish(&f);
}

static void a_chain_of_a_hundred_thousand_is_skipped_without_recursion(void **state)
{
    enum { LONG = 100000 };
    struct fixture f = begin();
    struct sched_task *batch = calloc(LONG, sizeof(*batch));
    task_id_t *deps = calloc(LONG, sizeof(*deps));
    struct sched_counts counts;

    (void)state;
    assert_true(batch && deps);
    for (task_id_t i = 0; i < LONG; i++) { /* the first is last: every edge points forward */
        deps[i] = i + 1;
        batch[i] =
            (struct sched_task){.cores = 1, .deps = &deps[i], .dep_count = i + 1 < LONG ? 1 : 0};
    }
    assert_int_equal(sched_add(f.s, batch, LONG, 0, &f.out), 0);
    free(batch);
    free(deps);
    cancel(&f, LONG - 1);
    assert_int_equal(f.out.len, LONG);
    sched_get_counts(f.s, &counts);
    assert_int_equal(counts.by_status[TASK_SKIPPED], LONG - 1);
    assert_int_equal(counts.blocked, 0);
    f.out.len = 0;
    for (task_id_t i = 0; i < LONG; i++) /* dependents first: the hard order */
        retry(&f, i);
    sched_get_counts(f.s, &counts);
    assert_int_equal(counts.by_status[TASK_PENDING], LONG);
    assert_int_equal(counts.blocked, LONG - 1);
    f.out.len = 0;
    place(&f);
    expect(&f, "");
    finish(&f);
}

static void work_of_an_earlier_run_is_taken_over(void **state)
{
    struct fixture f = begin();
    task_id_t zero = 0, one = 1, two = 2;
    struct sched_task batch[] = {
        {.cores = 1, .status = TASK_COMPLETED, .attempts = 1},
        {.cores = 1, .status = TASK_FAILED, .attempts = 3, .failures = 3},
        {.cores = 1, .status = TASK_SKIPPED, .deps = &one, .dep_count = 1},
        {.cores = 1, .attempts = 2, .failures = 1, .max_retries = 1, .deps = &zero, .dep_count = 1},
        {.cores = 1, .deps = &two, .dep_count = 1},
    };

    (void)state;
    up(&f, 0, 1);
    assert_int_equal(sched_add(f.s, batch, 5, 0, &f.out), 0);
    place(&f);
    expect(&f, "4:skipped(2) 3@0#3");
    end(&f, 3, 3, REASON_EXIT, 1);
    expect(&f, "3:failed");
    finish(&f);
}

/* ---- Cancel and retry --------------------------------------------------------------------------
 */

static void cancel_of_a_waiting_task_skips_what_depends_on_it(void **state)
{
    struct fixture f = begin();

    (void)state;
    for (int i = 0; i < 4; i++)
        add_cores(&f, 1);
    add_after(&f, 1);
    cancel(&f, 1);
    expect(&f, "1:cancelled 4:skipped(1)");
    cancel(&f, 1);
    cancel(&f, 4);
    expect(&f, "");
    cancel(&f, 0); /* the first of its heap */
    expect(&f, "0:cancelled");
    up(&f, 0, 4);
    place(&f);
    expect(&f, "2@0#1 3@0#1");
    finish(&f);
}

static void cancel_of_a_running_task_takes_effect_at_its_end(void **state)
{
    struct fixture f = begin();

    (void)state;
    up(&f, 0, 2);
    add(&f, (struct sched_task){.max_retries = 5});
    add_cores(&f, 1);
    add_after(&f, 0);
    place(&f);
    expect(&f, "0@0#1 1@0#1");
    cancel(&f, 0);
    cancel(&f, 0);
    expect(&f, "kill 0@0#1");
    assert_int_equal(status(&f, 0), TASK_RUNNING);
    end(&f, 0, 1, REASON_SIGNAL, -1);
    expect(&f, "0:cancelled 2:skipped(0)");
    cancel(&f, 1);
    down(&f, 0); /* its node is lost before it ends */
    expect(&f, "kill 1@0#1 1:cancelled");
    finish(&f);
}

static void retry_brings_back_failed_and_skipped_tasks_in_any_order(void **state)
{
    static const task_id_t orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}};

    (void)state;
    for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
        struct fixture f = begin();

        up(&f, 0, 4);
        add_cores(&f, 1);
        add_after(&f, 0);
        add_after(&f, 1);
        place(&f);
        end(&f, 0, 1, REASON_SIGNAL, -1);
        expect(&f, "0@0#1 0:failed 1:skipped(0) 2:skipped(0)");
        for (int k = 0; k < 3; k++)
            retry(&f, orders[i][k]);
        f.out.len = 0;
        place(&f);
        expect(&f, "0@0#2");
        done(&f, 0);
        place(&f);
        expect(&f, "0:completed 1@0#1");
        done(&f, 1);
        place(&f);
        expect(&f, "1:completed 2@0#1");
        retry(&f, 2);
        retry(&f, 1);
        expect(&f, "");
        finish(&f);
    }
}

static void a_task_retried_without_its_dependency_is_skipped_again(void **state)
{
    struct fixture f = begin();

    (void)state;
    up(&f, 0, 4);
    add_cores(&f, 1);
    add_after(&f, 0);
    add_after(&f, 1);
    cancel(&f, 0);
    expect(&f, "0:cancelled 1:skipped(0) 2:skipped(0)");
    retry(&f, 2);
    retry(&f, 1);
    expect(&f, "2:pending 1:pending");
    place(&f);
    expect(&f, "1:skipped(0) 2:skipped(0)");
    finish(&f);
}

static void retry_gives_all_retries_and_losses_again(void **state)
{
    struct fixture f = begin_with((struct sched_config){.max_losses = 1});

    (void)state;
    up(&f, 0, 1);
    add(&f, (struct sched_task){.max_retries = 1, .failures = 1});
    place(&f);
    end(&f, 0, 1, REASON_EXIT, 1);
    retry(&f, 0);
    place(&f);
    end(&f, 0, 2, REASON_EXIT, 1);
    place(&f);
    end(&f, 0, 3, REASON_LOST, -1);
    expect(&f, "0@0#1 0:failed 0:pending 0@0#2 0:pending* 0@0#3 0:failed");
    finish(&f);
}

static void a_cancelled_task_can_be_retried_at_its_old_place(void **state)
{
    struct fixture f = begin();

    (void)state;
    for (int i = 0; i < 4; i++)
        add_cores(&f, 1);
    cancel(&f, 2);
    retry(&f, 2);
    cancel(&f, 2);
    retry(&f, 2);
    cancel(&f, 1);
    expect(&f, "2:cancelled 2:pending 2:cancelled 2:pending 1:cancelled");
    up(&f, 0, 4);
    place(&f);
    expect(&f, "0@0#1 2@0#1 3@0#1");
    finish(&f);
}

/* ---- Holding a node for a wide task ------------------------------------------------------------
 */

/* Two nodes of 4 cores, full of 1-core tasks 0-7 that started at 0; task 8 needs 4 cores; tasks
 * 9-14 need one. Task 8 was first in order at 0. */
static struct fixture crowd(int64_t timeout_ms)
{
    struct fixture f = begin();

    up(&f, 0, 4);
    up(&f, 1, 4);
    for (int i = 0; i < 8; i++)
        add(&f, (struct sched_task){.timeout_ms = timeout_ms});
    place(&f);
    expect(&f, "0@0#1 1@1#1 2@0#1 3@1#1 4@0#1 5@1#1 6@0#1 7@1#1");
    add_cores(&f, 4);
    for (int i = 0; i < 6; i++)
        add(&f, (struct sched_task){.timeout_ms = timeout_ms});
    place(&f);
    expect(&f, "");
    return f;
}

static void before_its_patience_ends_narrow_tasks_pass_a_wide_one(void **state)
{
    struct fixture f = crowd(0);
    task_id_t task;
    node_id_t node;

    (void)state;
    assert_true(sched_next_ms(f.s, 0) == 1000);
    f.now_ms = 999;
    done(&f, 1);
    place(&f);
    expect(&f, "1:completed 9@1#1");
    assert_false(sched_get_hold(f.s, &task, &node));
    assert_true(sched_next_ms(f.s, 999) == 1000);
    place_at(&f, 1000);
    expect(&f, "");
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(task, 8);
    assert_true(sched_next_ms(f.s, 1000) == INT64_MAX);
    finish(&f);
}

static void while_nothing_is_known_the_held_node_drains(void **state)
{
    struct fixture f = crowd(0);

    (void)state;
    place_at(&f, 1000); /* all equal: node 0 is held */
    for (task_id_t i = 0; i < 8; i += 2)
        end(&f, i, 1, REASON_EXIT, 1); /* failures teach nothing */
    f.out.len = 0;
    place(&f);
    expect(&f, "8@0#1");
    done(&f, 1);
    place(&f);
    expect(&f, "1:completed 9@1#1");
    finish(&f);
}

static void a_held_node_takes_nothing_that_would_end_too_late(void **state)
{
    struct fixture f = crowd(0);

    (void)state;
    place_at(&f, 1000);
    end(&f, 0, 1, REASON_EXIT, 1);
    place(&f);
    expect(&f, "0:failed"); /* one core of node 0 stays free, although six tasks could use it */
    f.now_ms = 2000;
    done(&f, 1);
    place(&f);
    expect(&f, "1:completed 9@1#1"); /* the other node is not concerned */
    finish(&f);
}

static void a_task_that_ends_in_time_may_use_the_held_node(void **state)
{
    struct fixture f = crowd(60000); /* the ends are known: 60000 at the latest */
    task_id_t task;
    node_id_t node;

    (void)state;
    add(&f, (struct sched_task){.timeout_ms = 58000});
    add(&f, (struct sched_task){.timeout_ms = 59001});
    add(&f, (struct sched_task){.timeout_ms = 100});
    for (task_id_t i = 9; i <= 14; i++)
        cancel(&f, i);
    f.out.len = 0;
    place_at(&f, 1000);
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(node, 0);
    end(&f, 0, 1, REASON_EXIT, 1);
    end(&f, 2, 1, REASON_EXIT, 1);
    end(&f, 4, 1, REASON_EXIT, 1);
    place(&f);
    expect(&f, "0:failed 2:failed 4:failed 15@0#1 17@0#1"); /* 16 would end at 60001 */
    finish(&f);
}

static void a_task_that_fits_beside_the_wide_one_may_use_the_held_node(void **state)
{
    struct fixture f = begin();

    (void)state;
    up(&f, 0, 8);
    for (int i = 0; i < 8; i++)
        add(&f, (struct sched_task){.timeout_ms = i < 6 ? 10000 : 90000});
    place(&f);
    f.out.len = 0;
    add_cores(&f, 5); /* at 10000 six cores are free: one to spare */
    add_cores(&f, 1);
    add_cores(&f, 1);
    place(&f);
    end(&f, 0, 1, REASON_EXIT, 1);
    end(&f, 1, 1, REASON_EXIT, 1);
    place_at(&f, 1000);
    expect(&f, "0:failed 1:failed 9@0#1");
    finish(&f);
}

static void the_hold_is_where_the_task_can_start_soonest(void **state)
{
    static const int64_t timeouts_ms[] = {50000, 20000, 30000};
    struct fixture f = begin();
    task_id_t task;
    node_id_t node;

    (void)state;
    for (node_id_t n = 0; n < 3; n++)
        up(&f, n, 2);
    up(&f, 3, 1); /* too small for ever */
    for (int i = 0; i < 3; i++)
        add(&f, (struct sched_task){.cores = 2, .timeout_ms = timeouts_ms[i], .priority = -1});
    add(&f, (struct sched_task){.timeout_ms = 10, .priority = -1});
    place(&f);
    expect(&f, "0@0#1 1@1#1 2@2#1 3@3#1");
    add_cores(&f, 2);
    add_cores(&f, 1);
    place(&f);
    place_at(&f, 1000);
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(task, 4);
    assert_int_equal(node, 1);
    down(&f, 1); /* the next best one takes over */
    place(&f);
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(node, 2);
    cancel(&f, 4);
    assert_false(sched_get_hold(f.s, &task, &node));
    finish(&f);
}

static void a_hold_that_came_to_nothing_moves_to_a_better_node(void **state)
{
    struct fixture f = begin();
    task_id_t task;
    node_id_t node;

    (void)state;
    up(&f, 0, 2);
    up(&f, 1, 2);
    add_cores(&f, 2);
    place(&f);
    f.now_ms = 1000;
    done(&f, 0); /* two cores: 3000 ms are expected */
    add_cores(&f, 2);
    place_at(&f, 1001);
    add(&f, (struct sched_task){.cores = 2, .timeout_ms = 6000});
    place(&f);
    expect(&f, "0@0#1 0:completed 1@0#1 2@1#1");
    add_cores(&f, 2);
    add_cores(&f, 1);
    place(&f);
    place_at(&f, 2001);
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(node, 0); /* free at 4001, the other at 7001 */
    place_at(&f, 4000);
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(node, 0);
    place_at(&f, 6000); /* outlived: now as long again, 10999; the other has its timeout at 7001 */
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(task, 3);
    assert_int_equal(node, 1);
    done(&f, 1); /* fits there now, hold or not */
    place(&f);
    expect(&f, "1:completed 3@0#1");
    assert_false(sched_get_hold(f.s, &task, &node));
    finish(&f);
}

static void the_expected_start_never_moves_to_a_later_time(void **state)
{
    struct fixture f = begin();

    (void)state;
    up(&f, 0, 4);
    add_cores(&f, 3);
    place(&f);
    f.now_ms = 1000;
    done(&f, 0); /* 3000 ms are expected of the next one */
    add_cores(&f, 3);
    add(&f, (struct sched_task){.timeout_ms = 60000});
    place(&f);
    f.out.len = 0;
    add_cores(&f, 4);
    add(&f, (struct sched_task){.timeout_ms = 1000});
    end(&f, 2, 1, REASON_EXIT, 1);
    add(&f, (struct sched_task){.timeout_ms = 1900, .priority = 1}); /* takes the core meanwhile */
    place(&f);
    place_at(&f, 2000); /* the hold: 3 should start at 4000 */
    expect(&f, "2:failed 5@0#1");
    f.now_ms = 4500; /* 1 has outlived its estimate: as long again would be 8000 */
    end(&f, 5, 1, REASON_EXIT, 0);
    place(&f);
    expect(&f, "5:completed"); /* 4 would be done by then, and yet */
    finish(&f);
}

static void an_attempt_that_outlives_its_estimate_still_has_its_timeout(void **state)
{
    struct fixture f = begin();

    (void)state;
    up(&f, 0, 2);
    add(&f, (struct sched_task){.timeout_ms = 6000});
    place(&f);
    f.now_ms = 100;
    done(&f, 0); /* 300 ms are expected of the next one */
    add(&f, (struct sched_task){.timeout_ms = 6000});
    add_cores(&f, 1);
    place(&f);
    f.out.len = 0;
    f.now_ms = 3100;
    add_cores(&f, 2);
    add(&f, (struct sched_task){.timeout_ms = 3000});
    add(&f, (struct sched_task){.timeout_ms = 2000});
    place(&f);
    place_at(&f, 4100);
    expect(&f, "");
    end(&f, 2, 1, REASON_EXIT, 1);
    place(&f); /* 1 ends at 6100, not at 8100: 4 would end at 7100, 5 at 6100 */
    expect(&f, "2:failed 5@0#1");
    finish(&f);
}

static void higher_priority_passes_a_hold(void **state)
{
    struct fixture f = crowd(0);

    (void)state;
    place_at(&f, 1000);
    add(&f, (struct sched_task){.priority = 1});
    end(&f, 0, 1, REASON_EXIT, 1);
    place(&f);
    expect(&f, "0:failed 15@0#1");
    finish(&f);
}

static void order_holds_between_the_held_node_and_the_others(void **state)
{
    struct fixture f = begin_with((struct sched_config){.patience_ms = 1000, .max_running = 5});

    (void)state;
    up(&f, 0, 4);
    up(&f, 1, 5);
    add(&f, (struct sched_task){.cores = 2, .timeout_ms = 60000});
    add(&f, (struct sched_task){.cores = 2, .timeout_ms = 60000});
    add(&f, (struct sched_task){.cores = 3, .timeout_ms = 90000});
    add(&f, (struct sched_task){.cores = 2, .timeout_ms = 90000});
    place(&f);
    expect(&f, "0@0#1 1@0#1 2@1#1 3@1#1");
    add_cores(&f, 4);
    add(&f, (struct sched_task){.cores = 2, .timeout_ms = 100});
    add(&f, (struct sched_task){.cores = 1, .timeout_ms = 100});
    place(&f);
    place_at(&f, 1000); /* node 0 is held for task 4 */
    end(&f, 1, 1, REASON_EXIT, 1);
    end(&f, 3, 1, REASON_EXIT, 1);
    up(&f, 2, 1);
    add(&f, (struct sched_task){.priority = 1});
    add(&f, (struct sched_task){.priority = 1});
    place(&f); /* the last of five is 5, on the held node, not 6, on node 1 */
    expect(&f, "1:failed 3:failed 7@2#1 8@1#1 5@0#1");
    finish(&f);
}

static void without_narrower_tasks_no_hold_is_needed(void **state)
{
    struct fixture f = begin();
    task_id_t task;
    node_id_t node;

    (void)state;
    up(&f, 0, 2);
    for (int i = 0; i < 3; i++)
        add_cores(&f, 2);
    place(&f);
    assert_true(sched_next_ms(f.s, 0) == INT64_MAX);
    place_at(&f, 5000);
    assert_false(sched_get_hold(f.s, &task, &node));
    add_cores(&f, 1); /* now there is one; task 1 has waited long enough */
    place(&f);
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(task, 1);
    finish(&f);
}

static void a_task_wider_than_every_node_waits_without_a_hold(void **state)
{
    struct fixture f = begin();
    task_id_t task;
    node_id_t node;

    (void)state;
    up(&f, 0, 2);
    add_cores(&f, 3);
    add_cores(&f, 1);
    add_cores(&f, 1);
    assert_false(sched_stuck(f.s));
    place(&f);
    expect(&f, "1@0#1 2@0#1");
    place_at(&f, 5000);
    assert_false(sched_get_hold(f.s, &task, &node));
    done(&f, 1);
    assert_false(sched_stuck(f.s));
    done(&f, 2);
    place(&f);
    expect(&f, "1:completed 2:completed");
    assert_true(sched_stuck(f.s));
    cancel(&f, 0);
    assert_false(sched_stuck(f.s));
    finish(&f);
}

static void estimates_are_learned_from_completed_attempts(void **state)
{
    struct fixture f = begin();
    task_id_t task;
    node_id_t node;

    (void)state;
    up(&f, 0, 2);
    add_cores(&f, 1);
    place(&f);
    f.now_ms = 100;
    done(&f, 0); /* 100 ms once: 300 ms expected */
    add(&f, (struct sched_task){.timeout_ms = 20000});
    add(&f, (struct sched_task){.timeout_ms = 20000});
    place(&f);
    f.out.len = 0;
    add_cores(&f, 2); /* 3: at 20100 */
    add_cores(&f, 1);
    add_cores(&f, 1);
    place(&f);
    place_at(&f, 1100);
    assert_true(sched_get_hold(f.s, &task, &node));
    f.now_ms = 19800;
    end(&f, 1, 1, REASON_EXIT, 1);
    place(&f);
    expect(&f, "1:failed 4@0#1"); /* until 20100: just in time */
    f.now_ms = 19801;
    end(&f, 4, 1, REASON_EXIT, 1); /* a failure: the estimate stays */
    place(&f);
    expect(&f, "4:failed"); /* 5 would end at 20101 */
    finish(&f);
}

/* ---- The parts ---------------------------------------------------------------------------------
 */

static void an_estimate_is_careful_then_precise(void **state)
{
    struct estimate e = {0};

    (void)state;
    assert_true(estimate_ms(&e) == ESTIMATE_UNKNOWN);
    estimate_add(&e, 100);
    assert_int_equal(estimate_ms(&e), 300);
    for (int i = 0; i < 50; i++)
        estimate_add(&e, 100);
    assert_in_range(estimate_ms(&e), 112, 113);
    estimate_add(&e, 1000); /* a long one counts at once, and for a while */
    assert_int_equal(estimate_ms(&e), 1125);
    for (int i = 0; i < 10; i++)
        estimate_add(&e, 100);
    assert_in_range(estimate_ms(&e), 900, 1100);
    for (int i = 0; i < 1000; i++)
        estimate_add(&e, 100);
    assert_in_range(estimate_ms(&e), 112, 114);
    estimate_add(&e, INT64_MAX);
    assert_true(estimate_ms(&e) > 0);
    e = (struct estimate){0};
    estimate_add(&e, -5);
    assert_int_equal(estimate_ms(&e), 1);
}

static void idset_agrees_with_a_plain_array(void **state)
{
    static const uint64_t bounds[] = {1, 63, 64, 65, 4095, 4097, 300000};
    uint64_t x = 88172645463325252u;

    (void)state;
    for (size_t b = 0; b < sizeof(bounds) / sizeof(*bounds); b++) {
        struct idset set;
        bool *plain = calloc(bounds[b], 1);

        assert_non_null(plain);
        assert_int_equal(idset_init(&set, bounds[b]), 0);
        for (int i = 0; i < 3000; i++) {
            uint64_t id, next, last;

            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            id = x % bounds[b];
            plain[id] = x >> 60 < 8;
            if (plain[id])
                idset_add(&set, id);
            else
                idset_remove(&set, id);
            assert_int_equal(idset_has(&set, id), plain[id]);
            id = (x >> 20) % (bounds[b] + 1);
            for (next = id; next < bounds[b] && !plain[next]; next++)
                ;
            assert_true(idset_next(&set, id) == (next < bounds[b] ? next : IDSET_NONE));
            if (i % 100)
                continue;
            for (last = bounds[b]; last > 0 && !plain[last - 1]; last--)
                ;
            assert_true(idset_last(&set) == (last > 0 ? last - 1 : IDSET_NONE));
        }
        idset_fini(&set);
        free(plain);
    }
}

/* ---- Contradictions are the caller's bugs ------------------------------------------------------
 */

static void node_twice_up(struct fixture *f)
{
    up(f, 0, 1);
    up(f, 0, 1);
}

static void node_down_that_was_not_up(struct fixture *f)
{
    down(f, 3);
}

static void unknown_task(struct fixture *f)
{
    cancel(f, 0);
}

static void cycle(struct fixture *f)
{
    task_id_t one = 1, zero = 0;
    struct sched_task batch[] = {{.cores = 1, .deps = &one, .dep_count = 1},
                                 {.cores = 1, .deps = &zero, .dep_count = 1}};

    (void)!sched_add(f->s, batch, 2, 0, &f->out);
}

static void dependency_on_nothing(struct fixture *f)
{
    add_after(f, 1);
}

static void task_without_cores(struct fixture *f)
{
    (void)!sched_add(f->s, &(struct sched_task){.cores = 0}, 1, 0, &f->out);
}

static void contradictions_abort(void **state)
{
    static void (*const bugs[])(struct fixture *) = {
        node_twice_up, node_down_that_was_not_up, unknown_task,
        cycle,         dependency_on_nothing,     task_without_cores};

    (void)state;
    for (size_t i = 0; i < sizeof(bugs) / sizeof(*bugs); i++) {
        int wstatus;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            struct fixture f = begin();

            (void)!freopen("/dev/null", "w", stderr);
            setrlimit(RLIMIT_CORE, &(struct rlimit){0});
            signal(SIGABRT, SIG_DFL);
            bugs[i](&f);
            _exit(0);
        }
        while (waitpid(pid, &wstatus, 0) < 0)
            ;
        if (!WIFSIGNALED(wstatus) || WTERMSIG(wstatus) != SIGABRT)
            fail_msg("contradiction %zu was accepted", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(higher_priority_starts_first_then_file_order),
        cmocka_unit_test(order_holds_across_widths),
        cmocka_unit_test(tasks_of_one_width_spread_over_the_nodes),
        cmocka_unit_test(narrow_tasks_fill_gaps_while_wider_ones_wait),
        cmocka_unit_test(narrow_tasks_make_room_for_wide_ones_that_are_blocked_still),
        cmocka_unit_test(max_running_bounds_the_tasks_at_once),
        cmocka_unit_test(drain_starts_nothing_more),
        cmocka_unit_test(failures_of_every_kind_are_retried_then_final),
        cmocka_unit_test(losses_use_up_no_retry_but_have_a_bound),
        cmocka_unit_test(without_a_bound_losses_never_fail_a_task),
        cmocka_unit_test(stale_ends_are_ignored),
        cmocka_unit_test(a_node_may_come_back_with_other_cores),
        cmocka_unit_test(dependents_start_when_all_dependencies_completed),
        cmocka_unit_test(a_batch_may_name_later_tasks),
        cmocka_unit_test(a_failure_skips_everything_behind_it_with_its_cause),
        cmocka_unit_test(a_batch_behind_a_failed_task_is_skipped_at_once),
        cmocka_unit_test(a_chain_of_a_hundred_thousand_is_skipped_without_recursion),
        cmocka_unit_test(work_of_an_earlier_run_is_taken_over),
        cmocka_unit_test(cancel_of_a_waiting_task_skips_what_depends_on_it),
        cmocka_unit_test(cancel_of_a_running_task_takes_effect_at_its_end),
        cmocka_unit_test(retry_brings_back_failed_and_skipped_tasks_in_any_order),
        cmocka_unit_test(a_task_retried_without_its_dependency_is_skipped_again),
        cmocka_unit_test(retry_gives_all_retries_and_losses_again),
        cmocka_unit_test(a_cancelled_task_can_be_retried_at_its_old_place),
        cmocka_unit_test(before_its_patience_ends_narrow_tasks_pass_a_wide_one),
        cmocka_unit_test(while_nothing_is_known_the_held_node_drains),
        cmocka_unit_test(a_held_node_takes_nothing_that_would_end_too_late),
        cmocka_unit_test(a_task_that_ends_in_time_may_use_the_held_node),
        cmocka_unit_test(a_task_that_fits_beside_the_wide_one_may_use_the_held_node),
        cmocka_unit_test(the_hold_is_where_the_task_can_start_soonest),
        cmocka_unit_test(a_hold_that_came_to_nothing_moves_to_a_better_node),
        cmocka_unit_test(the_expected_start_never_moves_to_a_later_time),
        cmocka_unit_test(an_attempt_that_outlives_its_estimate_still_has_its_timeout),
        cmocka_unit_test(higher_priority_passes_a_hold),
        cmocka_unit_test(order_holds_between_the_held_node_and_the_others),
        cmocka_unit_test(without_narrower_tasks_no_hold_is_needed),
        cmocka_unit_test(a_task_wider_than_every_node_waits_without_a_hold),
        cmocka_unit_test(estimates_are_learned_from_completed_attempts),
        cmocka_unit_test(an_estimate_is_careful_then_precise),
        cmocka_unit_test(idset_agrees_with_a_plain_array),
        cmocka_unit_test(contradictions_abort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
