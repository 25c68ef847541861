/* SPDX-License-Identifier: BSD-3-Clause */
/* How tasks are ended, what happens to what they leave behind, and what is left when the processes
 * of the launcher themselves are killed: nothing. */
#include "launch_helpers.h"

#include <grp.h>
#include <sys/resource.h>

/* Serves the launcher until condition holds; no event may come meanwhile. */
#define AWAIT_RUNNING(f, condition)                                                                \
    do {                                                                                           \
        struct launch_event unexpected;                                                            \
        AWAIT((assert_int_equal(launcher_next((f)->l, &unexpected), 0), (condition)));             \
    } while (0)

/* ---- Timeout --------------------------------------------------------------------------------- */

static struct attempt_result time_out(struct fixture *f, const char *command, int64_t timeout_ms)
{
    struct launch_request req = request("t", command);
    struct attempt_result res;

    req.timeout_ms = timeout_ms;
    res = finish_request(f, &req);
    assert_int_equal(res.reason, REASON_TIMEOUT);
    assert_int_equal(res.exit_code, -1);
    return res;
}

static void a_timeout_ends_the_task(void **state)
{
    struct fixture *f = *state;
    struct attempt_result res = time_out(f, "sleep 300", 150);

    assert_int_equal(res.signal, SIGTERM);
    assert_string_equal(err_of(f, "t"), "pilot-mpi: timed out after 0.15 s\n");
    assert_in_range(res.end_wall_ms - res.start_wall_ms, 149, 20000);
}

static void a_timeout_that_is_not_reached_does_nothing(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", "exit 7");

    req.timeout_ms = 60000;
    assert_int_equal(finish_request(f, &req).exit_code, 7);
    assert_string_equal(err_of(f, "t"), "");
}

static void a_task_may_clean_up_on_term_but_has_timed_out(void **state)
{
    struct fixture *f = *state;

    restart(f, DEADLINE_MS);
    time_out(f, "trap 'echo cleaned; exit 0' TERM; sleep 300 & wait", 500);
    assert_string_equal(out_of(f, "t"), "cleaned\n");
}

static void who_ignores_term_is_killed(void **state)
{
    struct attempt_result res = time_out(*state, "trap '' TERM; sleep 300; sleep 300", 100);

    assert_int_equal(res.signal, SIGKILL);
    assert_in_range(res.end_wall_ms - res.start_wall_ms, 100 + GRACE_MS - 1, 20000);
}

static void a_stopped_task_gets_term_too(void **state)
{
    struct fixture *f = *state;

    restart(f, DEADLINE_MS);
    assert_int_equal(time_out(f, "sleep 300 & kill -STOP $! $$", 150).signal, SIGTERM);
}

static void a_timeout_ends_daemons(void **state)
{
    struct fixture *f = *state;
    int total;

    time_out(f, helper_pids(f, "daemon-stay"), 1500); /* longer than the helper takes to start */
    assert_int_equal(living_helpers(f, &total), 0);
    assert_int_equal(total, 2);
}

static void a_timeout_ends_a_tree_that_grows_again(void **state)
{
    struct fixture *f = *state;
    int total;

    time_out(f, helper_pids(f, "bush"), 1500);
    assert_int_equal(living_helpers(f, &total), 0);
    assert_in_range(total, 12, 100000);
}

/* ---- What a task leaves behind --------------------------------------------------------------- */

static void a_background_child_that_holds_the_output_is_ended(void **state)
{
    struct fixture *f = *state;
    struct attempt_result res = finish(f, "t", "sleep 300 & echo hi");

    assert_int_equal(res.reason, REASON_EXIT);
    assert_int_equal(res.exit_code, 0);
    assert_string_equal(out_of(f, "t"), "hi\n");
    assert_in_range(res.end_wall_ms - res.start_wall_ms, GRACE_MS - 1, 20000);
}

static void late_output_is_waited_for(void **state)
{
    struct fixture *f = *state;

    restart(f, DEADLINE_MS);
    assert_int_equal(finish(f, "t", "(sleep 0.3; echo late) & echo early; exit 6").exit_code, 6);
    assert_string_equal(out_of(f, "t"), "early\nlate\n");
}

static void what_feeds_a_writer_may_go_on(void **state)
{
    struct fixture *f = *state;

    restart(f, DEADLINE_MS);
    finish(f, "t", "(sh -c 'sleep 0.3; echo fed; :' 2>/dev/null | cat) & echo first");
    assert_string_equal(out_of(f, "t"), "first\nfed\n");
}

static void who_holds_no_output_is_ended_at_once(void **state)
{
    struct fixture *f = *state;
    struct attempt_result res;

    restart(f, DEADLINE_MS);
    res = finish(f, "t", "sleep 300 >/dev/null 2>&1 & echo hi");
    assert_int_equal(res.exit_code, 0);
    assert_in_range(res.end_wall_ms - res.start_wall_ms, 0, DEADLINE_MS / 2);
}

static void who_closes_the_output_later_is_ended_then(void **state)
{
    struct fixture *f = *state;
    struct attempt_result res;

    restart(f, DEADLINE_MS);
    res = finish(f, "t", "(sleep 0.1; exec sleep 300 >/dev/null 2>&1) & echo hi");
    assert_int_equal(res.exit_code, 0);
    assert_in_range(res.end_wall_ms - res.start_wall_ms, 100, DEADLINE_MS / 2);
}

static void daemons_are_ended_with_their_task(void **state)
{
    struct fixture *f = *state;
    struct attempt_result res = finish(f, "t", helper_pids(f, "daemon"));
    int total;

    assert_int_equal(res.reason, REASON_EXIT);
    assert_int_equal(res.exit_code, 0);
    assert_int_equal(living_helpers(f, &total), 0);
    assert_int_equal(total, 1);
}

/* ---- launcher_kill and launcher_stop --------------------------------------------------------- */

static void kill_gives_the_grace_time(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", "trap 'echo bye; exit 0' TERM; sleep 300 & wait");
    struct launch_event ev;

    restart(f, DEADLINE_MS);
    run(f, &req);
    AWAIT_RUNNING(f, find_named(getpid(), "sleep") > 0);
    launcher_kill(f->l, 99, REASON_CANCEL, true); /* nobody */
    launcher_kill(f->l, 1, REASON_CANCEL, false);
    assert_int_equal(next_event(f, &ev), 1);
    assert_int_equal(ev.result.reason, REASON_CANCEL);
    assert_int_equal(ev.result.exit_code, -1);
    assert_string_equal(out_of(f, "t"), "bye\n");
    launcher_kill(f->l, 1, REASON_CANCEL, false); /* ended */
    assert_int_equal(finish(f, "t", "exit 5").exit_code, 5);
}

static void kill_now_gives_none(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", helper_pids(f, "daemon-stay"));
    struct launch_event ev;

    restart(f, INT32_MAX); /* for ever */
    run(f, &req);
    AWAIT_RUNNING(f, living_helpers(f, NULL) == 2);
    launcher_kill(f->l, 1, REASON_LOST, false);
    launcher_kill(f->l, 1, REASON_CANCEL, true);
    assert_int_equal(next_event(f, &ev), 1);
    assert_int_equal(ev.result.reason, REASON_LOST); /* the first one given */
    assert_int_equal(ev.result.signal, SIGKILL);
    assert_int_equal(living_helpers(f, NULL), 0);
}

static void kill_of_a_request_that_has_no_slot_yet(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", "sleep 300");
    struct launch_event ev;

    run(f, &req);
    req.key = 2;
    req.id = "u";
    run(f, &req);
    launcher_kill(f->l, 2, REASON_CANCEL, false);
    launcher_kill(f->l, 1, REASON_LOST, true);
    assert_int_equal(launcher_next(f->l, &ev), 1);
    assert_int_equal(ev.key, 2);
    assert_int_equal(ev.result.reason, REASON_CANCEL);
    assert_int_equal(next_event(f, &ev), 1);
    assert_int_equal(ev.key, 1);
    assert_int_equal(ev.result.reason, REASON_LOST);
    assert_int_equal(launcher_running(f->l), 0);
}

static void stop_ends_what_runs(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", helper_pids(f, "daemon-stay"));

    restart(f, INT32_MAX);
    for (unsigned i = 0; i < 4; i++) {
        req.key = i;
        run(f, &req);
    }
    AWAIT_RUNNING(f, living_helpers(f, NULL) == 8);
    launcher_stop(f->l);
    f->l = NULL;
    assert_int_equal(living_helpers(f, NULL), 0);
    start_launcher(f, GRACE_MS); /* another one can be had */
    assert_int_equal(finish(f, "t", "exit 2").exit_code, 2);
}

static void stop_of_nothing(void **state)
{
    (void)state;
    launcher_stop(NULL);
}

/* ---- Death of a slot, the guardian, the agent ------------------------------------------------ */

static void kill_named(const char *name, int sig)
{
    pid_t pid = await_named(name);

    assert_true(pid > 0);
    assert_int_equal(kill(pid, sig), 0);
}

static void a_dead_slot_loses_its_attempt_only(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", helper_pids(f, "daemon-stay"));
    struct launch_event ev;
    int total;

    run(f, &req);
    AWAIT_RUNNING(f, living_helpers(f, NULL) == 2);
    kill_named("pilot-slot", SIGKILL);
    assert_int_equal(next_event(f, &ev), 1);
    assert_int_equal(ev.key, 1);
    assert_int_equal(ev.result.reason, REASON_LOST);
    assert_int_equal(ev.result.exit_code, -1);
    assert_true(ev.result.start_wall_ms > 0 && ev.result.end_wall_ms >= ev.result.start_wall_ms);
    assert_int_equal(living_helpers(f, &total), 0);
    assert_int_equal(total, 2);
    assert_int_equal(launcher_running(f->l), 0);
    assert_int_equal(finish(f, "t", "exit 3").exit_code, 3);
}

static void an_idle_slot_that_dies_is_replaced(void **state)
{
    struct fixture *f = *state;
    pid_t last = 0;

    for (int i = 0; i < 6; i++) {
        struct attempt_result res = finish(f, "t", "/bin/true");
        pid_t slot = 0;

        if (i % 2 == 0) /* else it may have been given to the dying slot */
            assert_int_equal(res.reason, REASON_EXIT);
        if (res.reason == REASON_LOST)
            res = finish(f, "t", "/bin/true");
        assert_int_equal(res.exit_code, 0);
        AWAIT((slot = find_named(getpid(), "pilot-slot")) > 0 && slot != last);
        assert_int_equal(kill(slot, SIGKILL), 0);
        /* Reaped, since the socket is open as long as any thread of it (the sanitizer's) lives. */
        if (i % 2 != 0)
            AWAIT(kill(slot, 0) != 0 && kill(last, 0) != 0);
        last = slot;
    }
}

static void the_death_of_the_guardian_ends_all(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", helper_pids(f, "daemon-stay"));
    struct pollfd p = {.fd = launcher_fd(f->l), .events = POLLIN};
    struct launch_event ev;
    struct pilot_error err;
    unsigned keys = 0;
    int rc;

    for (unsigned i = 0; i < 3; i++) {
        req.key = i;
        run(f, &req);
    }
    AWAIT_RUNNING(f, living_helpers(f, NULL) == 6);
    kill_named("pilot-guardian", SIGKILL);
    while ((rc = next_event(f, &ev)) > 0) {
        assert_int_equal(ev.result.reason, REASON_LOST);
        assert_int_equal(living_helpers(f, NULL), 0);
        keys |= 1U << ev.key;
    }
    assert_int_equal(rc, PILOT_ELOST);
    assert_int_equal(keys, 7);
    assert_int_equal(launcher_running(f->l), 0);
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_int_equal(launcher_next(f->l, &ev), PILOT_ELOST);
    assert_int_equal(launcher_run(f->l, &req, &err), PILOT_ELOST);
}

static void guardian_and_slots_may_die_together(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", helper_pids(f, "daemon-stay"));
    struct launch_event ev;
    pid_t own;
    int status;

    own = fork(); /* a child of the agent's own, in its session: must be let alone */
    if (own == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    run(f, &req);
    AWAIT_RUNNING(f, living_helpers(f, NULL) == 2);
    kill_named("pilot-guardian", SIGSTOP);
    kill_named("pilot-slot", SIGKILL);
    kill_named("pilot-guardian", SIGKILL);
    assert_int_equal(next_event(f, &ev), 1);
    assert_int_equal(ev.result.reason, REASON_LOST);
    assert_int_equal(next_event(f, &ev), PILOT_ELOST);
    assert_int_equal(living_helpers(f, NULL), 0);
    assert_int_equal(waitpid(own, &status, WNOHANG), 0);
    assert_int_equal(kill(own, SIGKILL), 0);
    assert_int_equal(waitpid(own, &status, 0), own);
}

/* A process that starts n tasks as an agent does, then waits to be killed. */
static pid_t fork_agent(struct fixture *f, unsigned n, int64_t patience_ms)
{
    struct pilot_error ignored;
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive a test that fails */
    start_launcher(f, INT32_MAX);
    if (patience_ms > 0 && launcher_watch(f->l, patience_ms, &ignored) < 0)
        _exit(1);
    for (unsigned i = 0; i < n; i++) {
        struct launch_request req = request("t", helper_pids(f, "daemon-stay"));
        struct pilot_error err;

        req.key = i;
        if (launcher_run(f->l, &req, &err) < 0)
            _exit(1);
    }
    for (;;) {
        struct launch_event ev;

        if (launcher_next(f->l, &ev) == PILOT_ELOST)
            _exit(launcher_running(f->l) == 0 ? 3 : 4);
        nap();
    }
}

static void the_death_of_the_agent_ends_all(void **state)
{
    struct fixture *f = *state;
    pid_t agent;
    struct tree t = {0};

    launcher_stop(f->l);
    f->l = NULL;
    agent = fork_agent(f, 3, 0);
    assert_true(agent > 0);
    AWAIT(living_helpers(f, NULL) == 6);
    assert_int_equal(tree_find(&t, agent, NULL, 0), 1 + 3 + 6);
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    AWAIT(living_helpers(f, NULL) == 0);
    for (size_t i = 0; i < t.n; i++) { /* the guardian comes to us, a subreaper */
        AWAIT((waitpid(-1, NULL, WNOHANG), !is_alive(t.procs[i].pid)));
    }
    tree_fini(&t);
    AWAIT(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void a_stopped_agent_is_a_dead_one(void **state)
{
    struct fixture *f = *state;
    pid_t agent;
    int status;

    launcher_stop(f->l);
    f->l = NULL;
    agent = fork_agent(f, 2, 200);
    AWAIT(living_helpers(f, NULL) == 4);
    assert_int_equal(kill(agent, SIGSTOP), 0);
    AWAIT(living_helpers(f, NULL) == 0);
    assert_int_equal(waitpid(agent, &status, WNOHANG), 0);
    assert_int_equal(kill(agent, SIGCONT), 0);
    assert_int_equal(waitpid(agent, &status, 0), agent);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3); /* it has seen that all is over */
}

static void who_is_stopped_with_all_the_others_goes_on(void **state)
{
    struct fixture *f = *state;
    struct tree t = {0};
    pid_t agent;

    launcher_stop(f->l);
    f->l = NULL;
    agent = fork_agent(f, 1, 400);
    AWAIT(living_helpers(f, NULL) == 2);
    assert_int_equal(tree_find(&t, agent, NULL, 0), 1 + 1 + 2);
    assert_int_equal(kill(agent, SIGSTOP), 0);
    tree_signal(&t, SIGSTOP);
    assert_int_equal(usleep(800000), 0); /* more than the patience: only time can tell */
    tree_signal(&t, SIGCONT);            /* the guardian first: it looks, and may not be rash */
    assert_int_equal(usleep(150000), 0);
    assert_int_equal(kill(agent, SIGCONT), 0);
    assert_int_equal(usleep(100000), 0);
    assert_int_equal(living_helpers(f, NULL), 2);
    assert_int_equal(waitpid(agent, NULL, WNOHANG), 0);
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    AWAIT(living_helpers(f, NULL) == 0);
    tree_fini(&t);
    AWAIT(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

/* ---- Short resources ------------------------------------------------------------------------- */

/* For forks of the test, where a failing assertion would go on with the next test: no assertions,
 * and the test program's time limit for a deadline. */
static int next_result(struct fixture *f, struct launch_event *ev)
{
    int rc;

    while ((rc = launcher_next(f->l, ev)) == 0)
        nap();
    return rc;
}

static int child_status(pid_t pid)
{
    int status = -1;

    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* In a fork: runs one task under a limit of descriptors; exit status 0 when it ended with a spawn
 * error that says want. */
static _Noreturn void run_with_few_descriptors(struct fixture *f, rlim_t limit, const char *want)
{
    struct launch_request req = request("t", "/bin/true");
    struct rlimit lim = {limit, limit};
    struct launch_event ev;
    struct pilot_error err;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    if (launcher_start(&f->l, &err) < 0 ||
        launcher_configure(f->l, f->workdir, NULL, GRACE_MS, &err) < 0)
        _exit(2);
    if (prlimit(await_named("pilot-guardian"), RLIMIT_NOFILE, &lim, NULL) < 0)
        _exit(3);
    if (launcher_run(f->l, &req, &err) < 0)
        _exit(4);
    if (next_result(f, &ev) != 1 || ev.result.reason != REASON_SPAWN)
        _exit(5);
    launcher_stop(f->l);
    fprintf(stderr, "%s\n", ev.result.message);
    _exit(strstr(ev.result.message, want) != NULL ? 0 : 6);
}

static void few_descriptors_are_a_spawn_error(void **state)
{
    static const struct {
        rlim_t limit;
        const char *want;
    } rows[] = {
        {6, "cannot start a launcher process: Too many open files"},
        {7, "Too many open files"}, /* in the slot */
    };
    struct fixture *f = *state;

    if (under_valgrind())
        skip();
    for (size_t i = 0; i < 2; i++) {
        pid_t pid = fork();

        if (pid == 0)
            run_with_few_descriptors(f, rows[i].limit, rows[i].want);
        assert_int_equal(child_status(pid), 0);
    }
}

/* In a fork, as a user whom a limit of processes binds. */
static _Noreturn void run_with_few_processes(struct fixture *f)
{
    struct rlimit lim = {1, 1};
    struct launch_request req = request("t", "/bin/true");
    struct launch_event ev;
    struct pilot_error err;

    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0))
        _exit(2);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* setuid clears it */
    if (launcher_start(&f->l, &err) < 0 ||
        launcher_configure(f->l, f->workdir, NULL, GRACE_MS, &err) < 0)
        _exit(3);
    if (launcher_run(f->l, &req, &err) < 0 || next_result(f, &ev) != 1 || ev.result.exit_code != 0)
        _exit(4);
    if (prlimit(await_named("pilot-slot"), RLIMIT_NPROC, &lim, NULL) < 0 ||
        prlimit(await_named("pilot-guardian"), RLIMIT_NPROC, &lim, NULL) < 0)
        _exit(5);
    for (unsigned i = 0; i < 2; i++) { /* one in the slot, one for which there is none */
        req.key = i;
        if (launcher_run(f->l, &req, &err) < 0)
            _exit(6);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (next_result(f, &ev) != 1 || ev.result.reason != REASON_SPAWN ||
            strstr(ev.result.message, "cannot start a process: Resource temporarily") == NULL)
            _exit(7);
        fprintf(stderr, "%s\n", ev.result.message);
    }
    launcher_stop(f->l);
    _exit(0);
}

static void few_processes_are_a_spawn_error(void **state)
{
    struct fixture *f = *state;
    pid_t pid;

    if (under_valgrind())
        skip();
    assert_int_equal(finish(f, "t", "chmod 777 .. .").exit_code, 0);
    assert_int_equal(finish(f, "t", "rm -f *.txt").exit_code, 0);
    pid = fork();
    if (pid == 0)
        run_with_few_processes(f);
    assert_int_equal(child_status(pid), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_timeout_ends_the_task),
        T(a_timeout_that_is_not_reached_does_nothing),
        T(a_task_may_clean_up_on_term_but_has_timed_out),
        T(who_ignores_term_is_killed),
        T(a_stopped_task_gets_term_too),
        T(a_timeout_ends_daemons),
        T(a_timeout_ends_a_tree_that_grows_again),
        T(a_background_child_that_holds_the_output_is_ended),
        T(late_output_is_waited_for),
        T(what_feeds_a_writer_may_go_on),
        T(who_holds_no_output_is_ended_at_once),
        T(who_closes_the_output_later_is_ended_then),
        T(daemons_are_ended_with_their_task),
        T(kill_gives_the_grace_time),
        T(kill_now_gives_none),
        T(kill_of_a_request_that_has_no_slot_yet),
        T(stop_ends_what_runs),
        T(stop_of_nothing),
        T(a_dead_slot_loses_its_attempt_only),
        T(an_idle_slot_that_dies_is_replaced),
        T(the_death_of_the_guardian_ends_all),
        T(guardian_and_slots_may_die_together),
        T(the_death_of_the_agent_ends_all),
        T(a_stopped_agent_is_a_dead_one),
        T(who_is_stopped_with_all_the_others_goes_on),
        T(few_descriptors_are_a_spawn_error),
        T(few_processes_are_a_spawn_error),
    };

    if (argc > 2 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
