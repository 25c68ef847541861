/* SPDX-License-Identifier: BSD-3-Clause */
/* What was committed is there, and whole, after a failing disk or a kill at any moment; and every
 * failure is told. */
#include "store_helpers.h"

#include <limits.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "store_faults.h"

enum { GROUPS = 6 };

/* One group of changes: a task, its attempt, the end of the task before it, the answer to the end
 * of the one before that, and two keys that must always agree. */
static void put_group(struct store *s, unsigned n)
{
    char id[16], text[16];

    snprintf(id, sizeof(id), "t%u", n);
    snprintf(text, sizeof(text), "%u", n + 1);
    store_put_meta(s, "first", text);
    if (n > 1)
        store_event_answered(s, n - 2);
    put(s, n, id);
    store_attempt_started(s, n, id, 1, "n1", 1000000);
    if (n > 0)
        end_and_tell(s, n - 1, 1, REASON_EXIT, 0, TASK_COMPLETED, true);
    store_put_meta(s, "last", text);
}

/* Runs against the failing file layer; counts the groups that were reported as committed. */
static int run_groups(enum store_mode mode, bool network, bool ahead, unsigned *committed)
{
    const struct store_setup setup = {.vfs = FAULT_VFS, .network = network, .pace_us = 1};
    struct store *s = NULL;
    int rc = store_open_with(&s, db_path, mode, &me, &setup, &err);
    int closed;

    *committed = 0;
    if (rc < 0)
        return rc;
    rc = store_start(s, &err);
    for (unsigned n = 0; rc == 0 && n < GROUPS; n++) {
        put_group(s, n);
        if (ahead)
            offer(s);
        if (wait_for(s, store_barrier(s)))
            *committed = n + 1;
        else
            rc = store_failed(s, &err) ? err.code : 0;
    }
    closed = store_close(s, rc == 0 ? &err : NULL);
    if (rc < 0)
        assert_int_equal(closed, PILOT_ESTORE);
    return closed < 0 ? closed : rc;
}

/* The groups that are there; they must be whole, and the first ones. */
static unsigned whole_groups(void)
{
    unsigned tasks = 0, completed, attempts, to_tell, answered;

    if (access(db_path, F_OK) != 0)
        return 0;
    if (strcmp(query("SELECT count(*) FROM sqlite_master"), "0\n") == 0)
        return 0;
    assert_string_equal(query("PRAGMA integrity_check"), "ok\n");
    assert_int_equal(sscanf(query("SELECT count(*), sum(status = 'completed'),"
                                  " (SELECT count(*) FROM attempts), total(told = 0),"
                                  " total(told = 1) FROM tasks"),
                            "%u|%u|%u|%u.0|%u.0", &tasks, &completed, &attempts, &to_tell,
                            &answered) >= 1,
                     1);
    if (tasks == 0) {
        assert_string_equal(query("SELECT * FROM meta WHERE key NOT IN ('pack_run', 'workdir')"),
                            "");
        return 0;
    }
    assert_int_equal(attempts, tasks);
    assert_int_equal(completed, tasks - 1);
    assert_int_equal(to_tell, tasks >= 2);
    assert_int_equal(answered, tasks >= 2 ? tasks - 2 : 0);
    assert_int_equal(atoi(query("SELECT value FROM meta WHERE key = 'first'")), tasks);
    assert_int_equal(atoi(query("SELECT value FROM meta WHERE key = 'last'")), tasks);
    assert_int_equal(atoi(query("SELECT max(seq) FROM tasks")), tasks - 1);
    return tasks;
}

static void remove_database(void)
{
    static const char *const tails[] = {"", "-wal", "-shm", "-journal", ".lock"};
    char path[128];

    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", db_path, tails[i]);
        assert_true(unlink(path) == 0 || errno == ENOENT);
    }
}

static void fail_every_call(bool sticky, bool network, bool ahead)
{
    unsigned committed, errors = 0;
    int n = 0, rc;
    bool failed;

    assert_int_equal(faults_register(), SQLITE_OK);
    do {
        remove_database();
        err.text[0] = '\0';
        faults_arm(++n, sticky);
        rc = run_groups(STORE_NEW, network, ahead, &committed);
        failed = atomic_load(&faults.failed);
        faults_arm(0, false);
        if (rc == 0) {
            assert_int_equal(committed, GROUPS);
        } else {
            errors++;
            assert_true(strlen(err.text) > 20);
            assert_non_null(strstr(err.text, db_path));
        }
        assert_in_range(whole_groups(), committed, GROUPS);
        if (whole_groups() > 0)
            close_store(open_store(STORE_RESUME));
        else
            close_store(open_store(STORE_NEW));
        assert_in_range(n, 1, 2000);
    } while (failed);
    assert_true(errors > 30);
    print_message("%d calls failed one by one, %u were errors\n", n - 1, errors);
}

static void a_failing_call_loses_nothing_committed(void **state)
{
    (void)state;
    fail_every_call(false, false, false);
}

/* What was written ahead of its barrier when a call failed is written once more. */
static void a_failing_call_loses_nothing_offered(void **state)
{
    (void)state;
    fail_every_call(false, false, true);
}

static void a_dying_disk_loses_nothing_committed(void **state)
{
    (void)state;
    fail_every_call(true, false, false);
    fail_every_call(true, true, true);
}

static void after_a_failure_nothing_is_committed(void **state)
{
    const struct store_setup setup = {.vfs = FAULT_VFS};
    struct store *s = NULL;
    struct pollfd p;

    (void)state;
    assert_int_equal(faults_register(), SQLITE_OK);
    faults_arm(0, false);
    assert_int_equal(store_open_with(&s, db_path, STORE_NEW, &me, &setup, &err), 0);
    assert_int_equal(store_start(s, &err), 0);
    assert_false(store_failed(s, NULL));
    put_group(s, 0);
    commit(s);
    faults_arm(1, false);
    put_group(s, 1);
    assert_false(wait_for(s, store_barrier(s)));
    assert_true(store_failed(s, &err));
    assert_int_equal(err.code, PILOT_ESTORE);
    put_group(s, 2); /* the disk would do again; but a gap must not arise */
    p = (struct pollfd){.fd = store_fd(s), .events = POLLIN};
    assert_int_equal(store_barrier(s), 3);
    assert_int_equal(poll(&p, 1, 100), 0);
    assert_int_equal(store_committed(s), 1);
    assert_int_equal(store_close(s, &err), PILOT_ESTORE);
    assert_int_equal(whole_groups(), 1);
}

/* The first of them could be written: not even that is committed. */
static void what_fails_ahead_of_a_barrier_is_told_at_it(void **state)
{
    struct store *s = start_store(STORE_NEW);

    (void)state;
    put(s, 0, "a");
    commit(s);
    put(s, 1, "b");
    put(s, 2, "b");
    offer(s);
    assert_false(wait_for(s, store_barrier(s)));
    assert_true(store_failed(s, &err));
    assert_non_null(strstr(err.text, "UNIQUE"));
    assert_int_equal(store_close(s, NULL), PILOT_ESTORE);
    assert_string_equal(query("SELECT id FROM tasks"), "a\n");
}

/* ---- Without room ------------------------------------------------------------------------------
 */

/* A store on the failing layer that tries again after a millisecond. */
static struct store *start_faulty(bool network, int64_t retry_us)
{
    const struct store_setup setup = {
        .vfs = FAULT_VFS, .network = network, .pace_us = 1, .retry_us = retry_us};
    struct store *s = NULL;

    assert_int_equal(faults_register(), SQLITE_OK);
    faults_arm(0, false);
    faults_arm_room(0, 0, 0);
    faults_fill_disk(false);
    assert_int_equal(store_open_with(&s, db_path, STORE_NEW, &me, &setup, &err), 0);
    assert_int_equal(store_start(s, &err), 0);
    return s;
}

/* Until the store says that it waits, and has tried so often. */
static void wait_until_short(struct store *s, int refused)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;

    while (!store_waits(s, &err) || atomic_load(&faults.refused) < refused) {
        struct pollfd p = {.fd = store_fd(s), .events = POLLIN};
        uint64_t count;

        assert_false(store_failed(s, NULL));
        assert_true(clock_mono_ms() < deadline);
        if (poll(&p, 1, 10) > 0)
            assert_int_equal(read(p.fd, &count, sizeof(count)), sizeof(count));
    }
}

static void without_room_changes_wait_until_there_is_some(void **state)
{
    static const struct {
        int errnum;
        const char *words;
    } cases[] = {{ENOSPC, "no space is left"}, {EDQUOT, "quota"}, {EROFS, "read-only"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) * 2; i++) {
        struct store *s = start_faulty(i % 2 == 1, 1000);

        put_group(s, 0);
        commit(s);
        assert_false(store_waits(s, NULL));
        faults_arm_room(cases[i / 2].errnum, 1, INT_MAX);
        put_group(s, 1);
        store_barrier(s);
        wait_until_short(s, 3);
        put_group(s, 2); /* what ends meanwhile */
        store_barrier(s);
        wait_until_short(s, 5);
        assert_non_null(strstr(err.text, db_path));
        assert_non_null(strstr(err.text, cases[i / 2].words));
        assert_int_equal(store_committed(s), 1);
        faults_arm_room(0, 0, 0);
        assert_true(wait_for(s, 3));
        assert_false(store_waits(s, NULL));
        put_group(s, 3);
        commit(s);
        close_store(s);
        assert_int_equal(whole_groups(), 4);
        remove_database();
    }
}

/* Each write of a run once, and once with the two after it, since one may be another's remedy. */
static void any_write_may_lack_room(void **state)
{
    int n = 1;

    (void)state;
    for (bool refused = true; refused; n++) {
        for (int i = 0; i < 4; i++) {
            struct store *s = start_faulty(i % 2 == 1, 1);

            faults_arm_room(i % 2 ? ENOSPC : EDQUOT, n, i < 2 ? 1 : 3);
            for (unsigned g = 0; g < GROUPS; g++) {
                put_group(s, g);
                commit(s);
            }
            refused = atomic_load(&faults.refused) > 0;
            close_store(s);
            assert_int_equal(whole_groups(), GROUPS);
            remove_database();
        }
        assert_in_range(n, 1, 1000);
    }
    assert_true(n > 10);
}

/* More than one pass, and many blocks, are done again. */
static void a_long_transaction_is_done_again(void **state)
{
    enum { TASKS = 50000 };
    struct store *s = start_faulty(false, 1000);
    char id[16];

    (void)state;
    for (unsigned i = 0; i < TASKS; i++) {
        snprintf(id, sizeof(id), "t%u", i);
        put(s, i, id);
        store_attempt_started(s, i, id, 1, "n1", 1000000);
        if (i % 2 == 0)
            end(s, i, 1, REASON_EXIT, 0, TASK_COMPLETED);
    }
    faults_arm_room(ENOSPC, 500, 5);
    commit(s);
    assert_true(atomic_load(&faults.refused) > 0);
    close_store(s);
    assert_string_equal(query("SELECT count(*), sum(status = 'completed'), sum(status = 'running'),"
                              " (SELECT count(*) FROM attempts) FROM tasks"),
                        "50000|25000|25000|50000\n");
}

/* What changes rows in place goes on for ever on a full disk: the log is used again. */
static void on_a_full_disk_the_log_is_used_again(void **state)
{
    struct store *s = start_faulty(false, 1);
    char text[16];

    (void)state;
    for (unsigned g = 0; g < GROUPS; g++) {
        put_group(s, g);
        commit(s);
    }
    store_put_meta(s, "last", "?");
    commit(s);
    query("PRAGMA wal_checkpoint"); /* the database has its size; without that it waits too */
    faults_fill_disk(true);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "%u", i);
        store_put_meta(s, "last", text);
        commit(s);
    }
    assert_in_range(atomic_load(&faults.refused), 1, 199);
    faults_fill_disk(false);
    close_store(s);
    assert_string_equal(query("SELECT value FROM meta WHERE key = 'last'"), "199\n");
}

/* Nobody has to wait at the end: one try more, whatever the pause in hand. */
static void closing_tries_once_more(void **state)
{
    (void)state;
    for (int room = 0; room < 2; room++) {
        struct store *s = start_faulty(false, (int64_t)1000000 * DEADLINE_MS);
        int64_t begin_ms;

        put_group(s, 0);
        commit(s);
        faults_arm_room(ENOSPC, 1, INT_MAX);
        put_group(s, 1);
        store_barrier(s);
        wait_until_short(s, 1);
        if (room)
            faults_arm_room(0, 0, 0);
        put_group(s, 2);
        begin_ms = clock_mono_ms();
        if (room) {
            close_store(s);
        } else {
            assert_int_equal(store_close(s, &err), PILOT_ESTORE);
            assert_non_null(strstr(err.text, "no space is left"));
            /* Those of one try more, and of the checkpoint before it. */
            assert_in_range(atomic_load(&faults.refused), 2, 5);
        }
        assert_true(clock_mono_ms() - begin_ms < DEADLINE_MS / 2);
        faults_arm_room(0, 0, 0);
        assert_int_equal(whole_groups(), room ? 3 : 1);
        remove_database();
    }
}

static void a_broken_disk_is_not_waited_for(void **state)
{
    struct store *s = start_faulty(false, 1000);

    (void)state;
    put_group(s, 0);
    commit(s);
    faults_arm_room(EIO, 1, INT_MAX);
    put_group(s, 1);
    assert_false(wait_for(s, store_barrier(s)));
    assert_false(store_waits(s, NULL));
    assert_true(store_failed(s, &err));
    assert_non_null(strstr(err.text, "I/O error"));
    faults_arm_room(0, 0, 0);
    assert_int_equal(store_close(s, &err), PILOT_ESTORE);
    assert_int_equal(whole_groups(), 1);
}

/* ---- Memory, kills -----------------------------------------------------------------------------
 */

/* A child whose memory runs out between two changes of one group. */
static void run_out_of_memory(void)
{
    char *command = calloc(1, 1000001);
    struct task_spec spec = {.id = "big", .command = command, .cores = 1};
    struct store *s = start_store(STORE_NEW);
    struct rlimit limit = {1, RLIM_INFINITY};
    bool ok;

    if (command == NULL)
        _exit(1);
    memset(command, 'x', 1000000);
    put_group(s, 0);
    commit(s);
    put(s, 1, "small");
    if (setrlimit(RLIMIT_DATA, &limit) != 0)
        _exit(1);
    store_put_task(s, 2, &spec, "{}", TASK_PENDING);
    limit.rlim_cur = RLIM_INFINITY;
    ok = setrlimit(RLIMIT_DATA, &limit) == 0 && store_failed(s, &err) && err.code == PILOT_ENOMEM;
    ok = ok && !wait_for(s, store_barrier(s)) && store_close(s, &err) == PILOT_ESTORE;
    _exit(ok ? 0 : 1);
}

static void without_memory_no_part_of_a_group_is_committed(void **state)
{
    pid_t pid = fork_child();
    int status;

    (void)state;
    if (pid == 0)
        run_out_of_memory();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(whole_groups(), 1);
}

/* A pilot that goes on where the database stands and tells each commit on fd. */
static void run_until_killed(int fd)
{
    struct store *s = NULL;
    unsigned done = whole_groups(), told = done;
    uint64_t count;

    if (store_open(&s, db_path, done ? STORE_RESUME : STORE_NEW, &me, &err) != 0 ||
        store_start(s, &err) != 0)
        _exit(1);
    for (unsigned n = done;; n++) {
        struct pollfd p = {.fd = store_fd(s), .events = POLLIN};

        put_group(s, n);
        store_barrier(s);
        if (n % 3 == 0)
            store_hurry(s);
        if (poll(&p, 1, n % 4 ? 0 : 10) <= 0)
            continue;
        if (read(p.fd, &count, sizeof(count)) != sizeof(count) || store_failed(s, &err))
            _exit(1);
        told = done + (unsigned)store_committed(s);
        if (write(fd, &told, sizeof(told)) != sizeof(told))
            _exit(1);
    }
}

static unsigned kill_at_random(unsigned *seed)
{
    unsigned told = 0, last = 0, wanted = (unsigned)rand_r(seed) % 12;
    struct timespec later = {0, rand_r(seed) % 20000000};
    int fds[2], status;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork_child();
    if (pid == 0) {
        close(fds[0]);
        run_until_killed(fds[1]);
    }
    close(fds[1]);
    while (wanted-- > 0 && read(fds[0], &told, sizeof(told)) == sizeof(told))
        last = told;
    nanosleep(&later, NULL); /* not to wait for something, but to hit any moment of a commit */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    while (read(fds[0], &told, sizeof(told)) == sizeof(told))
        last = told;
    close(fds[0]);
    return last;
}

static int note_untold(void *arg, const struct store_task *t, struct pilot_error *e)
{
    unsigned *untold = arg;

    (void)e;
    if (t->told) {
        untold[0]++;
        untold[1] = t->task;
        assert_int_equal(t->status, TASK_COMPLETED);
        assert_int_equal(t->result.end_wall_ms, 1002000);
        assert_string_equal(t->node, "n1");
    }
    return 0;
}

/* Of these whole groups, the end of the last task but one is to be told, and no other. */
static void expect_the_last_end_untold(unsigned groups)
{
    unsigned untold[2] = {0, 0};
    struct store *s;

    if (groups == 0)
        return;
    s = open_store(STORE_RESUME);
    assert_int_equal(store_load(s, note_untold, untold, &err), 0);
    close_store(s);
    assert_int_equal(untold[0], groups >= 2);
    if (groups >= 2)
        assert_int_equal(untold[1], groups - 2);
}

static void a_kill_leaves_all_that_was_committed_in_whole_groups(void **state)
{
    unsigned seed = (unsigned)clock_mono_us(), groups = 0;

    (void)state;
    print_message("seed %u\n", seed);
    for (int i = 0; i < 20; i++) {
        unsigned told = kill_at_random(&seed);
        unsigned there = whole_groups();

        assert_true(there >= told);
        assert_true(there >= groups);
        expect_the_last_end_untold(there);
        groups = there;
    }
    assert_true(groups > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_failing_call_loses_nothing_committed),
        TEST(a_failing_call_loses_nothing_offered),
        TEST(a_dying_disk_loses_nothing_committed),
        TEST(after_a_failure_nothing_is_committed),
        TEST(what_fails_ahead_of_a_barrier_is_told_at_it),
        TEST(without_room_changes_wait_until_there_is_some),
        TEST(any_write_may_lack_room),
        TEST(a_long_transaction_is_done_again),
        TEST(on_a_full_disk_the_log_is_used_again),
        TEST(closing_tries_once_more),
        TEST(a_broken_disk_is_not_waited_for),
        TEST(without_memory_no_part_of_a_group_is_committed),
        TEST(a_kill_leaves_all_that_was_committed_in_whole_groups),
    };

    return cmocka_run_group_tests_name("store faults", tests, NULL, NULL);
}
