/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a command without '/' was found. A search is a failed execve in each directory before the
 * right one: ten of them take longer than the start of a small program, and on a parallel file
 * system much longer. Within a second the same name is tried first where it was; shells keep that
 * for their whole life, and do not see what was put into an earlier directory since. */
#ifndef PILOT_LAUNCH_FOUND_H
#define PILOT_LAUNCH_FOUND_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

/* In memory that is shared with the child, which fills `file`. Zeroed: nothing is known. */
struct found {
    int64_t until_ms; /* monotonic; set to 0 by a child that became nothing */
    bool is_known;    /* for the child that is started now: try `file` first */
    char name[64];
    char path[4096];
    char file[PATH_MAX]; /* what is tried; when the child has become it, where name was found */
};

/* Before a child that is to become name, looked for in the directories of path. Longer ones are not
 * kept, nor what was found with directories that depend on the current one. */
void found_expect(struct found *f, const char *name, const char *path, int64_t now_ms);

/* In the child, between vfork and exec: becomes the program, or returns an errno value. Searches as
 * execvp does. */
int found_exec(struct found *f, const char *path, char *const *argv, char *const *env);

#endif
