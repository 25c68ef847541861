/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the tournament of maxtree.h. Twice as many words as there are leaves, in one block: larger
 * than an idset, so it is only made when somebody asks for memory. */
#include "core/maxtree.h"

#include <stdlib.h>

#include "common/error.h"
#include "pilot.h"

int maxtree_init(struct maxtree *t, uint64_t bound)
{
    uint64_t leaves = 1, *v;

    while (leaves < bound && leaves < SIZE_MAX / 4 / sizeof(*v))
        leaves *= 2;
    v = leaves >= bound ? calloc(2 * leaves, sizeof(*v)) : NULL;
    if (!v)
        return PILOT_ENOMEM;
    *t = (struct maxtree){.leaves = leaves, .v = v};
    return 0;
}

void maxtree_fini(struct maxtree *t)
{
    free(t->v);
    *t = (struct maxtree){0};
}

void maxtree_set(struct maxtree *t, uint64_t i, uint64_t value)
{
    BUG_ON(i >= t->leaves);
    i += t->leaves;
    t->v[i] = value;
    for (i /= 2; i > 0; i /= 2) {
        uint64_t left = t->v[2 * i], right = t->v[2 * i + 1];
        uint64_t most = left > right ? left : right;

        if (t->v[i] == most)
            return; /* nothing above changes either */
        t->v[i] = most;
    }
}

uint64_t maxtree_get(const struct maxtree *t, uint64_t i)
{
    return i < t->leaves ? t->v[t->leaves + i] : 0;
}

uint64_t maxtree_next(const struct maxtree *t, uint64_t from, uint64_t least)
{
    uint64_t i = t->leaves + from;

    if (from >= t->leaves)
        return MAXTREE_NONE;
    while (t->v[i] < least) { /* to the next subtree on the right */
        while (i & 1)
            i /= 2;
        if (i == 0)
            return MAXTREE_NONE; /* it was on the right edge all the way up */
        i++;
    }
    while (i < t->leaves) {
        i *= 2;
        i += t->v[i] < least;
    }
    return i - t->leaves;
}

uint64_t maxtree_last(const struct maxtree *t, uint64_t least)
{
    uint64_t i = 1;

    if (t->leaves == 0 || t->v[1] < least)
        return MAXTREE_NONE;
    while (i < t->leaves) {
        i = 2 * i + 1;
        i -= t->v[i] < least;
    }
    return i - t->leaves;
}

uint64_t maxtree_most(const struct maxtree *t, uint64_t from)
{
    uint64_t most = 0;

    if (from >= t->leaves)
        return 0;
    for (uint64_t i = t->leaves + from;; i /= 2) {
        /* What is right of i below the same parent is behind `from` too. */
        uint64_t sibling = i | 1;

        if (t->v[i] > most && i == t->leaves + from)
            most = t->v[i];
        if (i == 1)
            return most;
        if (sibling != i && t->v[sibling] > most)
            most = t->v[sibling];
    }
}
