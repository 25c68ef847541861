/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/arena.h"

#include <stdlib.h>

#define CHUNK_BYTES 65536 /* below what malloc asks the system for one by one */

struct arena_chunk {
    struct arena_chunk *before;
    size_t used, size;
    unsigned char data[];
};

void *arena_take(struct arena *a, size_t len)
{
    struct arena_chunk *c = a->last;

    if (c == NULL || c->size - c->used < len) {
        size_t size = CHUNK_BYTES - sizeof(*c);

        if (size < len)
            size = len;
        c = malloc(sizeof(*c) + size);
        if (c == NULL)
            return NULL;
        *c = (struct arena_chunk){.before = a->last, .size = size};
        a->last = c;
    }
    c->used += len;
    return c->data + c->used - len;
}

struct arena_mark arena_mark(const struct arena *a)
{
    return (struct arena_mark){.chunk = a->last, .used = a->last != NULL ? a->last->used : 0};
}

void arena_release(struct arena *a, struct arena_mark mark)
{
    while (a->last != mark.chunk) {
        struct arena_chunk *c = a->last;

        a->last = c->before;
        free(c);
    }
    if (a->last != NULL)
        a->last->used = mark.used;
}

void arena_fini(struct arena *a)
{
    arena_release(a, (struct arena_mark){0});
}
