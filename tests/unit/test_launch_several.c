/* SPDX-License-Identifier: BSD-3-Clause */
/* Several launchers in one process: none holds, or ends, what is another's. */
#include "launch_talk.h"

#include <sys/resource.h>

/* A second one beside that of the fixture; both have a program that talks. */
struct two {
    struct fixture other; /* shares the directories */
    pid_t guardian[2];
    struct talk talk[2];
};

static void start_talk(struct fixture *f, struct talk *t)
{
    struct launch_request req = request("hook", "cat");

    *t = talk_with(f->l, &req);
    say(t->io, "hello\n");
    assert_string_equal(read_line(f, t->io), "hello\n");
}

static pid_t child_named(const char *name, pid_t but)
{
    struct tree t = {0};
    int n = tree_find(&t, getpid(), NULL, 0);
    pid_t pid = 0;

    for (int i = 0; i < n; i++)
        if (t.procs[i].ppid == getpid() && t.procs[i].pid != but && is_named(t.procs[i].pid, name))
            pid = t.procs[i].pid;
    tree_fini(&t);
    return pid;
}

static void start_two(struct fixture *f, struct two *two)
{
    start_talk(f, &two->talk[0]);
    two->guardian[0] = child_named("pilot-guardian", 0);
    two->other = *f;
    start_launcher(&two->other, INT32_MAX);
    AWAIT((two->guardian[1] = child_named("pilot-guardian", two->guardian[0])) > 0);
    start_talk(&two->other, &two->talk[1]);
}

static void still_talks(struct fixture *f, struct talk *t)
{
    say(t->io, "again\n");
    assert_string_equal(read_line(f, t->io), "again\n");
    assert_int_equal(shutdown(t->io, SHUT_WR), 0);
    assert_int_equal(end_of(f, 1).exit_code, 0);
    assert_int_equal(finish(f, "t", "exit 6").exit_code, 6);
}

static void has_ended(const struct talk *t)
{
    assert_string_equal(read_all(t->io), "");
    assert_string_equal(read_all(t->err), "");
}

static void two_launchers_hold_nothing_of_each_other(void **state)
{
    struct fixture *f = *state;
    struct two two;

    start_two(f, &two);
    for (int i = 0; i < 2; i++)
        assert_int_equal(count_fds(two.guardian[i]), 5); /* 0, 1, 2, its socket, its signalfd */
    still_talks(f, &two.talk[0]);
    still_talks(&two.other, &two.talk[1]);
    launcher_stop(two.other.l);
    hang_up(&two.talk[0]);
    hang_up(&two.talk[1]);
}

static void the_first_launcher_may_be_stopped_first(void **state)
{
    struct fixture *f = *state;
    struct two two;

    start_two(f, &two);
    launcher_stop(f->l);
    f->l = NULL;
    has_ended(&two.talk[0]);
    still_talks(&two.other, &two.talk[1]);
    launcher_stop(two.other.l);
    hang_up(&two.talk[0]);
    hang_up(&two.talk[1]);
}

static void the_second_launcher_may_be_stopped_first(void **state)
{
    struct fixture *f = *state;
    struct two two;

    start_two(f, &two);
    launcher_stop(two.other.l);
    has_ended(&two.talk[1]);
    still_talks(f, &two.talk[0]);
    hang_up(&two.talk[0]);
    hang_up(&two.talk[1]);
}

/* Its slots come to this process, which must kill them, and not the other guardian. */
static void the_death_of_one_guardian_is_not_the_others(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", helper_pids(f, "daemon-stay"));
    struct launch_event ev;
    struct talk t;
    struct two two;

    for (int dead = 0; dead < 2; dead++) {
        struct fixture *lost = dead == 0 ? f : &two.other;
        struct fixture *living = dead == 0 ? &two.other : f;

        start_two(f, &two);
        req.key = 2;
        t = talk_with(lost->l, &req);
        AWAIT((launcher_next(lost->l, &ev), living_helpers(f, NULL) == 2));
        assert_int_equal(kill(two.guardian[dead], SIGKILL), 0);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(next_event(lost, &ev), 1);
            assert_int_equal(ev.result.reason, REASON_LOST);
        }
        assert_int_equal(next_event(lost, &ev), PILOT_ELOST);
        assert_int_equal(living_helpers(f, NULL), 0);
        has_ended(&t);
        has_ended(&two.talk[dead]);
        still_talks(living, &two.talk[1 - dead]);
        hang_up(&t);
        hang_up(&two.talk[0]);
        hang_up(&two.talk[1]);
        launcher_stop(two.other.l);
        restart(f, GRACE_MS);
    }
}

static void the_second_launcher_has_the_users_limits_too(void **state)
{
    struct fixture *f = *state;
    struct fixture other;
    struct rlimit old, low;

    if (under_valgrind())
        skip();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 123;
    launcher_stop(f->l);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    start_launcher(f, GRACE_MS);
    other = *f;
    start_launcher(&other, GRACE_MS);
    finish(&other, "t", "ulimit -S -n");
    assert_string_equal(out_of(f, "t"), "123\n");
    launcher_stop(other.l);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(two_launchers_hold_nothing_of_each_other),
        T(the_first_launcher_may_be_stopped_first),
        T(the_second_launcher_may_be_stopped_first),
        T(the_death_of_one_guardian_is_not_the_others),
        T(the_second_launcher_has_the_users_limits_too),
    };

    if (argc > 2 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
