/* SPDX-License-Identifier: BSD-3-Clause */
/* How long would these tasks take on those nodes? The production scheduler core under a virtual
 * clock: the same order, the same holding of nodes for wide tasks, every attempt succeeds, and
 * starting costs nothing. Pure: no files, no clock. */
#ifndef PILOT_SIM_CAMPAIGN_H
#define PILOT_SIM_CAMPAIGN_H

#include <stddef.h>
#include <stdint.h>

#include "common/task.h"
#include "pilot.h"

struct campaign_task {
    uint32_t cores; /* at most those of a node */
    int32_t priority;
    int64_t memory;        /* bytes, at most those of a node; 0: none */
    int64_t timeout_ms;    /* 0: none; what the scheduler is told, as in a real run */
    int64_t duration_ms;   /* taken as 1 when it is 0 */
    const task_id_t *deps; /* numbers of other tasks, without circles */
    size_t dep_count;
};

struct campaign_machine {
    uint32_t nodes, cores_per_node; /* at least 1 */
    unsigned max_running;           /* tasks at once; 0: no limit */
    int64_t memory_per_node;        /* bytes; 0: always enough */
};

struct campaign_result {
    int64_t makespan_ms;
    double utilisation; /* share of the cores' time that tasks used, 0 to 1 */
    /* No schedule can be shorter than either of these. */
    int64_t area_ms;     /* all core time on all cores, without a gap */
    int64_t path_ms;     /* the longest chain of tasks that wait for each other */
    task_id_t path_last; /* its last task */
    uint32_t path_tasks;
    uint32_t most_running; /* tasks at once */
    /* Why cores were idle, as shares of all core time; with utilisation they make 1. */
    double idle_fitting; /* ready tasks did not fit what was free, or max_running was reached */
    double idle_waiting; /* all tasks that were left waited for others */
    double idle_tail;    /* nothing was left to start */
};

/* Returns 0, PILOT_EINVAL (a task needs more than a node has) or PILOT_ENOMEM. */
int campaign_run(const struct campaign_task *tasks, task_id_t count,
                 const struct campaign_machine *machine, struct campaign_result *out,
                 struct pilot_error *err);

#endif
