/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the control socket of this node and the connections to it. Must not understand what is
 * said over it, and never waits: neither for a client that is slow in writing nor for one that does
 * not read.
 *
 * A client has one request under way at a time: nothing more is read from it until it has been
 * answered and has taken the answer. So a client holds at most one request and one answer of ours,
 * and one that sends without reading only blocks itself.
 *
 * The directory keeps others out (0700); the socket's own mode and SO_PEERCRED say the same again,
 * for the day somebody opens the directory. */
#include "agent/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/control_place.h"
#include "common/error.h"
#include "common/log.h"

#define CLIENTS_MAX 4096 /* a power of two: the low bits of a client's number are its slot */
#define READ_FIRST 4096
#define READ_TURN                                                                                  \
    (4u << 20)               /* bytes read in one call, so that a flood does not hold up the loop  \
                              */
#define LISTENER CLIENTS_MAX /* in epoll, in place of a slot */

/* What a connection is doing. The transitions:
 *
 *   READING --a whole line--> READY --control_next--> ASKED --control_reply--> ANSWERING
 *      ^                                                                          |
 *      +--------------------------the answer is sent------------------------------+
 *
 * and from each to closed (fd -1), READY excepted: a request that has come is handed out even if
 * its client has left since. Nobody is left in READY while epoll is asked. */
enum client_state { READING, READY, ASKED, ANSWERING };

struct client {
    int fd; /* -1: the slot is free */
    enum client_state state;
    uint32_t number;
    uint32_t watched; /* events asked of epoll */
    bool eof;         /* it will send nothing more */
    char *in;         /* owned: what has come of the next line, and perhaps of later ones */
    size_t in_len, in_cap;
    size_t looked; /* bytes of it known to hold no newline */
    char *out;     /* owned: the answer; NULL: none */
    size_t out_len, out_sent;
    STAILQ_ENTRY(client) next; /* free slots; in state READY, those to be handed out */
};

STAILQ_HEAD(client_list, client);

struct control {
    struct control_place place;
    int listener, epoll;
    bool accepting;     /* the listener is in epoll */
    unsigned used, max; /* clients; so many at once, others wait to be accepted */
    struct client *clients;
    unsigned slots; /* of them were ever used */
    struct client_list unused, ready;
    char *line; /* owned: the one handed out last */
};

/* ---- Slots ----------------------------------------------------------------------------------- */

static struct client *slot_take(struct control *c)
{
    struct client *cl = STAILQ_FIRST(&c->unused);

    if (cl != NULL)
        STAILQ_REMOVE_HEAD(&c->unused, next);
    else
        cl = &c->clients[c->slots++];
    c->used++;
    return cl;
}

static void watch_listener(struct control *c, bool on)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = LISTENER};

    if (c->accepting != on &&
        epoll_ctl(c->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, c->listener, &ev) == 0)
        c->accepting = on;
}

static void client_close(struct control *c, struct client *cl)
{
    close(cl->fd); /* leaves epoll with it: nobody else has this descriptor */
    cl->fd = -1;
    free(cl->in);
    free(cl->out);
    cl->in = cl->out = NULL;
    cl->in_len = cl->in_cap = cl->looked = cl->out_len = cl->out_sent = 0;
    STAILQ_INSERT_TAIL(&c->unused, cl, next);
    c->used--;
    watch_listener(c, true);
}

static bool watch(struct control *c, struct client *cl, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.u32 = (uint32_t)(cl - c->clients)};

    if (events == cl->watched)
        return true;
    cl->watched = events;
    return epoll_ctl(c->epoll, EPOLL_CTL_MOD, cl->fd, &ev) == 0;
}

/* ---- From clients ---------------------------------------------------------------------------- */

/* Back to reading: the next line may be here already. Closes what has nothing more to say. */
static void client_read_on(struct control *c, struct client *cl)
{
    char *newline =
        cl->in_len > cl->looked ? memchr(cl->in + cl->looked, '\n', cl->in_len - cl->looked) : NULL;

    cl->state = READING;
    cl->looked = newline != NULL ? (size_t)(newline - cl->in) : cl->in_len;
    if (newline != NULL && cl->looked <= CONTROL_LINE_MAX &&
        memchr(cl->in, '\0', cl->looked) == NULL && watch(c, cl, 0)) {
        cl->state = READY;
        STAILQ_INSERT_TAIL(&c->ready, cl, next);
    } else if (newline != NULL || cl->eof || cl->in_len > CONTROL_LINE_MAX ||
               !watch(c, cl, EPOLLIN)) {
        if (newline != NULL || cl->in_len > CONTROL_LINE_MAX)
            log_warn("a client of the control socket sent a line that is no request (longer than "
                     "%u MiB, or binary); its connection was closed",
                     CONTROL_LINE_MAX >> 20);
        client_close(c, cl);
    }
}

static bool grow_in(struct client *cl)
{
    size_t cap = cl->in_cap ? cl->in_cap * 2 : READ_FIRST;
    char *in;

    if (cl->in_len < cl->in_cap)
        return true;
    in = realloc(cl->in, cap);
    if (in == NULL)
        return false;
    cl->in = in;
    cl->in_cap = cap;
    return true;
}

/* Reads what is there of a line, at most *budget bytes. */
static void client_read(struct control *c, struct client *cl, size_t *budget)
{
    while (*budget > 0) {
        size_t room;
        ssize_t n;

        if (!grow_in(cl)) {
            log_warn("out of memory for a request; a connection to the control socket was closed");
            client_close(c, cl);
            return;
        }
        room = cl->in_cap - cl->in_len;
        n = recv(cl->fd, cl->in + cl->in_len, room < *budget ? room : *budget, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            cl->eof = true;
        } else {
            cl->in_len += (size_t)n;
            *budget -= (size_t)n;
        }
        client_read_on(c, cl);
        if (cl->fd < 0 || cl->state != READING)
            return;
    }
}

static bool may_ask(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static void client_open(struct control *c, int fd)
{
    struct client *cl = slot_take(c);
    uint32_t slot = (uint32_t)(cl - c->clients);
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = slot};

    cl->fd = fd;
    cl->state = READING;
    cl->watched = EPOLLIN;
    cl->eof = false;
    cl->number += CLIENTS_MAX; /* nobody who had this slot before had this number */
    cl->number = (cl->number & ~(uint32_t)(CLIENTS_MAX - 1)) | slot;
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
        client_close(c, cl);
}

/* Lets in who waits. When there is no room, the others stay with the kernel until somebody leaves,
 * or until the next call. */
static void accept_clients(struct control *c)
{
    while (c->used < c->max) {
        int fd = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0)
            break; /* no descriptors, no memory */
        if (may_ask(fd)) {
            client_open(c, fd);
        } else {
            log_warn("another user tried to use the control socket; the connection was closed");
            close(fd);
        }
    }
    watch_listener(c, false);
}

/* ---- To clients ------------------------------------------------------------------------------ */

static void client_write(struct control *c, struct client *cl)
{
    while (cl->out_sent < cl->out_len) {
        ssize_t n = send(cl->fd, cl->out + cl->out_sent, cl->out_len - cl->out_sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && watch(c, cl, EPOLLOUT))
            return;
        if (n < 0) {
            client_close(c, cl);
            return;
        }
        cl->out_sent += (size_t)n;
    }
    free(cl->out);
    cl->out = NULL;
    cl->out_len = cl->out_sent = 0;
    client_read_on(c, cl);
}

void control_reply(struct control *c, uint32_t client, const char *text)
{
    uint32_t slot = client & (CLIENTS_MAX - 1);
    struct client *cl = &c->clients[slot];
    size_t len = strlen(text);

    if (slot >= c->slots || cl->fd < 0 || cl->number != client || cl->state != ASKED)
        return;
    cl->state = ANSWERING;
    cl->out = malloc(len + 1);
    if (cl->out == NULL) {
        log_warn("out of memory for an answer; a connection to the control socket was closed");
        client_close(c, cl);
        return;
    }
    memcpy(cl->out, text, len);
    cl->out[len] = '\n';
    cl->out_len = len + 1;
    client_write(c, cl);
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void on_event(struct control *c, const struct epoll_event *ev, size_t *budget)
{
    struct client *cl;

    if (ev->data.u32 == LISTENER) {
        accept_clients(c);
        return;
    }
    cl = &c->clients[ev->data.u32];
    if (cl->fd < 0)
        return;
    switch (cl->state) {
    case READING: /* its last words may be there behind a hang-up */
        client_read(c, cl, budget);
        break;
    case ANSWERING:
        client_write(c, cl);
        break;
    case READY: /* gone perhaps, but it has asked */
        break;
    case ASKED: /* gone: only that is told when nothing is asked for */
        client_close(c, cl);
        break;
    }
}

/* Hands out the line of a client in state READY; what is behind it stays. */
static void take_line(struct client *cl, char **line)
{
    size_t rest = cl->in_len - cl->looked - 1;
    char *next = NULL;

    if (rest > 0) {
        next = malloc(rest);
        if (next == NULL)
            rest = 0; /* it never was our client's way to send ahead */
        else
            memcpy(next, cl->in + cl->looked + 1, rest);
    }
    cl->in[cl->looked] = '\0';
    free(*line);
    *line = cl->in;
    cl->in = next;
    cl->in_len = cl->in_cap = rest;
    cl->looked = 0;
}

int control_next(struct control *c, uint32_t *client, const char **line)
{
    struct epoll_event events[64];
    size_t budget = READ_TURN;
    struct client *cl;

    if (!c->accepting && c->used < c->max)
        watch_listener(c, true);
    while (STAILQ_EMPTY(&c->ready) && budget > 0) {
        int n = epoll_wait(c->epoll, events, 64, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        for (int i = 0; i < n; i++)
            on_event(c, &events[i], &budget);
    }
    cl = STAILQ_FIRST(&c->ready);
    if (cl == NULL)
        return 0;
    STAILQ_REMOVE_HEAD(&c->ready, next);
    cl->state = ASKED;
    take_line(cl, &c->line);
    *client = cl->number;
    *line = c->line;
    return 1;
}

/* ---- Coming and going ------------------------------------------------------------------------ */

/* Half of the descriptors that this process may have: the rest of it needs some too. */
static unsigned clients_at_once(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= 2ul * CLIENTS_MAX)
        return CLIENTS_MAX;
    return limit.rlim_cur >= 32 ? (unsigned)limit.rlim_cur / 2 : 16;
}

int control_create(struct control **out, const char *node_dir, struct pilot_error *err)
{
    struct control *c = calloc(1, sizeof(*c));
    int rc;

    if (c == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for the control socket");
    c->listener = c->epoll = -1;
    STAILQ_INIT(&c->unused);
    STAILQ_INIT(&c->ready);
    c->max = clients_at_once();
    c->clients = calloc(c->max, sizeof(*c->clients));
    for (unsigned i = 0; c->clients != NULL && i < c->max; i++)
        c->clients[i].fd = -1;
    rc = c->clients == NULL ? err_set(err, PILOT_ENOMEM, "out of memory for the control socket")
                            : control_place_make(&c->place, node_dir, &c->listener, err);
    if (rc == 0) {
        c->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (c->epoll >= 0)
            watch_listener(c, true);
        if (!c->accepting)
            rc = err_set_errno(err, PILOT_ESYS, errno, "cannot watch the control socket '%s'",
                               c->place.socket);
    }
    if (rc < 0) {
        control_destroy(c);
        return rc;
    }
    *out = c;
    return 0;
}

void control_destroy(struct control *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < c->slots; i++)
        if (c->clients[i].fd >= 0)
            client_close(c, &c->clients[i]);
    if (c->listener >= 0)
        close(c->listener);
    if (c->epoll >= 0)
        close(c->epoll);
    control_place_remove(&c->place);
    free(c->clients);
    free(c->line);
    free(c);
}

const char *control_path(const struct control *c)
{
    return c->place.socket;
}

int control_fd(const struct control *c)
{
    return c->epoll;
}
