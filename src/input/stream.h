/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading a task file while it still comes: every task is handed out as soon as its text is there.
 * The same forms and checks as taskfile.h, with what follows from it:
 *   - reading ends at the first thing that is wrong; tasks before it have been handed out;
 *   - a task that names an id which has not come is kept until it has, or until the end;
 *   - "defaults" must stand before "tasks". */
#ifndef PILOT_INPUT_STREAM_H
#define PILOT_INPUT_STREAM_H

#include "input/taskfile.h"

struct task_stream;

/* name stands for the file in messages. All is borrowed until task_stream_destroy; ops->known says
 * of an id whether it was handed out or is known otherwise. NULL: no memory. */
struct task_stream *task_stream_create(const char *name, const struct taskfile_config *config,
                                       const struct taskfile_ops *ops);
void task_stream_destroy(struct task_stream *s);

/* More of the text, in any portions. 0, or an error as of taskfile_read, after which nothing more
 * may be put. Keeps the text of tasks that are not complete, at most some MiB. */
int task_stream_put(struct task_stream *s, const char *text, size_t len, struct pilot_error *err);

/* The text has ended. 0, or an error as before. */
int task_stream_end(struct task_stream *s, struct pilot_error *err);

#endif
