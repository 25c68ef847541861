/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks through the launcher: how they are started, what they find, how they end. */
#include "launch_helpers.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

/* ---- Exit ------------------------------------------------------------------------------------ */

static void exit_codes(void **state)
{
    static const struct {
        const char *command;
        int exit_code;
    } rows[] = {
        {"/bin/true", 0},
        {"/bin/false", 1},
        {"exit 3", 3},
        {"sh -c 'exit 255'", 255},
        {"  ls   /  ", 0},
        {"ls /nonexistent", 2},
        {"no-such-command-anywhere", 127},
        {"/no/such/file", 127},
        {"/etc/passwd", 126},
        {"/", 126},
        {"", 0},
        {"true && false", 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct attempt_result res = finish(*state, "t", rows[i].command);

        print_message("%s\n", rows[i].command);
        assert_int_equal(res.reason, REASON_EXIT);
        assert_int_equal(res.exit_code, rows[i].exit_code);
        assert_int_equal(res.signal, 0);
        assert_string_equal(res.message, "");
        assert_true(res.start_wall_ms > 1600000000000 && res.end_wall_ms >= res.start_wall_ms);
    }
}

static void a_missing_command_says_so_as_sh_does(void **state)
{
    struct fixture *f = *state;

    finish(f, "t", "no-such-command-anywhere");
    assert_non_null(strstr(err_of(f, "t"), "no-such-command-anywhere: not found"));
}

static void signals(void **state)
{
    struct attempt_result res = finish(*state, "t", "kill -USR1 $$");

    assert_int_equal(res.reason, REASON_SIGNAL);
    assert_int_equal(res.signal, SIGUSR1);
    assert_int_equal(res.exit_code, -1);
}

static void arguments_are_not_looked_at_by_a_shell(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {f->self,       (char *)"helper", (char *)"arguments",
                    (char *)"a b", (char *)"$HOME",  (char *)"'\"\\;",
                    (char *)"",    (char *)"*",      NULL};
    struct launch_request req = request("t", NULL);

    req.argv = argv;
    assert_int_equal(finish_request(f, &req).exit_code, 0);
    assert_string_equal(out_of(f, "t"), "[a b]\n[$HOME]\n['\"\\;]\n[]\n[*]\n");
}

static void argv_is_found_by_the_path_of_the_task(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {(char *)"my-tool", NULL};
    char path[256];
    char *env[] = {path, NULL};
    struct launch_request req = request("t", NULL);
    char setup_command[512];

    snprintf(setup_command, sizeof(setup_command),
             "mkdir -p %s/bin && printf '#!/bin/sh\\nexit 42\\n' > %s/bin/my-tool && "
             "chmod +x %s/bin/my-tool",
             f->dir, f->dir, f->dir);
    assert_int_equal(finish(f, "t", setup_command).exit_code, 0);
    snprintf(path, sizeof(path), "PATH=/nonexistent:/etc/passwd:%s/bin", f->dir);
    req.argv = argv;
    req.env = env;
    assert_int_equal(finish_request(f, &req).exit_code, 42);
    req.argv = NULL;
    req.command = "my-tool";
    assert_int_equal(finish_request(f, &req).exit_code, 42);
}

/* ---- What a task finds ----------------------------------------------------------------------- */

static void output_goes_to_two_files(void **state)
{
    struct fixture *f = *state;

    finish(f, "t", "echo out; echo err >&2");
    assert_string_equal(out_of(f, "t"), "out\n");
    assert_string_equal(err_of(f, "t"), "err\n");
    finish(f, "t", "echo again");
    assert_string_equal(out_of(f, "t"), "again\n");
    assert_string_equal(err_of(f, "t"), "");
}

static void writers_do_not_overwrite_each_other(void **state)
{
    struct fixture *f = *state;

    finish(f, "t", "echo a; echo b >> stdout.txt; echo c");
    assert_string_equal(out_of(f, "t"), "a\nb\nc\n");
}

static void ids_may_be_paths(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(finish(f, "a/b/c", "pwd -P").exit_code, 0);
    assert_non_null(strstr(out_of(f, "a/b/c"), "/made/on/demand/a/b/c\n"));
    assert_int_equal(finish(f, "a/b/d", "/bin/true").exit_code, 0);
    assert_int_equal(finish(f, "a/b", "/bin/true").exit_code, 0);
}

static void stdin_and_relative_paths(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", "cat");
    char here[PATH_MAX];
    char path[256];

    assert_int_equal(finish_request(f, &req).exit_code, 0);
    assert_string_equal(out_of(f, "t"), "");
    finish(f, "in", "echo content");
    snprintf(path, sizeof(path), "%s/in/stdout.txt", f->workdir);
    req.stdin_path = path;
    finish_request(f, &req);
    assert_string_equal(out_of(f, "t"), "content\n");
    assert_non_null(getcwd(here, sizeof(here)));
    snprintf(path, sizeof(path), "%s/in", f->workdir);
    assert_int_equal(chdir(path), 0); /* relative paths: to where the launcher was started */
    req.stdin_path = "stdout.txt";
    restart(f, GRACE_MS);
    assert_int_equal(chdir(here), 0);
    finish_request(f, &req);
    assert_string_equal(out_of(f, "t"), "content\n");
    req.command = "/bin/pwd";
    req.stdin_path = NULL;
    req.cwd = "../in";
    finish_request(f, &req);
    assert_non_null(strstr(out_of(f, "t"), "/made/on/demand/in\n"));
    req.command = "printenv PWD";
    finish_request(f, &req);
    assert_non_null(strstr(out_of(f, "t"), "/made/on/demand/in/../in\n"));
}

static void a_fifo_as_stdin_does_not_hold_up_the_slot(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", "cat");
    char path[256];

    assert_int_equal(finish(f, "t", "mkfifo fifo").exit_code, 0);
    snprintf(path, sizeof(path), "%s/t/fifo", f->workdir);
    req.stdin_path = path;
    assert_int_equal(finish_request(f, &req).reason, REASON_EXIT);
}

static void environment(void **state)
{
    struct fixture *f = *state;
    char *base[] = {(char *)"PATH=/usr/bin:/bin",
                    (char *)"A=base",
                    (char *)"B=base",
                    (char *)"AB=base",
                    (char *)"PWD=/wrong",
                    NULL};
    char *over[] = {(char *)"A=1", (char *)"C=x=y", (char *)"A=2", NULL};
    struct launch_request req = request("t", "env");
    struct pilot_error err;
    char want[512];

    restart(f, GRACE_MS);
    assert_int_equal(launcher_configure(f->l, f->workdir, base, GRACE_MS, &err), 0);
    req.env = over;
    assert_int_equal(finish_request(f, &req).exit_code, 0);
    snprintf(want, sizeof(want), "PATH=/usr/bin:/bin\nA=2\nB=base\nAB=base\nPWD=%s/t\nC=x=y\n",
             f->workdir);
    assert_string_equal(out_of(f, "t"), want);
}

static void working_directory(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", "/bin/pwd");

    req.cwd = "/usr";
    finish_request(f, &req);
    assert_string_equal(out_of(f, "t"), "/usr\n");
    req.command = "printenv PWD";
    finish_request(f, &req);
    assert_string_equal(out_of(f, "t"), "/usr\n");
}

/* Without files of its own a task runs in the work directory, unless it names another. */
static void where_a_task_without_files_runs(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", NULL);
    char command[256];
    char want[256];

    snprintf(command, sizeof(command), "/bin/pwd > %s/where", f->workdir);
    req.command = command;
    for (int i = 0; i < 3; i++) {
        req.output = i < 2 ? PILOT_OUTPUT_NONE : PILOT_OUTPUT_FILES;
        req.cwd = i == 1 ? "/" : NULL;
        assert_int_equal(finish_request(f, &req).exit_code, 0);
        snprintf(want, sizeof(want), "%s%s\n", req.cwd != NULL ? req.cwd : f->workdir,
                 i == 2 ? "/t" : "");
        assert_string_equal(content(f, "where"), want);
    }
}

/* The list of CPUs that a task may use, as the kernel prints it. */
static const char *cpus_of_task(struct fixture *f, const char *cpus)
{
    struct launch_request req = request("t", "grep Cpus_allowed_list /proc/self/status");

    req.cpus = cpus;
    assert_int_equal(finish_request(f, &req).exit_code, 0);
    return strchr(out_of(f, "t"), '\t') + 1;
}

static void cpus(void **state)
{
    struct fixture *f = *state;
    char all[256];
    char one[32];
    char want[40];
    cpu_set_t set;
    int cpu = CPU_SETSIZE - 1;

    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    while (!CPU_ISSET(cpu, &set))
        cpu--;
    snprintf(one, sizeof(one), "%d", cpu);
    snprintf(want, sizeof(want), "%d\n", cpu);
    snprintf(all, sizeof(all), "%s", cpus_of_task(f, NULL));
    assert_string_equal(cpus_of_task(f, one), want);
    assert_string_equal(cpus_of_task(f, one), want);
    assert_string_equal(cpus_of_task(f, ""), all);
    assert_string_equal(cpus_of_task(f, one), want);
}

static void impossible_cpus_are_a_spawn_error(void **state)
{
    static const char *const lists[] = {"16000", "x", "1-", "3-2", ",1", "1,"};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct launch_request req = request("t", "/bin/true");
        struct attempt_result res;

        req.cpus = lists[i];
        res = finish_request(*state, &req);
        assert_int_equal(res.reason, REASON_SPAWN);
        assert_non_null(strstr(res.message, lists[i]));
    }
}

static void a_task_inherits_nothing_of_the_pilot(void **state)
{
    struct fixture *f = *state;
    struct rlimit lim;
    sigset_t usr1;

    launcher_stop(f->l);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &usr1, NULL);
    (void)signal(SIGUSR2, SIG_IGN);
    start_launcher(f, GRACE_MS);
    (void)sigprocmask(SIG_UNBLOCK, &usr1, NULL);
    (void)signal(SIGUSR2, SIG_DFL);
    finish(f, "t", helper(f, "session"));
    assert_string_equal(out_of(f, "t"), "1 1 1\n"); /* the slot's, its own; no terminal */
    finish(f, "t", "ls /proc/self/fd"); /* 3: the directory that ls reads */
    assert_string_equal(out_of(f, "t"), "0\n1\n2\n3\n");
    finish(f, "t", "grep -E \"^Sig(Blk|Ign)\" /proc/self/status");
    assert_string_equal(out_of(f, "t"), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &lim), 0);
    assert_int_equal(lim.rlim_cur, lim.rlim_max); /* raised for the agent alone, see below */
}

static void limits_and_umask_are_the_users(void **state)
{
    struct fixture *f = *state;
    struct rlimit old;
    struct rlimit low;
    mode_t mask;

    if (under_valgrind())
        skip();
    mask = umask(027);
    launcher_stop(f->l);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 123;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    start_launcher(f, GRACE_MS);
    finish(f, "t", "ulimit -S -n; umask; stat -c %a stdout.txt");
    umask(mask);
    assert_string_equal(out_of(f, "t"), "123\n0027\n640\n");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(low.rlim_cur, low.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static bool is_dev_null(pid_t pid, int fd)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
    return stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

static void nobody_holds_the_pilots_descriptors(void **state)
{
    struct fixture *f = *state;
    int ends[2];
    char c;

    launcher_stop(f->l);
    assert_int_equal(pipe(ends), 0); /* inherited by everybody who does not close it */
    start_launcher(f, GRACE_MS);
    finish(f, "t", "/bin/true");
    close(ends[1]);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    AWAIT(read(ends[0], &c, 1) == 0);
    close(ends[0]);
    for (int fd = 0; fd <= 2; fd++) {
        assert_true(is_dev_null(await_named("pilot-guardian"), fd));
        assert_true(is_dev_null(await_named("pilot-slot"), fd));
    }
}

static void usage_counts_the_whole_tree(void **state)
{
    struct fixture *f = *state;
    struct attempt_result res = finish(f, "t", helper(f, "burn"));

    assert_int_equal(res.exit_code, 0);
    assert_in_range(res.user_us + res.sys_us, 150000, 20000000);
    assert_in_range(res.max_rss_kib, 60 * 1024, 2 * 1024 * 1024);
    res = finish(f, "t", "/bin/true");
    assert_in_range(res.user_us + res.sys_us, 0, 140000);
    assert_in_range(res.max_rss_kib, 1, 59 * 1024);
}

static void usage_counts_orphans(void **state)
{
    struct fixture *f = *state;
    char command[1200];
    struct attempt_result res;

    restart(f, DEADLINE_MS);
    snprintf(command, sizeof(command), "%s & exit 4", helper(f, "burn"));
    res = finish(f, "t", command);
    assert_int_equal(res.exit_code, 4);
    assert_in_range(res.user_us + res.sys_us, 150000, 20000000);
}

static void earlier_output_is_kept(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", "echo one; echo e1 >&2");

    finish_request(f, &req);
    req.attempt = 2;
    req.command = "echo two; echo e2 >&2";
    finish_request(f, &req);
    req.attempt = 3;
    req.command = "echo three";
    finish_request(f, &req);
    assert_string_equal(content(f, "t/stdout.1.txt"), "one\n");
    assert_string_equal(content(f, "t/stderr.1.txt"), "e1\n");
    assert_string_equal(content(f, "t/stdout.2.txt"), "two\n");
    assert_string_equal(content(f, "t/stderr.2.txt"), "e2\n");
    assert_string_equal(content(f, "t/stdout.txt"), "three\n");
    req.id = "never-ran-before"; /* its output may have been removed */
    assert_int_equal(finish_request(f, &req).exit_code, 0);
}

/* ---- What cannot be started ------------------------------------------------------------------ */

static void check_spawn_error(struct fixture *f, const struct launch_request *req, const char *want)
{
    struct attempt_result res = finish_request(f, req);
    char line[TASK_MESSAGE_MAX + 20];

    print_message("%s\n", res.message);
    assert_int_equal(res.reason, REASON_SPAWN);
    assert_int_equal(res.exit_code, -1);
    assert_non_null(strstr(res.message, want));
    snprintf(line, sizeof(line), "pilot-mpi: %s\n", res.message);
    assert_string_equal(err_of(f, req->id), line);
    assert_int_equal(finish(f, "after", "/bin/true").exit_code, 0); /* the slot goes on */
}

static void spawn_errors(void **state)
{
    struct fixture *f = *state;
    char *missing[] = {(char *)"foo", NULL};
    char *empty[] = {(char *)"", NULL};
    char *denied[] = {(char *)"/etc/passwd", NULL};
    char *script[] = {(char *)"./script", NULL};
    struct launch_request req = request("t", NULL);

    req.argv = missing;
    check_spawn_error(f, &req, "cannot execute 'foo': No such file or directory");
    req.argv = empty;
    check_spawn_error(f, &req, "cannot execute '': No such file or directory");
    req.argv = denied;
    check_spawn_error(f, &req, "cannot execute '/etc/passwd': Permission denied");
    finish(f, "t", "echo exit 5 > script; chmod +x script");
    req.argv = script;
    check_spawn_error(f, &req, "cannot execute './script': Exec format error");
    req.argv = NULL;
    req.command = "./script"; /* a shell takes it for one of its own */
    assert_int_equal(finish_request(f, &req).exit_code, 5);
    req.command = "/bin/true";
    req.cwd = "/no/such/place";
    check_spawn_error(f, &req, "cannot enter the directory '/no/such/place': No such file");
    req.cwd = NULL;
    req.stdin_path = "no-input";
    check_spawn_error(f, &req, "cannot read stdin from 'no-input': No such file");
}

static void a_directory_that_cannot_be_made_is_a_spawn_error(void **state)
{
    struct fixture *f = *state;
    struct attempt_result res;
    char id[400];

    finish(f, "t", "echo > ../file");
    res = finish(f, "file", "/bin/true");
    assert_int_equal(res.reason, REASON_SPAWN);
    assert_non_null(strstr(res.message, "/file/stderr.txt': Not a directory"));
    res = finish(f, "file/below", "/bin/true");
    assert_int_equal(res.reason, REASON_SPAWN);
    assert_non_null(strstr(res.message, "cannot make the directory"));
    memset(id, 'x', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    res = finish(f, id, "/bin/true");
    assert_int_equal(res.reason, REASON_SPAWN);
    assert_non_null(strstr(res.message, "File name too long"));
}

/* "PREFIX x x x ...": `bytes` long. */
static char *long_command(const char *prefix, size_t bytes)
{
    char *command = malloc(bytes + 1);

    assert_non_null(command);
    for (size_t i = 0; i < bytes; i++)
        command[i] = i % 10 == 9 ? ' ' : 'x';
    memcpy(command, prefix, strlen(prefix));
    command[bytes] = '\0';
    return command;
}

static void large_commands(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *prefix;
        size_t bytes;
        enum attempt_reason reason;
    } rows[] = {
        {"true;: ", 100000, REASON_EXIT},    /* by a shell, as one argument */
        {"true;: ", 200000, REASON_SPAWN},   /* the kernel's limit is 128 KiB an argument */
        {"/bin/true ", 200000, REASON_EXIT}, /* many short ones */
        {"/bin/true ", 900000, REASON_EXIT}, /* more than a socket holds */
        {"/bin/true ", 4000000, REASON_SPAWN}, {"/bin/true ", 9000000, REASON_SPAWN},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *command;
        struct attempt_result res;

        if (rows[i].reason == REASON_SPAWN && under_valgrind())
            continue;
        command = long_command(rows[i].prefix, rows[i].bytes);
        res = finish(f, "t", command);

        free(command);
        print_message("%zu bytes: %s\n", rows[i].bytes, res.message);
        assert_int_equal(res.reason, rows[i].reason);
        if (res.reason == REASON_SPAWN)
            assert_non_null(strstr(res.message, "Argument list too long"));
        else
            assert_int_equal(res.exit_code, 0);
    }
}

static void bad_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    char *nothing[] = {NULL};
    struct launch_request req = request("t", NULL);
    struct pilot_error err;

    assert_int_equal(launcher_run(f->l, &req, &err), PILOT_EINVAL);
    req.argv = nothing;
    assert_int_equal(launcher_run(f->l, &req, &err), PILOT_EINVAL);
    req = request("", "true");
    assert_int_equal(launcher_run(f->l, &req, &err), PILOT_EINVAL);
    launcher_stop(f->l);
    assert_int_equal(launcher_start(&f->l, &err), 0);
    req = request("t", "true");
    assert_int_equal(launcher_run(f->l, &req, &err), PILOT_ESTATE);
    assert_int_equal(launcher_configure(f->l, "relative", NULL, 0, &err), PILOT_EINVAL);
    assert_int_equal(launcher_configure(f->l, "/etc/passwd", NULL, 0, &err), PILOT_EIO);
    assert_int_equal(launcher_configure(f->l, "/etc/passwd/x", NULL, 0, &err), PILOT_EIO);
    assert_int_equal(launcher_running(f->l), 0);
}

/* ---- Many ------------------------------------------------------------------------------------ */

static void many_at_once(void **state)
{
    struct fixture *f = *state;
    enum { N = 256 };
    bool seen[N] = {false};
    struct launch_event ev;
    char path[256];
    char id[16];

    for (unsigned i = 0; i < N; i++) {
        struct launch_request req = request(id, "until [ -e ../flag ]; do sleep 0.05; done");

        snprintf(id, sizeof(id), "m%u", i);
        req.key = i;
        run(f, &req);
    }
    /* Each has begun although none has ended: all are at work at once. */
    for (unsigned i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "%s/m%u/stdout.txt", f->workdir, i);
        AWAIT((assert_int_equal(launcher_next(f->l, &ev), 0), access(path, F_OK) == 0));
    }
    assert_int_equal(launcher_running(f->l), N);
    {
        struct launch_request req = request("go", "echo > ../flag");

        req.key = N;
        run(f, &req);
    }
    for (int i = 0; i <= N; i++) {
        assert_int_equal(next_event(f, &ev), 1);
        assert_int_equal(ev.result.exit_code, 0);
        if (ev.key == N)
            continue;
        assert_true(ev.key < N && !seen[ev.key]);
        seen[ev.key] = true;
    }
    assert_int_equal(launcher_running(f->l), 0);
    assert_int_equal(launcher_next(f->l, &ev), 0);
}

static void the_descriptor_is_readable_while_events_wait(void **state)
{
    struct fixture *f = *state;
    struct pollfd p = {.fd = launcher_fd(f->l), .events = POLLIN};
    struct launch_event ev;
    int64_t until_ms;
    int taken = 0;

    for (unsigned i = 0; i < 20; i++) {
        struct launch_request req = request("t", "/bin/true");
        char id[16];

        snprintf(id, sizeof(id), "t%u", i);
        req.id = id;
        req.key = i;
        run(f, &req);
    }
    for (unsigned i = 0; i < 5; i++) /* these have no slot yet */
        launcher_kill(f->l, 19 - i, REASON_CANCEL, false);
    while (taken < 20) { /* at most one event a turn */
        assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
        taken += launcher_next(f->l, &ev);
    }
    /* It may be readable once more for what is no event (a slot that has come), but not for ever.
     */
    until_ms = clock_mono_ms() + DEADLINE_MS;
    do {
        assert_true(clock_mono_ms() < until_ms);
        assert_int_equal(launcher_next(f->l, &ev), 0);
    } while (poll(&p, 1, 0) == 1);
}

static void a_fork_of_the_agent_may_let_go(void **state)
{
    struct fixture *f = *state;
    int status = -1;
    pid_t pid;

    assert_int_equal(finish(f, "t", "/bin/true").exit_code, 0);
    pid = fork();
    if (pid == 0) {
        launcher_stop(f->l);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(finish(f, "t", "exit 5").exit_code, 5);
}

static void slots_are_reused(void **state)
{
    struct fixture *f = *state;
    struct tree t = {0};

    for (int i = 0; i < 20; i++)
        finish(f, "t", "/bin/true");
    assert_int_equal(tree_find(&t, getpid(), NULL, 0), 2); /* guardian and one slot */
    tree_fini(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(exit_codes),
        T(a_missing_command_says_so_as_sh_does),
        T(signals),
        T(arguments_are_not_looked_at_by_a_shell),
        T(argv_is_found_by_the_path_of_the_task),
        T(output_goes_to_two_files),
        T(writers_do_not_overwrite_each_other),
        T(ids_may_be_paths),
        T(stdin_and_relative_paths),
        T(a_fifo_as_stdin_does_not_hold_up_the_slot),
        T(environment),
        T(working_directory),
        T(where_a_task_without_files_runs),
        T(cpus),
        T(impossible_cpus_are_a_spawn_error),
        T(a_task_inherits_nothing_of_the_pilot),
        T(limits_and_umask_are_the_users),
        T(nobody_holds_the_pilots_descriptors),
        T(usage_counts_the_whole_tree),
        T(usage_counts_orphans),
        T(earlier_output_is_kept),
        T(spawn_errors),
        T(a_directory_that_cannot_be_made_is_a_spawn_error),
        T(large_commands),
        T(bad_requests_are_refused),
        T(many_at_once),
        T(the_descriptor_is_readable_while_events_wait),
        T(a_fork_of_the_agent_may_let_go),
        T(slots_are_reused),
    };

    if (argc > 2 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
