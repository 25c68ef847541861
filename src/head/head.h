/* SPDX-License-Identifier: BSD-3-Clause */
/* The head, on rank 0: holds the tasks, asks the scheduler core what starts where, tells the
 * agents, hands every change to the store, and shows people what is committed. */
#ifndef PILOT_HEAD_HEAD_H
#define PILOT_HEAD_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/agent.h"
#include "common/task.h"
#include "pilot.h"
#include "transport/transport.h"

struct head;

/* A task that starts or has ended; valid during the call. */
struct head_report {
    const struct task_spec *spec;
    enum task_status status;
    const struct attempt_result
        *result;         /* of the last attempt; zeros when it starts, or had none */
    const char *node;    /* "" if there was none */
    const char *workdir; /* absolute */
    unsigned attempts;
};

/* Called out of head_run between two pieces of work; they may call head_add, head_cancel and
 * head_stop_run. NULL: nobody listens. */
struct head_callbacks {
    void (*started)(void *arg, const struct head_report *r);
    void (*ended)(void *arg, const struct head_report *r); /* for good, and committed */
    void *arg;
};

struct head_config {
    const struct pilot_options *options; /* strings must outlive the head */
    struct transport *mpi;               /* to the other ranks; NULL: none; not owned */
    struct launcher *launcher;           /* for this node's agent; owned from here on */
    struct launcher *hook_launcher;      /* for the hook program; owned; NULL: none is needed */
    char *const *environ_before;
    int64_t end_ms; /* of the allocation, monotonic; INT64_MAX: not known */
};

/* Keeps the signals that the head watches away from this thread and all that it starts. Call it
 * before MPI_Init: MPI has threads of its own, and a signal that one of them does not block would
 * end the process there. */
void head_block_signals(void);

/* Gathers the ranks into nodes, starts their agents, opens the state (not for a dry run), and loads
 * what it holds. *out is set on failure too: head_destroy
 * then releases the other ranks. */
int head_create(struct head **out, const struct head_config *config, struct pilot_error *err);

/* As pilot_load_file. */
int64_t head_load_file(struct head *h, const char *path, struct pilot_error *err);

/* As pilot_add_json; name stands for the text in messages. */
int64_t head_add(struct head *h, const char *name, const char *text, struct pilot_error *err);
/* As pilot_cancel. */
int head_cancel(struct head *h, const char *id, struct pilot_error *err);
/* As pilot_stop. */
void head_stop_run(struct head *h, const char *why);
/* Before head_run. */
void head_set_callbacks(struct head *h, const struct head_callbacks *callbacks);

/* As pilot_run. */
int head_run(struct head *h, struct pilot_error *err);

void head_get_summary(const struct head *h, struct pilot_summary *out);

/* Releases the other ranks if that has not been done, and frees h. False when ranks were lost, so
 * that MPI must not be finalised. */
bool head_destroy(struct head *h);

#endif
