/* SPDX-License-Identifier: BSD-3-Clause */
/* The requests that wait for a slot, in the order in which they came. */
#ifndef PILOT_LAUNCH_WAITQ_H
#define PILOT_LAUNCH_WAITQ_H

#include <stddef.h>

#include "common/buf.h"
#include "launch/launch.h"
#include "launch/wire.h"

struct waiting {
    struct waiting *next;
    struct launch_event attempt; /* key and start */
    struct buf msg;
    struct wire_fds fds; /* copies */
    char cpus[TASK_CPUS_MAX];
};

struct waitq {
    struct waiting *first;
    struct waiting **last;
    size_t n;
};

void waitq_init(struct waitq *q);
void waitq_fini(struct waitq *q);
/* All is copied. 0, PILOT_ENOMEM, or PILOT_ESYS: no more descriptors. */
int waitq_add(struct waitq *q, const struct buf *msg, const struct launch_event *attempt,
              const struct wire_fds *fds, const char *cpus);
/* Where that request hangs, for waitq_remove; NULL: it does not wait. */
struct waiting **waitq_find(struct waitq *q, uint64_t key);
/* Unlinks *link and frees it. */
void waitq_remove(struct waitq *q, struct waiting **link);

#endif
