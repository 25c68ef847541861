/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that talk with the caller through descriptors of its own. */
#include "launch_talk.h"

#include <sys/epoll.h>
#include <sys/resource.h>

#include "launch/conn.h"

static bool has_directory(const struct fixture *f, const char *id)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", f->workdir, id);
    return access(path, F_OK) == 0;
}

/* ---- One program ----------------------------------------------------------------------------- */

static void a_program_echoes(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "cat");
    struct talk t = talk_with(f->l, &req);

    for (int i = 0; i < 3; i++) {
        say(t.io, "hello\n");
        assert_string_equal(read_line(f, t.io), "hello\n");
    }
    assert_int_equal(shutdown(t.io, SHUT_WR), 0);
    assert_int_equal(end_of(f, 1).exit_code, 0);
    assert_string_equal(read_all(t.io), "");
    assert_string_equal(read_all(t.err), "");
    assert_false(has_directory(f, "hook"));
    hang_up(&t);
}

static void output_errors_and_the_exit_code_are_apart(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "echo out; echo err >&2; exit 7");
    struct talk t = talk_with(f->l, &req);
    struct attempt_result res = end_of(f, 1);

    assert_int_equal(res.reason, REASON_EXIT);
    assert_int_equal(res.exit_code, 7);
    assert_string_equal(read_all(t.io), "out\n");
    assert_string_equal(read_all(t.err), "err\n");
    hang_up(&t);
}

static void the_stream_ends_when_the_program_dies(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "read line; kill -KILL $$");
    struct attempt_result res;
    struct talk t;

    assert_int_equal(finish(f, "t", "/bin/true").exit_code, 0); /* there is a slot */
    t = talk_with(f->l, &req);
    say(t.io, "die\n");
    assert_string_equal(read_all(t.io), ""); /* before anybody looks for the event */
    assert_string_equal(read_all(t.err), "");
    res = end_of(f, 1);
    assert_int_equal(res.reason, REASON_SIGNAL);
    assert_int_equal(res.signal, SIGKILL);
    hang_up(&t);
}

static void a_program_sees_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "ls /proc/self/fd; printenv PWD; /bin/pwd");
    struct talk t = talk_with(f->l, &req);
    char here[PATH_MAX];
    char want[2 * PATH_MAX + 32];

    assert_non_null(getcwd(here, sizeof(here)));
    snprintf(want, sizeof(want), "0\n1\n2\n3\n%s\n%s\n", here, here); /* 3: the directory */
    assert_int_equal(end_of(f, 1).exit_code, 0);
    assert_string_equal(read_all(t.io), want);
    hang_up(&t);
}

static void pwd_of_one_that_needs_no_shell(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "printenv PWD");
    struct talk t = talk_with(f->l, &req);
    char here[PATH_MAX];

    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(end_of(f, 1).exit_code, 0);
    assert_memory_equal(read_all(t.io), here, strlen(here));
    assert_int_equal(lseek(t.io, 0, SEEK_CUR), -1); /* a socket */
    hang_up(&t);
}

static void files_of_a_task_of_that_name_are_let_alone(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("t", "echo new; echo new >&2");
    struct talk t;

    finish(f, "t", "echo old; echo olderr >&2");
    req.attempt = 2;
    t = talk_with(f->l, &req);
    assert_int_equal(end_of(f, 1).exit_code, 0);
    assert_string_equal(out_of(f, "t"), "old\n");
    assert_string_equal(err_of(f, "t"), "olderr\n");
    assert_string_equal(content(f, "t/stdout.1.txt"), "");
    hang_up(&t);
}

/* ---- What cannot be started ------------------------------------------------------------------ */

static void check_spawn_error(struct fixture *f, struct launch_request *req, const char *want)
{
    struct talk t = talk_with(f->l, req);
    struct attempt_result res = end_of(f, 1);

    assert_int_equal(res.reason, REASON_SPAWN);
    assert_int_equal(res.exit_code, -1);
    if (strstr(res.message, want) == NULL)
        fail_msg("'%s' is not '%s'", res.message, want);
    assert_string_equal(read_all(t.io), "");
    assert_string_equal(read_all(t.err), "");
    assert_false(has_directory(f, req->id));
    hang_up(&t);
}

static void spawn_errors_are_in_the_event_only(void **state)
{
    struct fixture *f = *state;
    char *missing[] = {(char *)"foo", NULL};
    struct launch_request req = request("hook", NULL);

    req.argv = missing;
    check_spawn_error(f, &req, "cannot execute 'foo': No such file or directory");
    req.argv = NULL;
    req.command = "/bin/true";
    req.cpus = "16000";
    check_spawn_error(f, &req, "cannot bind to the CPUs '16000'");
    req.cpus = NULL;
    req.cwd = "/no/such/place";
    check_spawn_error(f, &req, "cannot enter the directory '/no/such/place'");
}

static void wrong_descriptors_are_refused(void **state)
{
    struct fixture *f = *state;
    int open_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    const struct {
        int stdio_fd, stderr_fd;
        const char *cwd, *stdin_path;
    } rows[] = {
        {2, open_fd, ".", NULL},
        {open_fd, 2, ".", NULL},
        {open_fd, 0, ".", NULL},
        {0, open_fd, ".", NULL},
        {-1, -1, ".", NULL},
        {open_fd, 999999, ".", NULL},
        {999999, open_fd, ".", NULL},
        {open_fd, open_fd, NULL, NULL},
        {open_fd, open_fd, ".", "/dev/zero"},
    };

    assert_true(open_fd > 2);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct launch_request req = request("hook", "/bin/true");
        struct pilot_error err;

        req.stdio_fd = rows[i].stdio_fd;
        req.stderr_fd = rows[i].stderr_fd;
        req.cwd = rows[i].cwd;
        req.stdin_path = rows[i].stdin_path;
        assert_int_equal(launcher_run(f->l, &req, &err), PILOT_EINVAL);
    }
    close(open_fd);
    assert_int_equal(launcher_running(f->l), 0);
    assert_int_equal(finish(f, "t", "exit 5").exit_code, 5);
}

/* ---- How it ends ----------------------------------------------------------------------------- */

static void kill_ends_it(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "trap '' TERM; echo up; sleep 300; sleep 300");
    struct talk t = talk_with(f->l, &req);
    struct attempt_result res;

    assert_string_equal(read_line(f, t.io), "up\n");
    launcher_kill(f->l, 1, REASON_CANCEL, false);
    res = end_of(f, 1);
    assert_int_equal(res.reason, REASON_CANCEL);
    assert_int_equal(res.signal, SIGKILL);
    assert_string_equal(read_all(t.io), "");
    assert_string_equal(read_all(t.err), "");
    hang_up(&t);
}

static void kill_before_there_is_a_slot(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "cat");
    struct talk t = talk_with(f->l, &req);

    launcher_kill(f->l, 1, REASON_CANCEL, false);
    assert_string_equal(read_all(t.io), "");
    assert_string_equal(read_all(t.err), "");
    assert_int_equal(end_of(f, 1).reason, REASON_CANCEL);
    hang_up(&t);
}

static void stop_before_there_is_a_slot(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "cat");
    struct talk t = talk_with(f->l, &req);

    launcher_stop(f->l);
    f->l = NULL;
    assert_string_equal(read_all(t.io), "");
    assert_string_equal(read_all(t.err), "");
    hang_up(&t);
}

static void a_timeout_is_not_told_to_the_program(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "cat");
    struct talk t;

    req.timeout_ms = 100;
    t = talk_with(f->l, &req);
    assert_int_equal(end_of(f, 1).reason, REASON_TIMEOUT);
    assert_string_equal(read_all(t.io), "");
    assert_string_equal(read_all(t.err), "");
    hang_up(&t);
}

static void what_is_left_gets_term_at_once(void **state)
{
    struct fixture *f = *state;
    struct launch_request req =
        request("hook", "sh -c 'trap \"echo bye; exit\" TERM; echo up; sleep 300 & wait' & "
                        "read line; exit 3");
    struct attempt_result res;
    int64_t start_ms;
    struct talk t;

    restart(f, DEADLINE_MS);
    t = talk_with(f->l, &req);
    assert_string_equal(read_line(f, t.io), "up\n");
    AWAIT(find_named(getpid(), "sleep") > 0); /* or it has yet to reset the trap */
    start_ms = clock_mono_ms();
    say(t.io, "go\n");
    res = end_of(f, 1);
    assert_int_equal(res.reason, REASON_EXIT);
    assert_int_equal(res.exit_code, 3);
    assert_true(clock_mono_ms() - start_ms < DEADLINE_MS / 2);
    assert_string_equal(read_all(t.io), "bye\n");
    hang_up(&t);
}

static void what_ignores_term_is_killed_after_the_grace_time(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", helper_pids(f, "daemon"));
    struct talk t = talk_with(f->l, &req);
    struct attempt_result res = end_of(f, 1);
    int total;

    assert_int_equal(res.exit_code, 0);
    assert_in_range(res.end_wall_ms - res.start_wall_ms, GRACE_MS - 1, 20000);
    assert_int_equal(living_helpers(f, &total), 0);
    assert_int_equal(total, 1);
    assert_string_equal(read_all(t.io), "");
    hang_up(&t);
}

static void a_dead_slot_ends_the_stream(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", helper_pids(f, "daemon-stay"));
    struct launch_event ev;
    struct talk t = talk_with(f->l, &req);
    pid_t slot;

    AWAIT((launcher_next(f->l, &ev), living_helpers(f, NULL) == 2));
    slot = find_named(getpid(), "pilot-slot");
    assert_true(slot > 0);
    assert_int_equal(kill(slot, SIGKILL), 0);
    assert_int_equal(end_of(f, 1).reason, REASON_LOST);
    assert_string_equal(read_all(t.io), "");
    assert_string_equal(read_all(t.err), "");
    hang_up(&t);
}

/* The agent, a fork of this, has the program started, and dies. */
static void the_death_of_the_agent_ends_it(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", helper_pids(f, "daemon-stay"));
    int io[2];
    pid_t agent;

    launcher_stop(f->l);
    f->l = NULL;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, io), 0);
    agent = fork();
    if (agent == 0) {
        struct pilot_error err;
        struct launch_event ev;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive a test that fails */
        close(io[0]);
        start_launcher(f, INT32_MAX);
        req.cwd = ".";
        req.stdio_fd = req.stderr_fd = io[1];
        if (launcher_run(f->l, &req, &err) < 0)
            _exit(1);
        for (;;) {
            (void)launcher_next(f->l, &ev);
            nap();
        }
    }
    close(io[1]);
    AWAIT(living_helpers(f, NULL) == 2);
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    assert_string_equal(read_all(io[0]), "");
    close(io[0]);
    AWAIT(living_helpers(f, NULL) == 0);
    AWAIT(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

/* Of all slots together; n gets their number. */
static int count_fds_of_slots(int *n)
{
    struct tree t = {0};
    int all = tree_find(&t, getpid(), NULL, 0);
    int fds = 0;

    *n = 0;
    for (int i = 0; i < all; i++) {
        if (!t.procs[i].zombie && is_named(t.procs[i].pid, "pilot-slot")) {
            fds += count_fds(t.procs[i].pid);
            (*n)++;
        }
    }
    tree_fini(&t);
    return fds;
}

#define ROUNDS 12
#define AT_ONCE 8

/* One round: as many programs as tasks at the same time; each gets back what it was told. */
static void run_mixture(struct fixture *f, int round)
{
    struct talk talks[AT_ONCE];
    unsigned ended = 0;

    for (int i = 0; i < AT_ONCE; i++) {
        struct launch_request req = request("hook", i % 4 < 2 ? "cat" : "cat >&2; exit 9");
        char id[16];

        req.key = (uint64_t)i;
        if (i % 2 == 0) {
            talks[i] = talk_with(f->l, &req);
            continue;
        }
        snprintf(id, sizeof(id), "t%d", i);
        req.id = id;
        req.command = "echo ordinary; exit 4";
        run(f, &req);
    }
    for (int i = 0; i < AT_ONCE; i += 2) {
        char text[32];

        snprintf(text, sizeof(text), "%d %d\n", round, i);
        say(talks[i].io, text);
        assert_int_equal(shutdown(talks[i].io, SHUT_WR), 0);
    }
    while (ended != (1U << AT_ONCE) - 1) {
        struct launch_event ev;

        assert_int_equal(next_event(f, &ev), 1);
        assert_int_equal(ev.result.exit_code, ev.key % 2 != 0 ? 4 : ev.key % 4 < 2 ? 0 : 9);
        ended |= 1U << ev.key;
    }
    for (int i = 0; i < AT_ONCE; i++) {
        char text[32];

        if (i % 2 != 0) {
            snprintf(text, sizeof(text), "t%d", i);
            assert_string_equal(out_of(f, text), "ordinary\n");
            continue;
        }
        snprintf(text, sizeof(text), "%d %d\n", round, i);
        assert_string_equal(read_all(talks[i].io), i % 4 < 2 ? text : "");
        assert_string_equal(read_all(talks[i].err), i % 4 < 2 ? "" : text);
        hang_up(&talks[i]);
    }
}

static void many_of_both_kinds_leak_nothing(void **state)
{
    struct fixture *f = *state;
    int own, slots, n, n_after;

    for (int i = 0; i < AT_ONCE; i++) { /* each slot opens the work directory at its first task */
        struct launch_request req = request("w", "sleep 0.2");
        char id[16];

        snprintf(id, sizeof(id), "w%d", i);
        req.id = id;
        run(f, &req);
    }
    for (int i = 0; i < AT_ONCE; i++) {
        struct launch_event ev;

        assert_int_equal(next_event(f, &ev), 1);
    }
    own = count_fds(getpid());
    slots = count_fds_of_slots(&n);
    assert_in_range(n, 1, AT_ONCE);
    for (int i = 0; i < ROUNDS; i++)
        run_mixture(f, i);
    assert_int_equal(count_fds_of_slots(&n_after), slots);
    assert_int_equal(n_after, n);
    assert_int_equal(count_fds(getpid()), own);
}

/* One of the two descriptors still fits, then none. */
static void a_slot_with_too_many_open_files_says_so(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "cat");
    struct rlimit old;
    pid_t slot;
    int fds;

    assert_int_equal(finish(f, "t", "/bin/true").exit_code, 0);
    slot = find_named(getpid(), "pilot-slot");
    assert_true(slot > 0);
    fds = count_fds(slot);
    assert_int_equal(prlimit(slot, RLIMIT_NOFILE, NULL, &old), 0);
    for (int more = 0; more <= 1; more++) {
        struct rlimit low = {(rlim_t)(fds + more), old.rlim_max};

        assert_int_equal(prlimit(slot, RLIMIT_NOFILE, &low, NULL), 0);
        check_spawn_error(f, &req, "cannot receive the caller's descriptors: Too many open files");
    }
    assert_int_equal(prlimit(slot, RLIMIT_NOFILE, &old, NULL), 0);
    assert_int_equal(count_fds(slot), fds);
    a_program_echoes(state);
    assert_int_equal(find_named(getpid(), "pilot-slot"), slot);
}

static void descriptors_that_cannot_be_copied_are_an_error(void **state)
{
    struct fixture *f = *state;
    struct launch_request req = request("hook", "cat");
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int own = count_fds(getpid());
    int lowest = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    struct rlimit old, low;
    struct pilot_error err;
    int rc;

    close(lowest);
    req.cwd = ".";
    req.stdio_fd = req.stderr_fd = fd;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)lowest; /* none is free below */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    rc = launcher_run(f->l, &req, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(rc, PILOT_ESYS);
    assert_non_null(strstr(err.text, "too many open files"));
    assert_int_equal(launcher_running(f->l), 0);
    assert_int_equal(count_fds(getpid()), own);
    close(fd);
    assert_int_equal(finish(f, "t", "exit 5").exit_code, 5);
}

/* ---- A socket that is full ------------------------------------------------------------------- */

/* A message as long as payload, with the number in it. */
static void put_message(struct buf *b, uint32_t number, size_t payload)
{
    buf_clear(b);
    buf_put_u32(b, (uint32_t)(1 + 4 + payload));
    buf_put_u8(b, WIRE_KILL);
    buf_put_u32(b, number);
    for (size_t i = 0; i < payload; i++)
        buf_put_u8(b, 0);
    assert_true(buf_ok(b));
}

/* Fills the connection until many messages have to wait; returns how many were sent. */
static uint32_t fill(struct conn *c)
{
    struct buf b;
    uint32_t n = 0;

    buf_init(&b);
    while (c->out.len < 100000) {
        put_message(&b, n++, 1000);
        assert_int_equal(conn_send(c, &b), 0);
    }
    buf_fini(&b);
    return n;
}

/* Sends a message and a pipe's end with it, which is closed then. Returns the other end. */
static int send_pipe(struct conn *c, uint32_t number, size_t payload)
{
    struct buf b;
    int ends[2];
    struct wire_fds fds = {.n = 2};

    buf_init(&b);
    put_message(&b, number, payload);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fds.v[0] = fds.v[1] = ends[1];
    assert_int_equal(conn_send_fds(c, &b, &fds), 0);
    close(ends[1]);
    buf_fini(&b);
    return ends[0];
}

struct stuck {
    int epoll_fd;
    int far; /* the other end of the socket */
    struct conn *conn;
};

static void make_stuck(struct stuck *s)
{
    int pair[2];

    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    assert_true(s->epoll_fd >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    s->conn = conn_create(pair[0], 1, CONN_FREE, s->epoll_fd);
    assert_non_null(s->conn);
    s->far = pair[1];
}

/* Receives all messages up to the one of that number; descriptors must have come with that one, and
 * before its end. */
static void receive_up_to(struct stuck *s, uint32_t last)
{
    struct wire_rx rx;
    struct wire_fds held = {0};
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    uint32_t next = 0;

    wire_rx_init(&rx);
    while (next <= last) {
        struct wire_fds fds;
        enum wire_type type;
        const void *payload;
        size_t len;
        ssize_t n;

        conn_flush(s->conn);
        n = wire_recv(&rx, s->far, MSG_DONTWAIT, &fds);
        assert_true((n > 0 || n == PILOT_EAGAIN) && clock_mono_ms() < until_ms);
        while (wire_next(&rx, &type, &payload, &len) > 0) {
            struct rd r;

            rd_init(&r, payload, len);
            assert_int_equal(rd_u32(&r), next);
            next++;
        }
        if (n > 0 && fds.n > 0) {
            assert_true(next >= last); /* all before it are complete */
            assert_int_equal(held.n, 0);
            held = fds;
        }
    }
    assert_int_equal(held.n, 2);
    assert_int_equal(write(held.v[1], "x", 1), 1);
    wire_fds_close(&held);
    wire_rx_fini(&rx);
}

static void check_descriptors_wait(size_t payload, bool full)
{
    struct stuck s;
    uint32_t n;
    int fd;

    make_stuck(&s);
    n = full ? fill(s.conn) : 0;
    fd = send_pipe(s.conn, n, payload);
    receive_up_to(&s, n);
    assert_string_equal(read_all(fd), "x"); /* no copy is left */
    close(fd);
    fd = send_pipe(s.conn, 0, 10); /* the next one */
    receive_up_to(&s, 0);
    assert_string_equal(read_all(fd), "x");
    close(fd);
    conn_destroy(s.conn);
    close(s.far);
    close(s.epoll_fd);
}

static void descriptors_wait_for_room_with_their_message(void **state)
{
    (void)state;
    check_descriptors_wait(10, false);
    check_descriptors_wait(4 << 20, false); /* sent in pieces */
    check_descriptors_wait(10, true);
    check_descriptors_wait(4 << 20, true);
}

static void descriptors_that_wait_are_closed_with_the_connection(void **state)
{
    struct stuck s;
    int fd;

    (void)state;
    make_stuck(&s);
    fd = send_pipe(s.conn, fill(s.conn), 10);
    assert_int_equal(s.conn->out_fds.n, 2);
    conn_hang_up(s.conn);
    assert_string_equal(read_all(fd), "");
    close(fd);
    conn_destroy(s.conn);
    close(s.far);
    close(s.epoll_fd);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_program_echoes),
        T(output_errors_and_the_exit_code_are_apart),
        T(the_stream_ends_when_the_program_dies),
        T(a_program_sees_nothing_else),
        T(pwd_of_one_that_needs_no_shell),
        T(files_of_a_task_of_that_name_are_let_alone),
        T(spawn_errors_are_in_the_event_only),
        T(wrong_descriptors_are_refused),
        T(kill_ends_it),
        T(kill_before_there_is_a_slot),
        T(stop_before_there_is_a_slot),
        T(a_timeout_is_not_told_to_the_program),
        T(what_is_left_gets_term_at_once),
        T(what_ignores_term_is_killed_after_the_grace_time),
        T(a_dead_slot_ends_the_stream),
        T(the_death_of_the_agent_ends_it),
        T(many_of_both_kinds_leak_nothing),
        T(a_slot_with_too_many_open_files_says_so),
        T(descriptors_that_cannot_be_copied_are_an_error),
        T(descriptors_wait_for_room_with_their_message),
        T(descriptors_that_wait_are_closed_with_the_connection),
    };

    if (argc > 2 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
