/* SPDX-License-Identifier: BSD-3-Clause */
/* The inbox: requests through files, and who may put them there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/control.h"
#include "head/inbox.h"

#define NOBODY 65534

struct fixture {
    char base[64], dir[96];
    struct inbox *b;
    int64_t now_ms;
};

static struct inbox *create(struct fixture *f)
{
    struct pilot_error err = {0};
    struct inbox *b = NULL;

    if (inbox_create(&b, f->base, &err) != 0)
        fail_msg("%s", err.text);
    return b;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->base, "/tmp/test-inbox.XXXXXX");
    if (mkdtemp(f->base) == NULL)
        return -1;
    chmod(f->base, 0777);
    snprintf(f->dir, sizeof(f->dir), "%s/.pilot/inbox", f->base);
    f->b = create(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    int rc;

    inbox_destroy(f->b);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->base);
    rc = system(command);
    free(f);
    return rc;
}

/* ---- Files ----------------------------------------------------------------------------------- */

static const char *path_of(const struct fixture *f, const char *name)
{
    static char path[4][512];
    static unsigned n;
    char *p = path[n++ % 4];

    snprintf(p, sizeof(path[0]), "%s/%s", f->dir, name);
    return p;
}

static bool is_there(const struct fixture *f, const char *name)
{
    struct stat st;

    return lstat(path_of(f, name), &st) == 0;
}

static void put(const struct fixture *f, const char *name, const void *text, size_t len)
{
    FILE *out = fopen(path_of(f, name), "w");

    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

static void put_text(const struct fixture *f, const char *name, const char *text)
{
    put(f, name, text, strlen(text));
}

static void expect_file(const struct fixture *f, const char *name, const char *text)
{
    char got[4096];
    FILE *in = fopen(path_of(f, name), "r");
    size_t n;

    if (in == NULL)
        fail_msg("no file %s", name);
    n = fread(got, 1, sizeof(got) - 1, in);
    got[n] = '\0';
    fclose(in);
    assert_string_equal(got, text);
}

/* Moves the clock on to the next look. */
static int next(struct fixture *f, const char **name, const char **text)
{
    int64_t due = inbox_next_ms(f->b);

    f->now_ms = f->now_ms > due ? f->now_ms : due;
    return inbox_next(f->b, f->now_ms, name, text);
}

static void expect_request(struct fixture *f, const char *name, const char *text)
{
    const char *got_name, *got_text;

    assert_int_equal(next(f, &got_name, &got_text), 1);
    assert_string_equal(got_name, name);
    assert_string_equal(got_text, text);
}

static void expect_none(struct fixture *f)
{
    const char *name, *text;

    if (next(f, &name, &text) != 0)
        fail_msg("a request that nobody expected: %s", name);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void a_request_is_answered(void **state)
{
    struct fixture *f = *state;

    expect_none(f);
    put_text(f, "a-1.req", "{\"op\": \"add\"}\n");
    expect_request(f, "a-1", "{\"op\": \"add\"}");
    assert_false(is_there(f, "a-1.req"));
    assert_true(is_there(f, "a-1.taken"));
    assert_false(is_there(f, "a-1.reply"));
    inbox_reply(f->b, "a-1", "{\"ok\": true}");
    expect_file(f, "a-1.reply", "{\"ok\": true}\n");
    assert_false(is_there(f, "a-1.taken"));
    assert_false(is_there(f, "a-1.tmp"));
    expect_none(f);
}

static void answers_may_come_later_and_in_any_order(void **state)
{
    struct fixture *f = *state;

    put_text(f, "b.req", "B");
    put_text(f, "a.req", "A\n");
    expect_request(f, "a", "A");
    expect_request(f, "b", "B");
    expect_none(f);
    inbox_reply(f->b, "b", "1");
    inbox_reply(f->b, "a", "2");
    expect_file(f, "b.reply", "1\n");
    expect_file(f, "a.reply", "2\n");
}

static void it_looks_once_a_second(void **state)
{
    struct fixture *f = *state;
    const char *name, *text;

    assert_int_equal(inbox_next(f->b, 5000, &name, &text), 0);
    assert_int_equal(inbox_next_ms(f->b), 6000);
    put_text(f, "a.req", "x");
    assert_int_equal(inbox_next(f->b, 5999, &name, &text), 0);
    assert_int_equal(inbox_next(f->b, 6000, &name, &text), 1);
}

static void many_requests_all_come(void **state)
{
    struct fixture *f = *state;
    const char *name, *text;
    bool seen[3000] = {false};
    int n = 0;

    for (int i = 0; i < 3000; i++) {
        char file[32];

        snprintf(file, sizeof(file), "r%d.req", i);
        put_text(f, file, file);
    }
    for (int looks = 0; looks < 10; looks++)
        while (next(f, &name, &text) == 1) {
            int i = atoi(name + 1);

            assert_false(seen[i]);
            seen[i] = true;
            n++;
            inbox_reply(f->b, name, text);
        }
    assert_int_equal(n, 3000);
}

static void what_its_client_withdrew_is_not_done(void **state)
{
    struct fixture *f = *state;

    put_text(f, "a.req", "A");
    put_text(f, "b.req", "B");
    put_text(f, "c.req", "C");
    expect_request(f, "a", "A"); /* the head knows of b, too */
    assert_int_equal(rename(path_of(f, "b.req"), path_of(f, "b.tmp")), 0);
    expect_request(f, "c", "C");
    expect_none(f);
    assert_false(is_there(f, "b.taken"));
    /* And what was taken cannot be withdrawn. */
    assert_int_equal(rename(path_of(f, "c.req"), path_of(f, "c.tmp")), -1);
}

static void what_is_no_request_is_not_touched(void **state)
{
    static const char *const names[] = {".hidden.req", ".req", "a b.req", "a\nb.req",    "a.tmp",
                                        "a.reply",     "a",    "a.reqs",  "\xc3\xa4.req"};
    struct fixture *f = *state;
    char longest[] = "lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
                     "lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
                     "lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll.req";

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        put_text(f, names[i], "x");
    put_text(f, longest, "x");
    expect_none(f);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_true(is_there(f, names[i]));
    assert_true(is_there(f, longest));
}

static void what_cannot_be_read_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(symlink("/etc/passwd", path_of(f, "link.req")), 0);
    assert_int_equal(mkdir(path_of(f, "dir.req"), 0700), 0);
    assert_int_equal(mkfifo(path_of(f, "fifo.req"), 0600), 0);
    put(f, "nul.req", "a\0b", 3);
    put_text(f, "long.req", "x");
    assert_int_equal(truncate(path_of(f, "long.req"), CONTROL_LINE_MAX + 2), 0);
    expect_none(f);
    for (size_t i = 0; i < 5; i++) {
        static const char *const names[] = {"link", "dir", "fifo", "nul", "long"};
        char file[32], text[512];
        FILE *in;

        snprintf(file, sizeof(file), "%s.reply", names[i]);
        in = fopen(path_of(f, file), "r");
        if (in == NULL)
            fail_msg("%s was not answered", names[i]);
        assert_non_null(fgets(text, sizeof(text), in));
        fclose(in);
        assert_non_null(strstr(text, "\"ok\": false, \"code\": \"refused\""));
    }
}

static void the_longest_request_passes(void **state)
{
    struct fixture *f = *state;
    char *text = malloc(CONTROL_LINE_MAX + 1);
    const char *name, *got;

    memset(text, 'x', CONTROL_LINE_MAX);
    text[CONTROL_LINE_MAX] = '\n';
    put(f, "a.req", text, CONTROL_LINE_MAX + 1);
    assert_int_equal(next(f, &name, &got), 1);
    assert_int_equal(strlen(got), CONTROL_LINE_MAX);
    free(text);
}

/* ---- Ends and beginnings --------------------------------------------------------------------- */

static void what_a_killed_pilot_took_is_taken_again(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();

    if (pid == 0) {
        put_text(f, "a.req", "A");
        put_text(f, "b.req", "B");
        put_text(f, "c.req", "C");
        expect_request(f, "a", "A");
        expect_request(f, "b", "B");
        inbox_reply(f->b, "b", "yes");
        put_text(f, "b.taken", "B"); /* as if killed between the two */
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    assert_true(is_there(f, "a.taken"));
    inbox_destroy(f->b);
    assert_false(is_there(f, "alive"));
    f->b = create(f);
    assert_false(is_there(f, "b.taken"));
    expect_request(f, "a", "A");
    expect_none(f);
}

static void a_run_that_starts_anew_refuses_what_was_asked_before(void **state)
{
    struct fixture *f = *state;
    struct inbox *killed = f->b; /* it puts nothing in order before the new one is there */
    char text[512];
    FILE *in;

    put_text(f, "a.req", "A");
    expect_request(f, "a", "A");
    put_text(f, "b.req", "B");
    f->b = create(f);
    inbox_refuse_old(f->b);
    expect_none(f);
    in = fopen(path_of(f, "a.reply"), "r");
    assert_non_null(in);
    assert_non_null(fgets(text, sizeof(text), in));
    fclose(in);
    assert_non_null(strstr(text, "\"code\": \"over\""));
    assert_true(is_there(f, "b.reply"));
    put_text(f, "c.req", "C");
    expect_request(f, "c", "C");
    inbox_destroy(killed);
}

static void at_the_end_who_still_asks_is_told(void **state)
{
    struct fixture *f = *state;

    put_text(f, "a.req", "A");
    inbox_destroy(f->b);
    f->b = NULL;
    assert_true(is_there(f, "a.reply")); /* which stays, for its client */
    assert_false(is_there(f, "a.req"));
    assert_false(is_there(f, "alive"));
    inbox_destroy(NULL);
}

static void at_the_end_nothing_is_left(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(stat(f->dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    inbox_destroy(f->b);
    f->b = NULL;
    assert_int_equal(stat(f->dir, &st), -1);
}

static void every_look_is_a_sign_of_life(void **state)
{
    struct fixture *f = *state;
    struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct stat st;

    assert_int_equal(utimensat(AT_FDCWD, path_of(f, "alive"), long_ago, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, f->dir, long_ago, 0), 0);
    expect_none(f);
    assert_int_equal(stat(path_of(f, "alive"), &st), 0);
    assert_true(st.st_mtime >= time(NULL) - 5);
    assert_int_equal(stat(f->dir, &st), 0);
    assert_true(st.st_mtime >= time(NULL) - 5);
}

static void what_nobody_fetches_is_removed_after_an_hour(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"a.reply", "a.tmp", "b.reply", "b.tmp"};

    for (int i = 0; i < 4; i++) {
        struct timespec then[2] = {{.tv_sec = time(NULL) - (i < 2 ? 3700 : 3500)}};

        then[1] = then[0];
        put_text(f, names[i], "x");
        assert_int_equal(utimensat(AT_FDCWD, path_of(f, names[i]), then, 0), 0);
    }
    expect_none(f);
    assert_false(is_there(f, "a.reply"));
    assert_false(is_there(f, "a.tmp"));
    assert_true(is_there(f, "b.reply"));
    assert_true(is_there(f, "b.tmp"));
}

/* ---- Other users ----------------------------------------------------------------------------- */

static void a_directory_that_is_not_only_ours_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const commands[] = {
        "rmdir inbox; mkdir -m 755 inbox",
        "rmdir inbox; mkdir -m 710 inbox",
        "rmdir inbox; mkdir -m 700 other; ln -s other inbox",
        "rm inbox; touch inbox",
        "rm inbox; mkdir -m 700 inbox; chown 65534 inbox",
    };

    inbox_destroy(f->b);
    f->b = NULL;
    assert_int_equal(mkdir(f->dir, 0700), 0);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        struct pilot_error err;
        struct inbox *b = NULL;
        char command[256];

        if (strstr(commands[i], "chown") != NULL && geteuid() != 0)
            continue;
        snprintf(command, sizeof(command), "cd %s/.pilot && %s", f->base, commands[i]);
        assert_int_equal(system(command), 0);
        if (inbox_create(&b, f->base, &err) != PILOT_EIO)
            fail_msg("taken: %s", commands[i]);
        assert_non_null(strstr(err.text, f->dir));
        assert_null(b);
    }
}

static void another_user_can_neither_read_nor_write_it(void **state)
{
    struct fixture *f = *state;
    int status;
    pid_t pid;

    if (geteuid() != 0)
        skip();
    put_text(f, "a.req", "secret");
    pid = fork();
    if (pid == 0) {
        bool in = setgid(NOBODY) < 0 || setuid(NOBODY) < 0 || opendir(f->dir) != NULL ||
                  open(path_of(f, "a.req"), O_RDONLY) >= 0 ||
                  open(path_of(f, "b.req"), O_WRONLY | O_CREAT, 0666) >= 0 ||
                  rename(f->dir, path_of(f, "../moved")) == 0 || unlink(path_of(f, "a.req")) == 0;

        _exit(in);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    expect_request(f, "a", "secret");
    expect_none(f);
    /* A file of another user, should one get in: root has moved it there. */
    put_text(f, "c.req", "theirs");
    assert_int_equal(chown(path_of(f, "c.req"), NOBODY, NOBODY), 0);
    expect_none(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered),
        TEST(answers_may_come_later_and_in_any_order),
        TEST(it_looks_once_a_second),
        TEST(many_requests_all_come),
        TEST(what_its_client_withdrew_is_not_done),
        TEST(what_is_no_request_is_not_touched),
        TEST(what_cannot_be_read_is_refused),
        TEST(the_longest_request_passes),
        TEST(what_a_killed_pilot_took_is_taken_again),
        TEST(a_run_that_starts_anew_refuses_what_was_asked_before),
        TEST(at_the_end_who_still_asks_is_told),
        TEST(at_the_end_nothing_is_left),
        TEST(every_look_is_a_sign_of_life),
        TEST(what_nobody_fetches_is_removed_after_an_hour),
        TEST(a_directory_that_is_not_only_ours_is_refused),
        TEST(another_user_can_neither_read_nor_write_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
