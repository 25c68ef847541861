/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: a connection of its own that can only read. It takes no lock file and migrates nothing, so
 * that it may look while a pilot runs; who uses it must not count on the newest schema. */
#include <unistd.h>

#include "common/error.h"
#include "store/internal.h"

#define READ_BUSY_MS 2000

int look_fail(sqlite3 *db, const char *path, struct pilot_error *err)
{
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_BUSY:
        return err_set(err, PILOT_EBUSY,
                       "%s is in use by a pilot that lets nobody look (on a network file system); "
                       "try again when it has ended, or give a copy of the file",
                       path);
    case SQLITE_NOTADB:
        return err_set(err, PILOT_EPROTO, "%s is not the state of a pilot-mpi", path);
    default:
        return err_set(err, PILOT_ESTORE, "cannot read %s: %s", path, sqlite3_errmsg(db));
    }
}

static bool is_ours(sqlite3 *db)
{
    sqlite3_stmt *stmt = NULL;
    bool ours = false;

    if (sqlite3_prepare_v2(db, "PRAGMA application_id", -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        ours = sqlite3_column_int(stmt, 0) == SCHEMA_APPLICATION_ID;
    sqlite3_finalize(stmt);
    return ours;
}

int look_open(sqlite3 **out, const char *path, struct pilot_error *err)
{
    sqlite3 *db = NULL;
    int rc;

    if (access(path, F_OK) < 0)
        return err_set(err, PILOT_ENOENT, "there is no state database %s; name it with --db FILE",
                       path);
    rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (db == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    sqlite3_busy_timeout(db, READ_BUSY_MS);
    if (rc != SQLITE_OK)
        rc = look_fail(db, path, err);
    else if (!is_ours(db))
        rc = sqlite3_errcode(db) == SQLITE_OK || sqlite3_errcode(db) == SQLITE_ROW ||
                     sqlite3_errcode(db) == SQLITE_DONE
                 ? err_set(err, PILOT_EPROTO, "%s is not the state of a pilot-mpi", path)
                 : look_fail(db, path, err);
    *out = db;
    return rc;
}
