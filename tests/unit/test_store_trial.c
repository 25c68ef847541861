/* SPDX-License-Identifier: BSD-3-Clause */
/* Suspicions: what an end of a pilot without a word says about the tasks that ran then, and what
 * becomes of it. */
#include "store_helpers.h"

/* What an end without a word says about tasks that ran or waited then; node n1 is the pilot's. */
static void an_end_without_a_word_is_reckoned(void **state)
{
    static const struct {
        const char *what, *owner;
        const char *a, *b; /* status, node, suspicion, trial */
        const char *after; /* suspicion of both */
    } cases[] = {
        {"clean end", NULL, "'running', 'n1', NULL, NULL", "'pending', NULL, NULL, NULL", "-|-"},
        {"first", "n1", "'running', 'n1', NULL, NULL", "'pending', NULL, NULL, NULL", "1|-"},
        {"second", "n1", "'running', 'n1', 1, NULL", "'running', 'n1', NULL, NULL", "2|1"},
        {"no trial, no more", "n1", "'running', 'n1', 2, NULL", "'running', 'n1', 4, NULL", "2|4"},
        {"another node", "n1", "'running', 'n2', 1, NULL", "'running', 'n2', NULL, 1", "1|-"},
        {"shared", "n1", "'running', 'n1', 2, 1", "'running', 'n1', 2, 1", "3|3"},
        {"beside a shared one", "n1", "'running', 'n1', 2, 1", "'running', 'n1', 1, NULL", "3|1"},
        {"of its own", "n1", "'running', 'n1', 3, 1", "'running', 'n1', NULL, NULL", "4|-"},
        {"again", "n1", "'running', 'n1', 4, 1", "'pending', 'n1', 4, NULL", "5|4"},
        {"watched elsewhere", "n1", "'running', 'n2', 3, 1", "'pending', NULL, NULL, NULL", "3|-"},
        {"while it waited", "n1", "'pending', 'n1', 5, 0", "'running', 'n1', NULL, NULL", "2|1"},
        {"a clean end while it waited", NULL, "'pending', 'n1', 4, 0", "'pending', NULL, 3, NULL",
         "4|3"},
    };

    (void)state;
    for (size_t n = 0; n < 2 * sizeof(cases) / sizeof(cases[0]); n++) {
        struct store *s = start_store(STORE_FRESH);
        char sql[1024], tasks[4096] = "";
        size_t i = n / 2;

        put(s, 0, "a");
        put(s, 1, "b");
        close_store(s);
        snprintf(sql, sizeof(sql),
                 "UPDATE tasks SET (status, node, suspicion, trial) = (%s) WHERE id = 'a';"
                 "UPDATE tasks SET (status, node, suspicion, trial) = (%s) WHERE id = 'b';"
                 "INSERT INTO owner SELECT 1, '%s', 1, '', 0, 0 WHERE %d;",
                 cases[i].a, cases[i].b, cases[i].owner ? cases[i].owner : "",
                 cases[i].owner != NULL);
        assert_string_equal(query(sql), "");
        s = n % 2 == 0 ? open_store(STORE_RESUME) : resume_store(tasks);
        assert_int_equal(store_was_cut_off(s), cases[i].owner != NULL);
        if (n % 2 == 0)
            assert_int_equal(store_load(s, note_task, tasks, &err), 0);
        assert_null(strstr(tasks, "running"));
        close_store(s);
        snprintf(sql, sizeof(sql), "%s\n", cases[i].after);
        if (strcmp(query("SELECT a.suspicion, b.suspicion FROM tasks a, tasks b"
                         " WHERE a.id = 'a' AND b.id = 'b'"),
                   sql) != 0)
            fail_msg("%s: expected %s, got %s", cases[i].what, sql,
                     query("SELECT suspicion FROM tasks"));
        assert_string_equal(query("SELECT count(*) FROM tasks WHERE trial IS NOT NULL"), "0\n");
    }
}

/* Killed while it was ending what ran: that says nothing about what ran. */
static void an_end_while_stopping_is_no_surprise(void **state)
{
    char tasks[4096] = "";
    struct store *s;

    (void)state;
    s = start_store(STORE_NEW);
    put(s, 0, "a");
    close_store(s);
    query("UPDATE tasks SET status = 'running', node = 'n1';"
          "INSERT INTO owner VALUES (1, 'n1', 1, '', 0, 0);"
          "INSERT INTO meta VALUES ('stopping', '1')");
    s = open_store(STORE_RESUME);
    assert_false(store_was_cut_off(s));
    assert_int_equal(store_load(s, note_task, tasks, &err), 0);
    assert_null(strstr(tasks, "suspicion"));
    close_store(s);
    assert_string_equal(query("SELECT count(*) FROM meta WHERE key = 'stopping'"), "0\n");
}

/* What the writer makes of a trial, and of the end of a suspect. */
static void suspicion_ends_with_the_trial_or_the_attempt(void **state)
{
    struct store *s = start_store(STORE_NEW);

    (void)state;
    for (task_id_t i = 0; i < 9; i++)
        put(s, i, (char[2]){(char)('a' + (int)i), '\0'});
    close_store(s);
    assert_string_equal(query("UPDATE tasks SET suspicion = 5 - (id IN ('g', 'h')) * 3"), "");
    s = start_store(STORE_RESUME);
    store_trial(s, 0, STORE_TRIAL_WAITS);
    store_trial(s, 1, STORE_TRIAL_WATCHED);
    store_trial(s, 2, STORE_TRIAL_PASSED);
    end(s, 3, 1, REASON_EXIT, 1, TASK_PENDING);
    end(s, 4, 1, REASON_STOP, -1, TASK_PENDING);
    store_task_status(s, 5, TASK_FAILED, "lost", false);
    store_trial(s, 6, STORE_TRIAL_SHARED);
    store_trial(s, 7, STORE_TRIAL_WATCHED); /* there was nobody to share it with */
    store_task_status(s, 8, TASK_PENDING, "--retry-failed", false);
    close_store(s);
    assert_string_equal(query("SELECT id, suspicion, trial, losses FROM tasks"),
                        "a|5|0|0\nb|5|1|0\nc|-|-|0\nd|-|-|0\ne|5|-|0\nf|-|-|2\n"
                        "g|2|1|0\nh|3|1|0\ni|-|-|0\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_end_without_a_word_is_reckoned),
        TEST(an_end_while_stopping_is_no_surprise),
        TEST(suspicion_ends_with_the_trial_or_the_attempt),
    };

    return cmocka_run_group_tests_name("store_trial", tests, NULL, NULL);
}
