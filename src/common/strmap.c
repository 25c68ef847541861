/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/strmap.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/large.h"
#include "pilot.h"

#define MULTIPLIER 0x9e3779b97f4a7c15u /* 2^64 by the golden ratio: bits go everywhere above */

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * MULTIPLIER;
    return h ^ (h >> 32);
}

/* Eight bytes at a time: ids are short, and each is hashed several times on its way. */
static uint32_t hash_of(const char *s)
{
    size_t len = strlen(s);
    uint64_t h = len, word;

    for (; len >= sizeof(word); len -= sizeof(word), s += sizeof(word)) {
        memcpy(&word, s, sizeof(word));
        h = mix(h, word);
    }
    word = 0;
    memcpy(&word, s, len);
    return (uint32_t)mix(mix(h, word), 0);
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

static int grow(struct strmap *m, size_t cap)
{
    struct strmap_slot *slots = calloc(cap, sizeof(*slots));

    if (slots == NULL)
        return PILOT_ENOMEM;
    large_pages(slots, cap * sizeof(*slots));
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

int strmap_reserve(struct strmap *m, size_t more)
{
    size_t cap = m->cap ? m->cap : 64;

    if (more >= SIZE_MAX / 4 - m->used)
        return PILOT_ENOMEM;
    while ((m->used + more) * 3 > cap * 2)
        cap *= 2;
    return cap > m->cap ? grow(m, cap) : 0;
}

void strmap_expect(const struct strmap *m, const char *key)
{
    if (m->cap > 0)
        __builtin_prefetch(&m->slots[hash_of(key) & (m->cap - 1)], 1);
}

int strmap_put(struct strmap *m, const char *key, uint32_t value, uint32_t *there)
{
    uint32_t hash = hash_of(key);
    struct strmap_slot *slot;

    if (m->used * 3 >= m->cap * 2 && grow(m, m->cap ? m->cap * 2 : 64) < 0)
        return PILOT_ENOMEM;
    slot = find(m->slots, m->cap, key, hash);
    if (slot->key != NULL) {
        *there = slot->value;
        return 0;
    }
    *slot = (struct strmap_slot){.key = key, .hash = hash, .value = value};
    m->used++;
    return 1;
}

int strmap_add(struct strmap *m, const char *key, uint32_t value)
{
    uint32_t there;
    int rc = strmap_put(m, key, value, &there);

    BUG_ON(rc == 0);
    return rc < 0 ? rc : 0;
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
