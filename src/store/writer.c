/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the thread that turns queued changes into transactions.
 *
 * A transaction takes everything up to the newest barrier and ends there, never between two. It
 * begins no sooner than PACE_US after the one before began, since under load barriers come by the
 * thousand a second; a barrier after a quiet time is committed at once, and so is one that somebody
 * waits for (store_hurry).
 *
 * The start of an attempt is held back until the end of the pass, since the end of the attempt
 * often follows in the same pass and overwrites all that the start would have written. A pass is
 * at most PASS_BLOCKS blocks, which bounds the starts held; a transaction can have many.
 *
 * Of very many changes in front of one barrier, the first are written while the last are still
 * being queued (store_offer). Their transaction stays open until that barrier; if it fails before,
 * they are written once more with the rest, which tells whatever there is to tell.
 *
 * Its changes are kept until it is committed: when there is no room for it (common/room.h), it is
 * rolled back and done once more, the same and not one that has grown meanwhile, until there is. */
#include "store/internal.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/room.h"

#define PASS_BLOCKS 16
#define LARGE_BLOCKS 256 /* a transaction of so many is one of very many new tasks */

/* ?1 is the number of the task; where only a row of attempts is written, and the start gives its
 * id, that. */
static const char *const statements[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_PUT] = "INSERT INTO tasks (seq, id, status, cores, priority, max_retries, timeout, command,"
               " spec, time_estimate, memory)"
               " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [ST_REPLACE] = "UPDATE tasks SET id = ?2, status = ?3, cores = ?4, priority = ?5,"
                   " max_retries = ?6, timeout = ?7, command = ?8, spec = ?9,"
                   " time_estimate = ?10, memory = ?11, attempts = 0,"
                   " failures = 0, losses = 0, exit_code = NULL, node = NULL, started_at = NULL,"
                   " finished_at = NULL, reason = NULL, told = NULL, suspicion = NULL,"
                   " trial = NULL WHERE seq = ?1",
    [ST_FORGET] = "DELETE FROM attempts WHERE id = (SELECT id FROM tasks WHERE seq = ?1)",
    [ST_START_ATTEMPT] = "INSERT OR REPLACE INTO attempts (id, attempt, node, started_at)"
                         " VALUES (?1, ?2, ?3, ?4)",
    [ST_START_TASK] = "UPDATE tasks SET status = 'running', attempts = ?2, node = ?3,"
                      " started_at = ?4, finished_at = NULL, exit_code = NULL, reason = NULL"
                      " WHERE seq = ?1",
    [ST_END_ATTEMPT] =
        "INSERT INTO attempts (id, attempt, node, started_at, finished_at, exit_code, reason, cpus,"
        " signal, user_seconds, sys_seconds, max_rss_kib, message, output_dropped,"
        " pack_segment, pack_offset, stdout_bytes, stderr_bytes)"
        " SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18"
        " FROM tasks WHERE seq = ?1"
        " ON CONFLICT (id, attempt) DO UPDATE SET node = excluded.node,"
        " started_at = coalesce(excluded.started_at, started_at),"
        " finished_at = excluded.finished_at, exit_code = excluded.exit_code,"
        " reason = excluded.reason, cpus = excluded.cpus, signal = excluded.signal,"
        " user_seconds = excluded.user_seconds, sys_seconds = excluded.sys_seconds,"
        " max_rss_kib = excluded.max_rss_kib, message = excluded.message,"
        " output_dropped = excluded.output_dropped, pack_segment = excluded.pack_segment,"
        " pack_offset = excluded.pack_offset, stdout_bytes = excluded.stdout_bytes,"
        " stderr_bytes = excluded.stderr_bytes",
    [ST_END_TASK] = "UPDATE tasks SET attempts = max(attempts, ?2), node = ?3,"
                    " started_at = coalesce(?4, started_at), finished_at = ?5, exit_code = ?6,"
                    " reason = ?7, status = ?8, failures = failures + ?9, losses = losses + ?10,"
                    " told = ?11, trial = NULL,"
                    " suspicion = CASE WHEN ?12 THEN suspicion END"
                    " WHERE seq = ?1",
    /* The two of nearly every task: start and end in one pass, exit code 0, nothing out of the way.
     * What is not named is NULL. */
    [ST_PLAIN_ATTEMPT] = "INSERT OR REPLACE INTO attempts (id, attempt, node, started_at,"
                         " finished_at, exit_code, reason, cpus, user_seconds, sys_seconds,"
                         " max_rss_kib) VALUES (?1, ?2, ?3, ?4, ?5, 0, 'exit', ?6, ?7, ?8, ?9)",
    [ST_PLAIN_TASK] = "UPDATE tasks SET attempts = ?2, node = ?3, started_at = ?4,"
                      " finished_at = ?5, exit_code = 0, reason = 'exit', status = 'completed',"
                      " told = NULL, trial = NULL, suspicion = NULL WHERE seq = ?1",
    /* Node, times and exit code stay those of the last attempt. */
    [ST_STATUS] = "UPDATE tasks SET status = ?2, reason = ?3, told = ?4,"
                  " failures = CASE ?2 WHEN 'pending' THEN 0 ELSE failures END,"
                  " losses = CASE ?2 WHEN 'pending' THEN 0 WHEN 'failed'"
                  " THEN losses + max(coalesce(suspicion, 0) - 3, 0) ELSE losses END,"
                  " suspicion = CASE WHEN ?2 NOT IN ('pending', 'failed') THEN suspicion END"
                  " WHERE seq = ?1",
    /* An answer may come when the task is to run again; then it is about nothing any more. */
    [ST_ANSWERED] = "UPDATE tasks SET told = CASE told WHEN 0 THEN 1 ELSE told END WHERE seq = ?1",
    /* From a trial of its own on there is no way back into a shared one but through a wait. */
    [ST_TRIAL] = "UPDATE tasks SET trial = ?2, suspicion = CASE WHEN ?3 THEN max(suspicion, 3)"
                 " WHEN ?2 IS NOT NULL THEN suspicion END WHERE seq = ?1",
    [ST_META] = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
    [ST_HEARTBEAT] = "UPDATE owner SET heartbeat = ?1",
};

int writer_init(struct store *s, struct pilot_error *err)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < ST_COUNT; i++)
        rc = sql_prepare(s, statements[i], &s->writer.stmt[i], err);
    return rc;
}

void writer_fini(struct store *s)
{
    struct writer *w = &s->writer;

    for (int i = 0; i < ST_COUNT; i++) {
        sqlite3_finalize(w->stmt[i]);
        w->stmt[i] = NULL;
    }
    free(w->starts.list);
    free(w->starts.slots);
    memset(&w->starts, 0, sizeof(w->starts));
}

/* ---- Starts held back -------------------------------------------------------------------------
 */

/* The slot of task, or the free one where it belongs. */
static size_t start_slot(const struct starts *t, task_id_t task)
{
    size_t i = ((size_t)task * 2654435769u) & (t->slot_count - 1);

    while (t->slots[i].index1 != 0 && t->slots[i].task != task)
        i = (i + 1) & (t->slot_count - 1);
    return i;
}

static bool starts_grow(struct starts *t)
{
    size_t cap = t->cap ? t->cap * 2 : 64;
    struct start_slot *slots = calloc(cap * 2, sizeof(*slots));
    const struct op **list = slots ? realloc(t->list, cap * sizeof(*list)) : NULL;

    if (list == NULL) {
        free(slots);
        return false;
    }
    free(t->slots);
    t->list = list;
    t->cap = cap;
    t->slots = slots;
    t->slot_count = cap * 2;
    for (size_t n = 0; n < t->len; n++) {
        struct start_slot *slot;

        if (list[n] == NULL)
            continue;
        slot = &slots[start_slot(t, list[n]->task)];
        slot->task = list[n]->task;
        slot->index1 = (uint32_t)n + 1;
    }
    return true;
}

/* Holds op back. False: no memory. */
static bool starts_add(struct starts *t, const struct op *op)
{
    size_t i;

    if (t->len == t->cap && !starts_grow(t))
        return false;
    i = start_slot(t, op->task);
    t->slots[i].task = op->task;
    t->slots[i].index1 = (uint32_t)t->len + 1;
    t->list[t->len++] = op;
    return true;
}

/* Hands out the start held back for task, which then is no longer; NULL: there is none. */
static const struct op *starts_take(struct starts *t, task_id_t task)
{
    const struct op *op = NULL;
    size_t i;

    if (t->len == 0)
        return NULL;
    i = start_slot(t, task);
    if (t->slots[i].index1 != 0) {
        op = t->list[t->slots[i].index1 - 1];
        t->list[t->slots[i].index1 - 1] = NULL;
    }
    return op;
}

static void starts_clear(struct starts *t)
{
    if (t->len == 0)
        return;
    t->len = 0;
    memset(t->slots, 0, t->slot_count * sizeof(*t->slots));
}

/* ---- One change -------------------------------------------------------------------------------
 */

static int run(struct store *s, enum statement st, struct pilot_error *err)
{
    sqlite3_stmt *stmt = s->writer.stmt[st];
    int rc = 0;

    errno = 0;
    if (sqlite3_step(stmt) != SQLITE_DONE) {
        s->writer.errnum = errno;
        rc = sql_fail(s, err, "write to");
    }
    sqlite3_reset(stmt);
    return rc;
}

/* The same for a change of a task, whose row must be there: a completion must not vanish. */
static int run_on_task(struct store *s, enum statement st, const struct op *op,
                       struct pilot_error *err)
{
    int rc = run(s, st, err);

    if (rc == 0 && sqlite3_changes(s->db) != 1)
        return err_set(err, PILOT_ESTORE,
                       "cannot write to the state database %s: it has no task number %u; was it "
                       "changed by hand?",
                       s->place.given, op->task);
    return rc;
}

static void bind_word(sqlite3_stmt *stmt, int column, const char *word)
{
    sqlite3_bind_text(stmt, column, word, -1, SQLITE_STATIC);
}

/* NULL for 0. */
static void bind_amount(sqlite3_stmt *stmt, int column, int64_t amount)
{
    if (amount != 0)
        sqlite3_bind_int64(stmt, column, amount);
    else
        sqlite3_bind_null(stmt, column);
}

static int write_spec(struct store *s, enum statement st, const struct op *op,
                      struct pilot_error *err)
{
    sqlite3_stmt *stmt = s->writer.stmt[st];

    sqlite3_bind_int64(stmt, 1, op->task);
    sql_bind_text(stmt, 2, op_text(op, 0), op->len[0]);
    bind_word(stmt, 3, task_status_name((enum task_status)op->status));
    sqlite3_bind_int64(stmt, 4, op->u.spec.cores);
    sqlite3_bind_int64(stmt, 5, op->u.spec.priority);
    sqlite3_bind_int64(stmt, 6, op->u.spec.max_retries);
    sql_bind_ms(stmt, 7, op->u.spec.timeout_ms);
    sql_bind_text(stmt, 8, op_text(op, 1), op->len[1]);
    sql_bind_text(stmt, 9, op_text(op, 2), op->len[2]);
    sql_bind_ms(stmt, 10, op->u.spec.estimate_ms);
    bind_amount(stmt, 11, op->u.spec.memory);
    return run_on_task(s, st, op, err);
}

static int write_replace(struct store *s, const struct op *op, struct pilot_error *err)
{
    int rc;

    /* Attempts are numbered from 1 again: those of the old content must go. */
    sqlite3_bind_int64(s->writer.stmt[ST_FORGET], 1, op->task);
    rc = run(s, ST_FORGET, err);
    return rc < 0 ? rc : write_spec(s, ST_REPLACE, op, err);
}

static int write_started(struct store *s, const struct op *op, struct pilot_error *err)
{
    sqlite3_stmt *attempt = s->writer.stmt[ST_START_ATTEMPT];
    sqlite3_stmt *task = s->writer.stmt[ST_START_TASK];
    int rc;

    sql_bind_text(attempt, 1, op_text(op, 1), op->len[1]);
    sqlite3_bind_int64(task, 1, op->task);
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *stmt = i == 0 ? attempt : task;

        sqlite3_bind_int64(stmt, 2, op->attempt);
        sql_bind_text(stmt, 3, op_text(op, 0), op->len[0]);
        sql_bind_ms(stmt, 4, op->u.started.start_wall_ms);
    }
    rc = run(s, ST_START_ATTEMPT, err);
    return rc < 0 ? rc : run_on_task(s, ST_START_TASK, op, err);
}

/* 0: the hook is still to be told. NULL: it is not, above all when the task will run again. */
static void bind_told(sqlite3_stmt *stmt, int column, const struct op *op)
{
    if (op->tell && op->status != TASK_PENDING && op->status != TASK_RUNNING)
        sqlite3_bind_int(stmt, column, 0);
    else
        sqlite3_bind_null(stmt, column);
}

/* Does this attempt count against max_retries? */
static bool is_failure(const struct op *op)
{
    switch (op->u.ended.reason) {
    case REASON_EXIT:
        return op->u.ended.exit_code != 0;
    case REASON_SIGNAL:
    case REASON_TIMEOUT:
    case REASON_SPAWN:
    case REASON_MEMORY:
        return true;
    case REASON_LOST:
    case REASON_CANCEL:
    case REASON_STOP:
    case REASON_DISK:
        return false;
    }
    return false;
}

/* An end from outside: a suspect is as suspect as before. */
static bool says_nothing(const struct op *op)
{
    return op->u.ended.reason == REASON_LOST || op->u.ended.reason == REASON_STOP ||
           op->u.ended.reason == REASON_DISK;
}

/* The columns that attempts and tasks have in common. */
static void bind_end(sqlite3_stmt *stmt, const struct op *op, int64_t start_wall_ms)
{
    sqlite3_bind_int64(stmt, 1, op->task);
    sqlite3_bind_int64(stmt, 2, op->attempt);
    sql_bind_text(stmt, 3, op_text(op, 0), op->len[0]);
    sql_bind_ms(stmt, 4, start_wall_ms);
    sql_bind_ms(stmt, 5, op->u.ended.end_wall_ms);
    if (op->u.ended.exit_code >= 0)
        sqlite3_bind_int(stmt, 6, op->u.ended.exit_code);
    else
        sqlite3_bind_null(stmt, 6);
    bind_word(stmt, 7, attempt_reason_name(op->u.ended.reason));
}

/* NULL unless it was packed; without output there is no place either. */
static void bind_pack(sqlite3_stmt *stmt, const struct op *op)
{
    for (int i = 15; i <= 18; i++)
        sqlite3_bind_null(stmt, i);
    if (!op->u.ended.packed)
        return;
    if (op->u.ended.pack_at != 0) {
        sqlite3_bind_int64(stmt, 15, (int64_t)(op->u.ended.pack_at >> 32));
        sqlite3_bind_int64(stmt, 16, (int64_t)(op->u.ended.pack_at & UINT32_MAX));
    }
    sqlite3_bind_int64(stmt, 17, op->u.ended.stdout_bytes);
    sqlite3_bind_int64(stmt, 18, op->u.ended.stderr_bytes);
}

static int write_ended(struct store *s, const struct op *op, int64_t start_wall_ms,
                       struct pilot_error *err)
{
    sqlite3_stmt *attempt = s->writer.stmt[ST_END_ATTEMPT];
    sqlite3_stmt *task = s->writer.stmt[ST_END_TASK];
    int rc;

    bind_end(attempt, op, start_wall_ms);
    sql_bind_text(attempt, 8, op_text(op, 1), op->len[1]);
    if (op->u.ended.signal > 0)
        sqlite3_bind_int(attempt, 9, op->u.ended.signal);
    else
        sqlite3_bind_null(attempt, 9);
    sqlite3_bind_double(attempt, 10, (double)op->u.ended.user_us / 1e6);
    sqlite3_bind_double(attempt, 11, (double)op->u.ended.sys_us / 1e6);
    sqlite3_bind_int64(attempt, 12, op->u.ended.max_rss_kib);
    sql_bind_text(attempt, 13, op_text(op, 2), op->len[2]);
    bind_amount(attempt, 14, op->u.ended.output_dropped);
    bind_pack(attempt, op);
    if ((rc = run_on_task(s, ST_END_ATTEMPT, op, err)) < 0)
        return rc;
    bind_end(task, op, start_wall_ms);
    bind_word(task, 8, task_status_name((enum task_status)op->status));
    sqlite3_bind_int(task, 9, is_failure(op));
    sqlite3_bind_int(task, 10, op->u.ended.reason == REASON_LOST);
    bind_told(task, 11, op);
    sqlite3_bind_int(task, 12, says_nothing(op));
    return run_on_task(s, ST_END_TASK, op, err);
}

/* Is there no more to say of this end than what the plain statements write? */
static bool is_plain(const struct op *op)
{
    return op->status == TASK_COMPLETED && op->u.ended.reason == REASON_EXIT &&
           op->u.ended.exit_code == 0 && op->u.ended.signal <= 0 && !op->tell &&
           op->u.ended.output_dropped == 0 && !op->u.ended.packed && op->len[2] == 0;
}

/* A plain end, and its start that was held back: neither has a row yet that would be wanted. */
static int write_plain(struct store *s, const struct op *start, const struct op *op,
                       int64_t start_wall_ms, struct pilot_error *err)
{
    sqlite3_stmt *attempt = s->writer.stmt[ST_PLAIN_ATTEMPT];
    sqlite3_stmt *task = s->writer.stmt[ST_PLAIN_TASK];
    int rc;

    sql_bind_text(attempt, 1, op_text(start, 1), start->len[1]);
    sqlite3_bind_int64(task, 1, op->task);
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *stmt = i == 0 ? attempt : task;

        sqlite3_bind_int64(stmt, 2, op->attempt);
        sql_bind_text(stmt, 3, op_text(op, 0), op->len[0]);
        sql_bind_ms(stmt, 4, start_wall_ms);
        sql_bind_ms(stmt, 5, op->u.ended.end_wall_ms);
    }
    sql_bind_text(attempt, 6, op_text(op, 1), op->len[1]);
    sqlite3_bind_double(attempt, 7, (double)op->u.ended.user_us / 1e6);
    sqlite3_bind_double(attempt, 8, (double)op->u.ended.sys_us / 1e6);
    sqlite3_bind_int64(attempt, 9, op->u.ended.max_rss_kib);
    rc = run(s, ST_PLAIN_ATTEMPT, err);
    return rc < 0 ? rc : run_on_task(s, ST_PLAIN_TASK, op, err);
}

static int write_status(struct store *s, const struct op *op, struct pilot_error *err)
{
    sqlite3_stmt *stmt = s->writer.stmt[ST_STATUS];

    sqlite3_bind_int64(stmt, 1, op->task);
    bind_word(stmt, 2, task_status_name((enum task_status)op->status));
    sql_bind_text(stmt, 3, op_text(op, 0), op->len[0]);
    bind_told(stmt, 4, op);
    return run_on_task(s, ST_STATUS, op, err);
}

static int write_answered(struct store *s, const struct op *op, struct pilot_error *err)
{
    sqlite3_bind_int64(s->writer.stmt[ST_ANSWERED], 1, op->task);
    return run_on_task(s, ST_ANSWERED, op, err);
}

static int write_trial(struct store *s, const struct op *op, struct pilot_error *err)
{
    sqlite3_stmt *stmt = s->writer.stmt[ST_TRIAL];

    sqlite3_bind_int64(stmt, 1, op->task);
    if (op->u.trial == STORE_TRIAL_PASSED)
        sqlite3_bind_null(stmt, 2);
    else
        sqlite3_bind_int(stmt, 2, op->u.trial != STORE_TRIAL_WAITS);
    sqlite3_bind_int(stmt, 3, op->u.trial == STORE_TRIAL_WATCHED);
    return run_on_task(s, ST_TRIAL, op, err);
}

static int write_meta(struct store *s, const struct op *op, struct pilot_error *err)
{
    sql_bind_text(s->writer.stmt[ST_META], 1, op_text(op, 0), op->len[0]);
    sql_bind_text(s->writer.stmt[ST_META], 2, op_text(op, 1), op->len[1]);
    return run(s, ST_META, err);
}

static int write_op(struct store *s, const struct op *op, struct pilot_error *err)
{
    struct starts *starts = &s->writer.starts;
    int64_t start_wall_ms = op->kind == OP_ENDED ? op->u.ended.start_wall_ms : 0;
    const struct op *start = op->kind == OP_META ? NULL : starts_take(starts, op->task);
    int rc;

    /* A start that was held back is written before any other change of its task, unless the very
     * end of that attempt has come and makes it needless. */
    if (start != NULL && op->kind == OP_ENDED && op->attempt == start->attempt) {
        if (start_wall_ms <= 0)
            start_wall_ms = start->u.started.start_wall_ms;
        if (is_plain(op))
            return write_plain(s, start, op, start_wall_ms, err);
    } else if (start != NULL && (rc = write_started(s, start, err)) < 0) {
        return rc;
    }
    switch ((enum op_kind)op->kind) {
    case OP_PUT:
        return write_spec(s, ST_PUT, op, err);
    case OP_REPLACE:
        return write_replace(s, op, err);
    case OP_STARTED:
        return starts_add(starts, op) ? 0 : write_started(s, op, err);
    case OP_ENDED:
        return write_ended(s, op, start_wall_ms, err);
    case OP_STATUS:
        return write_status(s, op, err);
    case OP_ANSWERED:
        return write_answered(s, op, err);
    case OP_TRIAL:
        return write_trial(s, op, err);
    case OP_META:
        return write_meta(s, op, err);
    }
    BUG("change of unknown kind %d", (int)op->kind);
}

/* ---- Passes and transactions ------------------------------------------------------------------
 */

static int end_pass(struct store *s, struct pilot_error *err)
{
    struct writer *w = &s->writer;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < w->starts.len; i++)
        if (w->starts.list[i] != NULL)
            rc = write_started(s, w->starts.list[i], err);
    starts_clear(&w->starts);
    return rc;
}

static int write_until(struct store *s, struct queue_pos goal, struct pilot_error *err)
{
    struct writer *w = &s->writer;
    size_t blocks = 0;
    int rc = 0;

    for (;;) {
        struct block *b = w->at.block;
        size_t end = b == goal.block ? goal.used : b->used;

        while (w->at.used < end) {
            const struct op *op = (const struct op *)(b->data + w->at.used);

            if ((rc = write_op(s, op, err)) < 0)
                return rc;
            w->at.used += op->size;
        }
        if (b == goal.block)
            return end_pass(s, err);
        w->at = (struct queue_pos){b->next, 0};
        if (++blocks % PASS_BLOCKS == 0 && (rc = end_pass(s, err)) < 0)
            return rc;
    }
}

/* Unless a transaction is open, which has been written ahead. */
static int begin(struct store *s, struct pilot_error *err)
{
    return sqlite3_get_autocommit(s->db) ? run(s, ST_BEGIN, err) : 0;
}

/* Not where only a lock of ours keeps others out: for so long as changes come we could be taken for
 * dead, and what the cache spills then would go into the log of another pilot. */
static void write_ahead(struct store *s, struct queue_pos goal)
{
    struct writer *w = &s->writer;

    if (s->place.no_locks || (goal.block == w->at.block && goal.used == w->at.used))
        return;
    if (w->ahead_failed || (begin(s, NULL) == 0 && write_until(s, goal, NULL) == 0))
        return;
    sql_rollback(s);
    starts_clear(&w->starts);
    w->at = w->begin;
    w->ahead_failed = true;
}

static int write_transaction(struct store *s, struct queue_pos goal, struct pilot_error *err)
{
    struct writer *w = &s->writer;
    int64_t now_ms = clock_wall_ms();
    int rc;

    if ((rc = begin(s, err)) < 0 || (rc = write_until(s, goal, err)) < 0)
        return rc;
    /* Each has its own: by the last one it shows whether the newest commits are still there. */
    w->heartbeat_ms = now_ms > w->heartbeat_ms ? now_ms : w->heartbeat_ms + 1;
    sql_bind_ms(w->stmt[ST_HEARTBEAT], 1, w->heartbeat_ms);
    if ((rc = run(s, ST_HEARTBEAT, err)) < 0 || (rc = place_check(&s->place, err)) < 0 ||
        (rc = run(s, ST_COMMIT, err)) < 0)
        return rc;
    place_note(&s->place, w->heartbeat_ms);
    return 0;
}

/* ---- Without room ------------------------------------------------------------------------------
 */

/* Was the last failure one that passes when somebody makes room? Then err says so. SQLite has a
 * word of its own for a full disk only; for the rest the system's is asked. */
static bool is_short(struct store *s, struct pilot_error *err)
{
    int code = sqlite3_errcode(s->db) & 0xff, errnum = 0;

    if (code == SQLITE_FULL)
        errnum = ENOSPC;
    else if (code == SQLITE_IOERR || code == SQLITE_CANTOPEN)
        errnum = room_is_errno(s->writer.errnum) ? s->writer.errnum : sqlite3_system_errno(s->db);
    if (!room_is_errno(errnum))
        return false;
    err_set(err, PILOT_ESTORE, "cannot write to the state database %s: %s", s->place.given,
            room_words(errnum));
    return true;
}

/* Lets pause_us pass, less when the store is closed meanwhile. False: it was closed before, or has
 * failed; nothing is worth another try. */
static bool wait_for_room(struct store *s, const struct pilot_error *why, int64_t pause_us)
{
    int64_t due_us = clock_mono_us() + pause_us;
    struct timespec until = {due_us / 1000000, due_us % 1000000 * 1000};
    bool more;

    pthread_mutex_lock(&s->lock);
    more = !s->stop;
    s->short_of = *why;
    if (more && !atomic_exchange(&s->waits, true))
        store_notify(s);
    while (!s->stop && !atomic_load(&s->failed) && clock_mono_us() < due_us)
        pthread_cond_timedwait(&s->wake, &s->lock, &until);
    pthread_mutex_unlock(&s->lock);
    return more && !atomic_load(&s->failed);
}

/* What the log holds goes to the database, as far as there is room for that: then the log begins
 * anew and needs no more of the disk than it has. */
static void reuse_log(struct store *s)
{
    sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static void free_committed(struct store *s)
{
    struct writer *w = &s->writer;
    size_t blocks = 0;

    for (; w->begin.block != w->at.block; blocks++) {
        struct block *next = w->begin.block->next;

        block_free(w->begin.block);
        w->begin.block = next;
    }
    w->begin = w->at;
    /* Many waiting tasks are why memory may be short, and nearly none of the pages read and changed
     * for them will be wanted soon. */
    if (blocks >= LARGE_BLOCKS) {
        sqlite3_db_release_memory(s->db);
        malloc_trim(0);
    }
}

/* Everything up to goal, whole. */
static int commit(struct store *s, struct queue_pos goal, struct pilot_error *err)
{
    struct writer *w = &s->writer;
    int64_t pause_us = s->retry_us;
    int rc;

    while ((rc = write_transaction(s, goal, err)) < 0) {
        bool again = is_short(s, err);

        sql_rollback(s);
        starts_clear(&w->starts);
        w->at = w->begin;
        if (!again || !wait_for_room(s, err, pause_us))
            break;
        pause_us = pause_us * 2 < RETRY_MAX_US ? pause_us * 2 : RETRY_MAX_US;
        reuse_log(s);
    }
    if (rc < 0)
        return rc;
    free_committed(s);
    w->ahead_failed = false;
    atomic_store(&s->waits, false);
    return 0;
}

/* ---- The thread -------------------------------------------------------------------------------
 */

/* Waits for the next barrier and for its time, or for an offer (number is 0). False: there will be
 * none, or the store has failed:
 * then a change may be missing before the newest barrier (memory was short for it), and what is
 * there must not be committed without it. */
static bool next_goal(struct store *s, struct queue_pos *goal, uint64_t *number)
{
    bool found = false;

    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->failed)) {
        int64_t due_us = s->writer.commit_us + s->pace_us;
        uint64_t committed = atomic_load(&s->committed);

        if (s->goal_number == committed) {
            if (s->stop)
                break;
            if (s->offer) {
                *goal = s->offered;
                *number = 0;
                s->offer = false;
                found = true;
                break;
            }
            s->idle = true;
            pthread_cond_wait(&s->wake, &s->lock);
            s->idle = false;
        } else if (s->stop || s->hurried > committed || clock_mono_us() >= due_us) {
            *goal = s->goal;
            *number = s->goal_number;
            found = true;
            break;
        } else {
            struct timespec until = {due_us / 1000000, due_us % 1000000 * 1000};

            pthread_cond_timedwait(&s->wake, &s->lock, &until);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void writer_run(struct store *s)
{
    struct writer *w = &s->writer;
    struct queue_pos goal;
    struct pilot_error err;
    uint64_t number;

    while (next_goal(s, &goal, &number)) {
        if (number == 0) {
            write_ahead(s, goal);
            continue;
        }
        if (goal.block != w->begin.block || goal.used != w->begin.used) {
            w->commit_us = clock_mono_us();
            if (commit(s, goal, &err) < 0) {
                store_fail(s, &err);
                return;
            }
        }
        atomic_store(&s->committed, number);
        store_notify(s);
    }
}
