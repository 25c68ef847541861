/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the oom_score_adj of a slot. The slot raises its own, not that of each child, which
 * inherits it: to open, write and close the file was the dearest thing between vfork and execve (6
 * to 8 us).
 *
 * A slot that is as eligible as a task is harmless: of those with one score the kernel takes the
 * largest, which a slot of 2 MB is not as long as there is a task worth ending; and a slot that was
 * killed takes its own task with it and is replaced when it is needed. Guardian and agent keep
 * theirs. A program that talks with the caller gets the caller's: the run would end with it. */
#include "launch/oomscore.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define TASK_SCORE 500
#define SCORE_FILE "/proc/self/oom_score_adj"

void oomscore_init(struct oomscore *o)
{
    FILE *f = fopen(SCORE_FILE, "re");

    if (f == NULL || fscanf(f, "%d", &o->own) != 1)
        o->own = INT_MAX;
    o->current = o->own;
    if (f != NULL)
        fclose(f);
}

/* Back to what it was at first needs no privilege: only below the least that a privileged process
 * has set does. */
void oomscore_apply(struct oomscore *o, bool as_task)
{
    int want = as_task && o->own < TASK_SCORE ? TASK_SCORE : o->own;
    int fd;

    if (want == o->current)
        return;
    fd = open(SCORE_FILE, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (dprintf(fd, "%d", want) > 0)
        o->current = want;
    close(fd);
}
