/* SPDX-License-Identifier: BSD-3-Clause */
/* What is wrong, on standard error. */
#ifndef PILOT_CLI_COMPLAIN_H
#define PILOT_CLI_COMPLAIN_H

/* A line "pilot-mpi: ..." for each line of text, such as that of a struct pilot_error. The text may
 * come from elsewhere: what must not reach a terminal is replaced. */
void cli_complain(const char *text);

#endif
