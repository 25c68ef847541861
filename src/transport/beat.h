/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread that says "alive" in place of a loop that is held up: by a slow disk, or by a callback
 * of the user's. As long as the loop turns, the thread says nothing; a process that is stopped or
 * dead says nothing either. What it rings are bells that announce no frame. */
#ifndef PILOT_TRANSPORT_BEAT_H
#define PILOT_TRANSPORT_BEAT_H

#include <stdint.h>

#include "transport/bell.h"

#define BEAT_COUNT 0         /* what such a bell carries as its number of frames */
#define BEAT_STUCK_MS 600000 /* a loop that has not turned for so long counts as dead */

struct beat;

/* Starts it: it rings peers (numbers below peer_count) of which a route is known whenever the loop
 * has not turned for every_ms. bell must outlive it. NULL: no memory, or no thread. */
struct beat *beat_create(const struct bell *bell, uint32_t my_rank, int peer_count,
                         int64_t every_ms);
/* Stops it. NULL does nothing. */
void beat_destroy(struct beat *b);

void beat_add(struct beat *b, int peer, const struct sockaddr_in *route, uint64_t token);
void beat_remove(struct beat *b, int peer);
/* The loop turns. Cheap; call it every time. */
void beat_turned(struct beat *b, int64_t now_ms);

#endif
