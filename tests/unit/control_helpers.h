/* SPDX-License-Identifier: BSD-3-Clause */
/* For the tests of the control socket: one that is up, in a directory of its own, and clients. */
#ifndef TEST_CONTROL_HELPERS_H
#define TEST_CONTROL_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/control.h"
#include "common/clock.h"
#include "common/error.h"

#define DEADLINE_MS 20000

struct fixture {
    char base[64], node[80], tmp[80], note[96];
    struct control *c;
};

static inline struct control *create(struct fixture *f)
{
    struct pilot_error err = {0};
    struct control *c = NULL;

    if (control_create(&c, f->node, &err) != 0)
        fail_msg("%s", err.text);
    return c;
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->base, "/tmp/test-control.XXXXXX");
    if (mkdtemp(f->base) == NULL)
        return -1;
    snprintf(f->node, sizeof(f->node), "%s/node", f->base);
    snprintf(f->tmp, sizeof(f->tmp), "%s/tmp", f->base);
    snprintf(f->note, sizeof(f->note), "%s/socket", f->node);
    chmod(f->base, 0755);
    mkdir(f->node, 0755);
    mkdir(f->tmp, 01777);
    chmod(f->tmp, 01777);
    setenv("TMPDIR", f->tmp, 1);
    f->c = create(f);
    *state = f;
    return 0;
}

static inline void remove_tree(const char *path)
{
    char command[256];

    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    control_destroy(f->c);
    remove_tree(f->base);
    free(f);
    return 0;
}

/* ---- Clients --------------------------------------------------------------------------------- */

static inline int try_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int errnum = errno;

        close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

static inline int client(const struct fixture *f)
{
    int fd = try_connect(control_path(f->c));

    if (fd < 0)
        fail_msg("connect: %s", strerror(errno));
    return fd;
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static inline bool readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, timeout_ms) == 1;
}

/* The next line, which must come; the control socket is not served meanwhile. */
static inline char *hear(int fd)
{
    static char line[65536];
    size_t len = 0;

    do {
        if (!readable(fd, DEADLINE_MS) || recv(fd, line + len, 1, 0) != 1)
            fail_msg("no line from the pilot, only '%.*s'", (int)len, line);
    } while (line[len++] != '\n');
    line[len - 1] = '\0';
    return line;
}

static inline void expect_eof(int fd)
{
    char byte;

    if (!readable(fd, DEADLINE_MS))
        fail_msg("the connection is still open");
    assert_true(recv(fd, &byte, 1, 0) <= 0);
}

/* The next request, waited for. */
static inline uint32_t await(struct control *c, const char **line)
{
    int64_t end_ms = clock_mono_ms() + DEADLINE_MS;
    uint32_t number;

    while (control_next(c, &number, line) == 0)
        if (clock_mono_ms() > end_ms || !readable(control_fd(c), DEADLINE_MS))
            fail_msg("no request came");
    return number;
}

/* Serves until there is nothing at once: what has been sent is taken in. */
static inline void expect_none(struct control *c)
{
    const char *line;
    uint32_t number;

    while (readable(control_fd(c), 0))
        if (control_next(c, &number, &line) != 0)
            fail_msg("a request that nobody expected: %.60s", line);
    assert_int_equal(control_next(c, &number, &line), 0);
}

static inline int status_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Serves until the client has ended; nothing must be handed out. */
static inline int serve_until_end(struct fixture *f, pid_t pid)
{
    int64_t end_ms = clock_mono_ms() + DEADLINE_MS;
    const char *line;
    uint32_t number;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_mono_ms() > end_ms)
            fail_msg("the client does not end");
        assert_int_equal(control_next(f->c, &number, &line), 0);
        readable(control_fd(f->c), 10);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
