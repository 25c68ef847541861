/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking into the state of an earlier run, or of one that goes on, without touching it: where the
 * output of its attempts is. */
#ifndef PILOT_STORE_OUTPUTS_H
#define PILOT_STORE_OUTPUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/task.h"
#include "pilot.h"

/* An attempt, or a task that has none (attempt 0). Pointers are valid during the callback only. */
struct store_output {
    const char *id;
    enum task_status status; /* of the task */
    unsigned attempt;
    bool last; /* of the task's attempts */
    const char *node;
    bool ended, lost;
    bool packed; /* as in struct attempt_result */
    uint64_t pack_at;
};
typedef int store_output_f(void *arg, const struct store_output *output, struct pilot_error *err);

struct store_facts {
    uint64_t run;  /* store_run; 0: not known */
    char *workdir; /* owned; NULL: not known */
};

/* Calls f for each attempt of the task with this id (NULL: of all), in order. facts: what the state
 * says of itself, or NULL. Errors: those of store_read_durations, and PILOT_EINVAL for an id that
 * it does not know. */
int store_read_outputs(const char *path, const char *id, store_output_f *f, void *arg,
                       struct store_facts *facts, struct pilot_error *err);

/* Whether a pilot has this state now. */
bool store_in_use(const char *path);

#endif
