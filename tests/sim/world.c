/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the virtual clock's queue and the random numbers of the simulations. */
#include "world.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void happenings_fini(struct happenings *h)
{
    free(h->v);
    *h = (struct happenings){0};
}

static bool is_before(const struct happening *a, const struct happening *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->sequence < b->sequence;
}

void happenings_add(struct happenings *h, int64_t at_ms, int kind, struct sched_event event)
{
    struct happening new = {at_ms, h->sequence++, kind, event};
    size_t i = h->len++;

    if (i == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 64;
        h->v = realloc(h->v, h->cap * sizeof(*h->v));
        if (!h->v)
            world_fail("no memory");
    }
    for (; i > 0 && is_before(&new, &h->v[(i - 1) / 2]); i = (i - 1) / 2)
        h->v[i] = h->v[(i - 1) / 2];
    h->v[i] = new;
}

bool happenings_pop(struct happenings *h, struct happening *out)
{
    struct happening last;
    size_t i = 0;

    if (h->len == 0)
        return false;
    *out = h->v[0];
    last = h->v[--h->len];
    for (size_t child = 1; child < h->len; child = 2 * i + 1) {
        if (child + 1 < h->len && is_before(&h->v[child + 1], &h->v[child]))
            child++;
        if (!is_before(&h->v[child], &last))
            break;
        h->v[i] = h->v[child];
        i = child;
    }
    h->v[i] = last;
    return true;
}

int64_t happenings_next_ms(const struct happenings *h)
{
    return h->len ? h->v[0].at_ms : INT64_MAX;
}

uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

uint32_t random_below(uint64_t *state, uint32_t below)
{
    return (uint32_t)((random_next(state) >> 32) * below >> 32);
}

uint64_t random_of(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t state = (seed * 2 + 1) ^ (a + 1) * UINT64_C(0x9E3779B97F4A7C15) ^
                     (b + 1) * UINT64_C(0xC2B2AE3D27D4EB4F);

    state += !state;
    random_next(&state);
    return random_next(&state);
}

static char seed_text[64];

static void on_abort(int signo)
{
    (void)signo;
    (void)!write(STDERR_FILENO, seed_text, strlen(seed_text));
    signal(SIGABRT, SIG_DFL);
    abort();
}

void world_set_seed(uint64_t seed)
{
    snprintf(seed_text, sizeof(seed_text), "the seed was %llu\n", (unsigned long long)seed);
    signal(SIGABRT, on_abort);
}

void world_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n%s", seed_text);
    exit(1);
}
