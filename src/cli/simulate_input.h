/* SPDX-License-Identifier: BSD-3-Clause */
/* The tasks of a simulation and how long each takes, out of a task file, a state, or both. */
#ifndef PILOT_CLI_SIMULATE_INPUT_H
#define PILOT_CLI_SIMULATE_INPUT_H

#include <stdbool.h>

#include "pilot.h"
#include "sim/campaign.h"

/* Where the durations came from: numbers of tasks. */
struct simulate_sources {
    task_id_t recorded, estimated, given, assumed;
    int64_t assumed_ms; /* median of the known ones, for the assumed */
};

struct simulate_input {
    struct campaign_task *tasks; /* owned, as is what they point to */
    char **ids;                  /* owned; of tasks */
    task_id_t count;
    struct simulate_sources sources;
    uint32_t widest; /* cores */
    task_id_t *deps; /* owned; all of them, the tasks point into it */
};

struct simulate_wish {
    const char *file;        /* NULL: the tasks of db */
    const char *db;          /* NULL: none */
    bool rest;               /* only what a resumed run would still have to do; needs db */
    int64_t default_ms;      /* for tasks without a duration; 0: the median of the others */
    uint32_t cores_per_node; /* a wider task is refused */
    int64_t memory_per_node; /* bytes; one that needs more is refused; 0: not known */
};

/* PILOT_EINVAL and the like: what is wrong, as for a run. */
int simulate_read(struct simulate_input *out, const struct simulate_wish *wish,
                  struct pilot_error *err);
void simulate_free(struct simulate_input *in);

#endif
