/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: sets of CPUs as text, and the set that a process may use. hwloc has a parser of lists, but
 * it takes "3x" for 3 and "1-" for all from 1 on. */
#include "agent/cpulist.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cpus.h"
#include "common/error.h"

static bool parse_number(const char **at, unsigned long *out)
{
    char *end;

    if (!isdigit((unsigned char)**at))
        return false;
    *out = strtoul(*at, &end, 10); /* overflow gives ULONG_MAX, which is too large as well */
    *at = end;
    return *out <= CPULIST_MAX_CPU;
}

int cpulist_parse(const char *list, hwloc_bitmap_t set, struct pilot_error *err)
{
    const char *at = list;

    hwloc_bitmap_zero(set);
    while (*at != '\0') {
        unsigned long first, last;

        if (!parse_number(&at, &first))
            goto bad;
        last = first;
        if (*at == '-') {
            at++;
            if (!parse_number(&at, &last) || last < first)
                goto bad;
        }
        if ((*at != ',' && *at != '\0') || (*at == ',' && at[1] == '\0'))
            goto bad;
        if (hwloc_bitmap_set_range(set, (unsigned)first, (int)last) < 0)
            return err_set(err, PILOT_ENOMEM, "out of memory for a set of CPUs");
        if (*at == ',')
            at++;
    }
    return 0;
bad:
    return err_set(err, PILOT_EINVAL,
                   "'%.200s' is not a list of CPU numbers up to %d; write it like 0-3,8", list,
                   CPULIST_MAX_CPU);
}

int cpulist_format(hwloc_const_bitmap_t set, char *dst, size_t size, struct pilot_error *err)
{
    int len = hwloc_bitmap_list_snprintf(dst, size, set);

    if (len >= 0 && (size_t)len < size)
        return 0;
    if (size > 0)
        dst[0] = '\0';
    return err_set(err, PILOT_ESYS,
                   "a set of %d CPUs is so scattered that its list needs more than %zu bytes; give "
                   "the task more or fewer cores, or do not pin tasks (--no-pin)",
                   hwloc_bitmap_weight(set), size);
}

/* The kernel refuses a set smaller than its own with EINVAL: grow until it is content. */
int cpulist_of_process(int pid, hwloc_bitmap_t set, struct pilot_error *err)
{
    hwloc_bitmap_zero(set);
    for (int cpus = CPU_SETSIZE; cpus <= CPULIST_MAX_CPU + 1; cpus *= 2) {
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        cpu_set_t *mask = CPU_ALLOC(cpus);
        int rc, saved;

        if (mask == NULL)
            return err_set(err, PILOT_ENOMEM, "out of memory for a set of %d CPUs", cpus);
        rc = sched_getaffinity(pid, bytes, mask);
        saved = errno;
        for (int i = 0; rc == 0 && i < cpus; i++)
            if (CPU_ISSET_S((size_t)i, bytes, mask))
                hwloc_bitmap_set(set, (unsigned)i);
        CPU_FREE(mask);
        if (rc == 0)
            return 0;
        if (saved != EINVAL)
            return err_set_errno(err, saved == ESRCH ? PILOT_ENOENT : PILOT_ESYS, saved,
                                 "cannot read the CPU affinity of process %d", pid);
    }
    return err_set(err, PILOT_ESYS, "this machine has more than %d CPUs, which is not supported",
                   CPULIST_MAX_CPU + 1);
}

int cpus_mask_of(int pid, char *dst, size_t size, struct pilot_error *err)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    int rc;

    if (set == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for a set of CPUs");
    rc = cpulist_of_process(pid, set, err);
    if (rc == 0)
        rc = cpulist_format(set, dst, size, err);
    hwloc_bitmap_free(set);
    return rc;
}

int cpus_union(const char *a, const char *b, char *dst, size_t size, struct pilot_error *err)
{
    hwloc_bitmap_t x = hwloc_bitmap_alloc(), y = hwloc_bitmap_alloc();
    int rc = PILOT_ENOMEM;

    if (x == NULL || y == NULL) {
        err_set(err, rc, "out of memory for a set of CPUs");
        goto out;
    }
    rc = cpulist_parse(a, x, err);
    if (rc == 0)
        rc = cpulist_parse(b, y, err);
    if (rc < 0)
        goto out;
    hwloc_bitmap_or(x, x, y);
    rc = cpulist_format(x, dst, size, err);
out:
    hwloc_bitmap_free(x);
    hwloc_bitmap_free(y);
    return rc;
}
