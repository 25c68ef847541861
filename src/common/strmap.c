/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/strmap.h"

#include <stdlib.h>
#include <string.h>

#include "pilot.h"

/* FNV-1a, 32 bit (http://www.isthe.com/chongo/tech/comp/fnv/), with a final mix so that the low
 * bits, which choose the slot, depend on all of the key. */
static uint32_t hash_of(const char *s)
{
    uint32_t h = 2166136261u;

    for (; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    h ^= h >> 15;
    h *= 2246822519u;
    return h ^ (h >> 13);
}

void strmap_init(struct strmap *m)
{
    memset(m, 0, sizeof(*m));
}

void strmap_fini(struct strmap *m)
{
    free(m->slots);
    strmap_init(m);
}

/* The slot that holds key, or the free one where it belongs. */
static struct strmap_slot *find(struct strmap_slot *slots, size_t cap, const char *key,
                                uint32_t hash)
{
    size_t i = hash & (cap - 1);

    while (slots[i].key != NULL && (slots[i].hash != hash || strcmp(slots[i].key, key) != 0))
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static int grow(struct strmap *m)
{
    size_t cap = m->cap ? m->cap * 2 : 64;
    struct strmap_slot *slots = calloc(cap, sizeof(*slots));

    if (slots == NULL)
        return PILOT_ENOMEM;
    for (size_t i = 0; i < m->cap; i++) {
        const struct strmap_slot *old = &m->slots[i];

        if (old->key != NULL)
            *find(slots, cap, old->key, old->hash) = *old;
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return 0;
}

int strmap_add(struct strmap *m, const char *key, uint32_t value)
{
    uint32_t hash = hash_of(key);
    struct strmap_slot *slot;

    if (m->used * 3 >= m->cap * 2 && grow(m) < 0)
        return PILOT_ENOMEM;
    slot = find(m->slots, m->cap, key, hash);
    slot->key = key;
    slot->hash = hash;
    slot->value = value;
    m->used++;
    return 0;
}

void strmap_rekey(struct strmap *m, const char *key)
{
    if (m->cap > 0)
        find(m->slots, m->cap, key, hash_of(key))->key = key;
}

bool strmap_get(const struct strmap *m, const char *key, uint32_t *value)
{
    const struct strmap_slot *slot;

    if (m->cap == 0)
        return false;
    slot = find(m->slots, m->cap, key, hash_of(key));
    if (slot->key == NULL)
        return false;
    if (value != NULL)
        *value = slot->value;
    return true;
}
