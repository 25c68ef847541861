/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: a ring of events and its eventfd. Must not know where the events come from. */
#include "launch/eventq.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/error.h"

#define FIRST_CAP 64

int eventq_init(struct eventq *q)
{
    memset(q, 0, sizeof(*q));
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return q->fd < 0 ? PILOT_ESYS : 0;
}

void eventq_fini(struct eventq *q)
{
    if (q->fd >= 0)
        close(q->fd);
    free(q->ring);
}

int eventq_reserve(struct eventq *q, size_t n)
{
    size_t cap = q->cap > 0 ? q->cap : FIRST_CAP;
    struct launch_event *ring;

    if (n <= q->cap)
        return 0;
    while (cap < n)
        cap *= 2;
    ring = calloc(cap, sizeof(*ring));
    if (ring == NULL)
        return PILOT_ENOMEM;
    for (size_t i = 0; i < q->n; i++)
        ring[i] = q->ring[(q->first + i) % q->cap];
    free(q->ring);
    q->ring = ring;
    q->first = 0;
    q->cap = cap;
    return 0;
}

void eventq_push(struct eventq *q, const struct launch_event *ev)
{
    BUG_ON(q->n >= q->cap);
    q->ring[(q->first + q->n++) % q->cap] = *ev;
}

void eventq_announce(struct eventq *q, enum eventq_signal signal)
{
    if (q->signal == EVENTQ_QUIET)
        (void)eventfd_write(q->fd, 1);
    if (signal > q->signal)
        q->signal = signal;
}

bool eventq_pop(struct eventq *q, struct launch_event *ev)
{
    eventfd_t count;

    if (q->n == 0)
        return false;
    *ev = q->ring[q->first];
    q->first = (q->first + 1) % q->cap;
    q->n--;
    if (q->n == 0 && q->signal == EVENTQ_ANNOUNCED) {
        (void)eventfd_read(q->fd, &count);
        q->signal = EVENTQ_QUIET;
    }
    return true;
}
