/* SPDX-License-Identifier: BSD-3-Clause */
/* The environment of tasks: what was there before MPI_Init, less what MPI launchers and Slurm put
 * in for their own use, so that an MPI program inside a task starts as if nothing were around it.
 * Pure: takes and returns lists of "NAME=value". */
#ifndef PILOT_AGENT_TASKENV_H
#define PILOT_AGENT_TASKENV_H

#include <stdbool.h>
#include <stdint.h>

#include "common/task.h"

/* The base environment for all tasks of a node; a fresh list (strv_free), NULL when memory is
 * short. keep: nothing is dropped but PILOT_SOCKET and PILOT_TIME_LEFT, which are another pilot's.
 * The SLURM_* originals come back as PILOT_SLURM_*. */
char **taskenv_base(char *const *environ_before, bool keep);

/* Those entries of the base that taskenv_task looks at: a fresh list (strv_free), NULL when memory
 * is short. Most often there are none, so that nobody searches the base for each task. */
char **taskenv_settings(char *const *base);

struct taskenv_task {
    const char *id;
    const char *dir; /* absolute */
    unsigned cores;
    int64_t memory; /* bytes; 0: no limit */
    unsigned attempt;
    const char *cpus; /* "" when not pinned */
    const char *node;
    const char *xml;     /* path for HWLOC_XMLFILE; NULL: none, MPI ranks are then not bound */
    const char *scratch; /* directory, made when needed, for what MPI programs keep on the node;
                          * NULL: as they do by themselves */
    const char *socket;  /* path of the node's control socket; NULL: none */
    int64_t left_s;      /* until tasks are ended because of the walltime; -1: not known */
    char *const *env;    /* the task's own, wins over everything but PILOT_* */
};

/* What comes on top of the base for one attempt; a fresh list (strv_free), NULL: no memory.
 * settings (or the whole base) is looked at only to leave alone what the user has set:
 * OMP_NUM_THREADS, settings of MPI. */
char **taskenv_task(char *const *settings, const struct taskenv_task *t);

#endif
