/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two ways to a pilot share: client_socket.c and client_inbox.c, chosen by client.c. */
#ifndef PILOT_CLI_CLIENT_IMPL_H
#define PILOT_CLI_CLIENT_IMPL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "pilot.h"

/* Each: 0 and *reply; PILOT_ENOENT: it leads to no pilot, err says why and the next may be tried;
 * or another PILOT_E..., with which the search ends. */

/* Of PILOT_SOCKET. */
int client_by_socket(const char *path, const char *request, size_t len, char **reply,
                     struct pilot_error *err);
/* Through the note that the agent of this node leaves in WORKDIR/.pilot/HOST/socket. */
int client_by_note(const char *workdir, const char *request, size_t len, char **reply,
                   struct pilot_error *err);
/* Through the files in WORKDIR/.pilot/inbox. */
int client_by_inbox(const char *workdir, const char *request, size_t len, char **reply,
                    struct pilot_error *err);

/* The text of b up to its first newline, which must be there; b is empty then. NULL: no memory. */
char *client_take_line(struct buf *b);

#define CLIENT_LOST                                                                                \
    "it is not known whether the tasks were added; to run the same command again is safe: what "   \
    "is "                                                                                          \
    "there already is not added twice"

#endif
