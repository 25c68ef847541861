/* SPDX-License-Identifier: BSD-3-Clause */
/* The ready tasks: grouped into shapes (tasks of the same cores and memory and about the same
 * timeout), each shape a heap in the order of start, and over the shapes, sorted by width and then
 * by memory, a tournament that answers "the first task in order that is at most so wide" in
 * log(shapes) steps.
 *
 * A task is known by its key alone, which is its place in the order and its number. An entry may
 * be dead (a task cancelled while it was ready): the owner leaves it in and removes it when it
 * comes to the top, so that nobody has to know where in a heap a task lies. */
#ifndef PILOT_CORE_READYQ_H
#define PILOT_CORE_READYQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/task.h"
#include "core/estimate.h"

#define KEY_NONE UINT64_MAX

struct shape {
    uint32_t cores;
    uint32_t timeout_class;
    uint64_t memory;   /* as sched_memory makes it */
    uint32_t position; /* in readyq.by_width */
    uint32_t tasks;    /* of this shape, in any status: the heap has room for them all */
    uint32_t pending;  /* of them, ready or blocked; not the late and the lent ones */
    uint32_t ready;    /* of them: the living entries of the heap */
    uint32_t kin;      /* the first shape of the same cores and timeout_class: they share its ... */
    struct estimate estimate; /* ... or few would ever learn where each task has its own memory */
    uint64_t *heap;           /* owned; keys */
    uint32_t len, cap;
};

struct readyq {
    struct shape *v; /* owned; by shape number */
    uint32_t len, cap;
    bool uses_memory;   /* some shape has memory */
    uint32_t *by_width; /* owned; shape numbers, sorted by (cores, memory, timeout_class) */
    uint64_t *tree;     /* owned; tree[1] is the first key of all, tree[cap + i] that of the shape
                         * at position i, KEY_NONE when it is empty */
};

/* Smaller is earlier: higher priority first, then the lower number. */
uint64_t key_of(int32_t priority, task_id_t task);
task_id_t key_task(uint64_t key);

void readyq_fini(struct readyq *q); /* a zeroed queue is an empty one */

/* The number of the shape, which is added when it is new; or PILOT_ENOMEM. */
int64_t readyq_shape(struct readyq *q, uint32_t cores, uint64_t memory, int64_t timeout_ms);
struct estimate *readyq_estimate(const struct readyq *q, uint32_t shape);
/* Room for so many entries in the shape's heap. Returns 0 or PILOT_ENOMEM. */
int readyq_reserve(struct readyq *q, uint32_t shape, uint32_t entries);

/* Needs room reserved. */
void readyq_push(struct readyq *q, uint32_t shape, uint64_t key);
/* The first key of the shape, dead or not; KEY_NONE. */
uint64_t readyq_top(const struct readyq *q, uint32_t shape);
/* Removes that one. */
void readyq_pop(struct readyq *q, uint32_t shape);

/* The first key of all shapes of at most so many cores; KEY_NONE. */
uint64_t readyq_first(const struct readyq *q, uint32_t max_cores);
/* How many shapes, from the narrowest on, have at most so many cores. */
uint32_t readyq_narrower(const struct readyq *q, uint32_t max_cores);
/* The first key of the shapes at positions [from, to) of by_width; KEY_NONE. */
uint64_t readyq_between(const struct readyq *q, uint32_t from, uint32_t to);
/* The first position whose shape is not before (cores, memory). */
uint32_t readyq_position(const struct readyq *q, uint32_t cores, uint64_t memory);
/* Is anything ready that needs fewer cores than this, or less memory? */
bool readyq_has_smaller(const struct readyq *q, uint32_t cores, uint64_t memory);

#endif
