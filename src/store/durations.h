/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking into the state of an earlier run, or of one that goes on, without touching it: what its
 * tasks were and how long they took. */
#ifndef PILOT_STORE_DURATIONS_H
#define PILOT_STORE_DURATIONS_H

#include <stdint.h>

#include "common/task.h"
#include "pilot.h"

/* Pointers are valid during the callback only. A negative return value ends the reading with it. */
struct store_recorded {
    const char *id, *spec_json;
    enum task_status status;
    int64_t duration_ms; /* of its last attempt, when it completed; else -1 */
};
typedef int store_recorded_f(void *arg, const struct store_recorded *task, struct pilot_error *err);

/* Calls f for each task, in the order of their numbers. Errors: PILOT_ENOENT, PILOT_EPROTO (no
 * state of a pilot), PILOT_EBUSY (on a network file system, while a pilot has it), PILOT_ESTORE. */
int store_read_durations(const char *path, store_recorded_f *f, void *arg, struct pilot_error *err);

#endif
