/* SPDX-License-Identifier: BSD-3-Clause */
/* Whom the kernel ends first when the node has no memory left. */
#ifndef PILOT_LAUNCH_OOMSCORE_H
#define PILOT_LAUNCH_OOMSCORE_H

#include <stdbool.h>

struct oomscore {
    int own;     /* that of this process at first; INT_MAX: not known, nothing is done */
    int current; /* that is in force */
};

/* Reads that of this process. */
void oomscore_init(struct oomscore *o);

/* Makes this process, and so what it starts next, as eligible as a task is to be, or as little as
 * it was at first. Does nothing when that is so already. When it cannot be done the kernel chooses
 * by size alone. */
void oomscore_apply(struct oomscore *o, bool as_task);

#endif
