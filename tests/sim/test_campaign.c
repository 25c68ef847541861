/* SPDX-License-Identifier: BSD-3-Clause */
/* Campaigns small enough to be worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "sim/campaign.h"

#define S 1000 /* milliseconds */

static struct campaign_result run(const struct campaign_task *tasks, task_id_t count,
                                  uint32_t nodes, uint32_t cores, unsigned max_running)
{
    struct campaign_machine machine = {nodes, cores, max_running, 0};
    struct campaign_result r;
    struct pilot_error err;

    assert_int_equal(campaign_run(tasks, count, &machine, &r, &err), 0);
    return r;
}

static void full_cores_are_the_limit(void **state)
{
    struct campaign_task tasks[100];
    struct campaign_result r;

    (void)state;
    for (int i = 0; i < 100; i++)
        tasks[i] = (struct campaign_task){.cores = 1, .duration_ms = 3 * S};
    r = run(tasks, 100, 5, 4, 0);
    assert_int_equal(r.makespan_ms, 15 * S);
    assert_int_equal(r.area_ms, 15 * S);
    assert_int_equal(r.path_ms, 3 * S);
    assert_int_equal(r.most_running, 20);
    assert_float_equal(r.utilisation, 1, 1e-9);
}

static void a_chain_is_as_long_as_its_tasks(void **state)
{
    /* Given back to front: what a task waits for may stand behind it. */
    static const task_id_t deps[] = {1, 2};
    struct campaign_task tasks[] = {
        {.cores = 1, .duration_ms = 2 * S, .deps = &deps[0], .dep_count = 1},
        {.cores = 1, .duration_ms = 3 * S, .deps = &deps[1], .dep_count = 1},
        {.cores = 1, .duration_ms = 5 * S},
        {.cores = 1, .duration_ms = 7 * S},
    };
    struct campaign_result r = run(tasks, 4, 1, 2, 0);

    (void)state;
    assert_int_equal(r.makespan_ms, 10 * S);
    assert_int_equal(r.path_ms, 10 * S);
    assert_int_equal(r.path_tasks, 3);
    assert_int_equal(r.path_last, 0);
    assert_float_equal(r.utilisation, 17.0 / 20, 1e-9);
    /* From 7 s to 8 s one core waits for a task that waits; then nothing is left. */
    assert_float_equal(r.idle_waiting, 1.0 / 20, 1e-9);
    assert_float_equal(r.idle_tail, 2.0 / 20, 1e-9);
    assert_float_equal(r.idle_fitting, 0, 1e-9);
}

static void what_does_not_fit_leaves_cores_idle(void **state)
{
    struct campaign_task tasks[] = {
        {.cores = 3, .duration_ms = 4 * S},
        {.cores = 3, .duration_ms = 4 * S},
    };
    struct campaign_result r = run(tasks, 2, 1, 4, 0);

    (void)state;
    assert_int_equal(r.makespan_ms, 8 * S);
    assert_int_equal(r.area_ms, 6 * S);
    assert_float_equal(r.idle_fitting, 4.0 / 32, 1e-9);
    assert_float_equal(r.idle_tail, 4.0 / 32, 1e-9);
}

static void tasks_at_once_are_limited(void **state)
{
    struct campaign_task tasks[6];
    struct campaign_result r;

    (void)state;
    for (int i = 0; i < 6; i++)
        tasks[i] = (struct campaign_task){.cores = 1, .duration_ms = S};
    r = run(tasks, 6, 2, 8, 2);
    assert_int_equal(r.makespan_ms, 3 * S);
    assert_int_equal(r.most_running, 2);
}

static void priorities_come_first_and_zero_takes_a_moment(void **state)
{
    struct campaign_task tasks[] = {
        {.cores = 1, .duration_ms = 4 * S},
        {.cores = 1, .duration_ms = 0, .priority = 1},
    };
    struct campaign_result r = run(tasks, 2, 1, 1, 0);

    (void)state;
    assert_int_equal(r.makespan_ms, 4 * S + 1);
    assert_int_equal(run(tasks, 0, 1, 1, 0).makespan_ms, 0);
}

static void a_task_wider_than_a_node_is_refused(void **state)
{
    struct campaign_task task = {.cores = 5, .duration_ms = S};
    struct campaign_machine machine = {9, 4, 0, 1000};
    struct campaign_result r;
    struct pilot_error err;

    (void)state;
    assert_int_equal(campaign_run(&task, 1, &machine, &r, &err), PILOT_EINVAL);
    task = (struct campaign_task){.cores = 1, .memory = 1001, .duration_ms = S};
    assert_int_equal(campaign_run(&task, 1, &machine, &r, &err), PILOT_EINVAL);
}

static void memory_limits_as_cores_do(void **state)
{
    struct campaign_task tasks[4];
    struct campaign_machine machine = {1, 4, 0, 1 << 20};
    struct campaign_result r;
    struct pilot_error err;

    (void)state;
    for (int i = 0; i < 4; i++)
        tasks[i] = (struct campaign_task){.cores = 1, .memory = 1 << 19, .duration_ms = S};
    assert_int_equal(campaign_run(tasks, 4, &machine, &r, &err), 0);
    assert_int_equal(r.makespan_ms, 2 * S);
    assert_int_equal(r.most_running, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_cores_are_the_limit),
        cmocka_unit_test(a_chain_is_as_long_as_its_tasks),
        cmocka_unit_test(what_does_not_fit_leaves_cores_idle),
        cmocka_unit_test(tasks_at_once_are_limited),
        cmocka_unit_test(priorities_come_first_and_zero_takes_a_moment),
        cmocka_unit_test(a_task_wider_than_a_node_is_refused),
        cmocka_unit_test(memory_limits_as_cores_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
