/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: whether a database of an earlier run is whole. Checked at every start that goes on with
 * one: the tasks are all read then in any case, and the check takes half a second for a million of
 * them, on a thread of its own while they are read. Must not change anything, so that what is
 * damaged stays as it is for `pilot-mpi recover`. */
#include "store/internal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/error.h"

static int damaged(struct place *p, struct pilot_error *err, const char *how)
{
    p->keep_note = p->noted_ms > 0;
    return err_set(err, PILOT_ESTORE,
                   "the state database %s is damaged: %s; nothing was changed. `pilot-mpi recover "
                   "--db %s` makes a new one of what can be read",
                   p->given, how, p->given);
}

static off_t size_of(const char *file, const char *tail)
{
    char path[4200];
    struct stat st;

    snprintf(path, sizeof(path), "%s%s", file, tail);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

int health_check_files(struct place *p, struct pilot_error *err)
{
    if (size_of(p->file, "") == 0 && (size_of(p->file, "-wal") > 0 || p->noted_ms > 0))
        return damaged(p, err, "the file is empty, but it was not when its last pilot wrote to it");
    return 0;
}

/* SQLite passes over a log that is not there, or whose end is not right, without a word. */
static int check_newest(struct store *s, bool has_tables, struct pilot_error *err)
{
    int64_t heartbeat_ms = 0;
    char how[320];
    int rc = 0;

    if (s->place.noted_ms == 0)
        return 0;
    if (has_tables)
        rc = sql_int(s, "SELECT coalesce(max(round(heartbeat * 1000)), 0) FROM owner",
                     &heartbeat_ms, err);
    if (rc < 0 || heartbeat_ms >= s->place.noted_ms)
        return rc;
    snprintf(how, sizeof(how),
             "its newest transactions are missing (was %.60s-wal removed or damaged? To go on "
             "without them, remove %.60s.lock)",
             s->place.given, s->place.given);
    return damaged(&s->place, err, how);
}

static int count_tables(struct store *s, int64_t *tables, struct pilot_error *err)
{
    return sql_int(s, "SELECT count(*) FROM sqlite_master WHERE name IN ('tasks', 'owner')", tables,
                   err);
}

#define CHECK_PAGES "PRAGMA quick_check(1)"

static int check_pages(struct store *s, struct pilot_error *err)
{
    sqlite3_stmt *stmt = NULL;
    char how[256];
    int rc = sql_prepare(s, CHECK_PAGES, &stmt, err);

    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) != SQLITE_ROW) {
        rc = sql_fail(s, err, "read");
    } else if (sqlite3_stricmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0) {
        snprintf(how, sizeof(how), "%.200s", sqlite3_column_text(stmt, 0));
        for (char *c = how; *c != '\0'; c++)
            if ((unsigned char)*c < 0x20)
                *c = ' ';
        rc = damaged(&s->place, err, how);
    }
    sqlite3_finalize(stmt);
    return rc;
}

int health_check(struct store *s, struct pilot_error *err)
{
    int64_t tables;
    int rc = count_tables(s, &tables, err);

    if (rc == 0 && tables == 0 && s->place.noted_ms == 0)
        return 0; /* new */
    if (rc == 0)
        rc = check_pages(s, err);
    return rc < 0 ? rc : check_newest(s, tables == 2, err);
}

/* ---- Beside the reading ---------------------------------------------------------------------- */

static void *look_beside(void *arg)
{
    struct health_beside *h = arg;
    sqlite3_stmt *stmt = NULL;
    const char *said;

    pthread_setname_np(pthread_self(), "pilot-check");
    if (sqlite3_prepare_v2(h->db, CHECK_PAGES, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        said = (const char *)sqlite3_column_text(stmt, 0);
        h->good = said != NULL && strcmp(said, "ok") == 0;
    }
    sqlite3_finalize(stmt);
    return NULL;
}

void health_begin(struct health_beside *h, const struct store *s, const char *vfs)
{
    sigset_t all, before;

    *h = (struct health_beside){0};
    if (sqlite3_open_v2(s->place.file, &h->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, vfs) !=
        SQLITE_OK)
        return;
    sqlite3_busy_timeout(h->db, BUSY_MS);
    /* Signals belong to the caller's loop. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    h->started = pthread_create(&h->thread, NULL, look_beside, h) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int health_end(struct health_beside *h, struct store *s, struct pilot_error *err)
{
    int64_t tables;
    int rc;

    if (h->started)
        pthread_join(h->thread, NULL);
    sqlite3_close(h->db);
    if (!h->good)
        return health_check(s, err);
    rc = count_tables(s, &tables, err);
    return rc < 0 ? rc : check_newest(s, tables == 2, err);
}
