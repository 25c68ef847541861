/* SPDX-License-Identifier: BSD-3-Clause */
/* The state database: what the tables hold, opening it, migrations. What a hook is told is in
 * test_store_told.c, locks are in test_store_locks.c, failing disks and kills in
 * test_store_faults.c. */
#include "store_helpers.h"

#include <fcntl.h>
#include <sys/wait.h>

static void make_database(const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
    assert_string_equal(ask(db, sql), "");
    sqlite3_close(db);
}

static void write_file(const char *text)
{
    FILE *f = fopen(db_path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* ---- What the tables hold ---------------------------------------------------------------------
 */

static void one_row_a_task_and_one_an_attempt(void **state)
{
    char *argv[] = {"echo", "a b", "it's", "", NULL};
    struct task_spec spec = {.id = "sub/a", .argv = argv, .cores = 4, .timeout_ms = 2500};
    struct attempt_result spawn = {.reason = REASON_SPAWN, .exit_code = -1};
    struct store *s = start_store(STORE_NEW);

    (void)state;
    spec.priority = -3;
    spec.max_retries = 2;
    spec.estimate_ms = 1500;
    spec.memory = 4096;
    store_put_task(s, 0, &spec, "{\"x\":1}", TASK_PENDING);
    put(s, 1, "b");
    put(s, 2, "c");
    put(s, 3, "d");
    store_put_meta(s, "run", "1");
    store_put_meta(s, "run", "2");
    commit(s);
    store_attempt_started(s, 0, "sub/a", 1, "n1", 1000250);
    store_attempt_started(s, 3, "d", 1, "n2", 1000750);
    commit(s);
    end(s, 0, 1, REASON_EXIT, 3, TASK_PENDING);
    snprintf(spawn.message, sizeof(spawn.message), "no such file");
    store_attempt_ended(s, 1, 1, "n1", "", &spawn, TASK_FAILED, false);
    store_task_status(s, 2, TASK_SKIPPED, "dependency b failed", true);
    commit(s);
    assert_string_equal(
        query("SELECT * FROM tasks ORDER BY seq"),
        "0|sub/a|pending|3|1|n1|1000.5|1002.0|exit|1|0|4|-3|2.5|2|echo 'a b' 'it'\\''s' ''|"
        "{\"x\":1}|-|4096|1.5|-|-\n"
        "1|b|failed|-|1|n1|-|-|spawn|1|0|1|0|-|0|true|{\"command\":\"true\"}|-|-|-|-|-\n"
        "2|c|skipped|-|0|-|-|-|dependency b "
        "failed|0|0|1|0|-|0|true|{\"command\":\"true\"}|0|-|-|-|-\n"
        "3|d|running|-|1|n2|1000.75|-|-|0|0|1|0|-|0|true|{\"command\":\"true\"}|-|-|-|-|-\n");
    assert_string_equal(query("SELECT * FROM attempts ORDER BY id"),
                        "b|1|n1|-|-|-|-|-|spawn|0.0|0.0|0|no such file|-|-|-|-|-\n"
                        "d|1|n2|-|1000.75|-|-|-|-|-|-|-|-|-|-|-|-|-\n"
                        "sub/a|1|n1|0-1|1000.5|1002.0|3|-|exit|1.25|0.5|2048|-|-|-|-|-|-\n");
    assert_string_equal(query("SELECT reason FROM attempts WHERE id = 'sub/a'"), "exit\n");
    assert_string_equal(query("SELECT * FROM meta WHERE key = 'run'"), "run|2\n");
    assert_string_equal(query("SELECT host, pid, job, since > 1e9, heartbeat >= since FROM owner"),
                        "host1|4711|slurm 77|1|1\n");
    assert_string_equal(query("SELECT status, count(*) FROM tasks GROUP BY 1"),
                        "failed|1\npending|1\nrunning|1\nskipped|1\n");
    close_store(s);
    assert_string_equal(query("SELECT count(*) FROM owner; PRAGMA journal_mode"), "0\ndelete\n");
    assert_int_equal(count_files(), 1);
}

static void a_query_by_id_is_a_search(void **state)
{
    const char *plan;

    (void)state;
    close_store(open_store(STORE_NEW));
    plan = query("EXPLAIN QUERY PLAN SELECT * FROM attempts WHERE id = 'x'");
    assert_non_null(strstr(plan, "SEARCH attempts USING PRIMARY KEY"));
}

static void failures_and_losses_are_counted_by_reason(void **state)
{
    static const struct {
        enum attempt_reason reason;
        int exit_code;
        const char *row; /* failures, losses, exit_code, reason, signal */
    } cases[] = {
        {REASON_EXIT, 0, "0|0|0|exit|-\n"},       {REASON_EXIT, 1, "1|0|1|exit|-\n"},
        {REASON_SIGNAL, -1, "1|0|-|signal|11\n"}, {REASON_TIMEOUT, -1, "1|0|-|timeout|-\n"},
        {REASON_SPAWN, -1, "1|0|-|spawn|-\n"},    {REASON_LOST, -1, "0|1|-|lost|-\n"},
        {REASON_CANCEL, -1, "0|0|-|cancel|-\n"},
    };
    struct store *s = start_store(STORE_NEW);

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char id[16], sql[256];

        snprintf(id, sizeof(id), "t%u", i);
        put(s, i, id);
        end(s, i, 1, cases[i].reason, cases[i].exit_code, TASK_PENDING);
        commit(s);
        snprintf(sql, sizeof(sql),
                 "SELECT failures, losses, t.exit_code, t.reason, signal"
                 " FROM tasks t JOIN attempts USING (id) WHERE seq = %u",
                 i);
        assert_string_equal(query(sql), cases[i].row);
    }
    close_store(s);
}

static void a_retried_task_starts_its_failures_again(void **state)
{
    struct store *s = start_store(STORE_NEW);

    (void)state;
    put(s, 0, "a");
    end(s, 0, 1, REASON_EXIT, 1, TASK_FAILED);
    store_task_status(s, 0, TASK_PENDING, "retried", false);
    commit(s);
    assert_string_equal(query("SELECT status, reason, failures, attempts FROM tasks"),
                        "pending|retried|0|1\n");
    close_store(s);
}

static void a_replaced_task_starts_anew(void **state)
{
    struct task_spec spec = {.id = "a", .command = "false", .cores = 2};
    struct store *s = start_store(STORE_NEW);

    (void)state;
    put(s, 0, "a");
    put(s, 1, "b");
    end(s, 0, 1, REASON_EXIT, 1, TASK_PENDING);
    end(s, 1, 1, REASON_EXIT, 0, TASK_COMPLETED);
    store_attempt_started(s, 0, "a", 2, "n1", 1000000);
    store_replace_task(s, 0, &spec, "{}");
    commit(s);
    assert_string_equal(query("SELECT * FROM tasks WHERE seq = 0"),
                        "0|a|pending|-|0|-|-|-|-|0|0|2|0|-|0|false|{}|-|-|-|-|-\n");
    assert_string_equal(query("SELECT id, attempt FROM attempts"), "b|1\n");
    close_store(s);
}

/* Often, one thing that sets an end apart from the plain ones, which take a shorter way. */
static void make_odd(unsigned *seed, struct attempt_result *r)
{
    switch (rand_r(seed) % 8) {
    case 0:
        r->exit_code = 1;
        break;
    case 1:
        r->signal = 9;
        break;
    case 2:
        r->output_dropped = 7;
        break;
    case 3:
        r->packed = true;
        r->stdout_bytes = 3;
        break;
    case 4:
        snprintf(r->message, sizeof(r->message), "odd");
        break;
    }
}

/* One random change of task; the same for the same seed. */
static void random_change(struct store *s, unsigned *seed, task_id_t task, unsigned *attempt)
{
    struct task_spec spec = {.id = task == 0 ? "t0" : task == 1 ? "t1" : "t2", .cores = 1};
    enum attempt_reason reason =
        rand_r(seed) % 2 ? REASON_EXIT : rand_r(seed) % ATTEMPT_REASON_COUNT;
    struct attempt_result r = result_of(reason, 0);

    make_odd(seed, &r);
    if (rand_r(seed) % 3 == 0)
        r.start_wall_ms = 0;
    switch (rand_r(seed) % 9) {
    case 0:
        store_task_status(s, task, TASK_PENDING, "again", false);
        break;
    case 1:
        store_replace_task(s, task, &spec, "{}");
        *attempt = 0;
        break;
    case 2:
    case 3:
    case 4:
        ++*attempt;
        store_attempt_started(s, task, spec.id, *attempt, "n1", 1000000 + rand_r(seed) % 1000);
        break;
    case 5:
        store_event_answered(s, task);
        break;
    default:
        if (*attempt > 0)
            store_attempt_ended(s, task, *attempt, "n2", "3", &r, TASK_COMPLETED, rand_r(seed) % 2);
    }
}

/* The writer leaves out what is overwritten in the same pass; the tables must not show it. */
static void one_batch_gives_the_same_as_many(void **state)
{
    static const char all[] = "SELECT * FROM tasks; SELECT * FROM attempts";
    static const struct store_setup unpaced = {.pace_us = 1};
    char separate[8192];

    (void)state;
    for (unsigned round = 1; round <= 60; round++) {
        for (int batched = 0; batched < 2; batched++) {
            struct store *s = NULL;
            unsigned seed = round, attempt[3] = {0};

            assert_int_equal(store_open_with(&s, db_path, STORE_FRESH, &me, &unpaced, &err), 0);
            assert_int_equal(store_start(s, &err), 0);
            put(s, 0, "t0");
            put(s, 1, "t1");
            put(s, 2, "t2");
            for (int i = 0; i < 30; i++) {
                task_id_t task = (task_id_t)rand_r(&seed) % 3;

                random_change(s, &seed, task, &attempt[task]);
                if (!batched)
                    commit(s);
            }
            close_store(s);
            if (batched)
                assert_string_equal(query(all), separate);
            else
                snprintf(separate, sizeof(separate), "%s", query(all));
        }
    }
}

static void many_tasks_before_one_barrier_appear_at_once(void **state)
{
    enum { COUNT = 30000 };
    struct store *s = start_store(STORE_NEW);
    sqlite3 *db = look();
    uint64_t barrier;
    char id[16];

    (void)state;
    commit(s); /* the tables are there, and another commit is near */
    for (task_id_t i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "t%u", i);
        put(s, i, id);
        store_attempt_started(s, i, id, 1, "n", 1000000);
    }
    assert_string_equal(ask(db, "SELECT count(*) FROM tasks"), "0\n");
    barrier = store_barrier(s);
    while (store_committed(s) < barrier) {
        const char *count = ask(db, "SELECT count(*) FROM tasks");

        assert_false(store_failed(s, &err));
        if (strcmp(count, "0\n") != 0)
            assert_string_equal(count, "30000\n");
    }
    assert_string_equal(ask(db, "SELECT count(*) FROM attempts"), "30000\n");
    sqlite3_close(db);
    close_store(s);
}

/* Until somebody else cannot write, since the thread is at it. */
static void wait_until_written(sqlite3 *db)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;

    sqlite3_busy_timeout(db, 0);
    while (strcmp(ask(db, "BEGIN IMMEDIATE; ROLLBACK"), "") == 0) {
        assert_true(clock_mono_ms() < deadline);
        usleep(1000);
    }
}

static void what_is_offered_is_written_but_not_committed(void **state)
{
    struct store *s = start_store(STORE_NEW);
    sqlite3 *db = look();

    (void)state;
    put(s, 0, "a");
    commit(s);
    put(s, 1, "b");
    store_offer(s);
    wait_until_written(db);
    put(s, 2, "c");
    store_offer(s);
    put(s, 3, "d");
    assert_int_equal(store_committed(s), 1);
    assert_string_equal(ask(db, "SELECT count(*) FROM tasks"), "1\n");
    commit(s);
    assert_string_equal(ask(db, "SELECT id FROM tasks"), "a\nb\nc\nd\n");
    store_offer(s); /* of nothing */
    end(s, 0, 1, REASON_EXIT, 0, TASK_COMPLETED);
    store_offer(s);
    close_store(s);
    assert_string_equal(ask(db, "SELECT count(*) FROM attempts"), "1\n");
    sqlite3_close(db);
}

/* A transaction that was begun for nothing would take the tidy end with it. */
static void an_offer_of_nothing_leaves_the_end_tidy(void **state)
{
    struct store *s = start_store(STORE_NEW);

    (void)state;
    put(s, 0, "a");
    commit(s);
    store_offer(s);
    usleep(
        20000); /* the thread takes it, unless this machine is very slow: then it has no effect */
    close_store(s);
    assert_string_equal(query("SELECT count(*) FROM owner"), "0\n");
    assert_string_equal(query("PRAGMA journal_mode"), "delete\n");
}

static void what_is_only_offered_ends_with_a_kill(void **state)
{
    pid_t pid = fork_child();
    int status;

    (void)state;
    if (pid == 0) {
        struct store *s = start_store(STORE_NEW);

        put(s, 0, "a");
        store_offer(s);
        wait_until_written(look());
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close_store(start_store(STORE_NEW)); /* there is nothing that it would have to keep */
    assert_string_equal(query("SELECT count(*) FROM tasks"), "0\n");
}

static void ends_find_their_starts_in_a_large_batch(void **state)
{
    enum { COUNT = 1000 };
    struct attempt_result r = result_of(REASON_EXIT, 0);
    struct store *s = start_store(STORE_NEW);
    char id[16];

    (void)state;
    r.start_wall_ms = 0;
    for (task_id_t i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "t%u", i);
        put(s, i, id);
    }
    for (task_id_t i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "t%u", i);
        store_attempt_started(s, i, id, 1, "n1", 1000000 + i);
    }
    for (task_id_t i = COUNT; i-- > 0;)
        store_attempt_ended(s, i, 1, "n1", "", &r, TASK_COMPLETED, false);
    commit(s);
    assert_string_equal(query("SELECT count(*), sum(t.started_at = (1000000 + seq) / 1000.0),"
                              " sum(a.started_at = t.started_at), sum(a.finished_at = 1002.0)"
                              " FROM tasks t JOIN attempts a USING (id)"),
                        "1000|1000|1000|1000\n");
    close_store(s);
}

static void barriers_in_quick_succession_share_commits(void **state)
{
    enum { COMMITS = 10 };
    struct store *s = start_store(STORE_NEW);
    int64_t begin_us = clock_mono_us();

    (void)state;
    for (int i = 0; i < COMMITS; i++) {
        store_put_meta(s, "key", "value");
        commit(s);
    }
    assert_true(clock_mono_us() - begin_us >= (COMMITS - 1) * PACE_US);
    close_store(s);
}

static void an_op_larger_than_a_block_is_kept(void **state)
{
    const size_t size = 3000000;
    char *command = malloc(size + 1);
    struct task_spec spec = {.id = "big", .command = command, .cores = 1};
    struct store *s = start_store(STORE_NEW);

    (void)state;
    assert_non_null(command);
    memset(command, 'x', size);
    command[size] = '\0';
    put(s, 0, "a");
    store_put_task(s, 1, &spec, "{}", TASK_PENDING);
    put(s, 2, "c");
    close_store(s); /* without a barrier: closing commits what is queued */
    free(command);
    assert_string_equal(query("SELECT id, length(command) FROM tasks"), "a|4\nbig|3000000\nc|4\n");
}

static void closing_commits_even_if_never_started(void **state)
{
    struct store *s = open_store(STORE_NEW);

    (void)state;
    put(s, 0, "a");
    close_store(s);
    assert_string_equal(query("SELECT id FROM tasks"), "a\n");
    assert_int_equal(store_close(NULL, &err), 0);
}

/* ---- Opening ----------------------------------------------------------------------------------
 */

static void a_used_database_is_not_started_anew_by_accident(void **state)
{
    struct store *s = start_store(STORE_NEW);
    char text[512];

    (void)state;
    for (task_id_t i = 0; i < 6; i++)
        put(s, i, (char[2]){(char)('a' + (int)i), '\0'});
    end(s, 0, 1, REASON_EXIT, 0, TASK_COMPLETED);
    end(s, 1, 1, REASON_EXIT, 0, TASK_COMPLETED);
    end(s, 2, 1, REASON_EXIT, 1, TASK_FAILED);
    store_attempt_started(s, 3, "d", 1, "n1", 1000000);
    close_store(s);
    snprintf(text, sizeof(text),
             "%s holds 6 tasks (2 completed, 1 failed, 3 unfinished) of an earlier run; go on with "
             "--resume, or forget it with --fresh (or choose another --workdir)",
             db_path);
    expect_open(STORE_NEW, PILOT_EEXIST, text);
    assert_int_equal(count_files(), 1);
    s = start_store(STORE_FRESH);
    put(s, 0, "new");
    close_store(s);
    assert_string_equal(query("SELECT id FROM tasks; SELECT id FROM attempts"), "new\n");
}

static void without_tasks_there_is_nothing_to_resume(void **state)
{
    (void)state;
    expect_open(STORE_RESUME, PILOT_ENOENT, "nothing to resume");
    assert_int_equal(count_files(), 0);
    close_store(open_store(STORE_NEW));
    expect_open(STORE_RESUME, PILOT_ENOENT, "holds no tasks");
    close_store(open_store(STORE_NEW));
    write_file("");
    close_store(open_store(STORE_NEW));
}

static void missing_directories_are_made(void **state)
{
    (void)state;
    snprintf(db_path, sizeof(db_path), "%s/x/y/state.db", dir);
    expect_open(STORE_RESUME, PILOT_ENOENT, "there is no");
    assert_int_equal(count_files(), 0);
    close_store(open_store(STORE_NEW));
    assert_int_equal(access(db_path, F_OK), 0);
}

static void what_is_not_ours_is_left_alone(void **state)
{
    static const enum store_mode modes[] = {STORE_NEW, STORE_RESUME, STORE_FRESH};
    static const char foreign[] = "SELECT * FROM mine; PRAGMA journal_mode";
    char garbage[4096];

    (void)state;
    memset(garbage, 'g', sizeof(garbage) - 1);
    garbage[sizeof(garbage) - 1] = '\0';
    make_database("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)");
    for (int i = 0; i < 3; i++) {
        expect_open(modes[i], PILOT_EPROTO, "another program");
        assert_string_equal(query(foreign), "1\ndelete\n");
    }
    assert_int_equal(count_files(), 1);
    write_file(garbage);
    for (int i = 0; i < 3; i++)
        expect_open(modes[i], PILOT_ESTORE, "file is not a database");
    assert_int_equal(unlink(db_path), 0);
    assert_int_equal(mkdir(db_path, 0700), 0);
    for (int i = 0; i < 3; i++)
        expect_open(modes[i], PILOT_ESTORE, "not a regular file");
}

static void a_newer_version_is_refused(void **state)
{
    (void)state;
    close_store(open_store(STORE_NEW));
    assert_string_equal(query("PRAGMA user_version = 99"), "");
    expect_open(STORE_NEW, PILOT_EPROTO, "newer pilot-mpi");
    expect_open(STORE_FRESH, PILOT_EPROTO, "version 99, this one knows up to 5");
    assert_string_equal(query("PRAGMA user_version"), "99\n");
}

static void a_place_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    snprintf(db_path, sizeof(db_path), "/proc/self/x/state.db");
    expect_open(STORE_NEW, PILOT_ESTORE, "cannot make the directory");
    snprintf(db_path, sizeof(db_path), "%s/f", dir);
    write_file("x");
    snprintf(db_path, sizeof(db_path), "%s/f/state.db", dir);
    expect_open(STORE_NEW, PILOT_ESTORE, "Not a directory");
    expect_open(STORE_RESUME, PILOT_ENOENT, "there is no");
}

static void damage_is_reported(void **state)
{
    struct store *s = start_store(STORE_NEW);
    int fd;
    char id[16];

    (void)state;
    for (task_id_t i = 0; i < 500; i++) {
        snprintf(id, sizeof(id), "t%u", i);
        put(s, i, id);
    }
    close_store(s);
    fd = open(db_path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = SCHEMA_PAGE_BYTES; at < lseek(fd, 0, SEEK_END); at += SCHEMA_PAGE_BYTES)
        assert_int_equal(pwrite(fd, "damaged!", 8, at), 8);
    close(fd);
    expect_open(STORE_RESUME, PILOT_ESTORE, "damaged");
}

static void damage_during_a_run_is_reported(void **state)
{
    struct store *s = start_store(STORE_NEW);
    static const char rubbish[SCHEMA_PAGE_BYTES] = "rubbish";
    int fd;

    (void)state;
    put(s, 0, "a");
    close_store(s);
    s = open_store(STORE_RESUME);
    sqlite3_db_release_memory(s->db); /* what it has read it does not read again */
    fd = open(db_path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = SCHEMA_PAGE_BYTES; at < lseek(fd, 0, SEEK_END); at += SCHEMA_PAGE_BYTES)
        assert_int_equal(pwrite(fd, rubbish, sizeof(rubbish), at), sizeof(rubbish));
    close(fd);
    assert_int_equal(store_start(s, &err), 0);
    put(s, 1, "b");
    assert_false(wait_for(s, store_barrier(s)));
    assert_true(store_failed(s, &err));
    assert_non_null(strstr(err.text, "pilot-mpi recover"));
    assert_int_equal(store_close(s, NULL), PILOT_ESTORE);
}

/* ---- Migrations -------------------------------------------------------------------------------
 */

static int open_with_steps(const char *const *steps, int count)
{
    struct store_setup setup = {.steps = steps, .step_count = count};
    struct store *s = NULL;
    int rc = store_open_with(&s, db_path, STORE_RESUME, &me, &setup, &err);

    if (rc == 0)
        rc = store_close(s, &err);
    return rc;
}

static void an_older_version_is_migrated_in_one_transaction(void **state)
{
    const char *steps[] = {schema_steps[0],
                           schema_steps[1],
                           schema_steps[2],
                           schema_steps[3],
                           schema_steps[4],
                           "ALTER TABLE tasks ADD COLUMN extra INTEGER",
                           "UPDATE tasks SET extra = 7; SELECT no_such_function()"};
    struct store *s = start_store(STORE_NEW);

    (void)state;
    assert_int_equal(schema_step_count, 5); /* a new step: record a state-vN.sql for its test too */
    put(s, 0, "a");
    close_store(s);
    assert_int_equal(open_with_steps(steps, 7), PILOT_ESTORE);
    assert_string_equal(query("PRAGMA user_version"), "5\n");
    assert_string_equal(query("SELECT extra FROM tasks"), "no such column: extra");
    steps[6] = "UPDATE tasks SET extra = 7";
    assert_int_equal(open_with_steps(steps, 7), 0);
    assert_string_equal(query("PRAGMA user_version; SELECT id, extra FROM tasks"), "7\na|7\n");
    assert_int_equal(open_with_steps(steps, 5), PILOT_EPROTO);
}

/* Makes the database that TEST_DATA/name describes, and opens it. */
static struct store *open_recorded(const char *name)
{
    char path[512], sql[8192];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/%s", TEST_DATA, name);
    f = fopen(path, "r");
    assert_non_null(f);
    n = fread(sql, 1, sizeof(sql) - 1, f);
    assert_true(n < sizeof(sql) - 1);
    sql[n] = '\0';
    fclose(f);
    make_database(sql);
    return open_store(STORE_RESUME);
}

/* A database as the first version left it after a crash. */
static void version_1_is_read(void **state)
{
    struct store *s = open_recorded("state-v1.sql");
    char tasks[4096] = "";

    (void)state;
    assert_int_equal(store_load(s, note_task, tasks, &err), 0);
    assert_string_equal(tasks, "0 a {\"id\":\"a\",\"command\":\"true\"} completed 1 0 0\n"
                               "1 b {\"id\":\"b\",\"command\":\"sleep 9\"} pending 2 1 0\n"
                               "2 c {\"id\":\"c\",\"command\":\"true\"} pending 0 0 0\n");
    assert_int_equal(store_start(s, &err), 0);
    end_and_tell(s, 1, 3, REASON_EXIT, 0, TASK_COMPLETED, true);
    close_store(s);
    assert_string_equal(query("PRAGMA user_version; SELECT id, attempt, reason FROM attempts;"
                              "SELECT id, told FROM tasks"),
                        "5\na|1|exit\nb|1|exit\nb|2|lost\nb|3|exit\na|-\nb|0\nc|-\n");
}

/* As the second version left it: the hook has answered a, but not b. */
static void version_2_is_read(void **state)
{
    struct store *s = open_recorded("state-v2.sql");
    char tasks[4096] = "";

    (void)state;
    assert_int_equal(store_load(s, note_task, tasks, &err), 0);
    assert_string_equal(tasks, "0 a {\"id\":\"a\",\"command\":\"true\"} completed 1 0 0\n"
                               "1 b {\"id\":\"b\",\"command\":\"sleep 9\"} failed 2 2 0\n"
                               "  to tell: timeout -1 9 1003000-1063250 0.25+0.125 4096 n2 2-3 ''\n"
                               "2 c {\"id\":\"c\",\"command\":\"true\"} pending 1 0 0\n");
    close_store(s);
    assert_string_equal(query("PRAGMA user_version"), "5\n");
}

/* As the third version left it. */
static void version_3_is_read(void **state)
{
    struct store *s = open_recorded("state-v3.sql");
    char tasks[4096] = "";

    (void)state;
    assert_int_equal(store_load(s, note_task, tasks, &err), 0);
    assert_string_equal(tasks, "0 a {\"id\":\"a\",\"command\":\"true\"} completed 1 0 0\n"
                               "1 b {\"id\":\"b\",\"command\":\"sleep 9\"} failed 2 2 0\n"
                               "  to tell: timeout -1 9 1003000-1063250 0.25+0.125 4096 n2 2-3 ''\n"
                               "2 c {\"id\":\"c\",\"command\":\"true\"} pending 1 0 0\n");
    close_store(s);
    assert_string_equal(query("PRAGMA user_version"), "5\n");
}

/* As the fourth version left it. */
static void version_4_is_read(void **state)
{
    struct store *s = open_recorded("state-v4.sql");
    char tasks[4096] = "";

    (void)state;
    assert_true(store_run(s) == 1234567);
    assert_int_equal(store_load(s, note_task, tasks, &err), 0);
    assert_string_equal(tasks, "0 a {\"id\":\"a\",\"command\":\"true\"} completed 1 0 0\n"
                               "1 b {\"id\":\"b\",\"command\":\"sleep 9\"} failed 2 2 0\n"
                               "  to tell: timeout -1 9 1003000-1063250 0.25+0.125 4096 n2 2-3 ''\n"
                               "  packed: 3 4096 70000+12\n"
                               "2 c {\"id\":\"c\",\"command\":\"true\"} pending 1 0 0\n");
    close_store(s);
    assert_string_equal(query("PRAGMA user_version"), "5\n");
}

/* As the fifth version left it: c was watched in its second trial, on the pilot's own node. */
static void version_5_is_read(void **state)
{
    struct store *s = open_recorded("state-v5.sql");
    char tasks[4096] = "";

    (void)state;
    assert_int_equal(store_load(s, note_task, tasks, &err), 0);
    assert_non_null(strstr(tasks, "2 c {\"id\":\"c\",\"command\":\"true\"} pending 1 0 0\n"
                                  "  suspicion 4\n"));
    close_store(s);
    assert_string_equal(query("PRAGMA user_version; SELECT suspicion, trial FROM tasks;"
                              "SELECT reason, message FROM attempts WHERE id = 'c'"),
                        "5\n-|-\n-|-\n4|-\nlost|the pilot, just after its start\n");
}

/* ---- Loading ----------------------------------------------------------------------------------
 */

/* Leaves the database as a killed pilot would: tasks a done, b running, c not started. */
static void crash_with_a_running_task(void)
{
    pid_t pid = fork_child();
    int status;

    if (pid == 0) {
        struct store *s = start_store(STORE_NEW);

        put(s, 0, "a");
        put(s, 1, "b");
        put(s, 2, "c");
        end(s, 0, 1, REASON_EXIT, 0, TASK_COMPLETED);
        end(s, 1, 1, REASON_EXIT, 1, TASK_PENDING);
        store_attempt_started(s, 1, "b", 2, "n1", 1000000);
        _exit(wait_for(s, store_barrier(s)) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int stop_at_second(void *arg, const struct store_task *t, struct pilot_error *e)
{
    (void)arg;
    return t->task == 1 ? err_set(e, PILOT_EINVAL, "stopped at %s", t->id) : 0;
}

static void what_ran_in_a_crash_is_lost_and_pending(void **state)
{
    char tasks[4096] = "";
    struct store *s;

    (void)state;
    crash_with_a_running_task();
    assert_string_equal(query("SELECT count(*) FROM owner"), "1\n"); /* nobody cleared it */
    s = open_store(STORE_RESUME);
    assert_int_equal(store_load(s, note_task, tasks, &err), 0);
    assert_string_equal(tasks, "0 a {\"command\":\"true\"} completed 1 0 0\n"
                               "1 b {\"command\":\"true\"} pending 2 1 0\n"
                               "2 c {\"command\":\"true\"} pending 0 0 0\n");
    /* It is committed already, for others to see. */
    assert_string_equal(query("SELECT status, reason, losses, finished_at > 1e9 FROM tasks"),
                        "completed|exit|0|0\npending|lost|0|1\npending|-|0|-\n");
    assert_string_equal(query("SELECT id, attempt, reason, finished_at > 1e9 FROM attempts"),
                        "a|1|exit|0\nb|1|exit|0\nb|2|lost|1\n");
    assert_int_equal(store_load(s, stop_at_second, NULL, &err), PILOT_EINVAL);
    assert_string_equal(err.text, "stopped at b");
    close_store(s);
}

static void rows_changed_by_hand_are_noticed(void **state)
{
    struct store *s = start_store(STORE_NEW);
    char tasks[4096] = "";

    (void)state;
    put(s, 0, "a");
    put(s, 1, "b");
    close_store(s);
    query("UPDATE tasks SET status = 'done' WHERE id = 'b'");
    s = open_store(STORE_RESUME);
    assert_int_equal(store_load(s, note_task, tasks, &err), PILOT_EPROTO);
    assert_non_null(strstr(err.text, "unknown status 'done'"));
    query("DELETE FROM tasks WHERE id = 'a'");
    assert_int_equal(store_load(s, note_task, tasks, &err), PILOT_EPROTO);
    assert_non_null(strstr(err.text, "no task number 0"));
    assert_int_equal(store_start(s, &err), 0);
    end(s, 0, 1, REASON_EXIT, 0, TASK_COMPLETED);
    assert_false(wait_for(s, store_barrier(s)));
    assert_true(store_failed(s, &err));
    assert_non_null(strstr(err.text, "no task number 0"));
    assert_int_equal(store_close(s, &err), PILOT_ESTORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_row_a_task_and_one_an_attempt),
        TEST(a_query_by_id_is_a_search),
        TEST(failures_and_losses_are_counted_by_reason),
        TEST(a_retried_task_starts_its_failures_again),
        TEST(a_replaced_task_starts_anew),
        TEST(one_batch_gives_the_same_as_many),
        TEST(many_tasks_before_one_barrier_appear_at_once),
        TEST(what_is_offered_is_written_but_not_committed),
        TEST(an_offer_of_nothing_leaves_the_end_tidy),
        TEST(what_is_only_offered_ends_with_a_kill),
        TEST(ends_find_their_starts_in_a_large_batch),
        TEST(barriers_in_quick_succession_share_commits),
        TEST(an_op_larger_than_a_block_is_kept),
        TEST(closing_commits_even_if_never_started),
        TEST(a_used_database_is_not_started_anew_by_accident),
        TEST(without_tasks_there_is_nothing_to_resume),
        TEST(missing_directories_are_made),
        TEST(what_is_not_ours_is_left_alone),
        TEST(a_newer_version_is_refused),
        TEST(a_place_that_cannot_be_written_is_named),
        TEST(damage_is_reported),
        TEST(damage_during_a_run_is_reported),
        TEST(an_older_version_is_migrated_in_one_transaction),
        TEST(version_1_is_read),
        TEST(version_2_is_read),
        TEST(version_3_is_read),
        TEST(version_4_is_read),
        TEST(version_5_is_read),
        TEST(what_ran_in_a_crash_is_lost_and_pending),
        TEST(rows_changed_by_hand_are_noticed),
    };

    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
