/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the questions about outputs. States of before packed output lack its columns. */
#include "store/outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "store/internal.h"

#define COLUMNS                                                                                    \
    "SELECT t.id, t.status, a.attempt, a.attempt = t.attempts, a.node,"                            \
    " a.finished_at IS NOT NULL, a.reason"
#define PACKED ", a.pack_segment, a.pack_offset, a.stdout_bytes"
#define NOT_PACKED ", NULL, NULL, NULL"
#define ROWS " FROM tasks t LEFT JOIN attempts a ON a.id = t.id"
#define ONE " WHERE t.id = ?1"
#define ORDER " ORDER BY t.seq, a.attempt"

static int give_row(sqlite3_stmt *stmt, const char *path, store_output_f *f, void *arg,
                    struct pilot_error *err)
{
    const char *status = (const char *)sqlite3_column_text(stmt, 1);
    const char *node = (const char *)sqlite3_column_text(stmt, 4);
    const char *reason = (const char *)sqlite3_column_text(stmt, 6);
    struct store_output o = {
        .id = (const char *)sqlite3_column_text(stmt, 0),
        .attempt = (unsigned)sqlite3_column_int(stmt, 2),
        .last = sqlite3_column_int(stmt, 3) != 0,
        .node = node != NULL ? node : "",
        .ended = sqlite3_column_int(stmt, 5) != 0,
        .lost = reason != NULL && strcmp(reason, "lost") == 0,
        .packed = sqlite3_column_type(stmt, 9) != SQLITE_NULL,
        .pack_at = (uint64_t)sqlite3_column_int64(stmt, 7) << 32 |
                   ((uint64_t)sqlite3_column_int64(stmt, 8) & UINT32_MAX),
    };

    if (o.id == NULL || status == NULL || !task_status_parse(status, &o.status))
        return err_set(err, PILOT_EPROTO, "%s has a task that cannot be read", path);
    return f(arg, &o, err);
}

static int read_rows(sqlite3 *db, const char *path, const char *id, store_output_f *f, void *arg,
                     struct pilot_error *err)
{
    const char *sql = id != NULL ? COLUMNS PACKED ROWS ONE ORDER : COLUMNS PACKED ROWS ORDER;
    const char *old =
        id != NULL ? COLUMNS NOT_PACKED ROWS ONE ORDER : COLUMNS NOT_PACKED ROWS ORDER;
    sqlite3_stmt *stmt = NULL;
    int rc = 0, step = SQLITE_DONE, rows = 0;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK &&
        sqlite3_prepare_v2(db, old, -1, &stmt, NULL) != SQLITE_OK)
        return look_fail(db, path, err);
    if (id != NULL)
        sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    for (; rc == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW; rows++)
        rc = give_row(stmt, path, f, arg, err);
    if (rc == 0 && step != SQLITE_DONE)
        rc = look_fail(db, path, err);
    else if (rc == 0 && rows == 0 && id != NULL)
        rc = err_set(err, PILOT_EINVAL, "%s has no task '%.200s'", path, id);
    sqlite3_finalize(stmt);
    return rc;
}

static int read_facts(sqlite3 *db, const char *path, struct store_facts *facts,
                      struct pilot_error *err)
{
    sqlite3_stmt *stmt = NULL;

    memset(facts, 0, sizeof(*facts));
    if (sqlite3_prepare_v2(db, "SELECT key, value FROM meta WHERE key IN ('pack_run', 'workdir')",
                           -1, &stmt, NULL) != SQLITE_OK)
        return look_fail(db, path, err);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(stmt, 0);
        const char *value = (const char *)sqlite3_column_text(stmt, 1);

        if (key == NULL || value == NULL)
            continue;
        if (strcmp(key, "pack_run") == 0)
            facts->run = strtoull(value, NULL, 10);
        else if (facts->workdir == NULL)
            facts->workdir = strdup(value);
    }
    sqlite3_finalize(stmt);
    return 0;
}

int store_read_outputs(const char *path, const char *id, store_output_f *f, void *arg,
                       struct store_facts *facts, struct pilot_error *err)
{
    sqlite3 *db = NULL;
    int rc = look_open(&db, path, err);

    if (rc == 0 && facts != NULL)
        rc = read_facts(db, path, facts, err);
    if (rc == 0)
        rc = read_rows(db, path, id, f, arg, err);
    sqlite3_close(db);
    return rc;
}

bool store_in_use(const char *path)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    char file[PATH_MAX];
    bool used;
    int fd;

    if (snprintf(file, sizeof(file), "%s.lock", path) >= (int)sizeof(file))
        return false;
    fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    used = fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
    close(fd);
    return used;
}
