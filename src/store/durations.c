/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: a connection of its own that can only read. It takes no lock file and migrates nothing, so
 * that it may look while a pilot runs; so it uses only what every version of the schema has. */
#include "store/durations.h"

#include <math.h>
#include <sqlite3.h>
#include <unistd.h>

#include "common/error.h"
#include "store/internal.h"

#define READ_BUSY_MS 2000

static int fail(sqlite3 *db, const char *path, struct pilot_error *err)
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

static int give_row(sqlite3_stmt *stmt, const char *path, store_recorded_f *f, void *arg,
                    struct pilot_error *err)
{
    struct store_recorded task = {.id = (const char *)sqlite3_column_text(stmt, 0),
                                  .spec_json = (const char *)sqlite3_column_text(stmt, 1),
                                  .duration_ms = -1};
    const char *status = (const char *)sqlite3_column_text(stmt, 2);

    if (task.id == NULL || task.spec_json == NULL || status == NULL ||
        !task_status_parse(status, &task.status))
        return err_set(err, PILOT_EPROTO, "%s has a task that cannot be read", path);
    if (task.status == TASK_COMPLETED && sqlite3_column_type(stmt, 3) != SQLITE_NULL)
        task.duration_ms = (int64_t)ceil(sqlite3_column_double(stmt, 3) * 1000 - 1e-6);
    return f(arg, &task, err);
}

static int read_all(sqlite3 *db, const char *path, store_recorded_f *f, void *arg,
                    struct pilot_error *err)
{
    static const char sql[] =
        "SELECT id, spec, status, finished_at - started_at FROM tasks ORDER BY seq";
    sqlite3_stmt *stmt = NULL;
    int rc = 0, step = SQLITE_DONE;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return fail(db, path, err);
    while (rc == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = give_row(stmt, path, f, arg, err);
    if (rc == 0 && step != SQLITE_DONE)
        rc = fail(db, path, err);
    sqlite3_finalize(stmt);
    return rc;
}

int store_read_durations(const char *path, store_recorded_f *f, void *arg, struct pilot_error *err)
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
        rc = fail(db, path, err);
    else if (!is_ours(db))
        rc = sqlite3_errcode(db) == SQLITE_OK || sqlite3_errcode(db) == SQLITE_ROW ||
                     sqlite3_errcode(db) == SQLITE_DONE
                 ? err_set(err, PILOT_EPROTO, "%s is not the state of a pilot-mpi", path)
                 : fail(db, path, err);
    else
        rc = read_all(db, path, f, arg, err);
    sqlite3_close(db);
    return rc;
}
