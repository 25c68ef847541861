/* SPDX-License-Identifier: BSD-3-Clause */
/* A slot: the process that runs one task at a time. */
#ifndef PILOT_LAUNCH_SLOT_H
#define PILOT_LAUNCH_SLOT_H

#include "launch/memcg.h"
#include "launch/wire.h"
#include "pack/write.h"

/* Serves the agent at the other end of sock until that closes it; never returns. The process must
 * be a fresh child of the guardian: every signal blocked and at its default action, standard
 * descriptors on /dev/null, no other descriptor open but sock. group: where tasks with a limit of
 * memory may have groups. */
_Noreturn void slot_main(int sock, const struct wire_config *config, const struct memcg *group,
                         struct pack_place *place);

#endif
