/* SPDX-License-Identifier: BSD-3-Clause */
/* When the allocation ends: found once, at the start, on rank 0, before MPI_Init (a program that
 * has to be asked is then run by a process that MPI knows nothing of). Not part of the loop:
 * drain.c acts on what is found. */
#ifndef PILOT_HEAD_WALLTIME_H
#define PILOT_HEAD_WALLTIME_H

#include <stddef.h>
#include <stdint.h>

#define WALLTIME_UNKNOWN INT64_MAX
#define WALLTIME_ASK_MS 10000 /* a batch system that does not answer is waited for so long */

struct walltime {
    int64_t left_ms;    /* to the end, from now on; WALLTIME_UNKNOWN */
    const char *source; /* who said so, for people; NULL: nobody. Static */
};

/* In this order, the first that says anything: option_ms (0: not given), SLURM_JOB_END_TIME, squeue
 * in a Slurm job, PBS_WALLTIME, bjobs in an LSF job. env is the environment as the process found
 * it. What says nothing that makes sense is warned of and passed over; a job without a limit is no
 * reason to warn. Never takes longer than ask_ms, whatever the batch system does. */
void walltime_find(struct walltime *out, int64_t option_ms, char *const *env, int64_t ask_ms);

/* "45 s", "1:30:00"; rounded. Returns buf. */
const char *walltime_text(int64_t ms, char *buf, size_t size);

#endif
