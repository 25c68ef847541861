/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the list of behind.h. Must not know of sockets. */
#include "launch/behind.h"

#include <string.h>

#include "common/error.h"

void behind_add(struct behind *b, const struct launch_event *attempt)
{
    BUG_ON(b->n == LENT_MAX);
    b->v[b->n].key = attempt->key;
    b->v[b->n].asked_wall_ms = attempt->result.start_wall_ms;
    b->n++;
}

size_t behind_find(const struct behind *b, uint64_t key)
{
    size_t at = 0;

    while (at < b->n && b->v[at].key != key)
        at++;
    return at;
}

struct launch_event behind_get(const struct behind *b, size_t at)
{
    return (struct launch_event){.key = b->v[at].key,
                                 .result.start_wall_ms = b->v[at].asked_wall_ms};
}

struct launch_event behind_take(struct behind *b, size_t at)
{
    struct launch_event attempt = behind_get(b, at);

    b->n--;
    memmove(b->v + at, b->v + at + 1, (b->n - at) * sizeof(*b->v));
    return attempt;
}
