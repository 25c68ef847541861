/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: is this a row of ours? Bytes that were changed may still read as one. So a row counts only
 * when it is right in itself: text where text belongs, known words, and columns that agree with the
 * task's JSON, which has all of them once more. */
#include "store/salvage.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

static bool is_utf8(const unsigned char *s, int len)
{
    for (int i = 0; i < len;) {
        int more = s[i] < 0x80 ? 0 : s[i] < 0xc2 ? -1 : s[i] < 0xe0 ? 1 : s[i] < 0xf0 ? 2 : 3;

        if (more < 0 || s[i] > 0xf4 || s[i] == 0 || i + more >= len)
            return false;
        for (i++; more > 0; more--, i++)
            if ((s[i] & 0xc0) != 0x80)
                return false;
    }
    return true;
}

const char *salvage_text(sqlite3_stmt *stmt, int column)
{
    const unsigned char *text;

    if (sqlite3_column_type(stmt, column) != SQLITE_TEXT)
        return NULL;
    text = sqlite3_column_text(stmt, column);
    if (text == NULL || !is_utf8(text, sqlite3_column_bytes(stmt, column)))
        return NULL;
    return (const char *)text;
}

bool salvage_is_count(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt, column) == SQLITE_INTEGER &&
           sqlite3_column_int64(stmt, column) >= 0 &&
           sqlite3_column_int64(stmt, column) <= UINT32_MAX;
}

/* NULL stands for 0. Exactly: what is written is computed as `value` is. */
static bool agrees(sqlite3_stmt *stmt, int column, double value)
{
    double got = sqlite3_column_double(stmt, column);
    int type = sqlite3_column_type(stmt, column);

    if (type == SQLITE_TEXT || type == SQLITE_BLOB || (type == SQLITE_NULL && value > 0))
        return false;
    return got >= value && got <= value;
}

/* Does the column hold the command as it is written there (store_put_task)? */
static bool agrees_command(sqlite3_stmt *stmt, const struct task_spec *spec)
{
    const char *got = (const char *)sqlite3_column_text(stmt, T_COMMAND);
    const char *want = spec->command;
    char *joined = NULL;
    bool same;

    if (spec->argv != NULL) {
        size_t len = queue_join_arguments(spec->argv, NULL);

        joined = calloc(1, len + 1);
        if (joined == NULL)
            return false;
        queue_join_arguments(spec->argv, joined);
        want = joined;
    }
    same = strcmp(got ? got : "", want ? want : "") == 0;
    free(joined);
    return same;
}

const char *salvage_wrong(const struct store_recover_hooks *hooks, sqlite3_stmt *stmt)
{
    const char *id = salvage_text(stmt, T_ID), *json = salvage_text(stmt, T_SPEC);
    const char *wrong = NULL;
    struct pilot_error ignored;
    struct task_spec spec;

    if (id == NULL || json == NULL || !salvage_is_count(stmt, T_ATTEMPTS) ||
        !salvage_is_count(stmt, T_FAILURES) || !salvage_is_count(stmt, T_LOSSES))
        return "its row is damaged";
    if (hooks->parse(json, &spec, &ignored) < 0)
        return "its JSON is damaged";
    if (spec.id == NULL || strcmp(spec.id, id) != 0 || !agrees(stmt, T_CORES, spec.cores) ||
        !agrees(stmt, T_PRIORITY, spec.priority) || !agrees(stmt, T_RETRIES, spec.max_retries) ||
        !agrees(stmt, T_TIMEOUT, (double)spec.timeout_ms / 1e3) ||
        !agrees(stmt, T_MEMORY, (double)spec.memory) ||
        !agrees(stmt, T_ESTIMATE, (double)spec.estimate_ms / 1e3) || !agrees_command(stmt, &spec))
        wrong = "its columns contradict its JSON";
    task_spec_fini(&spec);
    return wrong;
}

/* ---- Attempts ---------------------------------------------------------------------------------
 */

static bool is_null(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL;
}

static bool is_time(sqlite3_stmt *row, int column)
{
    int type = sqlite3_column_type(row, column);

    return type == SQLITE_NULL ||
           ((type == SQLITE_INTEGER || type == SQLITE_FLOAT) &&
            sqlite3_column_double(row, column) >= 0 && sqlite3_column_double(row, column) < 1e11);
}

static bool is_below(sqlite3_stmt *row, int column, int64_t limit)
{
    return is_null(row, column) ||
           (salvage_is_count(row, column) && sqlite3_column_int64(row, column) < limit);
}

bool salvage_is_attempt(sqlite3_stmt *row)
{
    const char *reason = salvage_text(row, A_REASON);
    enum attempt_reason known;

    return salvage_text(row, A_ID) != NULL && salvage_is_count(row, A_ATTEMPT) &&
           salvage_text(row, A_NODE) != NULL &&
           (is_null(row, A_CPUS) || salvage_text(row, A_CPUS) != NULL) && is_time(row, A_STARTED) &&
           is_time(row, A_FINISHED) && is_below(row, A_EXIT, 256) && is_below(row, A_SIGNAL, 128) &&
           (is_null(row, A_REASON) || (reason != NULL && attempt_reason_parse(reason, &known))) &&
           is_time(row, A_USER) && is_time(row, A_SYS) &&
           (is_null(row, A_MESSAGE) || salvage_text(row, A_MESSAGE) != NULL);
}
