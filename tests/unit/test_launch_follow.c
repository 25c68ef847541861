/* SPDX-License-Identifier: BSD-3-Clause */
/* An attempt that follows another in its slot: it begins without anybody being asked, it is an
 * attempt like any other, and where it must not wait any longer it comes back. */
#include "launch_helpers.h"

#include "common/error.h"

#define LONG_MS 60000

/* Exits when the file `go` is there. */
#define GATE "while ! test -e ../go; do sleep 0.01; done"

static struct launch_request follower(uint64_t key, const char *id, const char *command,
                                      uint64_t after)
{
    return (struct launch_request){
        .key = key, .id = id, .attempt = 1, .command = command, .wait_ms = LONG_MS, .after = after};
}

static bool exists(const struct fixture *f, const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", f->workdir, name);
    return access(path, F_OK) == 0;
}

static void open_gate(const struct fixture *f)
{
    char path[512];
    int fd;

    snprintf(path, sizeof(path), "%s/go", f->workdir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    close(fd);
}

static struct attempt_result await_end(struct fixture *f, uint64_t key)
{
    struct launch_event ev;

    assert_int_equal(next_event(f, &ev), 1);
    assert_false(ev.returned);
    assert_int_equal(ev.key, key);
    return ev.result;
}

static void await_back(struct fixture *f, uint64_t key)
{
    struct launch_event ev;

    assert_int_equal(next_event(f, &ev), 1);
    assert_true(ev.returned);
    assert_int_equal(ev.key, key);
}

/* The first runs, for else it has no slot yet. */
static void run_first(struct fixture *f, uint64_t key, const char *id, const char *command)
{
    struct launch_request req = request(id, command);
    char name[64];
    struct launch_event ev;

    req.key = key;
    run(f, &req);
    snprintf(name, sizeof(name), "%s/stdout.txt", id);
    while (!exists(f, name)) {
        assert_int_equal(launcher_next(f->l, &ev), 0);
        nap();
    }
}

static void run_behind(struct fixture *f, uint64_t key, const char *id, const char *command,
                       uint64_t after)
{
    struct launch_request req = follower(key, id, command, after);

    run(f, &req);
}

/* ---- Beginning ------------------------------------------------------------------------------- */

static void test_begins_without_being_asked(void **state)
{
    struct fixture *f = *state;
    struct attempt_result a, b;

    run_first(f, 1, "a", GATE);
    run_behind(f, 2, "b", "touch ../begun; echo b", 1);
    open_gate(f);
    AWAIT(exists(f, "begun")); /* launcher_next is not called meanwhile */
    a = await_end(f, 1);
    b = await_end(f, 2);
    assert_int_equal(a.reason, REASON_EXIT);
    assert_int_equal(b.exit_code, 0);
    assert_true(b.start_wall_ms >= a.end_wall_ms);
    assert_string_equal(out_of(f, "b"), "b\n");
    assert_int_equal(launcher_running(f->l), 0);
}

static void test_chain_of_many(void **state)
{
    struct fixture *f = *state;

    run_first(f, 0, "t0", "true");
    for (uint64_t key = 1; key <= 200; key++) {
        struct launch_request req;
        char id[16];
        struct pilot_error err;
        int rc;

        snprintf(id, sizeof(id), "t%d", (int)key);
        req = follower(key, id, "exit 3", key - 1);
        rc = launcher_run(f->l, &req, &err);
        if (rc == PILOT_EAGAIN) { /* the one before has ended, and that is known */
            req.wait_ms = 0;
            rc = launcher_run(f->l, &req, &err);
        }
        assert_int_equal(rc, 0);
        assert_int_equal(await_end(f, key - 1).reason, REASON_EXIT);
    }
    assert_int_equal(await_end(f, 200).exit_code, 3);
    assert_int_equal(launcher_running(f->l), 0);
}

static void test_cannot_start_and_reports(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {(char *)"/no/such/program", NULL};
    struct launch_request req = follower(2, "b", NULL, 1);

    req.argv = argv;
    run_first(f, 1, "a", GATE);
    run(f, &req);
    open_gate(f);
    assert_int_equal(await_end(f, 1).reason, REASON_EXIT);
    assert_int_equal(await_end(f, 2).reason, REASON_SPAWN);
    assert_int_equal(finish(f, "c", "exit 4").exit_code, 4);
}

/* Its time begins with it, not with the request. */
static void test_timeout_from_its_own_begin(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = follower(2, "b", "sleep 0.2", 1);
    struct attempt_result a, b;

    req.timeout_ms = 600;
    run_first(f, 1, "a", "sleep 0.7");
    run(f, &req);
    a = await_end(f, 1);
    b = await_end(f, 2);
    assert_true(a.end_wall_ms - a.start_wall_ms >= 700);
    assert_int_equal(b.reason, REASON_EXIT);
}

static void test_second_attempt_keeps_output_of_first(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = follower(2, "b", "echo two", 1);

    req.attempt = 2;
    finish(f, "b", "echo one");
    run_first(f, 1, "a", GATE);
    run(f, &req);
    open_gate(f);
    (void)await_end(f, 1);
    (void)await_end(f, 2);
    assert_string_equal(out_of(f, "b"), "two\n");
    assert_string_equal(content(f, "b/stdout.1.txt"), "one\n");
}

/* Only packed or cut output goes through the slot: it must not mix up whose it is. */
static void test_outputs_apart(void **state)
{
    struct fixture *f = *state;
    struct launch_request a = request("a", GATE "; yes a | head -c 100000");
    struct launch_request b = follower(2, "b", "echo b", 1);

    a.max_output = 5;
    b.max_output = 100;
    run(f, &a);
    while (!exists(f, "a/stdout.txt")) {
        struct launch_event ev;

        assert_int_equal(launcher_next(f->l, &ev), 0);
        nap();
    }
    run(f, &b);
    open_gate(f);
    assert_true(await_end(f, 1).output_dropped > 0);
    assert_int_equal(await_end(f, 2).output_dropped, 0);
    assert_string_equal(out_of(f, "b"), "b\n");
}

/* ---- Coming back ----------------------------------------------------------------------------- */

static void test_back_when_it_takes_too_long(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = follower(2, "b", "touch ../begun", 1);

    req.wait_ms = 50;
    run_first(f, 1, "a", GATE);
    run(f, &req);
    await_back(f, 2);
    assert_false(exists(f, "b")); /* what was prepared for it is gone */
    open_gate(f);
    assert_int_equal(await_end(f, 1).exit_code, 0);
    assert_int_equal(finish(f, "c", "true").exit_code, 0); /* in the same slot */
    assert_false(exists(f, "begun"));
    assert_int_equal(launcher_running(f->l), 0);
}

static void test_back_when_recalled_or_killed(void **state)
{
    struct fixture *f = *state;

    run_first(f, 1, "a", GATE);
    run_behind(f, 2, "b", "true", 1);
    launcher_recall(f->l, 2);
    await_back(f, 2);
    run_behind(f, 3, "c", "true", 1);
    launcher_kill(f->l, 3, REASON_CANCEL, false);
    await_back(f, 3);
    launcher_recall(f->l, 1); /* has begun: it stays */
    open_gate(f);
    assert_int_equal(await_end(f, 1).reason, REASON_EXIT);
}

static void test_back_when_the_other_is_killed(void **state)
{
    struct fixture *f = *state;

    run_first(f, 1, "a", "sleep 100");
    run_behind(f, 2, "b", "touch ../begun", 1);
    launcher_kill(f->l, 1, REASON_STOP, false);
    await_back(f, 2);
    assert_int_equal(await_end(f, 1).reason, REASON_STOP);
    assert_false(exists(f, "begun"));
}

static void test_back_when_the_other_times_out(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("a", "sleep 100");

    req.timeout_ms = 300;
    run(f, &req);
    while (!exists(f, "a/stdout.txt")) {
        struct launch_event ev;

        assert_int_equal(launcher_next(f->l, &ev), 0);
        nap();
    }
    run_behind(f, 2, "b", "touch ../begun", 1);
    await_back(f, 2);
    assert_int_equal(await_end(f, 1).reason, REASON_TIMEOUT);
    assert_false(exists(f, "begun"));
}

/* What it keeps of the attempt before is kept when it comes back and is run again. */
static void test_back_and_again_a_second_attempt(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = follower(2, "b", "echo two", 1);

    finish(f, "b", "echo one");
    run_first(f, 1, "a", GATE);
    req.attempt = 2;
    req.wait_ms = 20;
    run(f, &req);
    await_back(f, 2);
    assert_string_equal(out_of(f, "b"), "one\n"); /* untouched */
    open_gate(f);
    (void)await_end(f, 1);
    req.wait_ms = 0;
    assert_int_equal(finish_request(f, &req).exit_code, 0);
    assert_string_equal(out_of(f, "b"), "two\n");
    assert_string_equal(content(f, "b/stdout.1.txt"), "one\n");
}

static void test_back_when_something_is_left_behind(void **state)
{
    struct fixture *f = *state;

    run_first(f, 1, "a", GATE "; sleep 0.1 & exit 0"); /* has its output open */
    run_behind(f, 2, "b", "touch ../begun", 1);
    open_gate(f);
    await_back(f, 2);
    assert_int_equal(await_end(f, 1).exit_code, 0);
    assert_false(exists(f, "begun"));
}

static void test_killed_once_begun(void **state)
{
    struct fixture *f = *state;

    run_first(f, 1, "a", GATE);
    run_behind(f, 2, "b", "touch ../begun; sleep 100", 1);
    open_gate(f);
    AWAIT(exists(f, "begun"));
    launcher_kill(f->l, 2, REASON_CANCEL, false); /* the end of the first is not read yet */
    assert_int_equal(await_end(f, 1).exit_code, 0);
    assert_int_equal(await_end(f, 2).reason, REASON_CANCEL);
}

static void test_slot_killed(void **state)
{
    struct fixture *f = *state;
    pid_t slot;

    run_first(f, 1, "a", "sleep 100");
    run_behind(f, 2, "b", "true", 1);
    slot = await_named("pilot-slot");
    assert_true(slot > 0);
    assert_int_equal(kill(slot, SIGKILL), 0);
    assert_int_equal(await_end(f, 1).reason, REASON_LOST);
    assert_int_equal(await_end(f, 2).reason, REASON_LOST); /* it may have begun */
    assert_int_equal(finish(f, "c", "exit 4").exit_code, 4);
}

static void test_nothing_to_follow(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = follower(2, "b", "true", 77);
    struct pilot_error err;

    assert_int_equal(launcher_run(f->l, &req, &err), PILOT_EAGAIN);
    run_first(f, 1, "a", GATE);
    run_behind(f, 2, "b", "true", 1);
    req = follower(3, "c", "true", 1); /* it has one already */
    assert_int_equal(launcher_run(f->l, &req, &err), PILOT_EAGAIN);
    for (uint64_t key = 3; key <= 1 + LENT_MAX; key++)
        run_behind(f, key, "c", "true", key - 1);
    req = follower(99, "c", "true", 1 + LENT_MAX); /* one more than may be */
    assert_int_equal(launcher_run(f->l, &req, &err), PILOT_EAGAIN);
    open_gate(f);
    for (uint64_t key = 1; key <= 1 + LENT_MAX; key++)
        (void)await_end(f, key);
    assert_int_equal(launcher_running(f->l), 0);
}

/* ---- Several ---------------------------------------------------------------------------------
 */

/* Attempts 2, ... behind attempt 1, with that command, asked for in one go. */
static void run_many_behind(struct fixture *f, int count, const char *command)
{
    launcher_cork(f->l, true);
    for (int i = 0; i < count; i++) {
        char id[16];

        snprintf(id, sizeof(id), "t%d", i + 2);
        run_behind(f, (uint64_t)i + 2, id, command, (uint64_t)i + 1);
    }
    launcher_cork(f->l, false);
}

/* They run one after the other, and are told in that order. */
static void test_several_in_order(void **state)
{
    struct fixture *f = *state;
    char expected[8 * LENT_MAX] = "\n";
    int64_t ended_ms = 0;

    for (int i = 0; i < LENT_MAX; i++)
        sprintf(expected + strlen(expected), "t%d\n", i + 2);
    run_first(f, 1, "t1", GATE "; echo >>../order");
    run_many_behind(f, LENT_MAX, "basename $PWD >>../order");
    open_gate(f);
    for (uint64_t key = 1; key <= 1 + LENT_MAX; key++) {
        struct attempt_result res = await_end(f, key);

        assert_int_equal(res.exit_code, 0);
        assert_true(res.start_wall_ms >= ended_ms);
        ended_ms = res.end_wall_ms;
    }
    assert_string_equal(content(f, "order"), expected);
    assert_int_equal(launcher_running(f->l), 0);
}

/* Nothing else ends that would carry the ends along. */
static void test_held_ends_do_not_wait_for_a_long_one(void **state)
{
    struct fixture *f = *state;
    struct launch_request req;

    run_first(f, 1, "t1", GATE);
    run_behind(f, 2, "t2", "/bin/true", 1);
    run_behind(f, 3, "t3", "touch ../begun; while ! test -e ../over; do sleep 0.01; done", 2);
    for (uint64_t key = 4; key <= 8; key++)
        run_behind(f, key, "t4", "true", key - 1);
    open_gate(f);
    (void)await_end(f, 1);
    (void)await_end(f, 2); /* 3 runs until somebody says so: nobody has */
    req = request("x", "touch ../over");
    req.key = 20;
    run(f, &req);
    assert_int_equal(await_end(f, 20).exit_code, 0);
    for (uint64_t key = 3; key <= 8; key++)
        (void)await_end(f, key);
}

/* All of them, in order, and what was prepared is gone. */
static void test_all_back_when_one_takes_too_long(void **state)
{
    struct fixture *f = *state;

    run_first(f, 1, "a", GATE);
    for (uint64_t key = 2; key <= 1 + LENT_MAX; key++) {
        struct launch_request req = follower(key, "b", "touch ../begun", key - 1);

        req.wait_ms = 50;
        run(f, &req);
    }
    for (uint64_t key = 2; key <= 1 + LENT_MAX; key++)
        await_back(f, key);
    assert_false(exists(f, "b"));
    open_gate(f);
    assert_int_equal(await_end(f, 1).exit_code, 0);
    assert_false(exists(f, "begun"));
    assert_int_equal(launcher_running(f->l), 0);
}

/* In the middle of them: the ends before it are told first, those behind it come back. */
static void test_rest_back_when_one_in_the_middle_takes_long(void **state)
{
    struct fixture *f = *state;

    run_first(f, 1, "a", GATE);
    run_many_behind(f, 2, "/bin/true");
    for (uint64_t key = 4; key <= 8; key++) {
        struct launch_request req =
            follower(key, "c",
                     key == 4 ? "touch ../begun; while ! test -e ../over; do sleep 0.01; done"
                              : "touch ../wrong",
                     key - 1);

        req.wait_ms = key == 4 ? LONG_MS : 300;
        run(f, &req);
    }
    open_gate(f);
    for (uint64_t key = 1; key <= 3; key++)
        (void)await_end(f, key);
    for (uint64_t key = 5; key <= 8; key++)
        await_back(f, key);
    launcher_kill(f->l, 4, REASON_CANCEL, true);
    assert_int_equal(await_end(f, 4).reason, REASON_CANCEL);
    assert_false(exists(f, "wrong"));
}

/* Only that one; the others go on. */
static void test_one_of_the_middle_is_killed(void **state)
{
    struct fixture *f = *state;

    run_first(f, 1, "t1", GATE);
    run_many_behind(f, 4, "basename $PWD >>../order");
    launcher_kill(f->l, 3, REASON_CANCEL, false);
    await_back(f, 3);
    launcher_recall(f->l, 2); /* the first of them: what was prepared for it is taken back */
    await_back(f, 2);
    assert_false(exists(f, "t2"));
    open_gate(f);
    (void)await_end(f, 1);
    (void)await_end(f, 4);
    (void)await_end(f, 5);
    assert_string_equal(content(f, "order"), "t4\nt5\n");
}

/* One that cannot be started stops nobody behind it. */
static void test_past_one_that_cannot_start(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {(char *)"/no/such/program", NULL};

    run_first(f, 1, "t1", GATE);
    run_many_behind(f, 2, "true");
    for (uint64_t key = 4; key <= 5; key++) {
        struct launch_request req = follower(key, "b", NULL, key - 1);

        req.argv = argv;
        run(f, &req);
    }
    run_behind(f, 6, "t6", "exit 7", 5);
    open_gate(f);
    for (uint64_t key = 1; key <= 3; key++)
        assert_int_equal(await_end(f, key).reason, REASON_EXIT);
    assert_int_equal(await_end(f, 4).reason, REASON_SPAWN);
    assert_int_equal(await_end(f, 5).reason, REASON_SPAWN);
    assert_int_equal(await_end(f, 6).exit_code, 7);
}

/* Ends that it had not told are lost with it, and nothing is told twice. */
static void test_slot_killed_with_ends_not_told(void **state)
{
    struct fixture *f = *state;
    bool lost = false;

    run_first(f, 1, "t1", GATE);
    run_many_behind(f, 3, "/bin/true");
    run_behind(f, 5, "t5", "kill -9 $PPID; sleep 100", 4);
    run_behind(f, 6, "t6", "touch ../begun", 5);
    run_behind(f, 7, "t7", "touch ../begun", 6);
    run_behind(f, 8, "t8", "touch ../begun", 7);
    open_gate(f);
    for (uint64_t key = 1; key <= 8; key++) {
        enum attempt_reason reason = await_end(f, key).reason;

        assert_true(reason == REASON_LOST || (!lost && key < 5 && reason == REASON_EXIT));
        lost = reason == REASON_LOST;
    }
    assert_false(exists(f, "begun"));
    assert_int_equal(finish(f, "c", "exit 4").exit_code, 4);
    assert_int_equal(launcher_running(f->l), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_begins_without_being_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chain_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cannot_start_and_reports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout_from_its_own_begin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_attempt_keeps_output_of_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outputs_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_when_it_takes_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_when_recalled_or_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_when_the_other_is_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_when_something_is_left_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_when_the_other_times_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_and_again_a_second_attempt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_once_begun, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slot_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_to_follow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_ends_do_not_wait_for_a_long_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_back_when_one_takes_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rest_back_when_one_in_the_middle_takes_long, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_one_of_the_middle_is_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_past_one_that_cannot_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slot_killed_with_ends_not_told, setup, teardown),
    };

    if (argc > 2 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
