/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of the report share: a report before a pseudo-terminal, a pipe or a socket, and
 * what came out at the other end. */
#ifndef TESTS_REPORT_FIXTURE_H
#define TESTS_REPORT_FIXTURE_H

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "report/report.h"

#include "screen_model.h"

enum where { TERMINAL, PIPE, SOCKET };

struct fix {
    char dir[64];
    enum where where;
    unsigned width;
    int rd, wr; /* ours to read; the report's to write */
    int err_rd; /* what went to standard error; -1: it was left alone */
    int old_err;
    struct report *r;
    char *out; /* all that was read so far */
    size_t len;
    struct model *screen;
};

struct how {
    enum where where;
    unsigned width;
    bool quiet, verbose;
    bool err_there; /* standard error goes to the same terminal or pipe */
    bool err_apart; /* standard error goes to a pipe of its own */
};

static inline int set_up(void **state)
{
    struct fix *f = calloc(1, sizeof(*f));

    setenv("TERM", "xterm", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    setenv("TZ", "UTC", 1);
    unsetenv("NO_COLOR");
    tzset();
    f->rd = f->wr = f->err_rd = f->old_err = -1;
    strcpy(f->dir, "/tmp/test-report-XXXXXX");
    if (mkdtemp(f->dir) == NULL)
        return -1;
    f->screen = calloc(1, sizeof(*f->screen));
    *state = f;
    alarm(60); /* a call that blocks ends the test */
    return 0;
}

static inline void restore_stderr(struct fix *f)
{
    if (f->old_err < 0)
        return;
    dup2(f->old_err, STDERR_FILENO);
    close(f->old_err);
    f->old_err = -1;
}

static inline int tear_down(void **state)
{
    struct fix *f = *state;
    char command[128];

    restore_stderr(f);
    if (f->wr >= 0)
        close(f->wr);
    if (f->rd >= 0)
        close(f->rd);
    if (f->err_rd >= 0)
        close(f->err_rd);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    free(f->out);
    free(f->screen);
    free(f);
    return system(command);
}

static inline void redirect_stderr(struct fix *f, int fd)
{
    f->old_err = dup(STDERR_FILENO);
    assert_true(f->old_err >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
}

static inline void open_report(struct fix *f, const struct how *how)
{
    struct report_config config = {.quiet = how->quiet, .verbose = how->verbose, .workdir = f->dir};
    struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)how->width};
    struct pilot_error err;
    int p[2];

    f->where = how->where;
    if (how->where == TERMINAL) {
        assert_int_equal(openpty(&f->rd, &f->wr, NULL, NULL, &size), 0);
    } else {
        if (how->where == PIPE)
            assert_int_equal(pipe(p), 0);
        else
            assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p), 0);
        f->rd = p[0];
        f->wr = p[1];
    }
    assert_int_equal(fcntl(f->rd, F_SETFL, O_NONBLOCK), 0);
    f->width = how->width;
    if (how->err_there)
        redirect_stderr(f, f->wr);
    if (how->err_apart) {
        assert_int_equal(pipe2(p, O_NONBLOCK), 0);
        f->err_rd = p[0];
        redirect_stderr(f, p[1]);
        close(p[1]);
    }
    config.fd = f->wr;
    assert_int_equal(report_create(&f->r, &config, &err), 0);
}

static inline void take(struct fix *f, const char *data, size_t len)
{
    f->out = realloc(f->out, f->len + len + 1);
    assert_non_null(f->out);
    memcpy(f->out + f->len, data, len);
    f->len += len;
    f->out[f->len] = '\0';
}

/* Reads all that was written. A terminal hands its bytes on a little later: a byte that nothing
 * else writes tells where they end. */
static inline void read_out(struct fix *f)
{
    bool marked = f->where != TERMINAL, end = marked;
    static char data[65536];
    ssize_t n;

    for (;;) {
        struct pollfd p[2] = {{.fd = f->rd, .events = POLLIN},
                              {.fd = marked ? -1 : f->wr, .events = POLLOUT}};

        assert_true(poll(p, 2, end ? 0 : 10000) > 0 || end);
        if (p[1].revents & POLLOUT) {
            assert_int_equal(write(f->wr, "\x01", 1), 1);
            marked = true;
        }
        n = read(f->rd, data, sizeof(data));
        if (n > 0 && data[n - 1] == '\x01') {
            n--;
            end = true;
        }
        if (n > 0)
            take(f, data, (size_t)n);
        if (end && (n <= 0 || f->where == TERMINAL))
            break;
    }
    take(f, "", 0);
    /* From the beginning each time, since a read may end within a character. */
    if (f->where == TERMINAL) {
        model_init(f->screen, f->width);
        model_feed(f->screen, f->out, f->len);
    }
}

static inline unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
        n++;
    return n;
}

static inline struct attempt_result result_of(enum attempt_reason reason, int code, int sig,
                                              int64_t ms)
{
    struct attempt_result r = {.reason = reason, .exit_code = code, .signal = sig};

    r.start_wall_ms = 1700000000000;
    r.end_wall_ms = r.start_wall_ms + ms;
    return r;
}

static inline void completed(struct report *r, const char *id, int64_t ms)
{
    struct attempt_result result = result_of(REASON_EXIT, 0, 0, ms);

    report_task_ended(r, id, 1, TASK_COMPLETED, &result, 0, 0);
}

static inline void failed(struct report *r, const char *id)
{
    struct attempt_result result = result_of(REASON_EXIT, 3, 0, 100);

    report_task_ended(r, id, 1, TASK_FAILED, &result, 0, 0);
}

static inline struct report_progress progress_of(uint64_t done, uint64_t failures, uint64_t total)
{
    struct report_progress p = {.completed = done,
                                .failed = failures,
                                .running = done + failures < total ? 1 : 0,
                                .total = total,
                                .cores = 8,
                                .cores_busy = 1};

    p.waiting = total - done - failures - p.running;
    return p;
}

static inline void start_with(struct report *r, uint64_t tasks)
{
    struct report_node nodes[] = {{"vc1", 4, "4 cores: 0-3"}, {"vc2", 4, "4 cores: 0-3"}};
    struct report_start s = {.nodes = nodes,
                             .node_count = 2,
                             .cores = 8,
                             .pinned = true,
                             .db = "/d/state.db",
                             .tasks = tasks};

    report_start(r, &s, 0);
}

static inline void end_plainly(struct fix *f)
{
    struct report_end e = {
        .summary =
            {.completed = 5, .wall_s = 12.7, .cpu_s = 41.7, .core_s = 44.2, .cores = 4, .nodes = 1},
        .db = "/d/state.db"};
    struct pilot_error err;

    assert_int_equal(report_end(f->r, &e, &err), 0);
    read_out(f);
    report_destroy(f->r);
}

#define LAST_LINE "Completed: 5 | Failed: 0 | Wall time: 12.7s | CPU time: 41.7s (3.3x speedup)"

#define REPORT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
