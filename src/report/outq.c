/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the descriptor's peculiarities. Must not know what the bytes mean.
 *
 * A reader that stopped reading (a pager, Ctrl-S) must not stop the head, whose agents would take
 * it for dead. O_NONBLOCK on the given descriptor would be seen by everybody who shares it, the
 * user's shell too; so pipes and terminals are opened a second time through /proc, which gives a
 * description of our own. */
#include "report/outq.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool reopen(struct outq *q)
{
    char path[40];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", q->fd);
    fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return false;
    q->fd = fd;
    q->own = true;
    return true;
}

void outq_init(struct outq *q, int fd)
{
    struct stat st;

    memset(q, 0, sizeof(*q));
    buf_init(&q->data);
    q->fd = fd;
    q->kind = OUTQ_OTHER;
    if (fstat(fd, &st) != 0)
        q->failed = errno;
    else if (S_ISREG(st.st_mode))
        q->kind = OUTQ_FILE;
    else if (S_ISSOCK(st.st_mode))
        q->kind = OUTQ_SOCKET;
    else if (S_ISFIFO(st.st_mode) && reopen(q))
        q->kind = OUTQ_PIPE;
    else if (S_ISCHR(st.st_mode) && isatty(fd) && reopen(q))
        q->kind = OUTQ_TTY;
}

void outq_fini(struct outq *q)
{
    if (q->own)
        close(q->fd);
    buf_fini(&q->data);
    memset(q, 0, sizeof(*q));
    q->fd = -1;
}

bool outq_idle(const struct outq *q)
{
    return q->sent == q->data.len;
}

void outq_put(struct outq *q, const void *data, size_t len)
{
    if (q->failed == 0)
        buf_put(&q->data, data, len);
}

/* A write whose EPIPE comes without the signal that would end the whole run. The disposition of
 * SIGPIPE belongs to the program that uses this library, so it is left as it is. */
static ssize_t write_quietly(int fd, const void *data, size_t len)
{
    static const struct timespec at_once;
    sigset_t pipe_set, old, pending;
    bool was_pending;
    ssize_t n;
    int saved;

    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    was_pending = sigismember(&pending, SIGPIPE) == 1;
    if (pthread_sigmask(SIG_BLOCK, &pipe_set, &old) != 0)
        sigemptyset(&old);
    n = write(fd, data, len);
    saved = errno;
    if (n < 0 && saved == EPIPE && !was_pending)
        while (sigtimedwait(&pipe_set, NULL, &at_once) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return n;
}

/* How much to write at once: a pipe takes PIPE_BUF bytes wholly or not at all, so that pieces of
 * whole lines cannot be torn apart by what others write into it. */
static size_t piece(const struct outq *q, const unsigned char *data, size_t len)
{
    const unsigned char *newline;

    if ((q->kind != OUTQ_PIPE && q->kind != OUTQ_OTHER) || len <= PIPE_BUF)
        return len;
    newline = memrchr(data, '\n', PIPE_BUF);
    return newline != NULL ? (size_t)(newline - data) + 1 : PIPE_BUF;
}

static ssize_t write_piece(struct outq *q, const void *data, size_t len)
{
    struct pollfd p = {.fd = q->fd, .events = POLLOUT};

    if (q->kind == OUTQ_SOCKET)
        return send(q->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (q->kind == OUTQ_OTHER && poll(&p, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write_quietly(q->fd, data, len);
}

void outq_push(struct outq *q)
{
    while (q->failed == 0 && !outq_idle(q)) {
        const unsigned char *data = q->data.data + q->sent;
        ssize_t n = write_piece(q, data, piece(q, data, q->data.len - q->sent));

        if (n > 0)
            q->sent += (size_t)n;
        else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        else if (n < 0 && errno != EINTR)
            q->failed = errno;
        else if (n == 0)
            q->failed = EIO;
    }
    buf_clear(&q->data);
    q->sent = 0;
}

void outq_drain(struct outq *q, int ms)
{
    struct pollfd p = {.fd = q->fd, .events = POLLOUT};

    outq_push(q);
    while (!outq_idle(q)) {
        int n = poll(&p, 1, ms);

        if (n == 0 || (n < 0 && errno != EINTR))
            return;
        outq_push(q);
    }
}
