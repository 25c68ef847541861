/* SPDX-License-Identifier: BSD-3-Clause */
/* A node's agent: gets attempts to run in messages from the head, gives each its cores and its
 * environment, hands it to the launcher, and reports its end. On a surplus rank (its node has an
 * agent already) it only waits to be released. */
#ifndef PILOT_AGENT_AGENT_H
#define PILOT_AGENT_AGENT_H

#include <poll.h>
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
    /* Before the head has said how long it may be silent and how often we are to speak, which it
     * does in its WELCOME. 0: it is in this process. */
    int64_t heartbeat_ms, lost_after_ms;
};

/* Sends HELLO. The rest happens in agent_turn. */
int agent_create(struct agent **out, const struct agent_config *config, struct pilot_error *err);
/* Kills what still runs. NULL does nothing. */
void agent_destroy(struct agent *a);

/* Handles whatever messages and ended attempts there are, and sends what follows from them. Never
 * blocks. */
void agent_turn(struct agent *a, int64_t now_ms);

/* Only messages: starts what the head has just sent. For a head in the same process, between two
 * agent_turns. */
void agent_take(struct agent *a, int64_t now_ms);

/* What to poll for before the next agent_turn: readable when it has something to do. Asked for anew
 * each time. agent_woken gets them back after a poll that found any. */
#define AGENT_FDS 2
void agent_fds(const struct agent *a, struct pollfd fds[AGENT_FDS]);
void agent_woken(struct agent *a, const struct pollfd fds[AGENT_FDS]);
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
