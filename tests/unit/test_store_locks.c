/* SPDX-License-Identifier: BSD-3-Clause */
/* Others at the same database: one pilot at a time has it, by the kernel's lock or by a claim; the
 * dead block nobody; persons with sqlite3 are waited for. */
#include "store_helpers.h"

#include <fcntl.h>
#include <sys/wait.h>

static void a_second_pilot_is_refused_by_name(void **state)
{
    char alias[96];
    struct store *s = start_store(STORE_NEW);

    (void)state;
    for (int m = STORE_NEW; m <= STORE_FRESH; m++)
        expect_open(m, PILOT_EBUSY, "another pilot: host host1, pid 4711, slurm 77, since 20");
    snprintf(alias, sizeof(alias), "%s/alias.db", dir);
    assert_int_equal(symlink(db_path, alias), 0);
    snprintf(db_path, sizeof(db_path), "%s", alias);
    expect_open(STORE_FRESH, PILOT_EBUSY, "host host1, pid 4711");
    put(s, 0, "a");
    close_store(s);
    close_store(open_store(STORE_RESUME));
}

/* Forks a pilot that says on the pipe when it has the database, then waits to be killed. */
static pid_t fork_holder(void)
{
    int fds[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork_child();
    if (pid == 0) {
        struct store *s = start_store(STORE_NEW);

        put(s, 0, "a");
        if (!wait_for(s, store_barrier(s)) || write(fds[1], "+", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    return pid;
}

static void a_dead_owner_does_not_block(void **state)
{
    pid_t pid = fork_holder();

    (void)state;
    expect_open(STORE_RESUME, PILOT_EBUSY, "another pilot: host host1");
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_string_equal(query("SELECT pid FROM owner"), "4711\n");
    close_store(open_store(STORE_RESUME));
    assert_int_equal(count_files(), 1);
}

/* Takes and gives up the lock, or the claim, many times; while it has it nobody else may have the
 * marker. */
static void take_turns(const char *marker, bool claims)
{
    for (int turns = 0; turns < (claims ? 300 : 2000);) {
        char holder[HOLDER_MAX], text[64];
        struct claim *claim = NULL;
        struct place p;
        int rc, fd;

        place_init(&p);
        snprintf(text, sizeof(text), "process %d, turn %d", (int)getpid(), turns);
        if (!claims && place_find(&p, db_path, false, &err) < 0)
            _exit(1);
        rc = claims ? claim_take(&claim, db_path, text, 60000, holder, &err)
                    : place_lock(&p, text, &err);
        fd = rc == 0 ? open(marker, O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
        if (rc != PILOT_EBUSY && (fd < 0 || close(fd) != 0 || unlink(marker) != 0))
            _exit(1);
        turns += rc == 0;
        claim_release(claim);
        place_fini(&p);
    }
    _exit(0);
}

/* The lock file goes away with each owner, which must not let two in. */
static void let_four_compete(bool claims)
{
    char marker[96];
    pid_t pids[4];
    int status;

    snprintf(marker, sizeof(marker), "%s/marker", dir);
    for (int i = 0; i < 4; i++) {
        pids[i] = fork_child();
        if (pids[i] == 0)
            take_turns(marker, claims);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
}

static void only_one_at_a_time_gets_the_lock(void **state)
{
    (void)state;
    let_four_compete(false);
}

static void only_one_at_a_time_has_the_claim(void **state)
{
    (void)state;
    let_four_compete(true);
    assert_int_equal(count_files(), 0);
}

/* Four find the claim of a dead process, and one of them outbids it. */
static void only_one_at_a_time_outbids_the_dead(void **state)
{
    char holder[HOLDER_MAX];
    struct claim *claim = NULL;
    pid_t pid = fork_child();

    (void)state;
    if (pid == 0)
        _exit(claim_take(&claim, db_path, "the dead", 60000, holder, &err) == 0 ? 0 : 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(count_files(), 1);
    assert_true(claim_is_silent(db_path, 60000, holder));
    assert_string_equal(holder, "the dead");
    let_four_compete(true);
    assert_int_equal(count_files(), 0);
}

static void on_a_network_file_system_nobody_else_gets_in(void **state)
{
    const struct store_setup network = {.network = true};
    struct store *s = NULL;

    (void)state;
    assert_true(place_is_network_magic(0x6969));
    assert_true(place_is_network_magic((uint64_t)(int32_t)0xff534d42)); /* f_type is signed */
    assert_false(place_is_network_magic(0xef53));                       /* ext4 */
    assert_int_equal(store_open_with(&s, db_path, STORE_NEW, &me, &network, &err), 0);
    assert_int_equal(store_start(s, &err), 0);
    put(s, 0, "a");
    commit(s);
    assert_string_equal(query("PRAGMA busy_timeout = 0; SELECT * FROM tasks"),
                        "database is locked");
    expect_open(STORE_NEW, PILOT_EBUSY, "host host1, pid 4711");
    close_store(s);
    assert_string_equal(query("SELECT id FROM tasks"), "a\n");
    assert_int_equal(count_files(), 1);
}

static void a_persons_short_lock_is_waited_for(void **state)
{
    struct store *s = start_store(STORE_NEW);
    sqlite3 *db = look();
    struct pollfd p = {.fd = store_fd(s), .events = POLLIN};
    uint64_t barrier;

    (void)state;
    assert_string_equal(ask(db, "BEGIN IMMEDIATE; DELETE FROM tasks"), "");
    put(s, 0, "a");
    barrier = store_barrier(s);
    assert_int_equal(poll(&p, 1, 300), 0); /* neither committed nor failed */
    assert_string_equal(ask(db, "COMMIT"), "");
    assert_true(wait_for(s, barrier));
    /* A reader neither stops the writer nor the end. */
    assert_string_equal(ask(db, "BEGIN; SELECT id FROM tasks"), "a\n");
    put(s, 1, "b");
    commit(s);
    close_store(s);
    assert_string_equal(ask(db, "SELECT id FROM tasks; COMMIT; SELECT id FROM tasks"), "a\na\nb\n");
    sqlite3_close(db);
    assert_int_equal(count_files(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_second_pilot_is_refused_by_name),
        TEST(a_dead_owner_does_not_block),
        TEST(only_one_at_a_time_gets_the_lock),
        TEST(only_one_at_a_time_has_the_claim),
        TEST(only_one_at_a_time_outbids_the_dead),
        TEST(on_a_network_file_system_nobody_else_gets_in),
        TEST(a_persons_short_lock_is_waited_for),
    };

    return cmocka_run_group_tests_name("store_locks", tests, NULL, NULL);
}
