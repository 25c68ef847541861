/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory as the second thing that tasks are placed by, and the trees that find room for it. */
#include "sched_fixture.h"

#include "core/maxtree.h"
#include "pilot.h"

static void up_with(struct fixture *f, node_id_t node, uint32_t cores, uint64_t memory)
{
    apply(f, (struct sched_event){
                 .type = SCHED_NODE_UP, .node = node, .cores = cores, .memory = memory});
}

static void add_with(struct fixture *f, uint32_t cores, uint64_t memory)
{
    add(f, (struct sched_task){.cores = cores, .memory = memory});
}

static void tasks_wait_for_memory_as_for_cores(void **state)
{
    struct fixture f = begin();

    (void)state;
    up_with(&f, 0, 4, 100);
    add_with(&f, 1, 60);
    add_with(&f, 1, 60);
    add_with(&f, 1, 40);
    add_with(&f, 1, 0);
    place(&f);
    expect(&f, "0@0#1 2@0#1 3@0#1"); /* those behind use what 1 cannot */
    done(&f, 2);
    place(&f);
    expect(&f, "2:completed");
    done(&f, 0);
    place(&f);
    expect(&f, "0:completed 1@0#1");
    finish(&f);
}

static void without_memory_a_task_goes_by_cores_alone(void **state)
{
    struct fixture f = begin();

    (void)state;
    up_with(&f, 0, 2, 10);
    add_with(&f, 1, 10);
    add_with(&f, 1, 0);
    place(&f);
    expect(&f, "0@0#1 1@0#1");
    finish(&f);
}

static void a_node_that_says_nothing_has_enough(void **state)
{
    struct fixture f = begin();

    (void)state;
    up_with(&f, 0, 3, 0);
    add_with(&f, 1, INT64_C(1) << 50);
    add_with(&f, 1, INT64_C(1) << 50);
    place(&f);
    expect(&f, "0@0#1 1@0#1");
    finish(&f);
}

/* The node must have both at once. */
static void the_fullest_node_with_room_for_both_is_taken(void **state)
{
    struct fixture f = begin();

    (void)state;
    up_with(&f, 0, 4, 10);
    up_with(&f, 1, 8, 50);
    up_with(&f, 2, 16, 100);
    add_with(&f, 16, 0);
    add_with(&f, 16, 0); /* the widest waits, so that the others are packed */
    add_with(&f, 2, 30); /* 4 cores of node 0 would do, its memory would not */
    add_with(&f, 2, 30); /* 6 cores of node 1 are left, and 20 of its memory */
    add_with(&f, 2, 5);
    add(&f, (struct sched_task){.cores = 1, .priority = 1});
    up_with(&f, 3, 1, 0);
    place(&f);
    expect(&f, "5@3#1 0@2#1 2@1#1 4@0#1");
    finish(&f);
}

static void what_no_node_can_ever_hold_holds_up_nobody(void **state)
{
    struct fixture f = begin();
    task_id_t task;
    node_id_t node;

    (void)state;
    up_with(&f, 0, 8, 10);
    up_with(&f, 1, 2, 100);
    add_with(&f, 4, 50); /* neither node has both */
    add_with(&f, 8, 0);
    place_at(&f, 5000);
    expect(&f, "1@0#1");
    assert_false(sched_get_hold(f.s, &task, &node));
    done(&f, 1);
    place(&f);
    expect(&f, "1:completed");
    assert_true(sched_stuck(f.s));
    up_with(&f, 2, 4, 50);
    assert_false(sched_stuck(f.s));
    place(&f);
    expect(&f, "0@2#1");
    /* The node goes; the next one to come is too small in memory. */
    down(&f, 2);
    up_with(&f, 2, 4, 49);
    place(&f);
    expect(&f, "0:pending");
    assert_true(sched_stuck(f.s));
    finish(&f);
}

static void a_node_is_held_for_what_is_wide_in_memory(void **state)
{
    struct fixture f = begin();
    task_id_t task;
    node_id_t node;

    (void)state;
    up_with(&f, 0, 8, 100);
    for (int i = 0; i < 4; i++)
        add(&f, (struct sched_task){.memory = 25, .timeout_ms = 20000});
    place(&f);
    expect(&f, "0@0#1 1@0#1 2@0#1 3@0#1");
    add_with(&f, 1, 80); /* 4: all of them must end first */
    for (int i = 0; i < 3; i++)
        add(&f, (struct sched_task){.memory = 25, .timeout_ms = 20000});
    add(&f, (struct sched_task){.timeout_ms = 90000}); /* 8: not in the way of memory */
    place(&f);
    expect(&f, "8@0#1");
    assert_true(sched_next_ms(f.s, 0) == 1000);
    place_at(&f, 1000);
    assert_true(sched_get_hold(f.s, &task, &node));
    assert_int_equal(task, 4);
    f.now_ms = 1500;
    end(&f, 0, 1, REASON_EXIT, 1);
    place(&f);
    expect(&f, "0:failed"); /* 5 would fit, and end after 4 is to start */
    end(&f, 1, 1, REASON_EXIT, 1);
    end(&f, 2, 1, REASON_EXIT, 1);
    place(&f);
    expect(&f, "1:failed 2:failed");
    end(&f, 3, 1, REASON_EXIT, 1);
    place(&f);
    expect(&f, "3:failed 4@0#1");
    finish(&f);
}

static void beside_a_held_share_of_memory_there_is_room_for_little(void **state)
{
    struct fixture f = begin();

    (void)state;
    up_with(&f, 0, 8, 100);
    for (int i = 0; i < 2; i++)
        add(&f, (struct sched_task){.memory = 50, .timeout_ms = 20000});
    place(&f);
    expect(&f, "0@0#1 1@0#1");
    add_with(&f, 1, 70); /* 2: both must end; 30 are spare then */
    add(&f, (struct sched_task){.memory = 40, .timeout_ms = 60000});
    add(&f, (struct sched_task){.memory = 30, .timeout_ms = 60000});
    place(&f);
    place_at(&f, 1000);
    expect(&f, "");
    end(&f, 0, 1, REASON_EXIT, 1);
    place(&f);
    expect(&f, "0:failed 4@0#1");
    finish(&f);
}

static void of_many_amounts_only_the_leading_bits_count(void **state)
{
    static const struct {
        uint64_t bytes, counted;
    } rows[] = {
        {0, 0},
        {1, 1},
        {511, 511},
        {512, 512},
        {513, 512},
        {1023, 1022},
        {UINT64_C(500) << 20, UINT64_C(500) << 20},
        {UINT64_C(3) << 29, UINT64_C(3) << 29},
        {(UINT64_C(1) << 40) + 1, UINT64_C(1) << 40},
        {UINT64_MAX, UINT64_C(511) << 55},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_true(sched_memory(rows[i].bytes) == rows[i].counted);
}

/* Exact thirds of a node must fit three times, however odd the number. */
static void shares_that_fit_by_the_byte_fit(void **state)
{
    struct fixture f = begin();
    uint64_t node = (UINT64_C(64) << 30) - 12345;

    (void)state;
    up_with(&f, 0, 8, node);
    for (int i = 0; i < 4; i++)
        add_with(&f, 1, node / 3);
    place(&f);
    expect(&f, "0@0#1 1@0#1 2@0#1");
    finish(&f);
}

/* Against a plain array, over sizes that are powers of two and others. */
static void maxtree_agrees_with_a_plain_array(void **state)
{
    uint64_t seed = 7;

    (void)state;
    for (uint64_t bound = 1; bound < 40; bound += 3) {
        uint64_t plain[64] = {0};
        struct maxtree t;

        assert_int_equal(maxtree_init(&t, bound), 0);
        for (int step = 0; step < 300; step++) {
            uint64_t from, least, next = MAXTREE_NONE, last = MAXTREE_NONE, most = 0;

            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            from = (seed >> 33) % bound;
            plain[from] = (seed >> 40) % 6;
            maxtree_set(&t, from, plain[from]);
            from = (seed >> 17) % (bound + 2);
            least = 1 + (seed >> 50) % 6;
            for (uint64_t i = 0; i < bound; i++) {
                if (i >= from && plain[i] >= least && next == MAXTREE_NONE)
                    next = i;
                if (plain[i] >= least)
                    last = i;
                if (i >= from && plain[i] > most)
                    most = plain[i];
            }
            assert_true(maxtree_next(&t, from, least) == next);
            assert_true(maxtree_last(&t, least) == last);
            assert_true(maxtree_most(&t, from) == most);
        }
        maxtree_fini(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_wait_for_memory_as_for_cores),
        cmocka_unit_test(without_memory_a_task_goes_by_cores_alone),
        cmocka_unit_test(a_node_that_says_nothing_has_enough),
        cmocka_unit_test(the_fullest_node_with_room_for_both_is_taken),
        cmocka_unit_test(what_no_node_can_ever_hold_holds_up_nobody),
        cmocka_unit_test(a_node_is_held_for_what_is_wide_in_memory),
        cmocka_unit_test(beside_a_held_share_of_memory_there_is_room_for_little),
        cmocka_unit_test(of_many_amounts_only_the_leading_bits_count),
        cmocka_unit_test(shares_that_fit_by_the_byte_fit),
        cmocka_unit_test(maxtree_agrees_with_a_plain_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
