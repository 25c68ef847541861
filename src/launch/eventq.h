/* SPDX-License-Identifier: BSD-3-Clause */
/* The events that launcher_next will return, and a descriptor that is readable while some of them
 * wait that no socket announces. */
#ifndef PILOT_LAUNCH_EVENTQ_H
#define PILOT_LAUNCH_EVENTQ_H

#include <stdbool.h>
#include <stddef.h>

#include "launch/launch.h"

enum eventq_signal {
    EVENTQ_QUIET,
    EVENTQ_ANNOUNCED, /* readable until the queue is empty */
    EVENTQ_FOR_GOOD,  /* readable from now on */
};

struct eventq {
    struct launch_event *ring;
    size_t first;
    size_t n;
    size_t cap;
    int fd;
    enum eventq_signal signal;
};

/* 0, or a negative PILOT_E... with errno. */
int eventq_init(struct eventq *q);
void eventq_fini(struct eventq *q);

/* Makes room for n events in all, so that adding cannot fail: called before an attempt starts. */
int eventq_reserve(struct eventq *q, size_t n);
void eventq_push(struct eventq *q, const struct launch_event *ev);
void eventq_announce(struct eventq *q, enum eventq_signal signal);

/* False when the queue is empty. */
bool eventq_pop(struct eventq *q, struct launch_event *ev);

#endif
