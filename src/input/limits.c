/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the limits on one task. Only what is certain: the environment of the pilot and the limit of
 * its stack count too when it comes to execve, and what fails there is told as a failed start. */
#include "input/limits.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"

#define STRING_PAGES 32 /* MAX_ARG_STRLEN of the kernel */

size_t limits_string_max(void)
{
    static long page;

    if (page == 0)
        page = sysconf(_SC_PAGESIZE);
    return STRING_PAGES * (size_t)(page > 0 ? page : 4096) - 1;
}

/* Bytes of a list as execve counts them; *longest is that of its longest string. */
static size_t list_bytes(char *const *list, size_t *longest)
{
    size_t bytes = 0;

    *longest = 0;
    for (; list != NULL && *list != NULL; list++) {
        size_t len = strlen(*list);

        bytes += len + 1 + sizeof(char *);
        *longest = len > *longest ? len : *longest;
    }
    return bytes;
}

bool limits_check(const struct task_spec *spec, char *why, size_t size)
{
    size_t string_max = limits_string_max(), longest_arg, longest_env;
    size_t bytes = list_bytes(spec->argv, &longest_arg) + list_bytes(spec->env, &longest_env);
    size_t entries = strv_len(spec->env);

    if (spec->command != NULL)
        bytes += strlen(spec->command) + 1;
    if (entries > ENV_ENTRIES_MAX)
        snprintf(why, size, "env has %zu variables, more than the %d that a task may have", entries,
                 ENV_ENTRIES_MAX);
    else if (longest_env > string_max)
        snprintf(why, size,
                 "a variable in env has %zu bytes, but the kernel takes at most %zu; put it into "
                 "a file",
                 longest_env, string_max);
    else if (longest_arg > string_max)
        snprintf(why, size,
                 "an argument in command has %zu bytes, but the kernel takes at most %zu; put it "
                 "into a file",
                 longest_arg, string_max);
    else if (bytes > EXEC_BYTES_MAX)
        snprintf(why, size,
                 "command and env have %zu bytes, but the kernel takes at most %u; put the command "
                 "into a script",
                 bytes, EXEC_BYTES_MAX);
    else
        return true;
    return false;
}
