/* SPDX-License-Identifier: BSD-3-Clause */
/* The scheduler core, one behaviour a test: order, placement, ends, dependencies, cancel and retry.
 * Holding a node for a wide task has tests of its own in tests/sim/test_hold.c. */
#include "sched_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/estimate.h"
#include "core/idset.h"

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

/* Nor does an end that the pilot or its disks made, however often. */
static void what_was_not_the_tasks_fault_uses_nothing_up(void **state)
{
    struct fixture f = begin_with((struct sched_config){.max_losses = 1});
    struct sched_task_info info;

    (void)state;
    up(&f, 0, 1);
    add_cores(&f, 1);
    for (unsigned i = 1; i <= 10; i++) {
        place(&f);
        end(&f, 0, i, i % 2 ? REASON_DISK : REASON_STOP, -1);
    }
    sched_get_task(f.s, 0, &info);
    assert_int_equal(info.status, TASK_PENDING);
    assert_int_equal(info.failures + info.losses, 0);
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
        cmocka_unit_test(what_was_not_the_tasks_fault_uses_nothing_up),
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
        cmocka_unit_test(an_estimate_is_careful_then_precise),
        cmocka_unit_test(idset_agrees_with_a_plain_array),
        cmocka_unit_test(contradictions_abort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
