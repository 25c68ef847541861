/* SPDX-License-Identifier: BSD-3-Clause */
/* The messages between the agent, its guardian and its slots, and their framing.
 *
 * A message is a 32-bit length (of what follows), a type byte and a payload. The processes are
 * forks of one program, so there is no version number. To add a message: one line in WIRE_MESSAGES,
 * an encoder and a decoder next to each other in wire.c, a case in the receiver, and a row in the
 * table of test_launch.c that tries every encoding whole and cut at every byte.
 */
#ifndef PILOT_LAUNCH_WIRE_H
#define PILOT_LAUNCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "launch/launch.h"

/*     name   number   direction */
#define WIRE_MESSAGES(X)                                                                           \
    X(CONFIG, 1) /* agent -> guardian: what all tasks share */                                     \
    X(WANT, 2)   /* agent -> guardian: make one more slot */                                       \
    X(SLOT, 3)   /* guardian -> agent: here it is; its socket comes along */                       \
    X(NOSLOT, 4) /* guardian -> agent: it could not be made */                                     \
    X(GONE, 5)   /* guardian -> agent: a slot has ended, and nothing of its task is left */        \
    X(RUN, 6)    /* agent -> slot: run this task */                                                \
    X(KILL, 7)   /* agent -> slot: end it */                                                       \
    X(RESULT, 8) /* slot -> agent: it has ended */                                                 \
    X(BACK, 11)  /* slot -> agent: it has not begun, and will not */                               \
    X(PACK, 10)  /* agent -> guardian: where packed output goes */                                 \
    X(WATCH, 9)  /* agent -> guardian: end everything when I am stopped for so many ms */

#define WIRE_ENUM(name, number) WIRE_##name = (number),
enum wire_type { WIRE_MESSAGES(WIRE_ENUM) };
#undef WIRE_ENUM

/* Longest message. The kernel takes at most 6 MiB of arguments and environment, so anything longer
 * could not be executed anyway. */
#define WIRE_MAX (8u << 20)

/* ---- Payloads -------------------------------------------------------------------------------- */

struct wire_config {
    int64_t grace_ms;
    const char *workdir;
    char **env; /* wire_get_config: heap, free with strv_free; the strings too */
};

struct wire_pack {
    const char *dir;
    uint64_t run;
};

struct wire_kill {
    uint64_t key;
    enum attempt_reason reason;
    bool now;
    bool unbegun; /* only if it has not begun: see launcher_recall */
};

/* A list of strings inside a received message; the array is reused from message to message. */
struct wire_strv {
    char **v; /* NULL-terminated */
    size_t n;
    size_t cap;
};

/* A launch_request as received. The strings point into the message. stdio_fd and stderr_fd are -1
 * when descriptors come along, which wire_recv has. Zero it before first use. */
struct wire_run {
    struct launch_request req;
    struct wire_strv argv;
    struct wire_strv env;
};
void wire_run_fini(struct wire_run *run);

/* Each appends one whole message to b. */
void wire_put_config(struct buf *b, const struct wire_config *config);
void wire_put_pack(struct buf *b, const struct wire_pack *pack);
void wire_put_want(struct buf *b);
void wire_put_slot(struct buf *b, pid_t pid);
void wire_put_noslot(struct buf *b, int errnum);
void wire_put_gone(struct buf *b, pid_t pid);
void wire_put_watch(struct buf *b, int64_t patience_ms);
void wire_put_run(struct buf *b, const struct launch_request *req);
void wire_put_back(struct buf *b, uint64_t key);
void wire_put_kill(struct buf *b, const struct wire_kill *k);
void wire_put_result(struct buf *b, const struct launch_event *ev);

/* Each decodes a payload: 0, PILOT_EPROTO or PILOT_ENOMEM. Pointers in the results point into the
 * payload and must not outlive it, but for wire_config.env. */
int wire_get_config(const void *payload, size_t len, struct wire_config *out);
int wire_get_pack(const void *payload, size_t len, struct wire_pack *out);
int wire_get_number(const void *payload, size_t len, int64_t *out); /* SLOT, NOSLOT, GONE */
int wire_get_back(const void *payload, size_t len, uint64_t *key);
int wire_get_run(const void *payload, size_t len, struct wire_run *out);
int wire_get_kill(const void *payload, size_t len, struct wire_kill *out);
int wire_get_result(const void *payload, size_t len, struct launch_event *out);

/* ---- Transport ------------------------------------------------------------------------------- */

/* Descriptors that travel with a message. */
#define WIRE_FDS_MAX 2
struct wire_fds {
    int v[WIRE_FDS_MAX];
    size_t n;
};
int wire_fds_dup(struct wire_fds *to, const struct wire_fds *from); /* 0, or PILOT_ESYS and errno */
void wire_fds_close(struct wire_fds *fds);                          /* and empties it */

/* What has been received and not been read yet. */
struct wire_rx {
    unsigned char *data;
    size_t start; /* first byte not yet read */
    size_t end;
    size_t cap;
};
void wire_rx_init(struct wire_rx *rx);
void wire_rx_fini(struct wire_rx *rx);

/* Receives once: the number of bytes, 0 at the end of the stream, or a negative error:
 * PILOT_EAGAIN, PILOT_ELOST (reset), PILOT_ENOMEM. flags: MSG_DONTWAIT or 0. Moves what earlier
 * payloads pointed to. When fds is not NULL it gets the descriptors that came along: those of one
 * message, whose first byte is among those received. */
ssize_t wire_recv(struct wire_rx *rx, int fd, int flags, struct wire_fds *fds);

/* The next whole message: 1, 0 when there is none yet, PILOT_EPROTO for a length beyond reason. */
int wire_next(struct wire_rx *rx, enum wire_type *type, const void **payload, size_t *len);

/* Sends what it can of data: the number of bytes (perhaps 0, when it would have to wait), or
 * PILOT_ELOST. Without MSG_DONTWAIT in flags it sends all. Raises no SIGPIPE. */
ssize_t wire_send(int fd, const void *data, size_t len, int flags);

/* The same with descriptors on the first byte, so they have been sent when the result is positive.
 * fds may be NULL or empty. */
ssize_t wire_send_fds(int fd, const void *data, size_t len, int flags, const struct wire_fds *fds);

#endif
