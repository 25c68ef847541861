/* SPDX-License-Identifier: BSD-3-Clause */
/* Where MPI programs inside tasks keep session files and shared memory: a directory an attempt on
 * the node's memory file system, so that what a killed one leaves can be found and removed. */
#ifndef PILOT_AGENT_SCRATCH_H
#define PILOT_AGENT_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#include "pilot.h"

struct scratch;

/* Removes what a pilot that was killed left on this node, makes the directory, and notes it in
 * NODE_DIR/scratch. Errors: PILOT_EIO, PILOT_ENOMEM. */
int scratch_create(struct scratch **out, const char *node_dir, struct pilot_error *err);

/* The directory for one attempt. It is not made: only those who need it do that. Returns path, or
 * NULL when size is too small or s is NULL. */
const char *scratch_path(const struct scratch *s, uint64_t key, char *path, size_t size);

/* Removes it with all that is in it, if there is anything. s may be NULL. */
void scratch_clear(const struct scratch *s, uint64_t key);

/* Removes everything and frees s. */
void scratch_destroy(struct scratch *s);

#endif
