/* SPDX-License-Identifier: BSD-3-Clause */
/* A struct pilot_task as JSON: programs and files go through the same checks. */
#ifndef PILOT_LIB_TASK_JSON_H
#define PILOT_LIB_TASK_JSON_H

#include "pilot.h"

/* Fresh memory (free). NULL: err says why (tags that are not JSON, no memory). */
char *task_to_json(const struct pilot_task *task, struct pilot_error *err);

#endif
