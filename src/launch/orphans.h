/* SPDX-License-Identifier: BSD-3-Clause */
/* What came to this process, a child subreaper, from a guardian that died. */
#ifndef PILOT_LAUNCH_ORPHANS_H
#define PILOT_LAUNCH_ORPHANS_H

#include <stdbool.h>
#include <stdint.h>

#include "launch/tree.h"

/* A guardian of this process that has not been reaped. There may be several, and none is an orphan
 * of another. Part of whoever started it. */
struct guardian_mark {
    struct guardian_mark *next;
    pid_t pid;
};
void guardian_mark_add(struct guardian_mark *m, pid_t pid);
void guardian_mark_remove(struct guardian_mark *m); /* does nothing when it is not there */
bool guardian_mark_any(void);

/* Kills and reaps the orphans of a guardian, which has been reaped, until none is left or for
 * bound_ms. started: when the guardian was started, as in tree_proc. t is scratch. */
void orphans_kill(struct tree *t, unsigned long long started, int64_t bound_ms);

/* Signals every descendant of self; when they cannot be listed, at least the process group of
 * leader (0: there is none). One that is forked in the microseconds between the search and the
 * signal is missed: TERM is followed by KILL, and KILL is to be repeated. */
void orphans_signal(struct tree *t, pid_t self, pid_t leader, int sig);
/* Kills and reaps descendants of self, a subreaper, until none is left. sigfd: for SIGCHLD. */
void orphans_end(struct tree *t, pid_t self, pid_t leader, int sigfd);

#endif
