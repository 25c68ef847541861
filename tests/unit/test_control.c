/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: lines in and out, and clients of every kind. */
#include "control_helpers.h"

#include <sys/resource.h>

/* ---- Lines ----------------------------------------------------------------------------------- */

static void a_request_is_answered(void **state)
{
    struct fixture *f = *state;
    const char *line;
    int fd = client(f);
    uint32_t number;

    say(fd, "{\"op\": \"add\"}\n");
    number = await(f->c, &line);
    assert_string_equal(line, "{\"op\": \"add\"}");
    control_reply(f->c, number, "{\"ok\": true}");
    assert_string_equal(hear(fd), "{\"ok\": true}");
    say(fd, "again\n");
    number = await(f->c, &line);
    assert_string_equal(line, "again");
    control_reply(f->c, number, "");
    assert_string_equal(hear(fd), "");
    close(fd);
    expect_none(f->c);
}

static void several_requests_are_answered_one_after_the_other(void **state)
{
    struct fixture *f = *state;
    const char *line;
    int fd = client(f);
    uint32_t number;

    say(fd, "one\ntwo\n\nthr");
    number = await(f->c, &line);
    assert_string_equal(line, "one");
    expect_none(f->c); /* not before the answer */
    control_reply(f->c, number, "1");
    assert_string_equal(hear(fd), "1");
    number = await(f->c, &line);
    assert_string_equal(line, "two");
    control_reply(f->c, number, "2");
    number = await(f->c, &line);
    assert_string_equal(line, "");
    control_reply(f->c, number, "3");
    expect_none(f->c);
    say(fd, "ee\n");
    number = await(f->c, &line);
    assert_string_equal(line, "three");
    close(fd);
}

static void a_line_may_come_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    const char *text = "{\"op\": \"add\", \"text\": \"x\"}", *line;
    int fd = client(f);

    for (size_t i = 0; text[i] != '\0'; i++) {
        assert_int_equal(send(fd, text + i, 1, 0), 1);
        expect_none(f->c);
    }
    say(fd, "\n");
    await(f->c, &line);
    assert_string_equal(line, text);
    close(fd);
}

/* Sends len bytes and what is to end them from a process of its own; its exit status is 0 when it
 * was answered. */
static pid_t send_long(const struct fixture *f, size_t len, char end)
{
    pid_t pid = fork();

    if (pid == 0) {
        char *text = malloc(len + 1);
        int fd = try_connect(control_path(f->c));
        char answer;

        memset(text, 'x', len);
        text[len] = end;
        for (size_t sent = 0; sent <= len;) {
            ssize_t n = send(fd, text + sent, len + 1 - sent, MSG_NOSIGNAL);

            if (n <= 0)
                _exit(1);
            sent += (size_t)n;
        }
        _exit(recv(fd, &answer, 1, 0) == 1 ? 0 : 2);
    }
    return pid;
}

static void the_longest_line_passes(void **state)
{
    struct fixture *f = *state;
    pid_t pid = send_long(f, CONTROL_LINE_MAX, '\n');
    const char *line;
    uint32_t number = await(f->c, &line);

    assert_int_equal(strlen(line), CONTROL_LINE_MAX);
    control_reply(f->c, number, "taken");
    assert_int_equal(status_of(pid), 0);
}

static void a_line_that_is_too_long_ends_the_connection(void **state)
{
    struct fixture *f = *state;

    assert_int_not_equal(serve_until_end(f, send_long(f, CONTROL_LINE_MAX + 1, '\n')), 0);
    expect_none(f->c);
    assert_int_not_equal(serve_until_end(f, send_long(f, CONTROL_LINE_MAX, 'x')), 0);
    expect_none(f->c);
}

static void a_binary_line_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);

    assert_int_equal(send(fd, "a\0b\n", 4, 0), 4);
    expect_none(f->c);
    expect_eof(fd);
    close(fd);
}

/* ---- Clients that go away, or do not read ---------------------------------------------------- */

static void a_client_that_left_is_ignored(void **state)
{
    struct fixture *f = *state;
    int fd = client(f), other;
    const char *line;
    uint32_t gone, number;

    say(fd, "before it went\n");
    close(fd);
    gone = await(f->c, &line); /* it has asked, so it is heard */
    assert_string_equal(line, "before it went");
    expect_none(f->c);
    /* Its slot is another's now, who must not get its answer. */
    other = client(f);
    say(other, "me\n");
    number = await(f->c, &line);
    assert_int_not_equal(number, gone);
    control_reply(f->c, gone, "not yours");
    control_reply(f->c, number, "yours");
    assert_string_equal(hear(other), "yours");
    control_reply(f->c, number, "twice");
    control_reply(f->c, 0, "nobody");
    control_reply(f->c, UINT32_MAX, "nobody");
    assert_false(readable(other, 0));
    close(other);

    fd = client(f);
    say(fd, "half a li");
    close(fd);
    expect_none(f->c);
}

static void a_client_may_end_its_side_and_still_hear(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    const char *line;
    uint32_t number;

    say(fd, "q\n");
    shutdown(fd, SHUT_WR);
    number = await(f->c, &line);
    expect_none(f->c); /* and the loop is not kept awake */
    assert_false(readable(control_fd(f->c), 0));
    control_reply(f->c, number, "a");
    assert_string_equal(hear(fd), "a");
    expect_none(f->c);
    expect_eof(fd);
    close(fd);
}

static void a_client_that_does_not_read_holds_up_nobody(void **state)
{
    struct fixture *f = *state;
    size_t len = 8u << 20, got = 0;
    char *text = malloc(len + 1), block[65536];
    int lazy = client(f), other = client(f);
    const char *line;
    uint32_t number;

    memset(text, 'r', len);
    text[len] = '\0';
    say(lazy, "q\nq\nq\n");
    number = await(f->c, &line);
    control_reply(f->c, number, text);
    expect_none(f->c);
    for (int i = 0; i < 100; i++) {
        say(other, "q\n");
        number = await(f->c, &line);
        control_reply(f->c, number, "a");
        assert_string_equal(hear(other), "a");
    }
    while (got < len + 1) { /* now it reads, and gets all of it */
        const char *none;
        ssize_t n = recv(lazy, block, sizeof(block), MSG_DONTWAIT);

        if (n < 0)
            control_next(f->c, &number, &none);
        else
            got += (size_t)n;
    }
    assert_int_equal(got, len + 1);
    close(lazy);
    close(other);
    free(text);
}

/* ---- Many ------------------------------------------------------------------------------------ */

#define MANY 1000

static void limit_descriptors(rlim_t soft, struct rlimit *before)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, before);
    limit = *before;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void a_thousand_clients_at_once(void **state)
{
    struct fixture *f = *state;
    struct rlimit before;
    char text[32];
    int *fds = calloc(MANY, sizeof(*fds));
    uint32_t *numbers = calloc(MANY, sizeof(*numbers));

    limit_descriptors(8192, &before);
    control_destroy(f->c);
    f->c = create(f);
    for (int i = 0; i < MANY; i++) {
        fds[i] = client(f);
        snprintf(text, sizeof(text), "%d\n", i);
        say(fds[i], text);
    }
    for (int i = 0; i < MANY; i++) {
        const char *line;
        uint32_t number = await(f->c, &line);

        numbers[atoi(line)] = number;
    }
    for (int i = MANY - 1; i >= 0; i--) { /* all of them wait at the same time */
        snprintf(text, sizeof(text), "answer %d", i);
        control_reply(f->c, numbers[i], text);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "answer %d", i);
        assert_string_equal(hear(fds[i]), text);
        close(fds[i]);
    }
    expect_none(f->c);
    setrlimit(RLIMIT_NOFILE, &before);
    free(fds);
    free(numbers);
}

/* With few descriptors the others wait to be let in, and are served when somebody leaves. */
static void who_finds_no_room_waits(void **state)
{
    struct fixture *f = *state;
    int fds[100], served = 0;
    struct rlimit before;

    limit_descriptors(64, &before); /* 32 clients */
    control_destroy(f->c);
    f->c = create(f);
    setrlimit(RLIMIT_NOFILE, &before);
    for (int i = 0; i < 100; i++) {
        fds[i] = client(f);
        say(fds[i], "q\n");
    }
    while (served < 100) {
        const char *line;
        uint32_t number[100];
        int n = 0;

        while (control_next(f->c, &number[n], &line) != 0)
            n++;
        assert_true(n > 0 && n <= 32);
        assert_false(readable(control_fd(f->c), 0)); /* no turning in circles meanwhile */
        for (int i = 0; i < n; i++) {
            control_reply(f->c, number[i], "a");
            assert_string_equal(hear(fds[served]), "a");
            close(fds[served++]);
        }
    }
    expect_none(f->c);
}

/* Descriptors that others have used up: nobody is let in, nobody is lost, and the loop sleeps. */
static void without_descriptors_the_next_waits(void **state)
{
    struct fixture *f = *state;
    int fd = client(f), last = dup(fd), used[64], n = 0;
    struct rlimit before;
    const char *line;
    uint32_t number;

    say(fd, "q\n");
    limit_descriptors((rlim_t)last + 1, &before);
    while (n < 64 && (used[n] = dup(fd)) >= 0)
        n++;
    assert_true(n < 64);
    assert_int_equal(control_next(f->c, &number, &line), 0);
    assert_false(readable(control_fd(f->c), 0));
    setrlimit(RLIMIT_NOFILE, &before);
    number = await(f->c, &line);
    assert_string_equal(line, "q");
    for (int i = 0; i < n; i++)
        close(used[i]);
    close(last);
    close(fd);
}

/* Random clients: what each hears is what it asked, whatever the others do. */
struct random_client {
    int fd;
    unsigned asked, number;
    size_t sent;
    char text[400];
};

static unsigned random_below(unsigned *seed, unsigned n)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 12) % n;
}

static void random_step(struct fixture *f, struct random_client *cl, unsigned *seed)
{
    char expected[420];
    size_t len;

    if (cl->fd < 0) {
        cl->fd = client(f);
        cl->sent = 0;
        cl->text[0] = '\0';
    }
    if (cl->text[0] == '\0') {
        size_t pad = random_below(seed, 300);

        len = (size_t)snprintf(cl->text, sizeof(cl->text), "%u/%u ", cl->number, cl->asked++);
        memset(cl->text + len, 'p', pad);
        cl->text[len + pad] = '\n';
        cl->text[len + pad + 1] = '\0';
        cl->sent = 0;
    }
    len = strlen(cl->text);
    if (random_below(seed, 40) == 0) {
        close(cl->fd);
        cl->fd = -1;
    } else if (cl->sent < len) {
        size_t piece = 1 + random_below(seed, 200);

        piece = piece < len - cl->sent ? piece : len - cl->sent;
        assert_int_equal(send(cl->fd, cl->text + cl->sent, piece, MSG_NOSIGNAL), piece);
        cl->sent += piece;
    } else if (readable(cl->fd, 0)) {
        snprintf(expected, sizeof(expected), "re: %.*s", (int)len - 1, cl->text);
        assert_string_equal(hear(cl->fd), expected);
        cl->text[0] = '\0';
    }
}

static void random_clients(void **state)
{
    struct fixture *f = *state;
    struct random_client clients[40];
    unsigned seed = (unsigned)clock_mono_us(), answered = 0;
    uint32_t waiting[4096];
    char *lines[4096];
    size_t n = 0;

    print_message("seed %u\n", seed);
    memset(clients, 0, sizeof(clients));
    for (unsigned i = 0; i < 40; i++) {
        clients[i].number = i;
        clients[i].fd = -1;
    }
    for (int step = 0; step < 40000; step++) {
        const char *line;

        random_step(f, &clients[random_below(&seed, 40)], &seed);
        if (random_below(&seed, 4) == 0 && n < 4096 && control_next(f->c, &waiting[n], &line) != 0)
            assert_int_not_equal(asprintf(&lines[n++], "re: %s", line), -1);
        if (n > 0 && random_below(&seed, 5) == 0) { /* in any order */
            size_t i = random_below(&seed, (unsigned)n);

            control_reply(f->c, waiting[i], lines[i]);
            free(lines[i]);
            lines[i] = lines[--n];
            waiting[i] = waiting[n];
            answered++;
        }
    }
    print_message("%u answers\n", answered);
    assert_true(answered > 500);
    while (n > 0)
        free(lines[--n]);
    for (unsigned i = 0; i < 40; i++)
        if (clients[i].fd >= 0)
            close(clients[i].fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered),
        TEST(several_requests_are_answered_one_after_the_other),
        TEST(a_line_may_come_byte_by_byte),
        TEST(the_longest_line_passes),
        TEST(a_line_that_is_too_long_ends_the_connection),
        TEST(a_binary_line_ends_the_connection),
        TEST(a_client_that_left_is_ignored),
        TEST(a_client_may_end_its_side_and_still_hear),
        TEST(a_client_that_does_not_read_holds_up_nobody),
        TEST(a_thousand_clients_at_once),
        TEST(who_finds_no_room_waits),
        TEST(without_descriptors_the_next_waits),
        TEST(random_clients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
