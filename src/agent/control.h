/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket of a node: a Unix socket in a directory that only its user can enter. A client
 * sends requests, one line of JSON each, and gets one line for each. Here nothing is understood:
 * lines go to the head in REQUEST messages and come back in REPLY messages. */
#ifndef PILOT_AGENT_CONTROL_H
#define PILOT_AGENT_CONTROL_H

#include <stdint.h>

#include "pilot.h"

#define CONTROL_LINE_MAX (32u << 20) /* bytes of a request; a longer one ends the connection */

struct control;

/* Makes a directory (mode 0700) below TMPDIR or /tmp, the socket in it, and writes the socket's
 * path to NODE_DIR/socket (mode 0600), from where clients on this node find it; removes what an
 * earlier pilot that was killed left there. */
int control_create(struct control **out, const char *node_dir, struct pilot_error *err);
/* Closes all connections and removes socket, directory and NODE_DIR/socket. NULL does nothing. */
void control_destroy(struct control *c);

const char *control_path(const struct control *c); /* absolute; for PILOT_SOCKET */
int control_fd(const struct control *c); /* an epoll descriptor: readable when there is work */

/* 1: *line (NUL-terminated, without the newline, valid until the next call) came from *client.
 * 0: nothing now. Never blocks. Connections of other users are closed (SO_PEERCRED). */
int control_next(struct control *c, uint32_t *client, const char **line);
/* Sends text and a newline; a client that has gone is ignored. Never blocks. */
void control_reply(struct control *c, uint32_t client, const char *text);

#endif
