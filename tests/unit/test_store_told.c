/* SPDX-License-Identifier: BSD-3-Clause */
/* What the state keeps for a hook: which ends it is still to be told, and with what result; and
 * commits that somebody waits for. */
#include "store_helpers.h"

/* ---- Ends that a hook is told -----------------------------------------------------------------
 */

static void what_is_to_be_told_is_loaded_with_its_result(void **state)
{
    struct attempt_result spawn = {.reason = REASON_SPAWN,
                                   .exit_code = -1,
                                   .start_wall_ms = 1792345678901,
                                   .end_wall_ms = 1792345678902,
                                   .user_us = 1,
                                   .message = "no such file"};
    struct store *s = start_store(STORE_NEW);
    char tasks[4096] = "";

    (void)state;
    for (task_id_t i = 0; i < 7; i++)
        put(s, i, (char[2]){(char)('a' + (int)i), '\0'});
    end_and_tell(s, 0, 1, REASON_EXIT, 0, TASK_COMPLETED, true);
    end(s, 1, 1, REASON_EXIT, 0, TASK_COMPLETED);
    end_and_tell(s, 2, 1, REASON_EXIT, 7, TASK_PENDING, true); /* to be retried */
    end_and_tell(s, 2, 2, REASON_SIGNAL, -1, TASK_FAILED, true);
    store_attempt_ended(s, 3, 1, "n2", "", &spawn, TASK_FAILED, true);
    store_task_status(s, 4, TASK_SKIPPED, "dependency d did not complete", true);
    store_task_status(s, 5, TASK_CANCELLED, "", false);
    end_and_tell(s, 6, 1, REASON_EXIT, 3, TASK_PENDING, false);
    store_task_status(s, 6, TASK_CANCELLED, "", true); /* instead of its retry */
    close_store(s);
    s = open_store(STORE_RESUME);
    assert_int_equal(store_load(s, note_task, tasks, &err), 0);
    assert_string_equal(tasks, "0 a {\"command\":\"true\"} completed 1 0 0\n"
                               "  to tell: exit 0 0 1000500-1002000 1.25+0.5 2048 n1 0-1 ''\n"
                               "1 b {\"command\":\"true\"} completed 1 0 0\n"
                               "2 c {\"command\":\"true\"} failed 2 2 0\n"
                               "  to tell: signal -1 11 1000500-1002000 1.25+0.5 2048 n1 0-1 ''\n"
                               "3 d {\"command\":\"true\"} failed 1 1 0\n"
                               "  to tell: spawn -1 0 1792345678901-1792345678902 1e-06+0 0 n2 "
                               " 'no such file'\n"
                               "4 e {\"command\":\"true\"} skipped 0 0 0\n"
                               "  to tell: exit 0 0 0-0 0+0 0   ''\n"
                               "5 f {\"command\":\"true\"} cancelled 0 0 0\n"
                               "6 g {\"command\":\"true\"} cancelled 1 1 0\n"
                               "  to tell: exit 3 0 1000500-1002000 1.25+0.5 2048 n1 0-1 ''\n");
    close_store(s);
    query("UPDATE attempts SET reason = 'bored' WHERE id = 'c' AND attempt = 2");
    s = open_store(STORE_RESUME);
    assert_int_equal(store_load(s, note_task, tasks, &err), PILOT_EPROTO);
    assert_non_null(strstr(err.text, "attempt 2 of task 'c'"));
    assert_non_null(strstr(err.text, "unknown reason 'bored'"));
    close_store(s);
}

static void what_was_answered_is_not_told_again(void **state)
{
    struct store *s = start_store(STORE_NEW);
    char tasks[4096] = "";

    (void)state;
    put(s, 0, "a");
    put(s, 1, "b");
    end_and_tell(s, 0, 1, REASON_EXIT, 0, TASK_COMPLETED, true);
    end(s, 1, 1, REASON_EXIT, 0, TASK_COMPLETED);
    commit(s);
    assert_string_equal(query("SELECT told FROM tasks"), "0\n-\n");
    put(s, 2, "follow-up");
    store_event_answered(s, 0);
    store_event_answered(s, 0);
    store_event_answered(s, 1); /* nobody asked: stays as it is */
    commit(s);
    assert_string_equal(query("SELECT id, told FROM tasks"), "a|1\nb|-\nfollow-up|-\n");
    close_store(s);
    s = open_store(STORE_RESUME);
    assert_int_equal(store_load(s, note_task, tasks, &err), 0);
    assert_null(strstr(tasks, "to tell"));
    assert_int_equal(store_start(s, &err), 0);
    store_event_answered(s, 99);
    assert_false(wait_for(s, store_barrier(s)));
    assert_int_equal(store_close(s, &err), PILOT_ESTORE);
    assert_non_null(strstr(err.text, "no task number 99"));
}

/* An end that is no longer one is not told, nor does a late answer count for the next end. */
static void a_task_that_runs_again_has_nothing_to_tell(void **state)
{
    struct task_spec spec = {.id = "c", .command = "false", .cores = 1};
    struct store *s = start_store(STORE_NEW);

    (void)state;
    put(s, 0, "a");
    put(s, 1, "b");
    put(s, 2, "c");
    for (task_id_t i = 0; i < 3; i++)
        end_and_tell(s, i, 1, REASON_EXIT, 1, TASK_FAILED, true);
    store_event_answered(s, 0);
    commit(s);
    assert_string_equal(query("SELECT told FROM tasks"), "1\n0\n0\n");
    store_task_status(s, 0, TASK_PENDING, "--retry-failed", false);
    store_task_status(s, 1, TASK_PENDING, "--retry-failed", true);
    store_replace_task(s, 2, &spec, "{}");
    for (task_id_t i = 0; i < 3; i++)
        store_event_answered(s, i);
    commit(s);
    assert_string_equal(query("SELECT told FROM tasks"), "-\n-\n-\n");
    for (task_id_t i = 0; i < 3; i++) {
        store_attempt_started(s, i, (char[2]){(char)('a' + (int)i), '\0'}, 2, "n1", 1000000);
        end_and_tell(s, i, 2, REASON_EXIT, 0, TASK_COMPLETED, i > 0);
    }
    commit(s);
    assert_string_equal(query("SELECT told FROM tasks"), "-\n0\n0\n");
    close_store(s);
}

/* ---- Somebody waits ---------------------------------------------------------------------------
 */

static struct store *start_slow_store(void)
{
    const struct store_setup an_hour = {.pace_us = 3600 * INT64_C(1000000)};
    struct store *s = NULL;

    assert_int_equal(store_open_with(&s, db_path, STORE_NEW, &me, &an_hour, &err), 0);
    assert_int_equal(store_start(s, &err), 0);
    return s;
}

/* With an hour from one commit to the next, nothing is committed within the deadline of wait_for
 * but what is hurried. */
static void a_barrier_that_somebody_waits_for_is_committed_at_once(void **state)
{
    struct store *s = start_slow_store();
    struct pollfd p = {.fd = store_fd(s), .events = POLLIN};
    uint64_t barrier = 0, count;

    (void)state;
    store_hurry(s); /* for nothing */
    for (task_id_t i = 0; i < 20; i++) {
        put(s, i, (char[2]){(char)('a' + (int)i), '\0'});
        barrier = store_barrier(s);
        if (i % 3 == 0)
            continue;
        store_hurry(s);
        store_hurry(s);
        assert_true(wait_for(s, barrier));
    }
    put(s, 20, "u");
    store_hurry(s); /* for what is committed already: u has no barrier yet */
    barrier = store_barrier(s);
    while (poll(&p, 1, 100) > 0) /* the notice of an earlier commit may come late */
        assert_int_equal(read(p.fd, &count, sizeof(count)), sizeof(count));
    assert_int_equal(store_committed(s), barrier - 1);
    store_hurry(s);
    assert_true(wait_for(s, barrier));
    assert_string_equal(query("SELECT count(*) FROM tasks"), "21\n");
    close_store(s);
}

struct hurrier {
    struct store *s;
    pthread_t thread;
    atomic_bool stop;
};

static void *keep_hurrying(void *arg)
{
    struct hurrier *h = arg;

    while (!atomic_load(&h->stop))
        store_hurry(h->s);
    return NULL;
}

/* Each barrier of many meets the writer in another moment; one missed would be missed for an hour.
 */
static void any_thread_may_hurry_at_any_moment(void **state)
{
    struct hurrier h[2] = {{0}, {0}};
    struct store *s = start_slow_store();
    char id[16];

    (void)state;
    for (int i = 0; i < 2; i++) {
        h[i].s = s;
        assert_int_equal(pthread_create(&h[i].thread, NULL, keep_hurrying, &h[i]), 0);
    }
    for (task_id_t i = 0; i < 300; i++) {
        snprintf(id, sizeof(id), "t%u", i);
        put(s, i, id);
        if (i % 4 == 0)
            store_barrier(s);
        else
            commit(s);
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&h[i].stop, true);
        assert_int_equal(pthread_join(h[i].thread, NULL), 0);
    }
    close_store(s);
    assert_string_equal(query("SELECT count(*) FROM tasks"), "300\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_to_be_told_is_loaded_with_its_result),
        TEST(what_was_answered_is_not_told_again),
        TEST(a_task_that_runs_again_has_nothing_to_tell),
        TEST(a_barrier_that_somebody_waits_for_is_committed_at_once),
        TEST(any_thread_may_hurry_at_any_moment),
    };

    return cmocka_run_group_tests_name("store told", tests, NULL, NULL);
}
