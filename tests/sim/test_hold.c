/* SPDX-License-Identifier: BSD-3-Clause */
/* The rule for wide tasks, one sentence of docs/scheduling.md a test: when a node is held, which
 * one, and what may still start there. sim_fair shows that the rule does what it is for. */
#include "../unit/sched_fixture.h"

/* Two nodes of 4 cores, full of 1-core tasks 0-7 that started at 0; task 8 needs 4 cores; tasks
 * 9-14 need one. Task 8 was first in order at 0. */
static struct fixture crowd_with(int64_t timeout_ms, int64_t look_ms)
{
    struct fixture f = begin_with((struct sched_config){.patience_ms = 1000, .look_ms = look_ms});

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

static struct fixture crowd(int64_t timeout_ms)
{
    return crowd_with(timeout_ms, 0);
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

static void where_it_is_known_when_it_fits_a_node_is_held_soon(void **state)
{
    struct fixture known = crowd_with(20000, 100), unknown = crowd_with(0, 100);
    task_id_t task;
    node_id_t node;

    (void)state;
    assert_true(sched_next_ms(known.s, 0) == 100);
    place_at(&known, 100);
    assert_true(sched_get_hold(known.s, &task, &node));
    assert_int_equal(task, 8);
    place_at(&unknown, 100);
    assert_false(sched_get_hold(unknown.s, &task, &node));
    assert_true(sched_next_ms(unknown.s, 100) == 1000); /* it is not looked for again and again */
    place_at(&unknown, 1000);
    assert_true(sched_get_hold(unknown.s, &task, &node));
    finish(&known);
    finish(&unknown);
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
    place_at(&f, 6100); /* outlived: now as long again, 11199; the other has its timeout at 7001 */
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(task, 3);
    assert_int_equal(node, 1);
    up(&f, 2, 2);
    add(&f, (struct sched_task){.cores = 2, .timeout_ms = 100, .priority = 1});
    place_at(&f, 9000); /* sooner there, but it has moved once: not before 7001 + 2 * 1000 */
    expect(&f, "5@2#1");
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(node, 1);
    place_at(&f, 9001);
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(node, 2);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_its_patience_ends_narrow_tasks_pass_a_wide_one),
        cmocka_unit_test(where_it_is_known_when_it_fits_a_node_is_held_soon),
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
