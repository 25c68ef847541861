/* SPDX-License-Identifier: BSD-3-Clause */
/* A value for each number below a fixed bound, and the answers to "which is the first number from
 * here on, or the last of all, whose value is at least so large" and "how large is the largest from
 * here on" in log(bound) steps. Setting a value needs no memory, so it cannot fail. */
#ifndef PILOT_CORE_MAXTREE_H
#define PILOT_CORE_MAXTREE_H

#include <stdint.h>

#define MAXTREE_NONE UINT64_MAX

struct maxtree {
    uint64_t leaves; /* a power of two; 0: before maxtree_init */
    uint64_t *v;     /* owned; v[1] is the largest of all, v[leaves + i] the value of i */
};

/* All values are 0. Returns 0 or PILOT_ENOMEM. */
int maxtree_init(struct maxtree *t, uint64_t bound);
void maxtree_fini(struct maxtree *t); /* a zeroed tree may be finished too */
void maxtree_set(struct maxtree *t, uint64_t i, uint64_t value);
uint64_t maxtree_get(const struct maxtree *t, uint64_t i);
/* The first i >= from, or the last i, with a value of at least `least` (1 or more); MAXTREE_NONE.
 */
uint64_t maxtree_next(const struct maxtree *t, uint64_t from, uint64_t least);
uint64_t maxtree_last(const struct maxtree *t, uint64_t least);
/* The largest value from `from` on; 0 when there is none. */
uint64_t maxtree_most(const struct maxtree *t, uint64_t from);

#endif
