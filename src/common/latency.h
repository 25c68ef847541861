/* SPDX-License-Identifier: BSD-3-Clause */
/* To get a core soon after waking, beside tasks that keep all of them busy. It gives no more of the
 * cores' time than anybody else has, only sooner and in smaller pieces. */
#ifndef PILOT_COMMON_LATENCY_H
#define PILOT_COMMON_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

/* What sched_setattr(2) takes, in its first version. */
struct latency_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

struct latency { /* all zero: nothing was changed */
    struct latency_attr before;
    bool changed;
};

/* Asks it for the calling thread. inherited: also for the processes and threads that it starts from
 * now on, until they call latency_drop; else these are as before. Where the kernel does not know
 * this (before 6.12), or the thread is not an ordinary one (SCHED_OTHER, nice 0 or more), nothing
 * happens. */
void latency_ask(struct latency *l, bool inherited);
/* In a process that inherited it: it is as before. Nothing but a system call, so that it can be
 * called after vfork. */
void latency_drop(const struct latency *l);

#endif
