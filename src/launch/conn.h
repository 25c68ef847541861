/* SPDX-License-Identifier: BSD-3-Clause */
/* The agent's end of a socket to the guardian or to a slot: never blocks, watched by epoll. */
#ifndef PILOT_LAUNCH_CONN_H
#define PILOT_LAUNCH_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/buf.h"
#include "launch/behind.h"
#include "launch/wire.h"

/*   GUARDIAN         the only one of its kind
 *   FREE <-> BUSY    a slot without and with a task
 *   FREE -> DEAD     end of the stream: waits for GONE, the guardian's word that the slot has ended
 *   BUSY -> LOST     the same, and that nothing of its task is left */
enum conn_state { CONN_GUARDIAN, CONN_FREE, CONN_BUSY, CONN_DEAD, CONN_LOST };

struct conn {
    enum conn_state state;
    int fd;
    pid_t pid;
    int epoll_fd;
    struct wire_rx rx;
    struct buf out;              /* what did not fit into the socket */
    size_t out_sent;             /* of out */
    bool waits_for_room;         /* epoll is asked for that */
    bool corked;                 /* something is kept for the end of launcher_cork */
    struct wire_fds out_fds;     /* copies of descriptors that go with ... */
    size_t out_fds_at;           /* ... this byte of out */
    struct launch_event attempt; /* BUSY, LOST: key and start */
    struct behind behind;        /* BUSY, LOST: those that begin when that has ended */
    char cpus[TASK_CPUS_MAX];    /* of the last task */
};

/* Takes fd over on success; watches it. NULL when memory is short or epoll refuses. */
struct conn *conn_create(int fd, pid_t pid, enum conn_state state, int epoll_fd);
void conn_destroy(struct conn *c);

/* Closes the socket, when nothing more is to be had from it; c lives on. */
void conn_hang_up(struct conn *c);

/* Sends, or keeps for later, whole messages. PILOT_ELOST: nothing was sent, the other side has
 * ended. */
int conn_send(struct conn *c, const struct buf *msg);

/* The same with descriptors, of which a copy is kept while they have to wait. At most one message
 * with descriptors may wait. fds may be empty. */
int conn_send_fds(struct conn *c, const struct buf *msg, const struct wire_fds *fds);

/* Waits until the other side has closed it, and drops what that still sends. False: it has not by
 * then. */
bool conn_await_end(struct conn *c, int64_t deadline_ms);

/* Keeps the message until conn_flush; whatever is sent before waits for that, too. */
void conn_keep(struct conn *c, const struct buf *msg);

/* Goes on sending what was kept, when epoll says that there is room (or first says so). A failure
 * is not reported: the end of the stream follows. */
void conn_flush(struct conn *c);

#endif
