/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests from hosts without an agent (a login node), through files on the shared file system:
 * WORKDIR/.pilot/inbox, mode 0700. A client writes NAME.tmp and renames it to NAME.req; the head
 * renames that to NAME.taken, and when the answer is committed writes NAME.reply (by rename) and
 * removes NAME.taken; the client removes NAME.reply. A client that gives up renames its NAME.req
 * back: whoever renames first has won. The file "alive" has a new time at least every few seconds
 * as long as a head reads here, and is gone after a clean end. */
#ifndef PILOT_HEAD_INBOX_H
#define PILOT_HEAD_INBOX_H

#include <stdint.h>

#include "pilot.h"

struct inbox;

/* Makes the directory. Requests that an earlier pilot took but did not answer are taken again:
 * adding is idempotent. */
int inbox_create(struct inbox **out, const char *workdir, struct pilot_error *err);
void inbox_destroy(struct inbox *b);
/* Refuses what was asked before now: for a run that does not go on with the one that was asked. */
void inbox_refuse_old(struct inbox *b);

/* 1: *name and *text (owned by the inbox, valid until the next call) are a request. 0: none now.
 * Looks at the directory at most once a second. */
int inbox_next(struct inbox *b, int64_t now_ms, const char **name, const char **text);
void inbox_reply(struct inbox *b, const char *name, const char *text);
int64_t inbox_next_ms(const struct inbox *b); /* when it wants to look again */

#endif
