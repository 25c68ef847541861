/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory controller of the kernel's control groups, version 1 or 2, as far as a job has one:
 * what limits it is under, how often the kernel killed for want of memory, and groups of its own
 * for tasks where it may make them. */
#ifndef PILOT_LAUNCH_MEMCG_H
#define PILOT_LAUNCH_MEMCG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MEMCG_PATH_MAX 2048
#define MEMCG_NO_LIMIT INT64_MAX

struct memcg {
    int version;      /* 1 or 2; 0: there is none */
    bool usable;      /* groups for tasks can be made below dir (memcg_prepare) */
    size_t mount_len; /* bytes of the mount point at the front of dir */
    char tag[48];     /* at the front of the names of those groups; begins with "pilot-PID-" */
    char dir[MEMCG_PATH_MAX];
};

/* The group of this process. root is put before every path: "" but in tests. False: there is no
 * memory controller, m->version is 0. */
bool memcg_find(struct memcg *m, const char *root);

/* Bytes that the group and those above it leave to this process at most. */
int64_t memcg_limit(const struct memcg *m);

/* How many processes of the group the kernel has killed for want of memory; 0 when nobody knows. */
int64_t memcg_oom_kills(const struct memcg *m);

/* Finds out whether groups for tasks can be made, and makes that possible where it takes only that
 * this process and `other` move to a group of their own (version 2 allows no processes beside
 * groups). Removes what launchers that were killed left behind. */
void memcg_prepare(struct memcg *m, pid_t other);
/* Removes the groups of the launcher whose guardian was pid, and that of its own processes. Those
 * in use stay. */
void memcg_sweep(const struct memcg *m, pid_t pid);

/* ---- The group of one task ------------------------------------------------------------------- */

struct memcg_task {
    int procs_fd; /* "0" written here moves the writer into the group; -1: there is no group */
    int events_fd;
    int peak_fd; /* -1: the kernel does not say */
    char dir[MEMCG_PATH_MAX + 80];
};

void memcg_task_init(struct memcg_task *t);
/* A fresh group that may have so many bytes of memory, and no swap beyond. False: it could not be
 * made. */
bool memcg_task_make(struct memcg_task *t, const struct memcg *m, int64_t limit);
/* Has the kernel killed in it? */
bool memcg_task_killed(const struct memcg_task *t);
/* The most bytes it has used; 0: not known. */
int64_t memcg_task_peak(const struct memcg_task *t);
/* Nothing runs in it any more. Does nothing without a group. */
void memcg_task_remove(struct memcg_task *t);

#endif
