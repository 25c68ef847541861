/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/arena.h"

#include <stdlib.h>

#include "common/large.h"

#define CHUNK_BYTES 65536 /* below what malloc asks the system for one by one */
#define LARGE_FROM 8      /* an arena of so many large pages grows by one at a time */

struct arena_chunk {
    struct arena_chunk *before;
    size_t used, size;
    unsigned char data[];
};

/* A chunk with room for len bytes. NULL: no memory. */
static struct arena_chunk *make_chunk(size_t len, size_t bytes_before)
{
    size_t size = CHUNK_BYTES;
    struct arena_chunk *c;

    if (bytes_before >= LARGE_FROM * LARGE_PAGE_BYTES)
        size = LARGE_PAGE_BYTES;
    if (size < sizeof(*c) + len)
        size = sizeof(*c) + len;
    c = size == LARGE_PAGE_BYTES ? aligned_alloc(size, size) : malloc(size);
    if (c == NULL)
        return NULL;
    large_pages(c, size);
    c->used = 0;
    c->size = size - sizeof(*c);
    return c;
}

void *arena_take(struct arena *a, size_t len)
{
    struct arena_chunk *c = a->last;

    if (c == NULL || c->size - c->used < len) {
        c = make_chunk(len, a->bytes);
        if (c == NULL)
            return NULL;
        c->before = a->last;
        a->bytes += c->size;
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
        a->bytes -= c->size;
        free(c);
    }
    if (a->last != NULL)
        a->last->used = mark.used;
}

void arena_fini(struct arena *a)
{
    arena_release(a, (struct arena_mark){0});
}
