/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of pilot-mpi: one file and one struct each, listed in main.c.
 *
 * To add a command: write cmd_NAME.c with its `const struct command`, and add it to the list. */
#ifndef PILOT_CLI_COMMAND_H
#define PILOT_CLI_COMMAND_H

struct command {
    const char *name; /* the word after pilot-mpi; NULL: what is done without one */
    int (*run)(int argc, char **argv); /* argv[0] is the command; returns the exit status */
};

extern const struct command cmd_run;
extern const struct command cmd_add;
extern const struct command cmd_logs;
extern const struct command cmd_simulate;
extern const struct command cmd_recover;

#endif
