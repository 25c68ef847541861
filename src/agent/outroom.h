/* SPDX-License-Identifier: BSD-3-Clause */
/* Is there room for the output of tasks? Found out by writing a little, as a task would. */
#ifndef PILOT_AGENT_OUTROOM_H
#define PILOT_AGENT_OUTROOM_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outroom {
    char dir[PATH_MAX];    /* of this node's own files */
    int64_t not_before_ms; /* the next look that somebody only suspects to be worth it */
};

/* dir: WORKDIR/.pilot/NODE, which must be there. */
void outroom_init(struct outroom *o, const char *workdir, const char *node);

/* 0, or the errno of a lack of room (common/room.h). Other errors are not told: a task will meet
 * them, and have its own words for them. Writes 64 KiB and takes them back. */
int outroom_look(const struct outroom *o);

/* The same after a failure that may have to do with it; takes at most a tenth of the time, however
 * many fail: 0 too when it is too early for another look. */
int outroom_suspect(struct outroom *o, int64_t now_ms);

#endif
