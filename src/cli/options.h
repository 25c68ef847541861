/* SPDX-License-Identifier: BSD-3-Clause */
/* Options as data: a table says what there is, what it stands for and where its value goes. */
#ifndef PILOT_CLI_OPTIONS_H
#define PILOT_CLI_OPTIONS_H

#include <stddef.h>

#include "pilot.h"

enum option_kind {
    OPTION_FLAG,    /* bool */
    OPTION_STRING,  /* const char * */
    OPTION_COUNT,   /* unsigned, at least 1 */
    OPTION_NUMBER,  /* int, with or without a sign */
    OPTION_SECONDS, /* int64_t milliseconds, from seconds with a fraction */
    OPTION_TIME,    /* int64_t milliseconds, from seconds or [[days-]hours:]minutes:seconds */
    OPTION_SIZE,    /* int64_t bytes, from a number with or without K, M, G, T */
    OPTION_CHOICE,  /* int or enum: the index of one of the words in choices */
    OPTION_LIST,    /* struct option_list; may be given several times */
};

struct option_list {
    const char **v; /* owned: free; NULL-terminated; what it points to is argv's. NULL: none */
    size_t len;
};

struct option_spec {
    const char *name; /* without the dashes */
    enum option_kind kind;
    size_t offset;     /* in the struct that is filled */
    const char *value; /* its name in the help; NULL for a flag */
    const char *help;
    const char *const *choices; /* NULL-terminated */
};

/* Fills target from argv, ordinary arguments go to *argument (at most one; a second is an error).
 * Accepts --name value and --name=value; "--" ends the options. The table ends with a NULL name.
 * PILOT_EINVAL with one line that says what to write instead. */
int options_parse(const struct option_spec *specs, int argc, char **argv, void *target,
                  const char **argument, struct pilot_error *err);

/* The same for any number of ordinary arguments. -f stands for --follow, where there is that. */
int options_parse_many(const struct option_spec *specs, int argc, char **argv, void *target,
                       struct option_list *arguments, struct pilot_error *err);

/* The lines of the help. */
void options_print(const struct option_spec *specs);

#endif
