/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: one non-blocking socket and what does not fit into it. Must not know what messages mean. */
#include "launch/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"

static int watch(struct conn *c, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    return epoll_ctl(c->epoll_fd, op, c->fd, &ev);
}

struct conn *conn_create(int fd, pid_t pid, enum conn_state state, int epoll_fd)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->state = state;
    c->fd = fd;
    c->pid = pid;
    c->epoll_fd = epoll_fd;
    wire_rx_init(&c->rx);
    buf_init(&c->out);
    if (watch(c, EPOLL_CTL_ADD, EPOLLIN) < 0) {
        free(c);
        return NULL;
    }
    return c;
}

void conn_hang_up(struct conn *c)
{
    wire_fds_close(&c->out_fds);
    if (c->fd < 0)
        return;
    /* Closing alone would leave it in the set while a forked process holds a copy. */
    (void)watch(c, EPOLL_CTL_DEL, 0);
    close(c->fd);
    c->fd = -1;
}

void conn_destroy(struct conn *c)
{
    if (c == NULL)
        return;
    conn_hang_up(c);
    wire_rx_fini(&c->rx);
    buf_fini(&c->out);
    free(c);
}

static void wait_for_room(struct conn *c, bool wanted)
{
    if (c->waits_for_room == wanted)
        return;
    c->waits_for_room = wanted;
    (void)watch(c, EPOLL_CTL_MOD, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static bool has_rest(const struct conn *c)
{
    return c->out_sent < c->out.len;
}

/* The descriptors go with what is put into out next. */
static bool keep_fds(struct conn *c, const struct wire_fds *fds)
{
    if (fds == NULL || fds->n == 0)
        return true;
    BUG_ON(c->out_fds.n > 0);
    c->out_fds_at = c->out.len;
    return wire_fds_dup(&c->out_fds, fds) == 0;
}

int conn_send(struct conn *c, const struct buf *msg)
{
    return conn_send_fds(c, msg, NULL);
}

int conn_send_fds(struct conn *c, const struct buf *msg, const struct wire_fds *fds)
{
    bool kept = true;
    bool was_waiting = has_rest(c);
    ssize_t sent = 0;

    if (!was_waiting) {
        sent = wire_send_fds(c->fd, msg->data, msg->len, MSG_DONTWAIT, fds);
        if (sent < 0)
            return PILOT_ELOST;
        if ((size_t)sent == msg->len)
            return 0;
        buf_clear(&c->out);
        c->out_sent = 0;
    }
    if (sent == 0)
        kept = keep_fds(c, fds);
    buf_put(&c->out, msg->data + sent, msg->len - (size_t)sent);
    if (!kept || !buf_ok(&c->out)) {
        /* Half a message is sent, or one is missing: this connection is of no more use. */
        (void)shutdown(c->fd, SHUT_RDWR);
        return 0;
    }
    if (!was_waiting)
        wait_for_room(c, true);
    return 0;
}

void conn_keep(struct conn *c, const struct buf *msg)
{
    if (!has_rest(c)) {
        buf_clear(&c->out);
        c->out_sent = 0;
    }
    buf_put(&c->out, msg->data, msg->len);
    if (!buf_ok(&c->out))
        (void)shutdown(c->fd, SHUT_RDWR); /* as above */
}

/* Sends once: up to the message with the descriptors, or from there. */
static ssize_t send_rest(struct conn *c)
{
    const unsigned char *rest = c->out.data + c->out_sent;
    ssize_t sent;

    if (c->out_fds.n == 0)
        return wire_send(c->fd, rest, c->out.len - c->out_sent, MSG_DONTWAIT);
    if (c->out_sent < c->out_fds_at)
        return wire_send(c->fd, rest, c->out_fds_at - c->out_sent, MSG_DONTWAIT);
    sent = wire_send_fds(c->fd, rest, c->out.len - c->out_sent, MSG_DONTWAIT, &c->out_fds);
    if (sent > 0)
        wire_fds_close(&c->out_fds);
    return sent;
}

void conn_flush(struct conn *c)
{
    ssize_t sent;

    if (!has_rest(c))
        return;
    sent = send_rest(c);
    if (sent > 0)
        c->out_sent += (size_t)sent;
    if (sent >= 0 && has_rest(c)) {
        wait_for_room(c, true);
        return;
    }
    wire_fds_close(&c->out_fds);
    buf_clear(&c->out);
    c->out_sent = 0;
    wait_for_room(c, false);
}

bool conn_await_end(struct conn *c, int64_t deadline_ms)
{
    char drop[4096];

    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int64_t wait_ms = deadline_ms - clock_mono_ms();
        ssize_t n;

        if (wait_ms <= 0)
            return false;
        if (poll(&p, 1, (int)wait_ms) <= 0)
            continue;
        n = recv(c->fd, drop, sizeof(drop), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            return true;
    }
}
