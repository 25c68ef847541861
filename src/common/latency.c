/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the length of the slice that is asked for. Linux's scheduler (EEVDF) runs first whose slice
 * would be over first by rights; who asks for a short one is run sooner after waking, and yields
 * sooner. For ordinary threads sched_runtime of sched_setattr(2) is this slice since Linux 6.12;
 * older kernels ignore it.
 *
 * From the end of a task to the start of the one that waited for it five processes wake up one
 * after the other. Beside tasks that spin, each of them may have to wait for a slice of these to
 * end (3 ms and more). */
#include "common/latency.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLICE_NS 100000 /* the shortest that the kernel knows */
#define RESET_ON_FORK UINT64_C(1)

static long set(const struct latency_attr *attr)
{
#ifdef SYS_sched_setattr
    return syscall(SYS_sched_setattr, 0, attr, 0U);
#else
    (void)attr;
    return -1;
#endif
}

void latency_ask(struct latency *l, bool inherited)
{
    struct latency_attr attr;

    *l = (struct latency){0};
#ifdef SYS_sched_getattr
    if (syscall(SYS_sched_getattr, 0, &l->before, (unsigned)sizeof(l->before), 0U) != 0)
        return;
#endif
    /* The reset would take a negative nice from what is started. */
    if (l->before.size == 0 || l->before.policy != SCHED_OTHER || l->before.nice < 0)
        return;
    l->before.size = sizeof(l->before);
    l->before.flags &= RESET_ON_FORK;
    l->before.runtime_ns = 0; /* that of the system */
    if (!inherited)
        l->before.flags |= RESET_ON_FORK; /* for good: to take it away needs a privilege */
    attr = l->before;
    attr.runtime_ns = SLICE_NS;
    l->changed = set(&attr) == 0;
}

void latency_drop(const struct latency *l)
{
    if (l->changed)
        (void)set(&l->before);
}
