/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests share of programs that talk with the caller through descriptors of its own. */
#ifndef TEST_LAUNCH_TALK_H
#define TEST_LAUNCH_TALK_H

#include "launch_helpers.h"

#include <sys/socket.h>

/* ---- Talking --------------------------------------------------------------------------------- */

/* The caller's ends. */
struct talk {
    int io;
    int err;
};

/* Starts req with a socket for 0 and 1 and a pipe for 2. The other ends are closed at once. */
static inline struct talk talk_with(struct launcher *l, struct launch_request *req)
{
    struct pilot_error err;
    int io[2];
    int errs[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, io) < 0 || pipe2(errs, O_CLOEXEC) < 0)
        fail_msg("no descriptors");
    if (req->cwd == NULL)
        req->cwd = ".";
    req->stdio_fd = io[1];
    req->stderr_fd = errs[1];
    if (launcher_run(l, req, &err) < 0)
        fail_msg("%s", err.text);
    close(io[1]);
    close(errs[1]);
    return (struct talk){io[0], errs[0]};
}

static inline void hang_up(struct talk *t)
{
    close(t->io);
    close(t->err);
}

/* What comes until the end of the stream, served by nobody: so all others must have closed it. */
static inline const char *read_all(int fd)
{
    static char text[4096];
    size_t n = 0;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t got;

        if (poll(&p, 1, DEADLINE_MS) <= 0)
            fail_msg("no end of the stream");
        got = read(fd, text + n, sizeof(text) - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    text[n] = '\0';
    return text;
}

/* The next line, while the launcher is served; no event may come meanwhile. */
static inline const char *read_line(struct fixture *f, int fd)
{
    static char text[4096];
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    size_t n = 0;

    while (n < sizeof(text) - 1 && (n == 0 || text[n - 1] != '\n')) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        struct launch_event ev;

        if (f->l != NULL)
            assert_int_equal(launcher_next(f->l, &ev), 0);
        if (clock_mono_ms() > until_ms)
            fail_msg("no line");
        if (poll(&p, 1, 5) <= 0)
            continue;
        if (read(fd, text + n, 1) != 1)
            break;
        n++;
    }
    text[n] = '\0';
    return text;
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline struct attempt_result end_of(struct fixture *f, uint64_t key)
{
    struct launch_event ev;

    assert_int_equal(next_event(f, &ev), 1);
    assert_int_equal(ev.key, key);
    return ev.result;
}

static inline int count_fds(pid_t pid)
{
    char path[64];
    int n = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    for (int fd = 0; fd < 4096; fd++) {
        char name[96];
        char target[16];

        snprintf(name, sizeof(name), "%s/%d", path, fd);
        n += readlink(name, target, sizeof(target)) > 0;
    }
    return n;
}

#endif
