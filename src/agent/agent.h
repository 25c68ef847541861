/* SPDX-License-Identifier: BSD-3-Clause */
/* A node's agent: gets attempts to run in messages from the head, gives each its cores and its
 * environment, hands it to the launcher, and reports its end. On a surplus rank (its node has an
 * agent already) it only waits to be released. */
#ifndef PILOT_AGENT_AGENT_H
#define PILOT_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "launch/launch.h"
#include "pilot.h"
#include "transport/transport.h"

struct agent;

struct agent_config {
    struct transport *transport; /* to the head, which is peer 0; not owned */
    struct launcher *launcher;   /* owned from here on */
    char *const *environ_before; /* of before MPI_Init; must outlive the agent */
};

/* Sends HELLO. The rest happens in agent_turn. */
int agent_create(struct agent **out, const struct agent_config *config, struct pilot_error *err);
/* Kills what still runs. NULL does nothing. */
void agent_destroy(struct agent *a);

/* Handles whatever messages and ended attempts there are, and sends what follows from them. Never
 * blocks. */
void agent_turn(struct agent *a, int64_t now_ms);

/* Readable when the launcher has something; may change when agent_turn changed the role; -1: none.
 */
int agent_fd(const struct agent *a);
/* When agent_turn wants to be called although nothing happens. */
int64_t agent_next_ms(const struct agent *a);

enum agent_end {
    AGENT_GOES_ON,
    AGENT_RELEASED,  /* everything is down, and all ranks finalise MPI now */
    AGENT_DISMISSED, /* everything is down, but MPI must not be finalised: some rank was lost */
    AGENT_HEAD_LOST, /* the head is dead or silent; the tasks were killed, MPI is left as it is */
};
enum agent_end agent_ended(const struct agent *a);

/* The loop of every rank but 0: turns until the end. Returns how it ended. */
enum agent_end agent_run(struct agent *a, struct transport *t);

#endif
