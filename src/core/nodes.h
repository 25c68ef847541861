/* SPDX-License-Identifier: BSD-3-Clause */
/* The nodes, how many of their cores and how much of their memory are free, what runs on them, and
 * an index that finds the fullest or the emptiest node with enough of both without looking at the
 * others; full and empty are meant in cores. It knows tasks only by number. The held node (see
 * hold.c) is in no index: only who asks for it gets it. */
#ifndef PILOT_CORE_NODES_H
#define PILOT_CORE_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/idset.h"
#include "core/maxtree.h"
#include "core/sched.h"

/* What a running task has of a node, and which tasks have been lent behind it: sent there to take
 * the place over, one after the other (lend.c). */
struct place {
    task_id_t task;
    task_id_t lent; /* the first of them, or TASK_ID_NONE */
};

struct node {
    bool up;
    uint32_t cores, free_cores;
    struct place *running; /* owned; in no particular order */
    uint32_t running_len, running_cap;
};

struct node_memory {
    uint64_t all, free;
};

struct nodes {
    struct node *v;             /* owned; by node number, up or not */
    struct node_memory *memory; /* owned; likewise. Apart, for where no task has memory it is not
                                 * touched, and v stays small */
    uint32_t len, cap;
    struct idset by_free;     /* free_cores * cap + number, of nodes that are up and not held */
    uint32_t indexed_cores;   /* by_free has room for nodes of so many cores */
    bool use_memory;          /* somebody asks for memory: by_memory is kept */
    struct maxtree by_memory; /* by the same numbers as by_free: free memory + 1; 0: no such node */
    uint64_t *most_memory;    /* owned; [cores]: 1 + the largest memory in all of a node that is up
                               * and has so many cores in all or more; 0: none has */
    node_id_t held;           /* or NODE_ID_NONE */
    uint32_t max_cores;       /* of the nodes that are up; 0: none is */
    uint32_t max_count;       /* nodes that are up and have max_cores */
    unsigned up, cores_total, cores_busy;
};

void nodes_init(struct nodes *n);
void nodes_fini(struct nodes *n);

/* A node that is not up comes up with all that it has free. Returns 0 or PILOT_ENOMEM. */
int nodes_add(struct nodes *n, node_id_t id, uint32_t cores, uint64_t memory);
/* The opposite; nothing may run there any more. */
void nodes_remove(struct nodes *n, node_id_t id);

/* From here on nodes are found by memory too. Returns 0 or PILOT_ENOMEM. */
int nodes_use_memory(struct nodes *n);

/* Room for one more running task. Returns 0 or PILOT_ENOMEM. */
int nodes_reserve(struct nodes *n, node_id_t id);
/* task takes cores and memory of the node; returns its slot in the node's list. */
uint32_t nodes_take(struct nodes *n, node_id_t id, uint32_t cores, uint64_t memory, task_id_t task);
/* The task in slot gives its share back; nothing is lent behind it. Returns whether the last place
 * has moved into its slot. */
bool nodes_give(struct nodes *n, node_id_t id, uint32_t cores, uint64_t memory, uint32_t slot);

/* Of the nodes with so many free cores and so much free memory (not the held one): that with the
 * fewest, or with the most, free cores; the lowest number among equals; NODE_ID_NONE: there is
 * none. With memory 0 free memory does not matter; otherwise nodes_use_memory comes first. */
node_id_t nodes_fullest(const struct nodes *n, uint32_t cores, uint64_t memory);
node_id_t nodes_emptiest(const struct nodes *n, uint32_t cores, uint64_t memory);
/* The largest number of free cores on one node, the held one not counted. */
uint32_t nodes_max_free(const struct nodes *n);
/* What has so many cores fits on some node now (not on the held one), or on some node when it is
 * empty, if its memory is *below* this; 0: not even without memory. After nodes_use_memory. */
uint64_t nodes_fits_now_below(const struct nodes *n, uint32_t cores);
uint64_t nodes_fits_ever_below(const struct nodes *n, uint32_t cores);

/* Changes which node is held; NODE_ID_NONE: none. */
void nodes_hold(struct nodes *n, node_id_t id);

#endif
