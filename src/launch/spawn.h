/* SPDX-License-Identifier: BSD-3-Clause */
/* One process, started with vfork. */
#ifndef PILOT_LAUNCH_SPAWN_H
#define PILOT_LAUNCH_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/latency.h"
#include "launch/found.h"

struct spawn_spec {
    char *const *argv;  /* executed directly; NULL: the shell alone */
    char *const *shell; /* arguments of /bin/sh, if argv is NULL or fails; NULL: no shell */
    char *const *env;
    const char *path; /* where a name without '/' is looked for */
    const char *cwd;
    const char *stdin_path; /* opened before the change to cwd; NULL: /dev/null */
    int cwd_fd;             /* of cwd, which then serves for messages only; 0: it is not open */
    int group_fd;           /* "0" written here moves the process into its control group; 0: none */
    int in_fd;              /* in place of stdin_path; 0: none */
    int out_fd;
    int err_fd;
};

enum spawn_stage { SPAWN_OK, SPAWN_FORK, SPAWN_CWD, SPAWN_STDIN, SPAWN_OUTPUT, SPAWN_EXEC };

/* What the child says when it could not become the program. In memory shared with it (MAP_SHARED,
 * so that it holds too where a tool turns vfork into fork). Filled at the latest when the child has
 * ended, so look when it has been reaped. */
struct spawn_report {
    enum spawn_stage stage;
    int errnum;
    bool outside;           /* it could not move into its control group, and runs */
    char subject[80];       /* program, directory or file; its end when it is long */
    struct latency latency; /* of the slot; the child has it until it becomes the program */
    struct found found;
};

/* Makes the calling process a slot: it, and what it starts up to execve, is to get a core soon.
 * NULL when memory is short. Never freed: it lives as long as the slot. */
struct spawn_report *spawn_report_create(void);

/* Starts it: the pid, or 0 when there could be no process, with the reason in report. */
pid_t spawn_task(const struct spawn_spec *spec, struct spawn_report *report);

/* "cannot execute 'foo': No such file or directory" */
void spawn_describe(const struct spawn_report *report, char *dst, size_t size);

#endif
