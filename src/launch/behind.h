/* SPDX-License-Identifier: BSD-3-Clause */
/* What the agent knows to wait in a slot behind the attempt that runs there: keys, in the order in
 * which they begin. Some may have begun, or ended, and the slot has not said so yet. */
#ifndef PILOT_LAUNCH_BEHIND_H
#define PILOT_LAUNCH_BEHIND_H

#include <stdbool.h>
#include <stddef.h>

#include "launch/launch.h"

struct behind { /* all zero: empty */
    struct {
        uint64_t key;
        int64_t asked_wall_ms;
    } v[LENT_MAX];
    size_t n;
};

/* The key and the start of the attempt; there must be room. */
void behind_add(struct behind *b, const struct launch_event *attempt);
/* Where that key is; n: nowhere. */
size_t behind_find(const struct behind *b, uint64_t key);
/* Key and start, as they were added. */
struct launch_event behind_get(const struct behind *b, size_t at);
/* The same, and takes it out. */
struct launch_event behind_take(struct behind *b, size_t at);

#endif
