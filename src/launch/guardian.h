/* SPDX-License-Identifier: BSD-3-Clause */
/* The guardian: makes slots for the agent, and cleans up behind slots that died. */
#ifndef PILOT_LAUNCH_GUARDIAN_H
#define PILOT_LAUNCH_GUARDIAN_H

#include <sys/resource.h>
#include <sys/types.h>

/* Serves the agent at the other end of sock until that closes it, then ends every descendant;
 * never returns. To be called in a fresh child of the process agent, with every signal blocked.
 * descriptors: the limit of open files for it and all that it starts. */
_Noreturn void guardian_main(int sock, pid_t agent, const struct rlimit *descriptors);

#endif
