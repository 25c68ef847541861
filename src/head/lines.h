/* SPDX-License-Identifier: BSD-3-Clause */
/* What the hook and the clients say, a line of JSON each: taken apart and checked, not acted upon.
 * The protocols are in docs/hooks.md and cli/client.h. */
#ifndef PILOT_HEAD_LINES_H
#define PILOT_HEAD_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "input/scan.h"

#define LINES_WHY_MAX 320 /* bytes of what is wrong, NUL included */

/* {"ack": 3, "tasks": [...], "cancel": ["a"], "stop": "why", "hold": true}; all may be left out. */
struct hook_answer {
    bool has_ack;
    bool ack_is_number;     /* then it can be named in an error */
    double ack_given;       /* as it was written */
    uint64_t ack;           /* the number of an event; 0: it is none */
    struct scan_text tasks; /* the array, in the line; p is NULL when there is none */
    char **cancel;          /* ids; NULL: none */
    char *stop;             /* why; NULL: it goes on */
    bool has_hold, hold;
};

/* 1, 0 (a blank line), PILOT_EINVAL (why says what is wrong; of the answer only the ack is filled),
 * or PILOT_ENOMEM. The line has no newline. Always ends with hook_answer_fini. */
int hook_answer_parse(const char *line, size_t len, struct hook_answer *answer,
                      char why[LINES_WHY_MAX]);
void hook_answer_fini(struct hook_answer *answer);

enum request_op { REQUEST_ADD, REQUEST_CANCEL };

struct client_request {
    enum request_op op;
    char *name; /* ADD: what the text is called in messages */
    char *text; /* ADD: a task file */
    char **ids; /* CANCEL; NULL: none */
};

/* 0, PILOT_EINVAL and why, or PILOT_ENOMEM. Always ends with client_request_fini. */
int client_request_parse(const char *line, size_t len, struct client_request *request,
                         char why[LINES_WHY_MAX]);
void client_request_fini(struct client_request *request);

#endif
