/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading task files: a JSON array, an object with "tasks" and "defaults", JSON Lines (or objects
 * of several lines, one after the other), or a plain list of shell commands; told apart by content.
 * The only user of cJSON for input; never holds the JSON tree of a whole file. Knows nothing of
 * scheduling or state. */
#ifndef PILOT_INPUT_TASKFILE_H
#define PILOT_INPUT_TASKFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/task.h"
#include "pilot.h"

#define TASKFILE_ERRORS_SHOWN 20

struct taskfile_config {
    unsigned max_cores;        /* more than any node has; 0: not known, not checked */
    const char *max_cores_of;  /* words for the message: "node vc2 has 4, the most of any node" */
    int64_t max_memory;        /* bytes; likewise */
    const char *max_memory_of; /* likewise */
    /* Paths directly below the work directory that no task may be called. NULL-terminated. */
    const char *const *reserved;
    bool ids_by_content; /* a missing id is made from the task's text, not from its place */
};

struct taskfile_ops {
    /* A valid task, in file order; no more of them once anything wrong was found. The spec is the
     * callee's to copy from, not to keep. A negative return value ends the reading with that code
     * and err. Called while later tasks may still turn out to be wrong: keep nothing for good
     * before taskfile_read has returned 0. */
    int (*task)(void *arg, const struct task_spec *spec, unsigned line, struct pilot_error *err);
    /* There will be about so many tasks: room for them needs to be made only once. NULL: no matter.
     * 0 or PILOT_ENOMEM. */
    int (*expect)(void *arg, size_t tasks);
    /* Is this id known from an earlier run? (For depends_on.) NULL: none is. */
    bool (*known)(void *arg, const char *id);
    /* A warning, worded: file, line, task, remedy. */
    void (*warn)(void *arg, const char *text);
    void *arg;
};

/* Reads all of path ("-": standard input). Returns the number of tasks, or PILOT_EINVAL with up to
 * TASKFILE_ERRORS_SHOWN lines ("tasks.json:12: task 'a': ...") and the count of the rest in err,
 * PILOT_ENOENT, PILOT_EIO, or what a callback returned. Checks fields, ids, duplicates, unknown
 * dependencies and cycles (naming the path of the cycle). */
int64_t taskfile_read(const char *path, const struct taskfile_config *config,
                      const struct taskfile_ops *ops, struct pilot_error *err);

/* The same for a text of len bytes in memory; name stands for the file in messages. */
int64_t taskfile_read_text(const char *name, const char *text, size_t len,
                           const struct taskfile_config *config, const struct taskfile_ops *ops,
                           struct pilot_error *err);

/* One task as canonical compact JSON (fields in a fixed order, defaults left out): what the state
 * keeps; equal content gives equal text. Fresh memory (free); NULL: no memory. */
char *task_spec_to_json(const struct task_spec *spec);
/* And back. spec is initialised by the call; on failure it is empty. */
int task_spec_from_json(const char *json, struct task_spec *spec, struct pilot_error *err);

#endif
