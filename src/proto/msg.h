/* SPDX-License-Identifier: BSD-3-Clause */
/* The messages between head and agents: one list, their structs, and encode/decode as neighbours.
 *
 * A *frame* is what the transport carries: a 4-byte magic with the protocol version, then one or
 * more messages, each a type (1 byte), the length of its body (4 bytes) and the body. Encoding
 * appends to a frame under construction, so that a turn's messages to one node travel together.
 *
 * To add a message: add a line to MSG_LIST, a struct, its encode and decode in msg.c, a row in
 * tests/unit/test_proto.c, and its handler in head/ or agent/. Change MSG_VERSION when an existing
 * body changes. */
#ifndef PILOT_PROTO_MSG_H
#define PILOT_PROTO_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/task.h"
#include "pilot.h"

#define MSG_VERSION 7
#define MSG_MAGIC (0x504d5000u | MSG_VERSION) /* "PMP" and the version */
#define MSG_BODY_MAX (64u << 20)              /* bytes; a longer one is refused before allocation */
#define MSG_NAME_MAX 256
#define MSG_CPUS_MAX 4096
#define MSG_TEXT_MAX 1024

/*       name      number  direction */
#define MSG_LIST(X)                                                                                \
    X(HELLO, 1)     /* rank -> head: who I am, what I may use */                                   \
    X(WELCOME, 2)   /* head -> rank: your role, your node's CPUs, where things are */              \
    X(READY, 3)     /* agent -> head: so many cores, or why not */                                 \
    X(ASSIGN, 4)    /* head -> agent: use so many of them */                                       \
    X(RUN, 5)       /* head -> agent: start this attempt */                                        \
    X(KILL, 6)      /* head -> agent: end this attempt */                                          \
    X(ENDED, 7)     /* agent -> head: this attempt has ended */                                    \
    X(PING, 8)      /* both: I am alive */                                                         \
    X(BYE, 9)       /* head -> rank: end what runs, say GONE */                                    \
    X(GONE, 10)     /* agent -> head: nothing of mine is left, I only wait for the end now */      \
    X(REQUEST, 11)  /* agent -> head: a client of the node's control socket asks (JSON) */         \
    X(REPLY, 12)    /* head -> agent: the answer to it (JSON) */                                   \
    X(FINALIZE, 13) /* head -> rank: nobody was lost; leave, with MPI_Finalize as I do */          \
    X(LEAVE, 14) /* both: the head: end what runs and leave without MPI_Finalize; a rank: I do */  \
    X(ASK, 15)   /* agent -> head: I was stopped for a while, do you still count on me? */         \
    X(STILL, 16) /* head -> agent: yes; what I sent before this may be too old */                  \
    X(PROBE, 17) /* head -> agent: is there room for output again? */                              \
    X(ROOM, 18)  /* agent -> head: there is, or there is none */                                   \
    X(PACK, 19)  /* head -> agent: packed output is of this run; before the first RUN */           \
    X(BACK, 20)  /* agent -> head: this attempt, which was lent, has not begun and will not */

enum msg_type {
#define X(name, number) MSG_##name = (number),
    MSG_LIST(X)
#undef X
};
const char *msg_type_name(unsigned type); /* "?" for an unknown one */

struct msg_hello {
    char host[MSG_NAME_MAX];
    char version[32];        /* of the program: all ranks must be the same */
    char cpus[MSG_CPUS_MAX]; /* list of CPUs that this rank may use */
    uint32_t slurm_cpus;     /* CPUs that Slurm gave the job on this node; 0: not under Slurm */
    int64_t pid;
};

enum msg_role { ROLE_AGENT = 1, ROLE_SURPLUS = 2 };

struct msg_welcome {
    enum msg_role role;
    char node[MSG_NAME_MAX];
    char cpus[MSG_CPUS_MAX]; /* union of what the node's ranks may use */
    char workdir[4096];      /* absolute; "": nothing will be run (a dry run) */
    int64_t grace_ms;
    int64_t silence_ms;   /* the head is lost after so long without a message; 0: never */
    int64_t heartbeat_ms; /* say so often that you are alive; 0: never */
    int64_t left_ms;      /* until tasks are ended because of the walltime; INT64_MAX: not known */
    int64_t max_output;   /* bytes of stdout, and of stderr, that are kept; 0: all */
    enum pilot_output output;
    bool use_hyperthreads;
    bool no_pin;
    bool keep_env;
};

struct msg_ready {
    uint32_t cores;          /* 0: cannot run tasks; text says why */
    int64_t memory;          /* bytes that tasks may use in all; 0: not known */
    char map[MSG_TEXT_MAX];  /* for people */
    char text[MSG_TEXT_MAX]; /* a warning or the error; "" */
};

struct msg_assign {
    uint32_t cores;
    bool is_virtual; /* they stand for no hardware: no pinning */
};

struct msg_run {
    task_id_t task;
    uint32_t attempt;
    task_id_t after; /* lent: it begins when the attempt of this task that is on the node has ended,
                      * and takes over its cores; TASK_ID_NONE: at once */
    uint32_t backs;  /* so many BACK messages of the node were known when this was sent */
    struct task_spec spec; /* decoded: owned, task_spec_fini */
};

struct msg_kill {
    task_id_t task;
    uint32_t attempt;
    enum attempt_reason reason;
    bool now;     /* KILL at once */
    bool unbegun; /* only if it was lent and has not begun */
};

struct msg_ended {
    task_id_t task;
    uint32_t attempt;
    char cpus[TASK_CPUS_MAX];
    struct attempt_result result;
};

/* It comes before the ENDED of the attempt that it was behind. */
struct msg_back {
    task_id_t task;
    uint32_t attempt;
};

/* The answer to a PROBE; without one when an attempt could not be started, or failed, for that. */
struct msg_room {
    char why[MSG_TEXT_MAX]; /* there is none; "": there is */
};

struct msg_pack {
    uint64_t run; /* of the state (pack/record.h) */
};

/* REQUEST and REPLY. */
struct msg_text {
    uint32_t client; /* the agent's number for who asks; comes back in the REPLY */
    char *text;      /* decoded: owned, free */
};

/* ---- Encoding: each appends one message to frame (which gets its magic with the first) --------
 */
void msg_put_hello(struct buf *frame, const struct msg_hello *m);
void msg_put_welcome(struct buf *frame, const struct msg_welcome *m);
void msg_put_ready(struct buf *frame, const struct msg_ready *m);
void msg_put_assign(struct buf *frame, const struct msg_assign *m);
/* The spec as packed by spec_pack. */
void msg_put_run(struct buf *frame, task_id_t task, uint32_t attempt, task_id_t after,
                 uint32_t backs, const void *spec, size_t spec_len);
void msg_put_kill(struct buf *frame, const struct msg_kill *m);
void msg_put_back(struct buf *frame, const struct msg_back *m);
void msg_put_ended(struct buf *frame, const struct msg_ended *m);
void msg_put_text(struct buf *frame, enum msg_type type, uint32_t client, const char *text);
void msg_put_room(struct buf *frame, const struct msg_room *m);
void msg_put_pack(struct buf *frame, const struct msg_pack *m);
void msg_put_empty(struct buf *frame, enum msg_type type); /* those without a body */

/* ---- Decoding -------------------------------------------------------------------------------- */
struct msg_reader {
    struct rd rd;
};
/* PILOT_EPROTO when the magic or the version is another one; the text says so. */
int msg_open(struct msg_reader *r, const void *frame, size_t len, struct pilot_error *err);
/* 1: *type and *body are the next message; 0: the end; PILOT_EPROTO: cut or too long. */
int msg_next(struct msg_reader *r, unsigned *type, struct rd *body);

/* Each returns 0, or PILOT_EPROTO when the body is not exactly one such message. */
int msg_get_hello(struct rd *body, struct msg_hello *m);
int msg_get_welcome(struct rd *body, struct msg_welcome *m);
int msg_get_ready(struct rd *body, struct msg_ready *m);
int msg_get_assign(struct rd *body, struct msg_assign *m);
int msg_get_run(struct rd *body, struct msg_run *m);
int msg_get_kill(struct rd *body, struct msg_kill *m);
int msg_get_back(struct rd *body, struct msg_back *m);
int msg_get_ended(struct rd *body, struct msg_ended *m);
int msg_get_text(struct rd *body, struct msg_text *m);
int msg_get_room(struct rd *body, struct msg_room *m);
int msg_get_pack(struct rd *body, struct msg_pack *m);

/* ---- A task as bytes: what the head keeps of each task, and the tail of RUN -------------------
 */

/* Equal content gives equal bytes. */
void spec_pack(struct buf *b, const struct task_spec *spec);
/* spec is initialised by the call; on PILOT_EPROTO or PILOT_ENOMEM it is empty. */
int spec_unpack(struct rd *r, struct task_spec *spec);
/* Only its numbers, and depends_on: what there is to be scheduled. As spec_unpack. */
int spec_unpack_shape(struct rd *r, struct task_spec *spec);

#endif
