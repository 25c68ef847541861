/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: reading the tasks of an earlier run, and settling first what that run left open. Must not
 * decide what runs again: that is the scheduler's. */
#include "store/internal.h"

#include "common/clock.h"
#include "common/error.h"

/* What ran when the last pilot ended without a word was lost with it. */
static int close_open_attempts(struct store *s, struct pilot_error *err)
{
    static const char *const updates[] = {
        "UPDATE attempts SET finished_at = ?1, reason = 'lost' WHERE finished_at IS NULL"
        " AND id IN (SELECT id FROM tasks WHERE status = 'running')",
        "UPDATE tasks SET status = 'pending', reason = 'lost', losses = losses + 1,"
        " finished_at = ?1 WHERE status = 'running'",
    };
    int64_t now_ms = clock_wall_ms();
    int rc = sql_exec(s, "BEGIN IMMEDIATE", "write to", err);

    for (size_t i = 0; rc == 0 && i < sizeof(updates) / sizeof(updates[0]); i++) {
        sqlite3_stmt *stmt = NULL;

        rc = sql_prepare(s, updates[i], &stmt, err);
        if (rc < 0)
            break;
        sql_bind_ms(stmt, 1, now_ms);
        if (sqlite3_step(stmt) != SQLITE_DONE)
            rc = sql_fail(s, err, "write to");
        sqlite3_finalize(stmt);
    }
    if (rc == 0)
        rc = sql_exec(s, "COMMIT", "write to", err);
    if (rc < 0)
        sql_rollback(s);
    return rc;
}

static int row_to_task(struct store *s, sqlite3_stmt *stmt, int64_t expected,
                       struct store_task *task, struct pilot_error *err)
{
    const char *status = (const char *)sqlite3_column_text(stmt, 3);

    task->task = (task_id_t)expected;
    task->id = (const char *)sqlite3_column_text(stmt, 1);
    task->spec_json = (const char *)sqlite3_column_text(stmt, 2);
    task->attempts = (unsigned)sqlite3_column_int64(stmt, 4);
    task->failures = (unsigned)sqlite3_column_int64(stmt, 5);
    task->losses = (unsigned)sqlite3_column_int64(stmt, 6);
    if (task->id == NULL || task->spec_json == NULL || status == NULL)
        return err_set(err, PILOT_ENOMEM, "memory is short for the tasks of %s", s->place.given);
    if (sqlite3_column_int64(stmt, 0) != expected)
        return err_set(err, PILOT_EPROTO,
                       "%s has no task number %lld; rows must not be deleted from it: restore it, "
                       "or forget it with --fresh",
                       s->place.given, (long long)expected);
    if (!task_status_parse(status, &task->status) || task->status == TASK_RUNNING)
        return err_set(err, PILOT_EPROTO,
                       "task '%s' in %s has the unknown status '%s'; set it to 'pending' to run "
                       "the task again",
                       task->id, s->place.given, status);
    return 0;
}

int store_load(struct store *s, store_task_f *f, void *arg, struct pilot_error *err)
{
    sqlite3_stmt *stmt = NULL;
    struct store_task task;
    int rc, step;

    if ((rc = close_open_attempts(s, err)) < 0)
        return rc;
    rc = sql_prepare(s,
                     "SELECT seq, id, spec, status, attempts, failures, losses"
                     " FROM tasks ORDER BY seq",
                     &stmt, err);
    if (rc < 0)
        return rc;
    for (int64_t n = 0; rc >= 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE; n++) {
        if (step != SQLITE_ROW)
            rc = sql_fail(s, err, "read");
        else if ((rc = row_to_task(s, stmt, n, &task, err)) == 0)
            rc = f(arg, &task, err);
    }
    sqlite3_finalize(stmt);
    return rc < 0 ? rc : 0;
}
