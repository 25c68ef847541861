/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks lent behind others: when, and what becomes of them. One node of one core, ten tasks that
 * take 20 ms each (which is too long for more than one to be lent), unless a test says otherwise.
 */
#include "sched_fixture.h"

#define TASKS 10

/* Task 0 runs. */
static struct fixture begin_lending(struct sched_config config, int64_t takes_ms)
{
    struct fixture f;

    config.patience_ms = 1000;
    config.lend_ms = config.lend_ms ? config.lend_ms : 100;
    f = begin_with(config);
    up(&f, 0, 1);
    for (int i = 0; i < TASKS; i++)
        add(&f, (struct sched_task){.timeout_ms = takes_ms, .max_retries = 1});
    return f;
}

static struct fixture begin_lent(void)
{
    struct fixture f = begin_lending((struct sched_config){0}, 20);

    place(&f);
    expect(&f, "0@0#1 lend 1@0#1>0");
    return f;
}

static void test_takes_over_and_the_next_is_lent(void **state)
{
    struct fixture f = begin_lent();
    struct sched_task_info info;
    struct sched_counts counts;

    (void)state;
    sched_get_task(f.s, 1, &info);
    assert_true(info.lent && info.status == TASK_PENDING && info.attempts == 0 && info.node == 0);
    sched_get_counts(f.s, &counts);
    assert_true(counts.lent == 1 && counts.by_status[TASK_RUNNING] == 1 && counts.cores_busy == 1);
    done(&f, 0);
    expect(&f, "0:completed 1@0#1!");
    place(&f);
    expect(&f, "lend 2@0#1>1");
    done(&f, 1);
    expect(&f, "1:completed 2@0#1!");
    finish(&f);
}

static void test_comes_back_and_nothing_is_counted(void **state)
{
    struct fixture f = begin_lent();
    struct sched_task_info info;

    (void)state;
    returned(&f, 1, 1);
    expect(&f, "");
    sched_get_task(f.s, 1, &info);
    assert_true(!info.lent && info.attempts == 0 && info.failures == 0 && info.losses == 0);
    place(&f); /* not behind the same one again */
    expect(&f, "");
    up(&f, 1, 1);
    place(&f); /* it is the first */
    expect(&f, "1@1#1 lend 2@1#1>1");
    returned(&f, 1, 1); /* stale */
    expect(&f, "");
    finish(&f);
}

/* A few that were short are no reason to believe that the next one is. */
static void test_not_before_enough_were_short(void **state)
{
    struct fixture f = begin_lending((struct sched_config){0}, 0);

    (void)state;
    for (int i = 0; i < 18; i++)
        add_cores(&f, 1);
    for (task_id_t i = 0; i < 16; i++) {
        char text[64];

        f.now_ms += 5;
        place(&f);
        snprintf(text, sizeof(text), "%u@0#1", i);
        expect(&f, text);
        f.now_ms += 5;
        done(&f, i);
        snprintf(text, sizeof(text), "%u:completed", i);
        expect(&f, text);
    }
    place(&f); /* 6 ms is soon, and 10 are left for 2 in that place */
    expect(&f, "16@0#1 lend 17@0#1>16 lend 18@0#1>17");
    finish(&f);
}

static void done_in(struct fixture *f, task_id_t task, int64_t ran_ms)
{
    apply(f, (struct sched_event){
                 .type = SCHED_ATTEMPT_ENDED, .task = task, .attempt = 1, .ran_ms = ran_ms});
    f->out.len = 0;
}

/* The ends are told 25 ms late: that does not make the tasks long. Then the node's clock is set by
 * an hour: that does not count for as much. */
static void test_how_long_they_ran_by_the_node(void **state)
{
    struct fixture f = begin_lending((struct sched_config){0}, 0);
    struct sched_counts counts;
    task_id_t next = 16;

    (void)state;
    for (int i = 0; i < 150; i++)
        add_cores(&f, 1);
    for (task_id_t i = 0; i < 16; i++) {
        place(&f);
        f.now_ms += 30;
        done_in(&f, i, 5);
    }
    place(&f); /* 6 ms each, 40 in all */
    expect(&f, "16@0#1 lend 17@0#1>16 lend 18@0#1>17 lend 19@0#1>18 lend 20@0#1>19 lend 21@0#1>20 "
               "lend 22@0#1>21");
    done_in(&f, next++, 3600000);
    for (; next < 22; next++)
        done_in(&f, next, 5);
    place(&f);
    sched_get_counts(f.s, &counts);
    assert_int_equal(counts.lent, 0);
    for (; counts.lent == 0 && next < 100; next++) {
        f.now_ms += 30;
        done_in(&f, next, 5);
        place(&f);
        sched_get_counts(f.s, &counts);
    }
    assert_int_equal(counts.lent, 1);
    finish(&f);
}

static void test_not_when_long_or_too_few(void **state)
{
    struct fixture f = begin_lending((struct sched_config){0}, 101);

    (void)state;
    place(&f);
    expect(&f, "0@0#1");
    finish(&f);
    f = begin_lending((struct sched_config){0}, 20);
    up(&f, 1, 1);
    up(&f, 2, 1);
    place(&f); /* 7 are left for 3 that run */
    expect(&f, "0@0#1 1@1#1 2@2#1");
    finish(&f);
}

static void test_not_behind_one_that_has_run_long(void **state)
{
    struct fixture f = begin_lending((struct sched_config){.max_running = 1}, 20);

    (void)state;
    place(&f);
    expect(&f, "0@0#1 lend 1@0#1>0"); /* the limit is of what runs */
    f.now_ms = 200;
    done(&f, 0);
    f.now_ms = 400;
    place(&f); /* 1 began 200 ms ago */
    expect(&f, "0:completed 1@0#1!");
    finish(&f);
}

/* Only the next in order, and only one that is as large. */
static void test_only_the_next_in_order(void **state)
{
    struct fixture f = begin_lending((struct sched_config){0}, 20);

    (void)state;
    up(&f, 1, 2);
    add(&f, (struct sched_task){.cores = 2, .priority = 1, .timeout_ms = 20});
    add(&f, (struct sched_task){.cores = 2, .priority = 1, .timeout_ms = 20});
    place(&f); /* 11, which fits nowhere now, is before the others */
    expect(&f, "10@1#1 0@0#1");
    done(&f, 10);
    place(&f);
    expect(&f, "10:completed 11@1#1");
    finish(&f);
}

static void test_cancelled_when_it_comes_back(void **state)
{
    struct fixture f = begin_lent();

    (void)state;
    add_after(&f, 1);
    cancel(&f, 1);
    expect(&f, "kill 1@0#1");
    cancel(&f, 1);
    expect(&f, "");
    returned(&f, 1, 1);
    expect(&f, "1:cancelled 10:skipped(1)");
    done(&f, 0);
    place(&f);
    expect(&f, "0:completed 2@0#1 lend 3@0#1>2");
    finish(&f);
}

static void test_cancelled_after_it_had_begun(void **state)
{
    struct fixture f = begin_lent();

    (void)state;
    cancel(&f, 1);
    expect(&f, "kill 1@0#1");
    done(&f, 0);
    expect(&f, "0:completed 1@0#1!");
    end(&f, 1, 1, REASON_EXIT, 0);
    expect(&f, "1:cancelled");
    finish(&f);
}

/* What it was is known before the end of the one before it. */
static void test_its_end_comes_first(void **state)
{
    struct fixture f = begin_lent();

    (void)state;
    end(&f, 1, 1, REASON_EXIT, 1);
    expect(&f, "1@0#1! 1:pending*");
    done(&f, 0);
    place(&f);
    expect(&f, "0:completed 1@0#2 lend 2@0#1>1");
    finish(&f);
}

static void test_lost_with_its_node(void **state)
{
    struct fixture f = begin_lent();
    struct sched_task_info info;

    (void)state;
    down(&f, 0);
    expect(&f, "0:pending 1@0#1! 1:pending");
    sched_get_task(f.s, 1, &info);
    assert_true(info.losses == 1 && info.attempts == 1 && info.failures == 0);
    returned(&f, 1, 1);
    expect(&f, "");
    finish(&f);
}

static void test_drain_wants_it_back(void **state)
{
    struct fixture f = begin_lent();

    (void)state;
    apply(&f, (struct sched_event){.type = SCHED_DRAIN});
    expect(&f, "recall 1@0#1");
    returned(&f, 1, 1);
    place(&f);
    expect(&f, "");
    done(&f, 0);
    place(&f);
    expect(&f, "0:completed");
    finish(&f);
}

/* Its start may be a while after the loan. */
static void test_not_close_to_the_deadline(void **state)
{
    struct fixture f = begin_lending((struct sched_config){.deadline_ms = 215}, 20);

    (void)state;
    place(&f);
    expect(&f, "0@0#1");
    finish(&f);
    f = begin_lending((struct sched_config){.deadline_ms = 225}, 20);
    place(&f);
    expect(&f, "0@0#1 lend 1@0#1>0");
    finish(&f);
}

/* ---- Several behind one ----------------------------------------------------------------------
 */

/* Tasks of takes_ms; task 0 runs. */
static struct fixture begin_many(struct sched_config config, int64_t takes_ms, int more)
{
    struct fixture f = begin_lending(config, takes_ms);

    for (int i = 0; i < more; i++)
        add(&f, (struct sched_task){.timeout_ms = takes_ms});
    place(&f);
    return f;
}

#define EIGHT                                                                                      \
    "0@0#1 lend 1@0#1>0 lend 2@0#1>1 lend 3@0#1>2 lend 4@0#1>3 lend 5@0#1>4 lend 6@0#1>5 "         \
    "lend 7@0#1>6 lend 8@0#1>7"

static void test_eight_behind_one_and_filled_up_again(void **state)
{
    struct fixture f = begin_many((struct sched_config){0}, 5, 60);

    (void)state;
    expect(&f, EIGHT);
    done(&f, 0);
    done(&f, 1);
    done(&f, 2);
    expect(&f, "0:completed 1@0#1! 1:completed 2@0#1! 2:completed 3@0#1!");
    place(&f); /* once for all three */
    expect(&f, "lend 9@0#1>8 lend 10@0#1>9 lend 11@0#1>10");
    finish(&f);
}

/* However short they are. */
static void test_no_more_than_the_slot_keeps(void **state)
{
    struct fixture f = begin_many((struct sched_config){0}, 1, 200);
    struct sched_counts counts;

    (void)state;
    sched_get_counts(f.s, &counts);
    assert_int_equal(counts.lent, LENT_MAX);
    f.out.len = 0;
    finish(&f);
}

/* As many as are over within 40 ms; none without four times as many behind them. */
static void test_as_many_as_are_over_soon(void **state)
{
    struct fixture f = begin_many((struct sched_config){0}, 10, 60);

    (void)state;
    expect(&f, "0@0#1 lend 1@0#1>0 lend 2@0#1>1 lend 3@0#1>2 lend 4@0#1>3");
    finish(&f);
    f = begin_many((struct sched_config){0}, 11, 60);
    expect(&f, "0@0#1 lend 1@0#1>0");
    finish(&f);
    f = begin_many((struct sched_config){0}, 5, 4); /* 13, 12 and 11 are left */
    expect(&f, "0@0#1 lend 1@0#1>0 lend 2@0#1>1");
    finish(&f);
}

/* Who waits for one of them should not wait for the others. */
static void test_one_behind_what_others_wait_for(void **state)
{
    struct fixture f = begin_lending((struct sched_config){0}, 5);

    (void)state;
    for (int i = 0; i < 60; i++)
        add(&f, (struct sched_task){.timeout_ms = 5});
    add_after(&f, 2);
    place(&f);
    expect(&f, "0@0#1 lend 1@0#1>0");
    done(&f, 0);
    place(&f);
    expect(&f, "0:completed 1@0#1! lend 2@0#1>1");
    done(&f, 1);
    place(&f);
    expect(&f, "1:completed 2@0#1! lend 3@0#1>2");
    finish(&f);
}

static void test_all_come_back(void **state)
{
    struct fixture f = begin_many((struct sched_config){0}, 5, 60);

    (void)state;
    expect(&f, EIGHT);
    for (task_id_t i = 1; i <= 8; i++)
        returned(&f, i, 1);
    expect(&f, "");
    done(&f, 0);
    expect(&f, "0:completed");
    place(&f);
    expect(&f, "1@0#1 lend 2@0#1>1 lend 3@0#1>2 lend 4@0#1>3 lend 5@0#1>4 lend 6@0#1>5 "
               "lend 7@0#1>6 lend 8@0#1>7 lend 9@0#1>8");
    finish(&f);
}

/* Out of the middle, and out of order: those behind move up. */
static void test_cancelled_in_the_middle(void **state)
{
    struct fixture f = begin_many((struct sched_config){0}, 10, 60);

    (void)state;
    expect(&f, "0@0#1 lend 1@0#1>0 lend 2@0#1>1 lend 3@0#1>2 lend 4@0#1>3");
    cancel(&f, 2);
    expect(&f, "kill 2@0#1");
    returned(&f, 2, 1);
    expect(&f, "2:cancelled");
    end(&f, 3, 1, REASON_EXIT, 0); /* those before it are not known yet */
    expect(&f, "3@0#1! 3:completed");
    done(&f, 0);
    done(&f, 1);
    expect(&f, "0:completed 1@0#1! 1:completed 4@0#1!");
    place(&f);
    expect(&f, "lend 5@0#1>4 lend 6@0#1>5 lend 7@0#1>6 lend 8@0#1>7");
    finish(&f);
}

static void test_drain_wants_all_back(void **state)
{
    struct fixture f = begin_many((struct sched_config){0}, 10, 60);

    (void)state;
    expect(&f, "0@0#1 lend 1@0#1>0 lend 2@0#1>1 lend 3@0#1>2 lend 4@0#1>3");
    done(&f, 0);
    apply(&f, (struct sched_event){.type = SCHED_DRAIN});
    expect(&f, "0:completed 1@0#1! recall 2@0#1 recall 3@0#1 recall 4@0#1");
    finish(&f);
}

/* Who is lost takes those behind it along once, and never again. */
static void test_what_was_lost_is_not_lent(void **state)
{
    struct fixture f = begin_many((struct sched_config){0}, 10, 60);

    (void)state;
    expect(&f, "0@0#1 lend 1@0#1>0 lend 2@0#1>1 lend 3@0#1>2 lend 4@0#1>3");
    down(&f, 0);
    expect(&f, "0:pending 1@0#1! 1:pending 2@0#1! 2:pending 3@0#1! 3:pending 4@0#1! 4:pending");
    up(&f, 0, 1);
    for (task_id_t i = 0; i <= 4; i++) {
        char text[64];

        place(&f); /* alone, and at once: nobody goes behind what was lost */
        snprintf(text, sizeof(text), "%u@0#2", i);
        expect(&f, text);
        done(&f, i);
        snprintf(text, sizeof(text), "%u:completed", i);
        expect(&f, text);
    }
    place(&f);
    expect(&f, "5@0#1 lend 6@0#1>5 lend 7@0#1>6 lend 8@0#1>7 lend 9@0#1>8");
    finish(&f);
}

/* Where a single loss fails a task, none is put at risk. */
static void test_nothing_lent_where_one_loss_is_the_last(void **state)
{
    struct fixture f = begin_many((struct sched_config){.max_losses = 1}, 10, 60);

    (void)state;
    expect(&f, "0@0#1");
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_over_and_the_next_is_lent),
        cmocka_unit_test(test_comes_back_and_nothing_is_counted),
        cmocka_unit_test(test_not_before_enough_were_short),
        cmocka_unit_test(test_how_long_they_ran_by_the_node),
        cmocka_unit_test(test_not_when_long_or_too_few),
        cmocka_unit_test(test_not_behind_one_that_has_run_long),
        cmocka_unit_test(test_only_the_next_in_order),
        cmocka_unit_test(test_cancelled_when_it_comes_back),
        cmocka_unit_test(test_cancelled_after_it_had_begun),
        cmocka_unit_test(test_its_end_comes_first),
        cmocka_unit_test(test_lost_with_its_node),
        cmocka_unit_test(test_drain_wants_it_back),
        cmocka_unit_test(test_not_close_to_the_deadline),
        cmocka_unit_test(test_eight_behind_one_and_filled_up_again),
        cmocka_unit_test(test_no_more_than_the_slot_keeps),
        cmocka_unit_test(test_as_many_as_are_over_soon),
        cmocka_unit_test(test_one_behind_what_others_wait_for),
        cmocka_unit_test(test_all_come_back),
        cmocka_unit_test(test_cancelled_in_the_middle),
        cmocka_unit_test(test_drain_wants_all_back),
        cmocka_unit_test(test_what_was_lost_is_not_lent),
        cmocka_unit_test(test_nothing_lent_where_one_loss_is_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
