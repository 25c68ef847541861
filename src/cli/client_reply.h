/* SPDX-License-Identifier: BSD-3-Clause */
/* The answer of a pilot, taken apart (client.h says how it looks). */
#ifndef PILOT_CLI_CLIENT_REPLY_H
#define PILOT_CLI_CLIENT_REPLY_H

#include <stdbool.h>

struct client_reply {
    bool ok;
    char **ids;    /* ok: NULL-terminated; NULL: none are listed */
    char *message; /* not ok: why not */
    bool refused;  /* not ok: what was asked is wrong; otherwise no pilot could be asked */
};

/* 0; PILOT_EPROTO: it is no answer of a pilot of this version. Always ends with client_reply_fini.
 */
int client_reply_parse(const char *text, struct client_reply *reply);
void client_reply_fini(struct client_reply *reply);

#endif
