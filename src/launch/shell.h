/* SPDX-License-Identifier: BSD-3-Clause */
/* Which commands mean the same without a shell. */
#ifndef PILOT_LAUNCH_SHELL_H
#define PILOT_LAUNCH_SHELL_H

#include <stdbool.h>
#include <stddef.h>

/* The words of a command; the memory is reused from call to call. Zero it before first use. */
struct shell_words {
    char **v; /* NULL-terminated; points into text */
    size_t n;
    size_t v_cap;
    char *text;
    size_t text_cap;
};
void shell_words_fini(struct shell_words *w);

/* True, and the words, when `sh -c command` would do no more than execute one program found by PATH
 * with exactly these arguments. False in all other cases and in all doubtful ones. */
bool shell_split(const char *command, struct shell_words *w);

#endif
