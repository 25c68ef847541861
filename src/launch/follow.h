/* SPDX-License-Identifier: BSD-3-Clause */
/* In a slot: the requests that begin one after the other when what runs has ended. */
#ifndef PILOT_LAUNCH_FOLLOW_H
#define PILOT_LAUNCH_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/task.h"

struct follower {
    uint64_t key;
    int64_t due_ms; /* when it goes back */
    struct buf msg; /* the RUN message; its memory is kept from one to the next */
};

struct follow { /* all zero: empty */
    struct follower v[LENT_MAX];
    size_t n;
};

/* False: there are LENT_MAX already, or memory is short. */
bool follow_add(struct follow *f, uint64_t key, int64_t due_ms, const void *msg, size_t len);
/* The one that is to begin, or NULL. */
const struct follower *follow_first(const struct follow *f);
/* Where that key is; n: nowhere. */
size_t follow_find(const struct follow *f, uint64_t key);
void follow_remove(struct follow *f, size_t at);
/* When the first goes back, and with it all others; INT64_MAX: there is none. */
int64_t follow_due_ms(const struct follow *f);

#endif
