/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading what is left of a damaged database. Only recover.c and salvage.c include this. */
#ifndef PILOT_STORE_SALVAGE_H
#define PILOT_STORE_SALVAGE_H

#include "store/internal.h"

/* Columns by place: steps of the schema only append. */
enum { T_SEQ, T_ID, T_STATUS, T_EXIT, T_ATTEMPTS, T_FAILURES = 9, T_LOSSES, T_CORES, T_PRIORITY };
enum { T_TIMEOUT = 13, T_RETRIES, T_COMMAND, T_SPEC, T_TOLD, T_MEMORY, T_ESTIMATE, T_COUNT };
enum { A_ID, A_ATTEMPT, A_NODE, A_CPUS, A_STARTED, A_FINISHED, A_EXIT, A_SIGNAL, A_REASON };
enum { A_USER = 9, A_SYS, A_RSS, A_MESSAGE };

/* Text without bytes that do not belong in it; NULL: something else. */
const char *salvage_text(sqlite3_stmt *row, int column);
/* A number that can count something. */
bool salvage_is_count(sqlite3_stmt *row, int column);
/* NULL: the row of a task is right; otherwise what is not. Its number and its status are not looked
 * at. */
const char *salvage_wrong(const struct store_recover_hooks *hooks, sqlite3_stmt *row);

/* Can the row be one of an attempt? */
bool salvage_is_attempt(sqlite3_stmt *row);

/* Opens `path`, a private copy of a damaged database with its log beside it; takes the log in and,
 * where the first page is no use, makes one. The copy is changed. NULL: err. */
sqlite3 *salvage_open(const char *path, bool with_log, struct pilot_error *err);

/* Moves all that can be read from `from`, the open copy at path, to the empty database `to`, and
 * counts it in out. Tasks are numbered anew where some are missing. Tells through hooks->lost. */
int salvage_all(sqlite3 *from, const char *path, struct store *to,
                const struct store_recover_hooks *hooks, struct store_recovered *out,
                struct pilot_error *err);

#endif
