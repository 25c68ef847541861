/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks of a stream that name ids which have not come yet: kept aside until these have. */
#ifndef PILOT_INPUT_PARKED_H
#define PILOT_INPUT_PARKED_H

#include "common/task.h"

struct reader;
struct parked;

struct parked *parked_create(void); /* NULL: no memory */
void parked_destroy(struct parked *p);

/* Hands the task out, and then those that waited for it, or keeps it. 0, perhaps with complaints,
 * PILOT_ENOMEM, or what the callback returned. */
int parked_offer(struct parked *p, struct reader *r, const struct task_spec *spec, unsigned line);

/* The stream has ended: complains about what those wait for that are still kept. */
int parked_finish(struct parked *p, struct reader *r);

#endif
