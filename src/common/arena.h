/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory for very many small pieces that stay to the end: they lie one behind the other in large
 * chunks, without the header and the rounding that malloc gives each. Pieces are not aligned: they
 * are for bytes. Single pieces are not freed, only all that came after a mark. */
#ifndef PILOT_COMMON_ARENA_H
#define PILOT_COMMON_ARENA_H

#include <stddef.h>

struct arena_chunk;

/* All zero is an empty one. */
struct arena {
    struct arena_chunk *last; /* owned, and those before it */
    size_t bytes;             /* of all chunks */
};

struct arena_mark {
    struct arena_chunk *chunk;
    size_t used;
};

/* NULL: no memory. */
void *arena_take(struct arena *a, size_t len);
struct arena_mark arena_mark(const struct arena *a);
/* Frees what was taken since; marks made in between mean nothing any more. */
void arena_release(struct arena *a, struct arena_mark mark);
void arena_fini(struct arena *a);

#endif
