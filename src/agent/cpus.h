/* SPDX-License-Identifier: BSD-3-Clause */
/* A node's cores: which there are, which are free, and which ones a task gets. The only user of
 * hwloc. No processes, no messages.
 *
 * Unit: the physical core, or the hardware thread with use_hyperthreads. A task's cores lie within
 * one L3 if any L3 (else NUMA node, else package) has enough free ones, and among several the one
 * with the fewest free cores that still fits ("prefers the fullest"); else they are taken from as
 * few neighbouring domains as possible. */
#ifndef PILOT_AGENT_CPUS_H
#define PILOT_AGENT_CPUS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/task.h"
#include "pilot.h"

struct cpus; /* topology, the allowed set, the free set */

struct cpus_config {
    const char *synthetic; /* hwloc synthetic description, for tests; NULL: none */
    const char *xml;       /* path of a recorded topology, for tests; NULL: none */
    const char *allowed;   /* list of CPU numbers ("0-3,8"); NULL: what this process may use */
    bool use_hyperthreads;
    unsigned virtual_cores; /* > 0: exactly so many cores that stand for no hardware (no pinning) */
    unsigned max_cores;     /* > 0: use at most so many of the real ones */
};

/* Errors: PILOT_EINVAL (allowed holds no core of the machine), PILOT_ESYS. */
int cpus_create(struct cpus **out, const struct cpus_config *config, struct pilot_error *err);
void cpus_destroy(struct cpus *c);

unsigned cpus_total(const struct cpus *c); /* cores, in the unit chosen */
unsigned cpus_free(const struct cpus *c);
bool cpus_virtual(const struct cpus *c);

/* A set of cores given to one task: indexes 0..total-1 in the order of the machine. */
struct cpus_set {
    unsigned count;           /* cores */
    unsigned *cores;          /* owned; count entries, ascending */
    char list[TASK_CPUS_MAX]; /* CPU numbers (PU os indexes), "0-3,8"; for a core with two hardware
                               * threads both, unless use_hyperthreads; "" for virtual cores */
};

/* Takes count cores. PILOT_EAGAIN: fewer are free. PILOT_EINVAL: the node never has so many.
 * PILOT_ESYS: they are so scattered that their list does not fit (nodes of over 512 CPUs). */
int cpus_take(struct cpus *c, unsigned count, struct cpus_set *out, struct pilot_error *err);
/* Gives them back and empties set. */
void cpus_give(struct cpus *c, struct cpus_set *set);

/* One line for people, at most size bytes: "2 packages, 4 L3 groups, 16 cores (32 threads): 0-15;
 * L3: 0-3 | 4-7 | 8-11 | 12-15". Long lists are shortened. */
void cpus_describe(const struct cpus *c, char *dst, size_t size);

/* Writes the topology restricted to these CPUs as XML (hwloc v2 format) to path (atomically, mode
 * 0600), for HWLOC_XMLFILE of a task that is itself an MPI launcher. */
int cpus_export_xml(const struct cpus *c, const char *list, const char *path,
                    struct pilot_error *err);

/* The CPUs that process pid (0: the caller) may run on, as a list, at most size bytes. */
int cpus_mask_of(int pid, char *dst, size_t size, struct pilot_error *err);
/* dst = the union of two lists. */
int cpus_union(const char *a, const char *b, char *dst, size_t size, struct pilot_error *err);

#endif
