/* SPDX-License-Identifier: BSD-3-Clause */
/* A machine under a virtual clock for the scheduler core: a queue of things that will happen, nodes
 * that count their own cores (so that an overcommitted node is seen without asking the scheduler),
 * random numbers that are the same everywhere. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/sched.h"

struct happening {
    int64_t at_ms;
    uint64_t sequence; /* of equals the one scheduled first happens first */
    int kind;          /* the test's own */
    struct sched_event event;
};

struct happenings {
    struct happening *v;
    size_t len, cap;
    uint64_t sequence;
};

void happenings_fini(struct happenings *h);
void happenings_add(struct happenings *h, int64_t at_ms, int kind, struct sched_event event);
/* Removes the earliest; false: there is none. */
bool happenings_pop(struct happenings *h, struct happening *out);
/* INT64_MAX: there is none. */
int64_t happenings_next_ms(const struct happenings *h);

/* xorshift64*: state must not be zero. */
uint64_t random_next(uint64_t *state);
/* 0 ... below - 1. */
uint32_t random_below(uint64_t *state, uint32_t below);
/* A number that depends on its arguments alone. */
uint64_t random_of(uint64_t seed, uint64_t a, uint64_t b);

/* Ends the program with a message; printed with the seed that world_set_seed was told, as is
 * every abort() of the scheduler's own checks. */
_Noreturn void world_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void world_set_seed(uint64_t seed);

#endif
