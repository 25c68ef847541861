/* SPDX-License-Identifier: BSD-3-Clause */
/* Which CPUs this process, and so the next one it starts, may run on. */
#ifndef PILOT_LAUNCH_CPUBIND_H
#define PILOT_LAUNCH_CPUBIND_H

#include <stdbool.h>
#include <stddef.h>

#include "common/task.h"

#define CPUBIND_MAX_CPUS 16384

struct cpubind_mask {
    unsigned long bits[CPUBIND_MAX_CPUS / (8 * sizeof(unsigned long))];
};

struct cpubind {
    char current[TASK_CPUS_MAX]; /* list that is in force; "": the original mask */
    struct cpubind_mask original;
    size_t original_bytes; /* 0: not read yet */
};

/* Binds this process to the CPUs of list ("0-3,8"), or back to those it had at first when list is
 * NULL or "". Does nothing when they are in force already. 0 or an errno value. */
int cpubind_apply(struct cpubind *b, const char *list);

/* True when list is well-formed and not empty; *mask gets its CPUs. */
bool cpubind_parse(const char *list, struct cpubind_mask *mask);

#endif
