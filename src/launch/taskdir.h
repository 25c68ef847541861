/* SPDX-License-Identifier: BSD-3-Clause */
/* The directory of the task that a slot runs, and its two output files. */
#ifndef PILOT_LAUNCH_TASKDIR_H
#define PILOT_LAUNCH_TASKDIR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "pilot.h"

struct taskdir {
    int workdir_fd;     /* -1: not open yet */
    int out_fd;         /* stdout.txt of the current task, -1: none */
    int err_fd;         /* stderr.txt */
    size_t workdir_len; /* bytes of the work directory in path */
    size_t len;         /* bytes of the task's directory in path */
    char path[PATH_MAX];
};

/* Makes the work directory and those above it (mkdir -p). 0 or PILOT_E... */
int taskdir_make_workdir(const char *path, struct pilot_error *err);

void taskdir_init(struct taskdir *d);

/* For a task without a directory of its own: taskdir_path is then the work directory, and there are
 * no files. 0 or an errno value, as below. */
int taskdir_open_none(struct taskdir *d, const char *workdir, char *message, size_t message_size);

/* Makes WORKDIR/ID, moves the output of attempt-1 out of the way, and opens both files, empty.
 * merged: only stdout.txt, which is both, and a stderr.txt of an earlier run is removed. 0, or an
 * errno value and what could not be done in message. After a failure err_fd may be open.
 */
int taskdir_open(struct taskdir *d, const char *workdir, const char *id, unsigned attempt,
                 bool merged, char *message, size_t message_size);

/* The task's directory: absolute, valid until the next taskdir_open. */
const char *taskdir_path(const struct taskdir *d);

/* Appends "pilot-mpi: TEXT" as a line to stderr.txt, if there is one. */
void taskdir_note(const struct taskdir *d, const char *text);

/* Whether pid has one of the output files open. */
bool taskdir_is_held_by(const struct taskdir *d, pid_t pid);

void taskdir_close(struct taskdir *d);

/* Takes back a taskdir_open of attempt 1 whose task has not begun: the files, and the directory if
 * nothing else is in it. */
void taskdir_undo(struct taskdir *d);

/* The end of a path that is too long for a message: "...bc/def" of at most `room` bytes. */
const char *path_tail(const char *path, size_t room, char *dst, size_t size);

#endif
