/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the list of follow.h. Must not know what runs, nor send anything. */
#include "launch/follow.h"

#include <string.h>

bool follow_add(struct follow *f, uint64_t key, int64_t due_ms, const void *msg, size_t len)
{
    struct follower *last = &f->v[f->n];

    if (f->n == LENT_MAX)
        return false;
    buf_clear(&last->msg);
    buf_put(&last->msg, msg, len);
    if (!buf_ok(&last->msg))
        return false;
    last->key = key;
    last->due_ms = due_ms;
    f->n++;
    return true;
}

const struct follower *follow_first(const struct follow *f)
{
    return f->n > 0 ? &f->v[0] : NULL;
}

size_t follow_find(const struct follow *f, uint64_t key)
{
    size_t at = 0;

    while (at < f->n && f->v[at].key != key)
        at++;
    return at;
}

void follow_remove(struct follow *f, size_t at)
{
    struct follower gone = f->v[at];

    f->n--;
    memmove(&f->v[at], &f->v[at + 1], (f->n - at) * sizeof(gone));
    f->v[f->n] = gone;
}

int64_t follow_due_ms(const struct follow *f)
{
    return f->n > 0 ? f->v[0].due_ms : INT64_MAX;
}
