/* SPDX-License-Identifier: BSD-3-Clause */
/* The scheduler core before a deadline: what is late, what it does to what is not, and what is left
 * in the end. */
#include "sched_fixture.h"

static struct fixture begin_until(int64_t deadline_ms)
{
    return begin_with((struct sched_config){.patience_ms = 1000, .deadline_ms = deadline_ms});
}

static void add_long(struct fixture *f, uint32_t cores, int64_t timeout_ms)
{
    add(f, (struct sched_task){.cores = cores, .timeout_ms = timeout_ms});
}

static void expect_late(const struct fixture *f, task_id_t late, bool stuck)
{
    struct sched_counts c;

    sched_get_counts(f->s, &c);
    assert_int_equal(c.late, late);
    assert_int_equal(sched_stuck(f->s), stuck);
}

static void a_task_that_cannot_end_in_time_is_not_started(void **state)
{
    struct fixture f = begin_until(10000);

    (void)state;
    add_long(&f, 1, 10001);
    add_long(&f, 1, 10000);
    add_long(&f, 1, 0);
    up(&f, 0, 8);
    place(&f);
    expect(&f, "1@0#1 2@0#1");
    expect_late(&f, 1, false);
    finish(&f);
}

/* Not even one of a higher priority, nor one so wide that a node would be kept for it. */
static void a_late_task_blocks_nobody(void **state)
{
    struct fixture f = begin_until(10000);

    (void)state;
    add_long(&f, 4, 5000);
    for (int i = 0; i < 3; i++)
        add_long(&f, 1, 0);
    add(&f, (struct sched_task){.priority = 9, .timeout_ms = 20000});
    up(&f, 0, 2);
    place(&f);
    expect(&f, "1@0#1 2@0#1");
    up(&f, 1, 4);
    place_at(&f, 5001);
    expect(&f, "3@1#1");
    expect_late(&f, 2, false);
    finish(&f);
}

static void a_node_is_kept_only_while_its_task_can_start(void **state)
{
    struct fixture f = begin_until(10000);
    task_id_t task;
    node_id_t node;

    (void)state;
    up(&f, 0, 2);
    add_long(&f, 1, 0);
    add_long(&f, 2, 4000);
    add_long(&f, 1, 0);
    place(&f);
    expect(&f, "0@0#1 2@0#1");
    add_long(&f, 1, 0);
    place_at(&f, 1000);
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(task, 1);
    done(&f, 0);
    place_at(&f, 6000);
    expect(&f, "0:completed");
    assert_int_equal(sched_next_ms(f.s, 6000), 6001);
    place_at(&f, 6001);
    expect(&f, "3@0#1");
    expect_late(&f, 1, false);
    finish(&f);
}

/* What waits for a late task is blocked, not late. */
static void when_only_late_tasks_are_left_it_is_stuck(void **state)
{
    struct fixture f = begin_until(1000);

    (void)state;
    up(&f, 0, 1);
    add_long(&f, 1, 600);
    add_long(&f, 1, 500);
    add_after(&f, 1);
    place(&f);
    expect(&f, "0@0#1");
    expect_late(&f, 0, false);
    f.now_ms = 600;
    done(&f, 0);
    place(&f);
    expect(&f, "0:completed");
    expect_late(&f, 1, true);
    finish(&f);
}

static void a_task_that_is_ended_may_become_late(void **state)
{
    struct fixture f = begin_until(1000);

    (void)state;
    up(&f, 0, 2);
    add_long(&f, 1, 600);
    place(&f);
    f.now_ms = 500;
    end(&f, 0, 1, REASON_STOP, -1);
    place(&f);
    expect(&f, "0@0#1 0:pending");
    expect_late(&f, 1, true);
    finish(&f);
}

static void a_late_task_can_be_cancelled_and_retried(void **state)
{
    struct fixture f = begin_until(1000);

    (void)state;
    up(&f, 0, 2);
    add_long(&f, 1, 5000);
    add_after(&f, 0);
    place(&f);
    expect_late(&f, 1, true);
    cancel(&f, 0);
    expect(&f, "0:cancelled 1:skipped(0)");
    expect_late(&f, 0, false);
    retry(&f, 0);
    place(&f);
    expect(&f, "0:pending");
    expect_late(&f, 1, true);
    finish(&f);
}

static void a_task_without_a_deadline_is_never_late(void **state)
{
    struct fixture f = begin_until(0);

    (void)state;
    up(&f, 0, 2);
    add_long(&f, 1, INT64_MAX);
    place_at(&f, INT64_MAX / 2);
    expect(&f, "0@0#1");
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_that_cannot_end_in_time_is_not_started),
        cmocka_unit_test(a_late_task_blocks_nobody),
        cmocka_unit_test(a_node_is_kept_only_while_its_task_can_start),
        cmocka_unit_test(when_only_late_tasks_are_left_it_is_stuck),
        cmocka_unit_test(a_task_that_is_ended_may_become_late),
        cmocka_unit_test(a_late_task_can_be_cancelled_and_retried),
        cmocka_unit_test(a_task_without_a_deadline_is_never_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
