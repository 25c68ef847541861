/* SPDX-License-Identifier: BSD-3-Clause */
#include "agent/oom.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "agent/memory.h"
#include "common/clock.h"

#define GOOD_MS                                                                                    \
    1000 /* a count is good for so long: many short tasks that start then share a look */

static void count(struct oom *o)
{
    o->kills = memory_oom_kills("");
    o->counted_ms = clock_mono_ms();
}

int64_t oom_note(struct oom *o)
{
    if (o->counted_ms == 0 || clock_mono_ms() - o->counted_ms > GOOD_MS)
        count(o);
    return o->kills - o->explained;
}

/* Killed by a KILL that was not ours, or a shell whose command was. */
static bool was_killed(const struct attempt_result *r)
{
    return (r->reason == REASON_SIGNAL && r->signal == SIGKILL) ||
           (r->reason == REASON_EXIT && r->exit_code == 128 + SIGKILL);
}

void oom_judge(struct oom *o, int64_t noted, struct attempt_result *r)
{
    int64_t before = o->kills;

    if (r->reason != REASON_MEMORY && !was_killed(r))
        return;
    count(o);
    /* Those killed for their own limit say so themselves, and are not evidence against others. */
    if (r->reason == REASON_MEMORY) {
        o->explained += o->kills - before;
        return;
    }
    if (o->kills - o->explained <= noted)
        return;
    r->reason = REASON_MEMORY;
    r->exit_code = -1;
    snprintf(r->message, sizeof(r->message), "the kernel killed it when the node had none left");
}
