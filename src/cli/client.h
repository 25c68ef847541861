/* SPDX-License-Identifier: BSD-3-Clause */
/* A client of a running pilot: finds it, says one line of JSON, gets one line back.
 *
 *   {"op": "add", "name": "tasks.json", "text": "..."}   name stands for the text in messages
 *   {"ok": true, "ids": ["a", "b"], "new": 2}
 *   {"ok": false, "code": "refused", "message": "..."}   or "over", "stopping": nothing was done */
#ifndef PILOT_CLI_CLIENT_H
#define PILOT_CLI_CLIENT_H

#include <stddef.h>

#include "pilot.h"

/* Which pilot; with neither: that of PILOT_SOCKET, or else of ./pilot_runs. */
struct client_target {
    const char *workdir; /* or NULL */
    const char *db;      /* or NULL */
};

/* request: one line without its newline. *reply is fresh memory, without newline.
 * PILOT_ENOENT: no pilot answers, and nothing was done; the text says where it was looked for.
 * PILOT_ELOST: the pilot was asked but went away; it may or may not have done it.
 * PILOT_EINVAL: the request is too long. */
int client_ask(const struct client_target *target, const char *request, size_t len, char **reply,
               struct pilot_error *err);

#endif
