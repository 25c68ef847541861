/* SPDX-License-Identifier: BSD-3-Clause */
/* In a slot: what it has to tell its agent, in order, and when. Each message wakes the agent, and
 * through it the head, which take a core from the tasks; so ends of short tasks are told together,
 * while there is something left to run. */
#ifndef PILOT_LAUNCH_RESULTS_H
#define PILOT_LAUNCH_RESULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "launch/launch.h"

struct results { /* all zero: empty */
    struct buf out;
    unsigned held;  /* ends in out */
    int64_t due_ms; /* out is to be sent by then; INT64_MAX: it is empty, or does not wait */
    bool at_once;   /* something in out does not wait */
};

void results_init(struct results *r);
/* left: how many requests wait to begin here; the agent is to know before they run out. */
void results_put(struct results *r, const struct launch_event *ev, size_t left);
void results_put_back(struct results *r, uint64_t key);
/* Whoever waits for what is held is not to wait longer. */
void results_hurry(struct results *r);
/* Is out to be sent now? True too when memory was short for it, which buf_ok(&out) says. */
bool results_are_due(const struct results *r);
/* It has been. */
void results_clear(struct results *r);

#endif
