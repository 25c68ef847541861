/* SPDX-License-Identifier: BSD-3-Clause */
/* Output of which only so much is kept: what is in the files, what is counted, and that neither the
 * task nor its end waits for anything because of it. */
#include "launch_helpers.h"

#include <inttypes.h>
#include <sys/resource.h>

static struct launch_request limited(const char *id, const char *command, int64_t max_output)
{
    struct launch_request req = request(id, command);

    req.max_output = max_output;
    return req;
}

static struct attempt_result finish_limited(struct fixture *f, const char *id, const char *command,
                                            int64_t max_output)
{
    struct launch_request req = limited(id, command, max_output);

    return finish_request(f, &req);
}

static off_t size_of(const struct fixture *f, const char *name)
{
    char path[2 * PATH_MAX];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", f->workdir, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void each_stream_is_cut_at_its_limit(void **state)
{
    static const struct {
        const char *command;
        int64_t max, dropped;
        const char *out, *err;
    } rows[] = {
        {"printf 12345", 6, 0, "12345", ""},
        {"printf 12345", 5, 0, "12345", ""},
        {"printf 12345", 4, 1, "1234\n[pilot-mpi: cut here: 1 bytes more were not kept]\n", ""},
        {"printf '123\\n5678'", 4, 4, "123\n[pilot-mpi: cut here: 4 bytes more were not kept]\n",
         ""},
        {"printf 123456; printf abcde >&2", 5, 1,
         "12345\n[pilot-mpi: cut here: 1 bytes more were not kept]\n", "abcde"},
        {"printf 123456; printf abcdefg >&2", 5, 3,
         "12345\n[pilot-mpi: cut here: 1 bytes more were not kept]\n",
         "abcde\n[pilot-mpi: cut here: 2 bytes more were not kept]\n"},
        {"printf 1; sleep 0.02; printf 2; sleep 0.02; printf 3", 2, 1,
         "12\n[pilot-mpi: cut here: 1 bytes more were not kept]\n", ""},
        {"true", 1, 0, "", ""},
        {"exec >&- 2>&-; exit 0", 1, 0, "", ""},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct attempt_result r = finish_limited(f, "t", rows[i].command, rows[i].max);

        assert_int_equal(r.reason, REASON_EXIT);
        assert_int_equal(r.exit_code, 0);
        assert_int_equal(r.output_dropped, rows[i].dropped);
        assert_string_equal(out_of(f, "t"), rows[i].out);
        assert_string_equal(err_of(f, "t"), rows[i].err);
    }
}

static void only_with_a_limit_there_are_pipes(void **state)
{
    struct fixture *f = *state;

    finish(f, "t", "readlink /proc/self/fd/1 /proc/self/fd/2");
    assert_non_null(strstr(out_of(f, "t"), "/t/stdout.txt\n"));
    assert_non_null(strstr(out_of(f, "t"), "/t/stderr.txt\n"));
    finish_limited(f, "t", "readlink /proc/self/fd/1 /proc/self/fd/2", 1000);
    assert_memory_equal(out_of(f, "t"), "pipe:", 5);
    /* The slot is used again: nothing of the pipes is left over. */
    finish(f, "t", "readlink /proc/self/fd/1");
    assert_non_null(strstr(out_of(f, "t"), "/t/stdout.txt\n"));
}

static void the_task_is_not_held_up_at_the_limit(void **state)
{
    struct fixture *f = *state;
    struct attempt_result r = finish_limited(
        f, "t", "head -c 200000000 /dev/zero; head -c 300 /dev/zero >&2; echo end >&2", 1000);

    assert_int_equal(r.reason, REASON_EXIT);
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(r.output_dropped, 200000000 - 1000);
    assert_true(size_of(f, "t/stdout.txt") < 1100);
    assert_int_equal(size_of(f, "t/stderr.txt"), 304);
}

static void what_is_left_may_finish_its_output(void **state)
{
    struct fixture *f = *state;
    struct attempt_result r;

    restart(f, DEADLINE_MS);
    r = finish_limited(f, "t", "(sleep 0.2; echo late) & echo early", 1000);
    assert_int_equal(r.reason, REASON_EXIT);
    assert_string_equal(out_of(f, "t"), "early\nlate\n");
    /* And who has nothing to write is not waited for. */
    r = finish_limited(f, "u", "sleep 1000 >/dev/null 2>&1 & echo early", 1000);
    assert_int_equal(r.reason, REASON_EXIT);
    assert_string_equal(out_of(f, "u"), "early\n");
}

static void who_holds_the_pipe_does_not_hold_up_the_end(void **state)
{
    struct fixture *f = *state;
    struct attempt_result r = finish_limited(
        f, "t", "sh -c 'trap \"\" TERM; while :; do sleep 0.01; done' & echo done", 1000);

    assert_int_equal(r.reason, REASON_EXIT);
    assert_int_equal(r.exit_code, 0);
    assert_string_equal(out_of(f, "t"), "done\n");
}

/* Somebody who is no process of the task's. */
static void a_stranger_at_the_pipe_does_not_hold_up_the_end(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = limited("t", "echo begun; exec sleep 1000", 3);
    struct launch_event ev;
    char path[64];
    pid_t pid = 0;
    int fd;

    run(f, &req);
    AWAIT(launcher_next(f->l, &ev) == 0 && (pid = find_named(getpid(), "sleep")) > 0);
    snprintf(path, sizeof(path), "/proc/%d/fd/1", (int)pid);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "12", 2), 2);
    launcher_kill(f->l, req.key, REASON_CANCEL, true);
    assert_int_equal(next_event(f, &ev), 1);
    close(fd);
    assert_int_equal(ev.result.reason, REASON_CANCEL);
    assert_int_equal(ev.result.output_dropped, 5);
}

static void a_flood_does_not_hide_the_timeout(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = limited("t", "yes", 10);
    struct attempt_result r;

    req.timeout_ms = 100;
    r = finish_request(f, &req);
    assert_int_equal(r.reason, REASON_TIMEOUT);
    assert_true(r.output_dropped > 0);
    assert_memory_equal(out_of(f, "t"), "y\ny\ny\ny\ny\n[pilot-mpi: cut here: ", 32);
    assert_string_equal(err_of(f, "t"), "pilot-mpi: timed out after 0.1 s\n");
}

/* Where the task itself would have seen that its output is lost, it must not count as done. */
static void output_that_cannot_be_written_is_no_success(void **state)
{
    const struct rlimit small = {.rlim_cur = 100, .rlim_max = RLIM_INFINITY};
    const struct rlimit old = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    struct fixture *f = *state;
    struct attempt_result r;

    launcher_stop(f->l);
    f->l = NULL;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    start_launcher(f, GRACE_MS);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    r = finish_limited(f, "t", "printf %0200d 0", 1000);
    assert_int_equal(r.reason, REASON_SPAWN);
    assert_string_equal(r.message, "cannot write 'stdout.txt': File too large");
    r = finish_limited(f, "t", "yes", 1000); /* ends, as its output has */
    assert_int_equal(r.reason, REASON_SPAWN);
    r = finish_limited(f, "t", "printf %050d 0", 1000);
    assert_int_equal(r.reason, REASON_EXIT);
}

static void what_cannot_start_says_so(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {(char *)"/nonexistent/program", NULL};
    struct launch_request req = {.key = 1, .id = "t", .attempt = 1, .argv = argv, .max_output = 10};
    struct attempt_result r = finish_request(f, &req);

    assert_int_equal(r.reason, REASON_SPAWN);
    assert_int_equal(r.output_dropped, 0);
    assert_non_null(strstr(err_of(f, "t"), "/nonexistent/program"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(each_stream_is_cut_at_its_limit),
        T(only_with_a_limit_there_are_pipes),
        T(the_task_is_not_held_up_at_the_limit),
        T(what_is_left_may_finish_its_output),
        T(who_holds_the_pipe_does_not_hold_up_the_end),
        T(a_stranger_at_the_pipe_does_not_hold_up_the_end),
        T(a_flood_does_not_hide_the_timeout),
        T(output_that_cannot_be_written_is_no_success),
        T(what_cannot_start_says_so),
    };

    if (argc > 2 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
