/* SPDX-License-Identifier: BSD-3-Clause */
/* A map from strings to 32-bit numbers: open addressing, power-of-two table, no removal.
 * It does not own its keys: they must live, unchanged, as long as the map. */
#ifndef PILOT_COMMON_STRMAP_H
#define PILOT_COMMON_STRMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strmap_slot {
    const char *key; /* NULL: free */
    uint32_t hash;
    uint32_t value;
};

struct strmap {
    struct strmap_slot *slots;
    size_t used;
    size_t cap;
};

void strmap_init(struct strmap *m);
void strmap_fini(struct strmap *m);
/* Adds key, which must not be there yet. Returns 0 or PILOT_ENOMEM. */
int strmap_add(struct strmap *m, const char *key, uint32_t value);
/* Adds key and returns 1, or returns 0 and the value of the equal key that is there. PILOT_ENOMEM.
 */
int strmap_put(struct strmap *m, const char *key, uint32_t value, uint32_t *there);
/* Makes room for so many more, so that adding them does not move the table. 0 or PILOT_ENOMEM. */
int strmap_reserve(struct strmap *m, size_t more);
/* The key will be looked for soon: in a large map its place is far away, and now on its way. */
void strmap_expect(const struct strmap *m, const char *key);
/* True and *value (may be NULL) when key is there. */
bool strmap_get(const struct strmap *m, const char *key, uint32_t *value);
/* Lets key, equal to one that is there, take its place, so that the old one's memory can go. */
void strmap_rekey(struct strmap *m, const char *key);

#endif
