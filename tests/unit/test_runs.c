/* SPDX-License-Identifier: BSD-3-Clause */
/* When a task that the head sent to follow another begins, where the head did not know yet what has
 * ended and what has gone back. The head hands a place on when it hears of an end, and closes the
 * gap when it hears that one came back: in the order in which these happened here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/runs.h"

static struct runs runs;

static void add(task_id_t task, task_id_t behind)
{
    assert_int_equal(runs_reserve(&runs), 0);
    runs_add(&runs, task, 1, behind != TASK_ID_NONE ? runs_find_task(&runs, behind) : RUN_NONE);
}

static void end(task_id_t task)
{
    uint32_t index = runs_find_task(&runs, task);

    assert_int_not_equal(index, RUN_NONE);
    assert_int_equal(runs.v[index].before, RUN_NONE);
    (void)runs_remove(&runs, index);
}

static void give_back(task_id_t task)
{
    uint32_t index = runs_find_task(&runs, task);

    assert_int_not_equal(index, RUN_NONE);
    assert_int_equal(runs_give_back(&runs, task, runs.v[runs.v[index].before].task), 0);
    (void)runs_remove(&runs, index);
}

static void expect(task_id_t after, enum run_turn turn, task_id_t really_after)
{
    task_id_t found = after;

    assert_int_equal(runs_turn(&runs, &found), turn);
    if (turn != TURN_NOW)
        assert_int_equal(found, really_after);
}

/* 1 runs, 2 and 3 are behind it. */
static int begin(void **state)
{
    (void)state;
    memset(&runs, 0, sizeof(runs));
    add(1, TASK_ID_NONE);
    add(2, 1);
    add(3, 2);
    return 0;
}

static int done(void **state)
{
    (void)state;
    runs_fini(&runs);
    return 0;
}

static void it_waits_for_what_is_there(void **state)
{
    (void)state;
    expect(3, TURN_WAITS, 3);
    end(1);
    expect(3, TURN_WAITS, 3);
}

static void it_begins_when_all_have_ended(void **state)
{
    (void)state;
    end(1);
    end(2);
    end(3);
    expect(3, TURN_NOW, 0);
}

static void it_goes_back_while_what_is_ahead_of_the_one_that_went_back_is_there(void **state)
{
    (void)state;
    give_back(3);
    expect(3, TURN_BACK, 2);
    end(1);
    expect(3, TURN_BACK, 2);
}

/* By the end of 2 the head has handed its place to it: nobody would start it again. */
static void it_begins_when_that_has_ended_too(void **state)
{
    (void)state;
    end(1);
    give_back(3);
    end(2);
    expect(3, TURN_NOW, 0);
}

static void several_that_went_back_are_stepped_over(void **state)
{
    (void)state;
    give_back(3);
    give_back(2);
    expect(3, TURN_BACK, 1);
    /* Another one behind the one that goes back for this reason. */
    assert_int_equal(runs_give_back(&runs, 4, 1), 0);
    expect(4, TURN_BACK, 1);
    end(1);
    expect(3, TURN_NOW, 0);
    expect(4, TURN_NOW, 0);
}

static void who_went_back_first_is_not_looked_for_behind_others(void **state)
{
    (void)state;
    give_back(2);
    give_back(3); /* was behind 1 by then */
    expect(2, TURN_BACK, 1);
    expect(3, TURN_BACK, 1);
}

static void what_the_head_knows_counts_no_more(void **state)
{
    (void)state;
    give_back(3);
    runs_acknowledge(&runs, 1);
    add(3, 2);
    expect(3, TURN_WAITS, 3);
    give_back(3);
    give_back(2);
    runs_acknowledge(&runs, 2);
    expect(2, TURN_BACK, 1);
    expect(3, TURN_NOW, 0); /* the head would not send anything after it */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_waits_for_what_is_there),
        TEST(it_begins_when_all_have_ended),
        TEST(it_goes_back_while_what_is_ahead_of_the_one_that_went_back_is_there),
        TEST(it_begins_when_that_has_ended_too),
        TEST(several_that_went_back_are_stepped_over),
        TEST(who_went_back_first_is_not_looked_for_behind_others),
        TEST(what_the_head_knows_counts_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
