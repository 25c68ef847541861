/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: how the memory of a tree is measured, and how often. Must not kill anybody.
 *
 * Without a group: the sum of the resident pages (RSS) of all processes is cheap to read, and is at
 * least what the tree uses, for a page that several share is counted for each. So it clears almost
 * every tree. Only where it is above the limit is the proportional size (PSS) read, in which a
 * shared page counts once in all, whoever shares it; that walks page tables, so the pause after a
 * look is 30 times what the look cost. Between vfork and execve two processes are one and the same
 * memory: it is counted once. Files in /dev/shm count while somebody has them mapped.
 *
 * What is allocated and given back between two looks is not seen, and a tree that grows fast is
 * over its limit by what it can touch in a tenth of a second. A group has neither gap. */
#include "launch/memguard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/units.h"

#define PAUSE_MS 100
#define PAUSE_MAX_MS 5000
#define PAUSE_TIMES 30 /* the cost of a look: it takes 3 % of a core at most */
#define GROUP_PAUSE_MS 200
#define SAME_MEMORY 1 /* KCMP_VM of <linux/kcmp.h> */

void memguard_init(struct memguard *g)
{
    memset(g, 0, sizeof(*g));
    memcg_task_init(&g->group);
}

void memguard_begin(struct memguard *g, const struct memcg *m, int64_t limit)
{
    memguard_init(g);
    g->limit = limit;
    if (limit > 0 && m != NULL)
        (void)memcg_task_make(&g->group, m, limit); /* else it is watched */
}

void memguard_watch(struct memguard *g)
{
    memcg_task_remove(&g->group);
}

void memguard_describe(const struct memguard *g, char *text, size_t size)
{
    char used[32], limit[32];

    snprintf(text, size, "used %s of %s", units_size_text(g->used, used, sizeof(used)),
             units_size_text(g->limit, limit, sizeof(limit)));
}

/* ---- Measuring ------------------------------------------------------------------------------- */

/* Of /proc/PID/statm, in pages. */
struct pages {
    unsigned long long size, resident, shared;
};

static bool read_proc(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    ssize_t len;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    len = read(fd, text, size - 1);
    close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';
    return true;
}

static struct pages pages_of(pid_t pid)
{
    struct pages p = {0};
    char text[256];

    if (!read_proc(pid, "statm", text, sizeof(text)) ||
        sscanf(text, "%llu %llu %llu", &p.size, &p.resident, &p.shared) != 3)
        memset(&p, 0, sizeof(p));
    return p;
}

static int64_t resident_bytes(const struct tree *t)
{
    int64_t page = sysconf(_SC_PAGESIZE), sum = 0;

    for (size_t i = 0; i < t->n; i++)
        sum += (int64_t)pages_of(t->procs[i].pid).resident * page;
    return sum;
}

/* A process has vforked and waits for its child. */
static bool shares_with_parent(const struct tree_proc *proc)
{
    struct pages a, b;

#ifdef SYS_kcmp
    long rc = syscall(SYS_kcmp, proc->pid, proc->ppid, SAME_MEMORY, 0UL, 0UL);

    if (rc >= 0)
        return rc == 0;
#endif
    a = pages_of(proc->pid); /* the kernel was built without, or does not let us */
    b = pages_of(proc->ppid);
    return a.size == b.size && a.resident == b.resident && a.shared == b.shared;
}

/* By PSS; what may not be read so, by the pages that it shares with nobody. */
static int64_t proportional_bytes(pid_t pid)
{
    struct pages p;
    char text[4096];
    const char *line;

    if (read_proc(pid, "smaps_rollup", text, sizeof(text)) &&
        (line = strstr(text, "\nPss:")) != NULL)
        return strtoll(line + 5, NULL, 10) * 1024;
    p = pages_of(pid);
    return (int64_t)(p.resident - p.shared) * sysconf(_SC_PAGESIZE);
}

static int64_t tree_bytes(const struct tree *t, pid_t root)
{
    int64_t sum = 0;

    for (size_t i = 0; i < t->n; i++)
        if (t->procs[i].ppid == root || !shares_with_parent(&t->procs[i]))
            sum += proportional_bytes(t->procs[i].pid);
    return sum;
}

/* ---- Looking --------------------------------------------------------------------------------- */

static void look_at_group(struct memguard *g)
{
    if (!memcg_task_killed(&g->group))
        return;
    g->over = true;
    g->used = memcg_task_peak(&g->group);
    if (g->used < g->limit)
        g->used = g->limit; /* it was what it wanted beyond that it was killed for */
}

int64_t memguard_look(struct memguard *g, struct tree *t, pid_t root)
{
    int64_t start_us = clock_mono_us(), pause_ms, bytes;

    if (g->group.procs_fd >= 0) {
        look_at_group(g);
        return GROUP_PAUSE_MS;
    }
    if (tree_children(t, root) < 0 && tree_find(t, root, NULL, 0) < 0)
        return PAUSE_MAX_MS;
    bytes = resident_bytes(t);
    if (bytes > g->limit)
        bytes = tree_bytes(t, root);
    if (bytes > g->used)
        g->used = bytes;
    g->over |= bytes > g->limit;
    pause_ms = (clock_mono_us() - start_us) * PAUSE_TIMES / 1000;
    return pause_ms < PAUSE_MS ? PAUSE_MS : pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS;
}

void memguard_end(struct memguard *g)
{
    if (g->group.procs_fd >= 0)
        look_at_group(g);
    memcg_task_remove(&g->group);
}
