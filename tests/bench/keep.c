/* SPDX-License-Identifier: BSD-3-Clause */
#include "keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal.h"

enum { ADD, ATTEMPT, TASK, BEGIN, COMMIT, STATEMENTS };

/* Those of nearly every task in store/writer.c. */
static const char *const statements[STATEMENTS] = {
    [ADD] = "INSERT INTO tasks (seq, id, status, cores, priority, max_retries, command, spec)"
            " VALUES (?1, ?2, 'pending', 1, 0, 0, ?3, ?4)",
    [ATTEMPT] = "INSERT OR REPLACE INTO attempts (id, attempt, node, started_at, finished_at,"
                " exit_code, reason, cpus, user_seconds, sys_seconds, max_rss_kib)"
                " VALUES (?1, 1, 'here', ?2, ?3, 0, 'exit', '0', ?4, 0, 2048)",
    [TASK] = "UPDATE tasks SET attempts = 1, node = 'here', started_at = ?2, finished_at = ?3,"
             " exit_code = 0, reason = 'exit', status = 'completed', told = NULL, trial = NULL,"
             " suspicion = NULL WHERE seq = ?1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
};

struct keep {
    sqlite3 *db;
    sqlite3_stmt *stmt[STATEMENTS];
    const char *command;
};

_Noreturn static void die(const struct keep *k)
{
    fprintf(stderr, "keep: %s\n", k->db != NULL ? sqlite3_errmsg(k->db) : "out of memory");
    exit(1);
}

static void execute(struct keep *k, const char *sql)
{
    if (sqlite3_exec(k->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(k);
}

static void step(struct keep *k, int which)
{
    if (sqlite3_step(k->stmt[which]) != SQLITE_DONE || sqlite3_reset(k->stmt[which]) != SQLITE_OK)
        die(k);
}

static void bind_id(struct keep *k, int which, long task)
{
    char id[32];
    int len = snprintf(id, sizeof(id), "task-%ld", task + 1);

    sqlite3_bind_text(k->stmt[which], which == ADD ? 2 : 1, id, len, SQLITE_TRANSIENT);
}

struct keep *keep_open(const char *path, const char *command)
{
    struct keep *k = calloc(1, sizeof(*k));
    char sql[64];

    if (k == NULL)
        exit(1);
    k->command = command;
    if (sqlite3_open(path, &k->db) != SQLITE_OK)
        die(k);
    snprintf(sql, sizeof(sql), "PRAGMA page_size = %d", SCHEMA_PAGE_BYTES);
    execute(k, sql);
    execute(k, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;"
               "PRAGMA journal_size_limit = 67108864; BEGIN");
    for (int i = 0; i < schema_step_count; i++)
        execute(k, schema_steps[i]);
    execute(k, "COMMIT");
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(k->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &k->stmt[i],
                               NULL) != SQLITE_OK)
            die(k);
    return k;
}

void keep_add(struct keep *k, long tasks)
{
    char spec[256];

    keep_begin(k);
    for (long i = 0; i < tasks; i++) {
        int len = snprintf(spec, sizeof(spec), "{\"id\":\"task-%ld\",\"command\":\"%.100s\"}",
                           i + 1, k->command);

        sqlite3_bind_int64(k->stmt[ADD], 1, i);
        bind_id(k, ADD, i);
        sqlite3_bind_text(k->stmt[ADD], 3, k->command, -1, SQLITE_STATIC);
        sqlite3_bind_text(k->stmt[ADD], 4, spec, len, SQLITE_STATIC);
        step(k, ADD);
    }
    keep_commit(k);
}

void keep_begin(struct keep *k)
{
    step(k, BEGIN);
}

void keep_commit(struct keep *k)
{
    step(k, COMMIT);
}

void keep_end(struct keep *k, long task, int64_t start_ms, int64_t end_ms, int64_t cpu_us)
{
    bind_id(k, ATTEMPT, task);
    sqlite3_bind_int64(k->stmt[TASK], 1, task);
    for (int i = ATTEMPT; i <= TASK; i++) {
        sqlite3_bind_double(k->stmt[i], 2, (double)start_ms / 1e3);
        sqlite3_bind_double(k->stmt[i], 3, (double)end_ms / 1e3);
    }
    sqlite3_bind_double(k->stmt[ATTEMPT], 4, (double)cpu_us / 1e6);
    step(k, ATTEMPT);
    step(k, TASK);
}

void keep_close(struct keep *k)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(k->stmt[i]);
    if (sqlite3_close(k->db) != SQLITE_OK)
        die(k);
    free(k);
}
