/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: how an error of SQLite reads, and the few lines around a statement that would otherwise be
 * everywhere. Must not know any table. */
#include "store/internal.h"

#include <string.h>

#include "common/error.h"

/* Where the system said no, its words are better than SQLite's "disk I/O error". */
static const char *cause_of(struct store *s, char *text, size_t size)
{
    int code = sqlite3_errcode(s->db) & 0xff;
    int errnum = sqlite3_system_errno(s->db);

    if ((code == SQLITE_IOERR || code == SQLITE_CANTOPEN) && errnum != 0)
        return strerror_r(errnum, text, size);
    return sqlite3_errmsg(s->db);
}

static const char *remedy_of(int code)
{
    switch (code) {
    case SQLITE_FULL:
        return "make room (or raise the quota), or choose another place with --db FILE";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return "make the file and its directory writable, or choose another with --db FILE";
    case SQLITE_NOTADB:
        return "it is something else: choose another file with --db FILE; or its beginning is "
               "damaged: `pilot-mpi recover --db FILE` makes a new one of what can be read";
    case SQLITE_CORRUPT:
        return "it is damaged: `pilot-mpi recover --db FILE` makes a new one of what can be read";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "another program (a sqlite3 shell?) holds it: end that program's transaction";
    case SQLITE_IOERR:
        return "see that its file system works and supports locks, or choose another place with "
               "--db FILE";
    case SQLITE_NOMEM:
        return "memory is short";
    default:
        return "choose another file with --db FILE if this does not pass";
    }
}

void store_alone(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int sql_fail(struct store *s, struct pilot_error *err, const char *doing)
{
    char text[128];

    return err_set(err, PILOT_ESTORE, "cannot %s the state database %s: %s; %s", doing,
                   s->place.given, cause_of(s, text, sizeof(text)),
                   remedy_of(sqlite3_errcode(s->db) & 0xff));
}

int sql_exec(struct store *s, const char *sql, const char *doing, struct pilot_error *err)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sql_fail(s, err, doing);
    return 0;
}

int sql_prepare(struct store *s, const char *sql, sqlite3_stmt **out, struct pilot_error *err)
{
    if (sqlite3_prepare_v2(s->db, sql, -1, out, NULL) != SQLITE_OK)
        return sql_fail(s, err, "use");
    return 0;
}

int sql_int(struct store *s, const char *sql, int64_t *out, struct pilot_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sql_prepare(s, sql, &stmt, err);

    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    else
        rc = sql_fail(s, err, "read");
    sqlite3_finalize(stmt);
    return rc;
}

void sql_bind_text(sqlite3_stmt *stmt, int column, const char *text, size_t len)
{
    if (len == 0)
        sqlite3_bind_null(stmt, column);
    else
        sqlite3_bind_text64(stmt, column, text, len, SQLITE_STATIC, SQLITE_UTF8);
}

void sql_bind_ms(sqlite3_stmt *stmt, int column, int64_t ms)
{
    if (ms <= 0)
        sqlite3_bind_null(stmt, column);
    else
        sqlite3_bind_double(stmt, column, (double)ms / 1000.0);
}

void sql_rollback(struct store *s)
{
    /* Many errors have rolled back by themselves; then this one has nothing to do. */
    if (s->db != NULL && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}
