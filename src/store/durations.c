/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: what the tasks of a state were and how long they took. Uses only what every version of the
 * schema has. */
#include "store/durations.h"

#include <math.h>

#include "common/error.h"
#include "store/internal.h"

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
        return look_fail(db, path, err);
    while (rc == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = give_row(stmt, path, f, arg, err);
    if (rc == 0 && step != SQLITE_DONE)
        rc = look_fail(db, path, err);
    sqlite3_finalize(stmt);
    return rc;
}

int store_read_durations(const char *path, store_recorded_f *f, void *arg, struct pilot_error *err)
{
    sqlite3 *db = NULL;
    int rc = look_open(&db, path, err);

    if (rc == 0)
        rc = read_all(db, path, f, arg, err);
    sqlite3_close(db);
    return rc;
}
