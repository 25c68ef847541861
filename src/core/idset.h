/* SPDX-License-Identifier: BSD-3-Clause */
/* A set of numbers below a fixed bound that finds the next member at or after a number, and the
 * last one, in a handful of steps: a bit a number, above it a bit for each 64-bit word that is not
 * zero, and so on up to one word. Adding and removing need no memory, so they cannot fail. */
#ifndef PILOT_CORE_IDSET_H
#define PILOT_CORE_IDSET_H

#include <stdbool.h>
#include <stdint.h>

#define IDSET_NONE UINT64_MAX
#define IDSET_LEVELS 7 /* 64^7 bits are more than any memory holds */

struct idset {
    uint64_t bound;                /* members are smaller */
    unsigned levels;               /* 0: before idset_init */
    uint64_t words[IDSET_LEVELS];  /* words of each level; level 0 has the members */
    uint64_t *level[IDSET_LEVELS]; /* all in one block, owned through level[0] */
};

/* An empty set for numbers below bound (at least 1). Returns 0 or PILOT_ENOMEM. */
int idset_init(struct idset *set, uint64_t bound);
void idset_fini(struct idset *set); /* a zeroed set may be finished too */
bool idset_has(const struct idset *set, uint64_t id);
void idset_add(struct idset *set, uint64_t id);
void idset_remove(struct idset *set, uint64_t id);
/* The smallest member that is >= id, or IDSET_NONE. */
uint64_t idset_next(const struct idset *set, uint64_t id);
/* The largest member, or IDSET_NONE. */
uint64_t idset_last(const struct idset *set);

#endif
