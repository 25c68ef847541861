/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: opening the database in one of three modes, the thread's start and end, closing. The order
 * in opening matters: the lock before anything is read, the check whose file it is before anything
 * is changed (entering WAL changes the file), and then one transaction that migrates, forgets what
 * is to be forgotten, and writes the owner. That last write also proves that the file can be
 * written: on some network file systems everything before it succeeds although it cannot. */
#include "store/internal.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"

#define CLOSE_BUSY_MS                                                                              \
    200 /* at the end a reader is not worth waiting for: the WAL file then stays */

/* The tasks of a state that is gone on with, on their way to who asked for them. */
struct reading {
    const struct store_reader *reader;
    bool begun; /* all were given, and those that were left open are to be settled */
};

/* SQLite by itself makes files that all may read whom the umask does not stop. Its journals take
 * the mode of the database. A file that is there keeps the mode that somebody gave it; and is not
 * opened here, since to close it would drop SQLite's locks. What fails here, SQLite will word. */
static void make_private(const char *file)
{
    int fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
}

static int open_connection(struct store *s, const struct store_setup *setup,
                           struct pilot_error *err)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    /* SQLite's own locks would fail there; ours keeps others out. */
    const char *vfs = s->place.no_locks ? "unix-none" : setup->vfs;
    int rc;

    make_private(s->place.file);
    rc = sqlite3_open_v2(s->place.file, &s->db, flags, vfs);
    if (s->db == NULL)
        return err_set(err, PILOT_ENOMEM, "memory is short");
    if (rc != SQLITE_OK)
        return sql_fail(s, err, "open");
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    if (sqlite3_db_readonly(s->db, "main") == 1)
        return err_set(err, PILOT_ESTORE,
                       "cannot write to the state database %s: it is write-protected; make it "
                       "writable, or choose another with --db FILE",
                       s->place.given);
    /* Before the first look into the file: WAL then needs no shared memory, which network file
     * systems do not have, and nobody else can get in. Nor may it be used where writing to it may
     * find no room. */
    if (s->place.network || s->place.no_locks || s->place.copies || setup->network)
        return sql_exec(s, "PRAGMA locking_mode = EXCLUSIVE", "lock", err);
    return 0;
}

static int enter_wal(struct store *s, const struct store_setup *setup, struct pilot_error *err)
{
    const char *synchronous = setup->synchronous ? setup->synchronous : "FULL";
    sqlite3_stmt *stmt = NULL;
    char sql[160];
    int rc;

    snprintf(sql, sizeof(sql), "PRAGMA page_size = %d", SCHEMA_PAGE_BYTES); /* of a new one only */
    if ((rc = sql_exec(s, sql, "set up", err)) < 0 ||
        (rc = sql_prepare(s, "PRAGMA journal_mode = WAL", &stmt, err)) < 0)
        return rc;
    if (sqlite3_step(stmt) != SQLITE_ROW)
        rc = sql_fail(s, err, "write to");
    else if (sqlite3_stricmp((const char *)sqlite3_column_text(stmt, 0), "wal") != 0)
        rc = err_set(err, PILOT_ESTORE,
                     "cannot write to the state database %s: its file system cannot hold a "
                     "write-ahead log; choose another place with --db FILE",
                     s->place.given);
    sqlite3_finalize(stmt);
    if (rc < 0)
        return rc;
    snprintf(sql, sizeof(sql),
             "PRAGMA synchronous = %s; PRAGMA cache_size = -65536;"
             "PRAGMA journal_size_limit = 67108864",
             synchronous);
    return sql_exec(s, sql, "set up", err);
}

/* "200 tasks (150 completed, 3 failed, 47 unfinished)" */
static int describe_tasks(struct store *s, char *text, size_t size, struct pilot_error *err)
{
    static const struct {
        const char *word, *where;
    } parts[] = {
        {"completed", "status = 'completed'"},
        {"failed", "status = 'failed'"},
        {"skipped", "status = 'skipped'"},
        {"cancelled", "status = 'cancelled'"},
        {"unfinished", "status IN ('pending', 'running')"},
    };
    int64_t count;
    int rc = sql_int(s, "SELECT count(*) FROM tasks", &count, err);
    int at;
    const char *before = " (";

    if (rc < 0)
        return rc;
    at = snprintf(text, size, "%lld task%s", (long long)count, count == 1 ? "" : "s");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char sql[96];

        snprintf(sql, sizeof(sql), "SELECT count(*) FROM tasks WHERE %s", parts[i].where);
        if ((rc = sql_int(s, sql, &count, err)) < 0)
            return rc;
        if (count == 0)
            continue;
        at += snprintf(text + at, size - (size_t)at, "%s%lld %s", before, (long long)count,
                       parts[i].word);
        before = ", ";
    }
    snprintf(text + at, size - (size_t)at, ")");
    return 0;
}

static int apply_mode(struct store *s, enum store_mode mode, struct pilot_error *err)
{
    char tasks[256];
    int64_t any;
    int rc;

    if (mode == STORE_FRESH)
        return sql_exec(s, "DELETE FROM attempts; DELETE FROM tasks; DELETE FROM meta", "empty",
                        err);
    if ((rc = sql_int(s, "SELECT EXISTS (SELECT 1 FROM tasks)", &any, err)) < 0)
        return rc;
    if (mode == STORE_RESUME && !any)
        return err_set(err, PILOT_ENOENT,
                       "nothing to resume: %s holds no tasks; start without --resume, or name the "
                       "work directory of the earlier run with --workdir",
                       s->place.given);
    if (mode == STORE_RESUME || !any)
        return 0;
    if ((rc = describe_tasks(s, tasks, sizeof(tasks), err)) < 0)
        return rc;
    return err_set(err, PILOT_EEXIST,
                   "%s holds %s of an earlier run; go on with --resume, or forget it with --fresh "
                   "(or choose another --workdir)",
                   s->place.given, tasks);
}

/* An owner who is still there did not come to leave: unless he was about to. Before the new owner
 * is written. */
static int find_cut_off(struct store *s, struct pilot_error *err)
{
    sqlite3_stmt *stmt = NULL;
    const char *host;
    int rc = sql_prepare(s,
                         "SELECT host FROM owner WHERE NOT EXISTS"
                         " (SELECT 1 FROM meta WHERE key = 'stopping')",
                         &stmt, err);

    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) == SQLITE_ROW &&
        (host = (const char *)sqlite3_column_text(stmt, 0)) != NULL)
        snprintf(s->cut_off, sizeof(s->cut_off), "%s", host);
    sqlite3_finalize(stmt);
    return sql_exec(s, "DELETE FROM meta WHERE key = 'stopping'", "write to", err);
}

static int write_owner(struct store *s, const struct store_owner *owner, int64_t now_ms,
                       struct pilot_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sql_prepare(s,
                         "INSERT OR REPLACE INTO owner (one, host, pid, job, since, heartbeat)"
                         " VALUES (1, ?1, ?2, ?3, ?4, ?4)",
                         &stmt, err);

    if (rc < 0)
        return rc;
    sql_bind_text(stmt, 1, owner->host, strlen(owner->host));
    sqlite3_bind_int64(stmt, 2, owner->pid);
    sql_bind_text(stmt, 3, owner->job, strlen(owner->job));
    sql_bind_ms(stmt, 4, now_ms);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        rc = sql_fail(s, err, "write to");
    sqlite3_finalize(stmt);
    return rc;
}

/* What is true of this state from its beginning on, and where its tasks were last. */
static int write_facts(struct store *s, const struct store_owner *owner, struct pilot_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int64_t run = 0;
    int rc = sql_exec(s,
                      "INSERT OR IGNORE INTO meta (key, value)"
                      " VALUES ('pack_run', abs(random() % 9007199254740991) + 1)",
                      "write to", err);

    if (rc == 0)
        rc =
            sql_int(s, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'pack_run'", &run, err);
    s->run = (uint64_t)run;
    if (rc < 0 || owner->workdir == NULL)
        return rc;
    rc = sql_prepare(s, "INSERT OR REPLACE INTO meta (key, value) VALUES ('workdir', ?1)", &stmt,
                     err);
    if (rc < 0)
        return rc;
    sql_bind_text(stmt, 1, owner->workdir, strlen(owner->workdir));
    if (sqlite3_step(stmt) != SQLITE_DONE)
        rc = sql_fail(s, err, "write to");
    sqlite3_finalize(stmt);
    return rc;
}

static int settle(struct store *s, enum store_mode mode, const struct store_owner *owner,
                  const struct store_setup *setup, int64_t now_ms, struct pilot_error *err)
{
    int rc = sql_exec(s, "BEGIN IMMEDIATE", "write to", err);

    if (rc == 0)
        rc = schema_migrate(s, setup->steps, setup->step_count, err);
    if (rc == 0)
        rc = apply_mode(s, mode, err);
    if (rc == 0)
        rc = write_facts(s, owner, err);
    if (rc == 0 && mode == STORE_RESUME)
        rc = find_cut_off(s, err);
    if (rc == 0)
        rc = write_owner(s, owner, now_ms, err);
    if (rc == 0)
        rc = sql_exec(s, "COMMIT", "write to", err);
    if (rc < 0)
        sql_rollback(s);
    return rc;
}

void store_describe_holder(const struct store_owner *owner, int64_t now_ms, char *text, size_t size)
{
    time_t now = (time_t)(now_ms / 1000);
    struct tm tm;
    char since[32];

    gmtime_r(&now, &tm);
    strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S UTC", &tm);
    snprintf(text, size, "host %s, pid %lld%s%s, since %s%s%s", owner->host, (long long)owner->pid,
             owner->job[0] ? ", " : "", owner->job, since, owner->workdir ? "\nworkdir " : "",
             owner->workdir ? owner->workdir : "");
}

/* May a second connection look into the file, and are the tables of this version? Where the first
 * has the file to itself, or its tasks lack columns, checking and reading follow each other. */
static bool may_read_beside(struct store *s, const struct store_setup *setup)
{
    int64_t version = -1;

    if (s->place.network || s->place.no_locks || s->place.copies || setup->network ||
        !sqlite3_threadsafe())
        return false;
    return sql_int(s, "PRAGMA user_version", &version, NULL) == 0 && version == setup->step_count;
}

/* Is the file whole? And, if that can be done meanwhile, its tasks to the reader. Writes nothing.
 */
static int check_and_read(struct store *s, const struct store_setup *setup, struct reading *r,
                          struct pilot_error *err)
{
    struct health_beside beside;
    struct pilot_error read_err = {0};
    int rc, read_rc;

    if (r == NULL || !may_read_beside(s, setup))
        return health_check(s, err);
    health_begin(&beside, s, setup->vfs);
    read_rc = load_before(s, r->reader, &read_err);
    r->begun = true;
    rc = health_end(&beside, s, err);
    if (rc == 0 && read_rc < 0) { /* of a damaged file, that it is damaged is what counts */
        rc = read_rc;
        *err = read_err;
    }
    return rc;
}

static int open_database(struct store *s, enum store_mode mode, const struct store_owner *owner,
                         const struct store_setup *setup, struct reading *reading,
                         struct pilot_error *err)
{
    int64_t now_ms = clock_wall_ms();
    char holder[HOLDER_MAX + PATH_MAX];
    int rc;

    store_describe_holder(owner, now_ms, holder, sizeof(holder));
    if ((rc = place_lock(&s->place, holder, err)) < 0 ||
        (mode != STORE_FRESH && (rc = health_check_files(&s->place, err)) < 0) ||
        (rc = open_connection(s, setup, err)) < 0 ||
        (rc = schema_check(s, setup->step_count, err)) < 0 ||
        (mode != STORE_FRESH && (rc = check_and_read(s, setup, reading, err)) < 0) ||
        (rc = enter_wal(s, setup, err)) < 0)
        return rc;
    if (now_ms <= s->place.noted_ms) /* a clock that was set back */
        now_ms = s->place.noted_ms + 1;
    if ((rc = settle(s, mode, owner, setup, now_ms, err)) < 0)
        return rc;
    place_sync(&s->place);
    place_note(&s->place, now_ms);
    s->writer.heartbeat_ms = now_ms;
    return writer_init(s, err);
}

/* The rest of reading, when the state is ours. */
static int read_on(struct store *s, const struct reading *r, struct pilot_error *err)
{
    return r->begun ? load_settle(s, r->reader, err)
                    : store_load(s, r->reader->task, r->reader->arg, err);
}

/* The thread waits by CLOCK_MONOTONIC, so that a corrected clock does not stall it. */
static int init_threads(struct store *s)
{
    pthread_condattr_t attr;
    int rc;

    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->event_fd < 0 || pthread_condattr_init(&attr) != 0)
        return PILOT_ESYS;
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (rc == 0)
        rc = pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    return rc == 0 ? 0 : PILOT_ESYS;
}

static void store_free(struct store *s)
{
    writer_fini(s);
    queue_fini(s);
    if (s->place.lost) /* the log, too, is another's */
        sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(s->db);
    place_fini(&s->place);
    if (s->event_fd >= 0)
        close(s->event_fd);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int open_store(struct store **out, const char *path, enum store_mode mode,
                      const struct store_owner *owner, const struct store_setup *setup,
                      struct reading *reading, struct pilot_error *err)
{
    struct store *s = calloc(1, sizeof(*s));
    struct store_setup used = *setup;
    int rc;

    if (s == NULL)
        return err_set(err, PILOT_ENOMEM, "memory is short");
    if (used.steps == NULL) {
        used.steps = schema_steps;
        used.step_count = schema_step_count;
    }
    s->event_fd = -1;
    s->pace_us = used.pace_us > 0 ? used.pace_us : PACE_US;
    s->retry_us = used.retry_us > 0 ? used.retry_us : RETRY_US;
    place_init(&s->place);
    s->place.claim_silent_ms = used.claim_silent_ms;
    pthread_mutex_init(&s->lock, NULL);
    if (init_threads(s) < 0 || queue_init(s) < 0)
        rc = err_set(err, PILOT_ENOMEM, "memory or descriptors are short");
    else
        rc = place_find(&s->place, path, mode == STORE_RESUME, err);
    if (rc == 0)
        rc = open_database(s, mode, owner, &used, reading, err);
    /* Another pilot that our lock file did not keep out, or a program other than a pilot. */
    if (rc == PILOT_ESTORE && s->db != NULL && (sqlite3_errcode(s->db) & 0xff) == SQLITE_BUSY)
        rc = place_busy(&s->place, err);
    if (rc < 0) {
        /* Damage, or what could not be read and was left as it is: what the lock file notes is for
         * the next start, too. */
        if ((rc == PILOT_ESTORE || (reading != NULL && reading->begun)) && s->place.noted_ms > 0)
            s->place.keep_note = true;
        store_free(s);
        return rc;
    }
    if (reading != NULL && (rc = read_on(s, reading, err)) < 0) {
        store_close(s, NULL); /* it was ours, and has an owner no more */
        return rc;
    }
    *out = s;
    return 0;
}

static const struct store_setup as_it_is;

int store_open_with(struct store **out, const char *path, enum store_mode mode,
                    const struct store_owner *owner, const struct store_setup *setup,
                    struct pilot_error *err)
{
    return open_store(out, path, mode, owner, setup, NULL, err);
}

int store_open(struct store **out, const char *path, enum store_mode mode,
               const struct store_owner *owner, struct pilot_error *err)
{
    return open_store(out, path, mode, owner, &as_it_is, NULL, err);
}

int store_resume(struct store **out, const char *path, const struct store_owner *owner,
                 const struct store_reader *reader, struct pilot_error *err)
{
    struct reading reading = {.reader = reader};

    return open_store(out, path, STORE_RESUME, owner, &as_it_is, &reading, err);
}

static void *thread_main(void *arg)
{
    pthread_setname_np(pthread_self(), "pilot-store"); /* for those who look with top -H or perf */
    writer_run(arg);
    return NULL;
}

int store_start(struct store *s, struct pilot_error *err)
{
    sigset_t all, before;
    int rc;

    /* Signals belong to the caller's loop. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&s->thread, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return err_set_errno(err, PILOT_ESYS, rc, "cannot start the thread of the state database");
    s->started = true;
    return 0;
}

/* All is committed: leave one file, and nobody as its owner. Out of WAL, the file can be read from
 * where its reader may not write, and from any host. What fails here, because somebody is looking,
 * loses nothing. */
static void leave_tidy(struct store *s)
{
    writer_fini(s);
    sql_rollback(s); /* or all that follows would be part of what nobody commits */
    place_note(&s->place, 0);
    sqlite3_busy_timeout(s->db, CLOSE_BUSY_MS);
    sqlite3_exec(s->db, "DELETE FROM owner", NULL, NULL, NULL);
    sqlite3_exec(s->db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    sqlite3_exec(s->db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
}

int store_end(struct store *s, struct pilot_error *err)
{
    if (s->tail.block != s->last_barrier.block || s->tail.used != s->last_barrier.used)
        store_barrier(s);
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_mutex_unlock(&s->lock);
    pthread_cond_signal(&s->wake);
    if (s->started)
        pthread_join(s->thread, NULL);
    else
        writer_run(s);
    s->started = false;
    return atomic_load(&s->failed) ? err_set(err, PILOT_ESTORE, "%s", s->failure.text) : 0;
}

int store_close(struct store *s, struct pilot_error *err)
{
    int rc;

    if (s == NULL)
        return 0;
    rc = store_end(s, err);
    if (rc == 0)
        leave_tidy(s);
    store_free(s);
    return rc;
}

bool store_was_cut_off(const struct store *s)
{
    return s->cut_off[0] != '\0';
}

uint64_t store_run(const struct store *s)
{
    return s->run;
}
