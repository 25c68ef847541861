/* SPDX-License-Identifier: BSD-3-Clause */
/* What came to this process, a child subreaper, from a guardian that died. */
#ifndef PILOT_LAUNCH_ORPHANS_H
#define PILOT_LAUNCH_ORPHANS_H

#include <stdint.h>

#include "launch/tree.h"

/* Kills and reaps the orphans of a guardian, which has been reaped, until none is left or for
 * bound_ms. started: when the guardian was started, as in tree_proc. t is scratch. */
void orphans_kill(struct tree *t, unsigned long long started, int64_t bound_ms);

#endif
