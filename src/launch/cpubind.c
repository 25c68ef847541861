/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the affinity of a slot. The slot binds itself, not its child: the child inherits it, and
 * when the next task has the same CPUs, which is the common case, nothing is to be done at all.
 * The system calls are made directly: glibc's cpu_set_t ends at 1024 CPUs. */
#include "launch/cpubind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BITS (8 * sizeof(unsigned long))

static bool take_number(const char **p, unsigned *out)
{
    unsigned v = 0;
    const char *q = *p;

    while (*q >= '0' && *q <= '9' && v < CPUBIND_MAX_CPUS)
        v = v * 10 + (unsigned)(*q++ - '0');
    if (q == *p || v >= CPUBIND_MAX_CPUS)
        return false;
    *p = q;
    *out = v;
    return true;
}

bool cpubind_parse(const char *list, struct cpubind_mask *mask)
{
    const char *p = list;

    memset(mask, 0, sizeof(*mask));
    for (;;) {
        unsigned first;
        unsigned last;

        if (!take_number(&p, &first))
            return false;
        last = first;
        if (*p == '-') {
            p++;
            if (!take_number(&p, &last) || last < first)
                return false;
        }
        for (unsigned cpu = first; cpu <= last; cpu++)
            mask->bits[cpu / BITS] |= 1UL << (cpu % BITS);
        if (*p == '\0')
            return true;
        if (*p++ != ',')
            return false;
    }
}

static int set_mask(const struct cpubind_mask *mask, size_t bytes)
{
    return syscall(SYS_sched_setaffinity, 0, bytes, mask->bits) < 0 ? errno : 0;
}

int cpubind_apply(struct cpubind *b, const char *list)
{
    int errnum;

    if (list == NULL)
        list = "";
    if (strcmp(list, b->current) == 0)
        return 0;
    if (strlen(list) >= sizeof(b->current))
        return EINVAL;
    if (b->original_bytes == 0) {
        long n = syscall(SYS_sched_getaffinity, 0, sizeof(b->original), b->original.bits);

        if (n <= 0)
            return errno;
        b->original_bytes = (size_t)n;
    }
    if (*list == '\0') {
        errnum = set_mask(&b->original, b->original_bytes);
    } else {
        struct cpubind_mask mask;

        if (!cpubind_parse(list, &mask))
            return EINVAL;
        errnum = set_mask(&mask, sizeof(mask));
    }
    if (errnum == 0)
        memcpy(b->current, list, strlen(list) + 1);
    return errnum;
}
