/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: where the amount of memory comes from. A limit that somebody set for this job is taken as
 * it is, so that two tasks of 8G fit in a job of 16G: the pilot's own share is small, and when they
 * really use it all, a task ends and not the pilot. Of a whole machine the system keeps a part. */
#include "agent/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "launch/memcg.h"

#define MIB (INT64_C(1) << 20)
#define RESERVE_PART 20              /* one part in so many ... */
#define RESERVE_MIN (256 * MIB)      /* ... but so much, unless that is more than a quarter, ... */
#define RESERVE_MAX (8 * 1024 * MIB) /* ... and never more than this */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The number behind a name at the beginning of a line of the file; -1: there is none. */
static int64_t number_in(const char *root, const char *name, const char *key)
{
    char path[2048], line[256];
    size_t len = strlen(key);
    int64_t number = -1;
    FILE *f;

    snprintf(path, sizeof(path), "%s/proc/%s", root, name);
    f = fopen(path, "re");
    while (f != NULL && number < 0 && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, key, len) == 0)
            number = strtoll(line + len, NULL, 10);
    if (f != NULL)
        fclose(f);
    return number;
}

static int64_t physical(const char *root)
{
    int64_t kib = number_in(root, "meminfo", "MemTotal:"), bytes, reserve;

    if (kib <= 0)
        return MEMCG_NO_LIMIT;
    bytes = kib * 1024;
    reserve = bytes / RESERVE_PART;
    if (reserve < RESERVE_MIN)
        reserve = smaller(RESERVE_MIN, bytes / 4);
    return bytes - smaller(reserve, RESERVE_MAX);
}

/* A number of the environment; 0: not there, or not one. */
static int64_t variable(char *const *env, const char *name)
{
    const char *value = strv_value(env, name);

    return value != NULL ? strtoll(value, NULL, 10) : 0;
}

/* What Slurm gave this job on this node; it writes MiB, and 0 for the whole node. */
static int64_t slurm(char *const *env)
{
    int64_t node = variable(env, "SLURM_MEM_PER_NODE");
    int64_t cpu = variable(env, "SLURM_MEM_PER_CPU");
    int64_t cpus = variable(env, "SLURM_CPUS_ON_NODE");

    if (node > 0 && node < INT64_MAX / MIB)
        return node * MIB;
    if (cpu > 0 && cpus > 0 && cpu < INT64_MAX / MIB / cpus)
        return cpu * cpus * MIB;
    return MEMCG_NO_LIMIT;
}

int64_t memory_for_tasks(char *const *environ_before, const char *root)
{
    int64_t bytes = smaller(physical(root), slurm(environ_before));
    struct memcg group;

    if (memcg_find(&group, root))
        bytes = smaller(bytes, memcg_limit(&group));
    return bytes == MEMCG_NO_LIMIT ? 0 : bytes;
}

/* The first counts all of the node; kernels do not agree on whether those that a group's limit
 * caused are among them. */
int64_t memory_oom_kills(const char *root)
{
    int64_t kills = number_in(root, "vmstat", "oom_kill ");
    struct memcg group;

    if (kills < 0)
        kills = 0;
    return memcg_find(&group, root) ? kills + memcg_oom_kills(&group) : kills;
}
