/* SPDX-License-Identifier: BSD-3-Clause */
/* Was it the kernel that killed this task, because the node had no memory left? Nobody tells whom
 * it killed, only how often it did: a task that was killed while it did so was killed by it. */
#ifndef PILOT_AGENT_OOM_H
#define PILOT_AGENT_OOM_H

#include <stdint.h>

#include "common/task.h"

/* All zero at first. */
struct oom {
    int64_t kills, counted_ms; /* memory_oom_kills, and when it was asked */
    int64_t explained;         /* of them, those of tasks over a limit of their own */
};

/* Where a task starts: what oom_judge is to be given when it has ended. */
int64_t oom_note(struct oom *o);

/* Makes the end of a task that the kernel killed one for the reason REASON_MEMORY. */
void oom_judge(struct oom *o, int64_t noted, struct attempt_result *r);

#endif
