/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/complain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input/text.h"

void cli_complain(const char *text)
{
    char *copy = strdup(text), *rest = copy, *line;

    while ((line = strsep(&rest, "\n")) != NULL) {
        text_make_printable(line);
        fprintf(stderr, "pilot-mpi: %s\n", line);
    }
    free(copy);
}
