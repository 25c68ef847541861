/* SPDX-License-Identifier: BSD-3-Clause */
/* How much memory of the node tasks may use, and whether the kernel killed one because there was
 * none left. */
#ifndef PILOT_AGENT_MEMORY_H
#define PILOT_AGENT_MEMORY_H

#include <stdint.h>

/* Bytes: the least of the limits of our control groups, of what Slurm gave the job on this node,
 * and of the physical memory less a reserve for the system; 0 when nothing is known. root is put
 * before the paths of the kernel's files: "" but in tests. */
int64_t memory_for_tasks(char *const *environ_before, const char *root);

/* How many processes the kernel has killed since it started because the node, or our group, had no
 * memory left: only differences mean anything. Costs some 30 us. */
int64_t memory_oom_kills(const char *root);

#endif
