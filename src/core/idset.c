/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the bit tree of idset.h. The levels lie in one block, largest first, so that a set is one
 * allocation and a search touches one word a level. */
#include "core/idset.h"

#include <stdlib.h>

#include "common/error.h"
#include "pilot.h"

int idset_init(struct idset *set, uint64_t bound)
{
    struct idset fresh = {.bound = bound};
    uint64_t total = 0;

    BUG_ON(bound == 0);
    for (uint64_t bits = bound; fresh.levels == 0 || bits > 1; fresh.levels++) {
        if (fresh.levels == IDSET_LEVELS)
            return PILOT_ENOMEM;
        bits = bits / 64 + (bits % 64 != 0);
        fresh.words[fresh.levels] = bits;
        total += bits;
    }
    fresh.level[0] = calloc(total, sizeof(uint64_t));
    if (!fresh.level[0])
        return PILOT_ENOMEM;
    for (unsigned l = 1; l < fresh.levels; l++)
        fresh.level[l] = fresh.level[l - 1] + fresh.words[l - 1];
    *set = fresh;
    return 0;
}

void idset_fini(struct idset *set)
{
    free(set->level[0]);
    *set = (struct idset){0};
}

bool idset_has(const struct idset *set, uint64_t id)
{
    return id < set->bound && (set->level[0][id / 64] >> (id % 64) & 1);
}

void idset_add(struct idset *set, uint64_t id)
{
    BUG_ON(id >= set->bound);
    for (unsigned l = 0; l < set->levels; l++, id /= 64) {
        uint64_t *word = &set->level[l][id / 64];
        bool known_above = *word != 0;

        *word |= UINT64_C(1) << (id % 64);
        if (known_above)
            return;
    }
}

void idset_remove(struct idset *set, uint64_t id)
{
    BUG_ON(id >= set->bound);
    for (unsigned l = 0; l < set->levels; l++, id /= 64) {
        uint64_t *word = &set->level[l][id / 64];

        *word &= ~(UINT64_C(1) << (id % 64));
        if (*word)
            return;
    }
}

uint64_t idset_next(const struct idset *set, uint64_t id)
{
    for (unsigned l = 0; l < set->levels && id / 64 < set->words[l]; l++) {
        uint64_t word = set->level[l][id / 64] & UINT64_MAX << (id % 64);

        if (word) {
            id = id / 64 * 64 + (unsigned)__builtin_ctzll(word);
            while (l-- > 0)
                id = id * 64 + (unsigned)__builtin_ctzll(set->level[l][id]);
            return id;
        }
        id = id / 64 + 1;
    }
    return IDSET_NONE;
}

uint64_t idset_last(const struct idset *set)
{
    uint64_t id = 0;

    if (set->levels == 0 || set->level[set->levels - 1][0] == 0)
        return IDSET_NONE;
    for (unsigned l = set->levels; l-- > 0;)
        id = id * 64 + 63 - (unsigned)__builtin_clzll(set->level[l][id]);
    return id;
}
