/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: reading the tasks of an earlier run, and settling first what that run left open. Must not
 * decide what runs again: that is the scheduler's. */
#include "store/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/error.h"

#define ROWS_OF_A_PAGE (SCHEMA_PAGE_BYTES / 40) /* more than there can be */

#define COLUMNS                                                                                    \
    "SELECT seq, id, spec, status, attempts, failures, losses, told, suspicion, trial FROM tasks"

/* The numbers of those tasks that the last pilot left open, so that settling them reads only
 * these: the table may have millions of others. In memory, and nothing that others see. */
static int make_cut_short(struct store *s, struct pilot_error *err)
{
    return sql_exec(s,
                    "PRAGMA temp_store = MEMORY;"
                    "CREATE TEMP TABLE IF NOT EXISTS cut_short (seq INTEGER PRIMARY KEY);"
                    "DELETE FROM temp.cut_short",
                    "use", err);
}

static int run_update(struct store *s, const char *sql, int64_t now_ms, struct pilot_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sql_prepare(s, sql, &stmt, err);

    if (rc < 0)
        return rc;
    if (sqlite3_bind_parameter_count(stmt) >= 1)
        sql_bind_ms(stmt, 1, now_ms);
    if (sqlite3_bind_parameter_count(stmt) >= 2)
        sql_bind_text(stmt, 2, s->cut_off, strlen(s->cut_off));
    if (sqlite3_step(stmt) != SQLITE_DONE)
        rc = sql_fail(s, err, "write to");
    sqlite3_finalize(stmt);
    return rc;
}

/* What ran when the last pilot ended without a word was lost with it. What ran on that pilot's own
 * node (?2) may have caused it: what had just been started for its trial, if there is such, else
 * each of them. A task that only waited for its trial then did not cause this end; so the others in
 * which it seemed to say nothing either. */
static int close_open_attempts(struct store *s, struct pilot_error *err)
{
#define LEFT_OPEN "seq IN (SELECT seq FROM temp.cut_short)"
    static const char *const updates[] = {
        "UPDATE attempts SET finished_at = ?1, reason = 'lost',"
        " message = CASE WHEN id IN"
        " (SELECT id FROM tasks WHERE " LEFT_OPEN " AND trial = 1 AND suspicion > 2) AND node = ?2"
        " THEN 'the pilot, just after its start' END WHERE finished_at IS NULL"
        " AND id IN (SELECT id FROM tasks WHERE " LEFT_OPEN " AND status = 'running')",
        "UPDATE tasks SET suspicion ="
        " CASE WHEN trial = 0 THEN min(suspicion, 2)"
        " WHEN status <> 'running' OR node IS NOT ?2 THEN suspicion"
        " WHEN trial = 1 THEN suspicion + 1"
        " WHEN EXISTS (SELECT 1 FROM tasks WHERE " LEFT_OPEN " AND trial = 1) THEN suspicion"
        " ELSE max(min(coalesce(suspicion, 0) + 1, 2), coalesce(suspicion, 0)) END"
        " WHERE ?2 IS NOT NULL AND " LEFT_OPEN " AND (status = 'running' OR trial = 0)",
        "UPDATE tasks SET status = 'pending', reason = 'lost',"
        " finished_at = ?1 WHERE " LEFT_OPEN " AND status = 'running'",
        "UPDATE tasks SET trial = NULL WHERE " LEFT_OPEN,
    };
#undef LEFT_OPEN
    int64_t now_ms = clock_wall_ms();
    int64_t any;
    int rc = sql_int(s, "SELECT EXISTS (SELECT 1 FROM temp.cut_short)", &any, err);

    if (rc < 0 || !any)
        return rc;
    rc = sql_exec(s, "BEGIN IMMEDIATE", "write to", err);
    for (size_t i = 0; rc == 0 && i < sizeof(updates) / sizeof(updates[0]); i++)
        rc = run_update(s, updates[i], now_ms, err);
    if (rc == 0)
        rc = sql_exec(s, "COMMIT", "write to", err);
    if (rc < 0)
        sql_rollback(s);
    return rc;
}

static const char *text_or_empty(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    return text ? text : "";
}

/* Seconds to units of 1/scale seconds; NULL to 0. */
static int64_t scaled(sqlite3_stmt *stmt, int column, double scale)
{
    return (int64_t)(sqlite3_column_double(stmt, column) * scale + 0.5);
}

/* From the row of the attempt that stmt stands on. */
static int row_to_result(struct store *s, sqlite3_stmt *stmt, struct store_task *task,
                         struct pilot_error *err)
{
    const char *reason = (const char *)sqlite3_column_text(stmt, 2);
    struct attempt_result *r = &task->result;

    task->node = text_or_empty(stmt, 0);
    task->cpus = text_or_empty(stmt, 1);
    if (!attempt_reason_parse(reason ? reason : "lost", &r->reason)) /* NULL: still open */
        return err_set(err, PILOT_EPROTO,
                       "attempt %u of task '%s' in %s ended for the unknown reason '%s'; set it to "
                       "'exit' if it exited by itself, or to 'lost'",
                       task->attempts, task->id, s->place.given, reason);
    r->exit_code = sqlite3_column_type(stmt, 3) == SQLITE_NULL ? -1 : sqlite3_column_int(stmt, 3);
    r->signal = sqlite3_column_int(stmt, 4);
    r->start_wall_ms = scaled(stmt, 5, 1e3);
    r->end_wall_ms = scaled(stmt, 6, 1e3);
    r->user_us = scaled(stmt, 7, 1e6);
    r->sys_us = scaled(stmt, 8, 1e6);
    r->max_rss_kib = sqlite3_column_int64(stmt, 9);
    snprintf(r->message, sizeof(r->message), "%s", text_or_empty(stmt, 10));
    r->output_dropped = sqlite3_column_int64(stmt, 11);
    r->pack_at = (uint64_t)sqlite3_column_int64(stmt, 12) << 32 |
                 ((uint64_t)sqlite3_column_int64(stmt, 13) & UINT32_MAX);
    r->packed = sqlite3_column_type(stmt, 14) != SQLITE_NULL;
    r->stdout_bytes = sqlite3_column_int64(stmt, 14);
    r->stderr_bytes = sqlite3_column_int64(stmt, 15);
    return 0;
}

/* How the last attempt ended, for those few tasks whose end is still to be told. stmt: attempt ?2
 * of the task with the id ?1; the texts in task are valid until it is reset. */
static int load_result(struct store *s, sqlite3_stmt *stmt, struct store_task *task,
                       struct pilot_error *err)
{
    sqlite3_reset(stmt);
    sqlite3_bind_text(stmt, 1, task->id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, task->attempts);
    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        return row_to_result(s, stmt, task, err);
    case SQLITE_DONE: /* skipped or cancelled before it ran; or a recovery could not read it */
        if (task->attempts > 0 && task->status != TASK_COMPLETED) {
            task->result.reason = REASON_LOST;
            task->result.exit_code = -1;
        }
        return 0;
    default:
        return sql_fail(s, err, "read");
    }
}

static int row_to_task(struct store *s, sqlite3_stmt *stmt, int64_t expected,
                       struct store_task *task, struct pilot_error *err)
{
    const char *status = (const char *)sqlite3_column_text(stmt, 3);

    *task = (struct store_task){
        .task = (task_id_t)expected,
        .id = (const char *)sqlite3_column_text(stmt, 1),
        .spec_json = (const char *)sqlite3_column_text(stmt, 2),
        .attempts = (unsigned)sqlite3_column_int64(stmt, 4),
        .failures = (unsigned)sqlite3_column_int64(stmt, 5),
        .losses = (unsigned)sqlite3_column_int64(stmt, 6),
        .suspicion = (unsigned)sqlite3_column_int64(stmt, 8),
        .told = sqlite3_column_type(stmt, 7) != SQLITE_NULL && sqlite3_column_int(stmt, 7) == 0,
        .result = {.reason = REASON_EXIT},
        .node = "",
        .cpus = "",
    };
    if (task->id == NULL || task->spec_json == NULL || status == NULL)
        return err_set(err, PILOT_ENOMEM, "memory is short for the tasks of %s", s->place.given);
    if (sqlite3_column_int64(stmt, 0) != expected)
        return err_set(err, PILOT_EPROTO,
                       "%s has no task number %lld; rows must not be deleted from it: restore it, "
                       "or forget it with --fresh",
                       s->place.given, (long long)expected);
    if (!task_status_parse(status, &task->status))
        return err_set(err, PILOT_EPROTO,
                       "task '%s' in %s has the unknown status '%s'; set it to 'pending' to run "
                       "the task again",
                       task->id, s->place.given, status);
    return 0;
}

/* The task of this row was left open: it is settled later, and given again then. */
static int note_cut_short(struct store *s, sqlite3_stmt *note, struct store_task *task,
                          struct pilot_error *err)
{
    task->status = TASK_PENDING;
    task->told = false;
    sqlite3_reset(note);
    sqlite3_bind_int64(note, 1, task->task);
    return sqlite3_step(note) == SQLITE_DONE ? 0 : sql_fail(s, err, "use");
}

struct load_statements {
    sqlite3_stmt *rows;
    sqlite3_stmt *last; /* a task's last attempt */
    sqlite3_stmt *note; /* NULL: nothing is open any more */
};

/* Gives each row to f. The numbers are expected to be 0, 1, ... unless they are those that were
 * left open. */
static int give_rows(struct store *s, const struct load_statements *st, bool all, store_task_f *f,
                     void *arg, struct pilot_error *err)
{
    int rc = 0, step;

    for (int64_t n = 0; rc >= 0 && (step = sqlite3_step(st->rows)) != SQLITE_DONE; n++) {
        struct store_task task;

        if (step != SQLITE_ROW) {
            rc = sql_fail(s, err, "read");
            break;
        }
        rc = row_to_task(s, st->rows, all ? n : sqlite3_column_int64(st->rows, 0), &task, err);
        if (rc == 0 && st->note != NULL &&
            (task.status == TASK_RUNNING || sqlite3_column_type(st->rows, 9) != SQLITE_NULL))
            rc = note_cut_short(s, st->note, &task, err);
        if (rc == 0 && task.told)
            rc = load_result(s, st->last, &task, err);
        if (rc == 0)
            rc = f(arg, &task, err);
    }
    return rc < 0 ? rc : 0;
}

static int read_rows(struct store *s, const char *rows, bool all, bool note, store_task_f *f,
                     void *arg, struct pilot_error *err)
{
    struct load_statements st = {0};
    int rc = sql_prepare(s, rows, &st.rows, err);

    if (rc == 0)
        rc = sql_prepare(s,
                         "SELECT node, cpus, reason, exit_code, signal, started_at, finished_at,"
                         " user_seconds, sys_seconds, max_rss_kib, message, output_dropped,"
                         " pack_segment, pack_offset, stdout_bytes, stderr_bytes"
                         " FROM attempts WHERE id = ?1 AND attempt = ?2",
                         &st.last, err);
    if (rc == 0 && note)
        rc = sql_prepare(s, "INSERT INTO temp.cut_short VALUES (?1)", &st.note, err);
    if (rc == 0)
        rc = give_rows(s, &st, all, f, arg, err);
    sqlite3_finalize(st.note);
    sqlite3_finalize(st.last);
    sqlite3_finalize(st.rows);
    return rc;
}

int store_load(struct store *s, store_task_f *f, void *arg, struct pilot_error *err)
{
    int rc = make_cut_short(s, err);

    if (rc == 0)
        rc = sql_exec(s,
                      "INSERT INTO temp.cut_short SELECT seq FROM tasks"
                      " WHERE status = 'running' OR trial IS NOT NULL",
                      "read", err);
    if (rc == 0)
        rc = close_open_attempts(s, err);
    return rc == 0 ? read_rows(s, COLUMNS " ORDER BY seq", true, false, f, arg, err) : rc;
}

/* ---- Beside the check ------------------------------------------------------------------------ */

/* As many as there may be: a number that somebody has changed is not to ask for all memory. */
static int foresee(struct store *s, const struct store_reader *r, struct pilot_error *err)
{
    int64_t tasks, pages;
    int rc = sql_int(s, "SELECT coalesce(max(seq), -1) + 1 FROM tasks", &tasks, err);

    if (rc == 0)
        rc = sql_int(s, "PRAGMA page_count", &pages, err);
    if (rc < 0 || tasks < 0 || tasks / ROWS_OF_A_PAGE > pages)
        return rc;
    return r->expect(r->arg, (size_t)tasks, err);
}

int load_before(struct store *s, const struct store_reader *r, struct pilot_error *err)
{
    int rc = make_cut_short(s, err);

    if (rc == 0)
        rc = foresee(s, r, err);
    return rc == 0 ? read_rows(s, COLUMNS " ORDER BY seq", true, true, r->task, r->arg, err) : rc;
}

int load_settle(struct store *s, const struct store_reader *r, struct pilot_error *err)
{
    int rc = close_open_attempts(s, err);

    if (rc == 0)
        rc = read_rows(s, COLUMNS " WHERE seq IN (SELECT seq FROM temp.cut_short) ORDER BY seq",
                       false, false, r->task, r->arg, err);
    return rc;
}

int store_get_meta(struct store *s, const char *key, char **value, struct pilot_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sql_prepare(s, "SELECT value FROM meta WHERE key = ?1 AND value != ''", &stmt, err);
    int step;

    *value = NULL;
    if (rc < 0)
        return rc;
    sql_bind_text(stmt, 1, key, strlen(key));
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW && (*value = strdup((const char *)sqlite3_column_text(stmt, 0))) == NULL)
        rc = err_set(err, PILOT_ENOMEM, "out of memory");
    else if (step != SQLITE_ROW && step != SQLITE_DONE)
        rc = sql_fail(s, err, "read");
    sqlite3_finalize(stmt);
    return rc;
}
