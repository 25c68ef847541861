/* SPDX-License-Identifier: BSD-3-Clause */
/* Going on with a state: its tasks are read while its file is checked, and nothing is written
 * before the check has said that all is well. */
#include "store_helpers.h"

#include <fcntl.h>
#include <sys/wait.h>

#define TASKS 500

static char *slurp(const char *tail, size_t *len)
{
    char path[128];
    char *text = NULL;
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "%s%s", db_path, tail);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    text = malloc(*len + 1);
    assert_non_null(text);
    assert_int_equal(read(fd, text, *len), *len);
    close(fd);
    return text;
}

/* Resuming fails so, twice in the same way, and the file stays as it is. */
static void expect_refused(int code, const char *text)
{
    size_t len, len_after;
    char *before = slurp("", &len), *after;

    for (int i = 0; i < 2; i++) {
        struct store *s = NULL;
        static char tasks[4096];

        tasks[0] = '\0';
        assert_int_equal(try_resume(&s, tasks), code);
        if (strstr(err.text, text) == NULL)
            fail_msg("'%s' is not in: %s", text, err.text);
        after = slurp("", &len_after);
        assert_int_equal(len, len_after);
        assert_memory_equal(before, after, len);
        free(after);
    }
    free(before);
}

static void make_tasks(void)
{
    struct store *s = start_store(STORE_NEW);
    char id[16];

    for (task_id_t i = 0; i < TASKS; i++) {
        snprintf(id, sizeof(id), "t%u", i);
        put(s, i, id);
        store_attempt_started(s, i, id, 1, "n1", 1000500);
        end(s, i, 1, REASON_EXIT, 0, TASK_COMPLETED);
    }
    close_store(s);
}

static void what_was_left_open_is_given_again(void **state)
{
    struct store *s = start_store(STORE_NEW);
    char tasks[4096] = "";

    (void)state;
    put(s, 0, "a");
    put(s, 1, "b");
    put(s, 2, "c");
    end_and_tell(s, 0, 1, REASON_EXIT, 0, TASK_COMPLETED, true);
    store_attempt_started(s, 1, "b", 1, "n1", 1000500);
    close_store(s);
    assert_string_equal(query("INSERT INTO owner SELECT 1, 'n1', 1, '', 0, 0"), "");
    s = resume_store(tasks);
    assert_string_equal(tasks, "0 a {\"command\":\"true\"} completed 1 0 0\n"
                               "  to tell: exit 0 0 1000500-1002000 1.25+0.5 2048 n1 0-1 ''\n"
                               "1 b {\"command\":\"true\"} pending 1 0 0\n"
                               "2 c {\"command\":\"true\"} pending 0 0 0\n"
                               "1 b {\"command\":\"true\"} pending 1 0 0\n"
                               "  suspicion 1\n");
    assert_int_equal(store_start(s, &err), 0);
    put(s, 3, "d");
    commit(s);
    close_store(s);
    assert_string_equal(query("SELECT id, status FROM tasks; SELECT id, reason FROM attempts"),
                        "a|completed\nb|pending\nc|pending\nd|pending\na|exit\nb|lost\n");
}

/* What only the check looks at: pages of the table of attempts. */
static void damage_that_reading_does_not_meet_is_found(void **state)
{
    char *page;
    int fd;

    (void)state;
    make_tasks();
    page = strdup(query("SELECT pageno FROM dbstat WHERE name = 'attempts' AND pagetype = 'leaf'"
                        " LIMIT 1"));
    assert_true(atoi(page) > 1);
    fd = open(db_path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "damaged!", 8, (atoi(page) - 1) * (off_t)SCHEMA_PAGE_BYTES), 8);
    close(fd);
    free(page);
    expect_refused(PILOT_ESTORE, "damaged");
}

/* What reading meets too: it is damage, however the reading of it fails. */
static void damage_that_reading_meets_is_called_damage(void **state)
{
    int fd;
    struct stat st;

    (void)state;
    make_tasks();
    fd = open(db_path, O_RDWR | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 8 * (off_t)SCHEMA_PAGE_BYTES; at < st.st_size; at += SCHEMA_PAGE_BYTES)
        assert_int_equal(pwrite(fd, "damaged!", 8, at), 8);
    close(fd);
    expect_refused(PILOT_ESTORE, "pilot-mpi recover");
    assert_non_null(strstr(err.text, "nothing was changed"));
}

static void rows_that_cannot_be_are_refused(void **state)
{
    static const struct {
        const char *sql, *text;
    } cases[] = {
        {"UPDATE tasks SET status = 'bored' WHERE seq = 7", "unknown status 'bored'"},
        {"DELETE FROM tasks WHERE seq = 7", "has no task number 7"},
        {"UPDATE tasks SET seq = 4611686018427387904 WHERE seq = 499", "has no task number 499"},
    };

    (void)state;
    make_tasks();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(query("CREATE TABLE kept AS SELECT * FROM tasks"), "");
        assert_string_equal(query(cases[i].sql), "");
        expect_refused(PILOT_EPROTO, cases[i].text);
        assert_string_equal(query("DELETE FROM tasks; INSERT INTO tasks SELECT * FROM kept;"
                                  "DROP TABLE kept"),
                            "");
    }
}

/* A killed pilot's state of which a row cannot be read: nothing was written, and that a part of it
 * is missing is noticed as before when the row has been mended. */
static void a_refused_state_is_still_that_of_a_killed_pilot(void **state)
{
    struct store *s = NULL;
    char tasks[4096] = "";
    pid_t pid = fork_child();
    int status;

    (void)state;
    if (pid == 0) {
        s = start_store(STORE_NEW);
        put(s, 0, "a");
        commit(s);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_string_equal(query("UPDATE tasks SET status = 'bored'"), "");
    assert_int_equal(try_resume(&s, tasks), PILOT_EPROTO);
    assert_string_equal(
        query("UPDATE tasks SET status = 'pending'; UPDATE owner SET heartbeat = 1"), "");
    assert_int_equal(try_resume(&s, tasks), PILOT_ESTORE);
    assert_non_null(strstr(err.text, "its newest transactions are missing"));
}

static void nothing_to_go_on_with_is_said(void **state)
{
    struct store *s = NULL;
    char tasks[4096] = "";

    (void)state;
    assert_int_equal(try_resume(&s, tasks), PILOT_ENOENT);
    s = start_store(STORE_NEW);
    assert_int_equal(try_resume(&s, tasks), PILOT_EBUSY);
    close_store(s);
    s = NULL;
    assert_int_equal(try_resume(&s, tasks), PILOT_ENOENT);
    assert_non_null(strstr(err.text, "nothing to resume"));
    assert_string_equal(tasks, "");
}

/* An older layout lacks columns: it is migrated before it is read. */
static void an_older_layout_is_read_when_it_is_migrated(void **state)
{
    struct store *s;
    char tasks[4096] = "";

    (void)state;
    s = start_store(STORE_NEW);
    put(s, 0, "a");
    close_store(s);
    assert_string_equal(query("ALTER TABLE tasks DROP COLUMN suspicion;"
                              "ALTER TABLE tasks DROP COLUMN trial; PRAGMA user_version = 4"),
                        "");
    s = resume_store(tasks);
    assert_string_equal(tasks, "0 a {\"command\":\"true\"} pending 0 0 0\n");
    close_store(s);
    assert_string_equal(query("PRAGMA user_version"), "5\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_left_open_is_given_again),
        TEST(damage_that_reading_does_not_meet_is_found),
        TEST(damage_that_reading_meets_is_called_damage),
        TEST(rows_that_cannot_be_are_refused),
        TEST(a_refused_state_is_still_that_of_a_killed_pilot),
        TEST(nothing_to_go_on_with_is_said),
        TEST(an_older_layout_is_read_when_it_is_migrated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
