/* SPDX-License-Identifier: BSD-3-Clause */
/* Which command is meant? Everything else is in the commands' own files. */
#include <locale.h>
#include <stddef.h>
#include <string.h>

#include "cli/command.h"

static const struct command *const commands[] = {&cmd_run, &cmd_add, &cmd_logs, &cmd_simulate,
                                                 &cmd_recover};

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (commands[i]->name != NULL && strcmp(argv[1], commands[i]->name) == 0)
            return commands[i]->run(argc - 1, argv + 1);
    return cmd_run.run(argc, argv);
}
