/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of the store share: a directory a test, a store in it, changes to queue, and a
 * look into the tables with a connection of their own, as a person with sqlite3 would. */
#ifndef TESTS_STORE_HELPERS_H
#define TESTS_STORE_HELPERS_H

#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/error.h"

#define DEADLINE_MS 60000

static char dir[64];     /* of the test in hand */
static char db_path[96]; /* a database in it */
static struct pilot_error err;

static const struct store_owner me = {"host1", 4711, "slurm 77"};

static inline int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "%s/pilot-store-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(db_path, sizeof(db_path), "%s/state.db", dir);
    memset(&err, 0, sizeof(err));
    return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int remove_dir(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* As fork; the child does not outlive a test that fails. */
static inline pid_t fork_child(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static inline struct store *open_store(enum store_mode mode)
{
    struct store *s = NULL;
    int rc = store_open(&s, db_path, mode, &me, &err);

    if (rc != 0)
        fail_msg("store_open: %d: %s", rc, err.text);
    return s;
}

static inline struct store *start_store(enum store_mode mode)
{
    struct store *s = open_store(mode);

    assert_int_equal(store_start(s, &err), 0);
    return s;
}

static inline void close_store(struct store *s)
{
    int rc = store_close(s, &err);

    if (rc != 0)
        fail_msg("store_close: %d: %s", rc, err.text);
}

/* Until the barrier is committed (true) or the store has failed (false). */
static inline bool wait_for(struct store *s, uint64_t barrier)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    struct pollfd p = {.fd = store_fd(s), .events = POLLIN};
    uint64_t count;

    while (store_committed(s) < barrier) {
        if (store_failed(s, NULL))
            return false;
        if (clock_mono_ms() > deadline)
            fail_msg("barrier %llu was not committed", (unsigned long long)barrier);
        if (poll(&p, 1, 1000) > 0)
            assert_int_equal(read(p.fd, &count, sizeof(count)), sizeof(count));
    }
    return true;
}

static inline void commit(struct store *s)
{
    assert_true(wait_for(s, store_barrier(s)));
}

/* Offers what is queued, and waits until the thread has begun with it. */
static inline void offer(struct store *s)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    bool taken = false;

    store_offer(s);
    while (!taken && !store_failed(s, NULL)) {
        assert_true(clock_mono_ms() < deadline);
        pthread_mutex_lock(&s->lock);
        taken = !s->offer;
        pthread_mutex_unlock(&s->lock);
        usleep(100);
    }
}

static inline void put(struct store *s, task_id_t task, const char *id)
{
    struct task_spec spec = {.id = (char *)id, .command = "true", .cores = 1};

    store_put_task(s, task, &spec, "{\"command\":\"true\"}", TASK_PENDING);
}

static inline struct attempt_result result_of(enum attempt_reason reason, int exit_code)
{
    return (struct attempt_result){.reason = reason,
                                   .exit_code = exit_code,
                                   .signal = reason == REASON_SIGNAL ? 11 : 0,
                                   .start_wall_ms = 1000500,
                                   .end_wall_ms = 1002000,
                                   .user_us = 1250000,
                                   .sys_us = 500000,
                                   .max_rss_kib = 2048};
}

static inline void end_and_tell(struct store *s, task_id_t task, unsigned attempt,
                                enum attempt_reason reason, int exit_code, enum task_status status,
                                bool tell)
{
    struct attempt_result r = result_of(reason, exit_code);

    store_attempt_ended(s, task, attempt, "n1", "0-1", &r, status, tell);
}

static inline void end(struct store *s, task_id_t task, unsigned attempt,
                       enum attempt_reason reason, int exit_code, enum task_status status)
{
    end_and_tell(s, task, attempt, reason, exit_code, status, false);
}

/* A store_task_f that appends a line or two to the text arg, of 4096 bytes. */
static inline int note_task(void *arg, const struct store_task *t, struct pilot_error *e)
{
    char *text = arg;
    size_t at = strlen(text);

    (void)e;
    snprintf(text + at, 4096 - at, "%u %s %s %s %u %u %u\n", t->task, t->id, t->spec_json,
             task_status_name(t->status), t->attempts, t->failures, t->losses);
    at = strlen(text);
    if (t->suspicion > 0)
        snprintf(text + at, 4096 - at, "  suspicion %u\n", t->suspicion);
    at = strlen(text);
    if (t->told)
        snprintf(text + at, 4096 - at, "  to tell: %s %d %d %lld-%lld %g+%g %lld %s %s '%s'\n",
                 attempt_reason_name(t->result.reason), t->result.exit_code, t->result.signal,
                 (long long)t->result.start_wall_ms, (long long)t->result.end_wall_ms,
                 (double)t->result.user_us / 1e6, (double)t->result.sys_us / 1e6,
                 (long long)t->result.max_rss_kib, t->node, t->cpus, t->result.message);
    at = strlen(text);
    if (t->told && t->result.packed)
        snprintf(text + at, 4096 - at, "  packed: %u %u %lld+%lld\n",
                 (unsigned)(t->result.pack_at >> 32), (unsigned)t->result.pack_at,
                 (long long)t->result.stdout_bytes, (long long)t->result.stderr_bytes);
    return 0;
}

static inline int expect_tasks(void *arg, size_t tasks, struct pilot_error *e)
{
    (void)arg, (void)e;
    assert_true(tasks < 100000);
    return 0;
}

/* store_resume; note_task notes in tasks, of 4096 bytes, what it gives. */
static inline int try_resume(struct store **out, char *tasks)
{
    struct store_reader reader = {.expect = expect_tasks, .task = note_task, .arg = tasks};

    return store_resume(out, db_path, &me, &reader, &err);
}

static inline struct store *resume_store(char *tasks)
{
    struct store *s = NULL;

    if (try_resume(&s, tasks) != 0)
        fail_msg("store_resume: %s", err.text);
    return s;
}

static inline sqlite3 *look(void)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open_v2(db_path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    return db;
}

static inline int add_row(void *arg, int columns, char **values, char **names)
{
    char *text = arg;
    size_t at = strlen(text);

    (void)names;
    for (int i = 0; i < columns; i++)
        at += (size_t)snprintf(text + at, 8192 - at, "%s%s", values[i] ? values[i] : "-",
                               i + 1 < columns ? "|" : "\n");
    return 0;
}

/* Rows as "a|b\n", NULL as "-"; an error as its text. Static memory. */
static inline const char *ask(sqlite3 *db, const char *sql)
{
    static char text[8192];
    char *message = NULL;

    text[0] = '\0';
    if (sqlite3_exec(db, sql, add_row, text, &message) != SQLITE_OK)
        snprintf(text, sizeof(text), "%s", message);
    sqlite3_free(message);
    return text;
}

static inline const char *query(const char *sql)
{
    sqlite3 *db = look();
    const char *text = ask(db, sql);

    sqlite3_close(db);
    return text;
}

static inline int count_files(void)
{
    DIR *d = opendir(dir);
    int n = 0;

    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Opening fails so, with this in the text. */
static inline void expect_open(enum store_mode mode, int code, const char *text)
{
    struct store *s = NULL;
    int rc = store_open(&s, db_path, mode, &me, &err);

    if (rc == 0)
        store_close(s, NULL);
    assert_int_equal(rc, code);
    assert_int_equal(err.code, code);
    if (strstr(err.text, text) == NULL)
        fail_msg("'%s' is not in: %s", text, err.text);
    if (strstr(err.text, db_path) == NULL)
        fail_msg("the path is not in: %s", err.text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

#endif
