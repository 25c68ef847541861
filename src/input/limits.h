/* SPDX-License-Identifier: BSD-3-Clause */
/* How large a task may be: what no kernel would execute is refused while there is a person to mend
 * it, and what would fill the memory of a node with one task's description too. */
#ifndef PILOT_INPUT_LIMITS_H
#define PILOT_INPUT_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/task.h"

#define TASK_TEXT_MAX (16u << 20) /* bytes of one task in the file */
#define ENV_ENTRIES_MAX 10000     /* of one task, those of the defaults included */
#define EXEC_BYTES_MAX (6u << 20) /* arguments and environment: the kernel's highest limit */

/* Bytes of one argument or variable that the kernel here takes (128 KiB with pages of 4 KiB). */
size_t limits_string_max(void);

/* False, and why (the rest of a sentence that names the task), when it cannot be executed. A
 * command for the shell may be longer than one string: if it is simple it is executed without a
 * shell, and only the slot can tell. */
bool limits_check(const struct task_spec *spec, char *why, size_t size);

#endif
