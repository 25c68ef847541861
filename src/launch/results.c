/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the rule of results.h. Only a success of a short task waits: other ends may be waited for
 * by somebody, and a task that took long is worth a message of its own. */
#include "launch/results.h"

#include "common/clock.h"
#include "launch/wire.h"

#define HOLD_MS 10 /* the first that is held waits so long at most */
#define SHORT_MS 5 /* longer tasks are told at once */
#define LEFT_LOW 2 /* with so few left the agent is told: more come before they have run */

void results_init(struct results *r)
{
    *r = (struct results){.due_ms = INT64_MAX};
    buf_init(&r->out);
}

static bool may_wait(const struct attempt_result *res)
{
    return res->reason == REASON_EXIT && res->exit_code == 0 &&
           res->end_wall_ms - res->start_wall_ms <= SHORT_MS;
}

void results_put(struct results *r, const struct launch_event *ev, size_t left)
{
    wire_put_result(&r->out, ev);
    r->held++;
    if (left <= LEFT_LOW || r->held >= LENT_MAX || !may_wait(&ev->result))
        r->at_once = true;
    else if (r->held == 1)
        r->due_ms = clock_mono_ms() + HOLD_MS;
}

void results_put_back(struct results *r, uint64_t key)
{
    wire_put_back(&r->out, key);
    r->at_once = true;
}

void results_hurry(struct results *r)
{
    r->at_once = r->out.len > 0;
}

bool results_are_due(const struct results *r)
{
    return !buf_ok(&r->out) || (r->out.len > 0 && (r->at_once || clock_mono_ms() >= r->due_ms));
}

void results_clear(struct results *r)
{
    buf_clear(&r->out);
    r->held = 0;
    r->due_ms = INT64_MAX;
    r->at_once = false;
}
