/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: lines in and out, clients of every kind, who may come in, what is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/control.h"
#include "common/clock.h"
#include "common/error.h"

#define NOBODY 65534
#define DEADLINE_MS 20000

struct fixture {
    char base[64], node[80], tmp[80], note[96];
    struct control *c;
};

static struct control *create(struct fixture *f)
{
    struct pilot_error err = {0};
    struct control *c = NULL;

    if (control_create(&c, f->node, &err) != 0)
        fail_msg("%s", err.text);
    return c;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->base, "/tmp/test-control.XXXXXX");
    if (mkdtemp(f->base) == NULL)
        return -1;
    snprintf(f->node, sizeof(f->node), "%s/node", f->base);
    snprintf(f->tmp, sizeof(f->tmp), "%s/tmp", f->base);
    snprintf(f->note, sizeof(f->note), "%s/socket", f->node);
    chmod(f->base, 0755);
    mkdir(f->node, 0755);
    mkdir(f->tmp, 01777);
    chmod(f->tmp, 01777);
    setenv("TMPDIR", f->tmp, 1);
    f->c = create(f);
    *state = f;
    return 0;
}

static void remove_tree(const char *path)
{
    char command[256];

    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    control_destroy(f->c);
    remove_tree(f->base);
    free(f);
    return 0;
}

/* ---- Clients --------------------------------------------------------------------------------- */

static int try_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int errnum = errno;

        close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

static int client(const struct fixture *f)
{
    int fd = try_connect(control_path(f->c));

    if (fd < 0)
        fail_msg("connect: %s", strerror(errno));
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, timeout_ms) == 1;
}

/* The next line, which must come; the control socket is not served meanwhile. */
static char *hear(int fd)
{
    static char line[65536];
    size_t len = 0;

    do {
        if (!readable(fd, DEADLINE_MS) || recv(fd, line + len, 1, 0) != 1)
            fail_msg("no line from the pilot, only '%.*s'", (int)len, line);
    } while (line[len++] != '\n');
    line[len - 1] = '\0';
    return line;
}

static void expect_eof(int fd)
{
    char byte;

    if (!readable(fd, DEADLINE_MS))
        fail_msg("the connection is still open");
    assert_true(recv(fd, &byte, 1, 0) <= 0);
}

/* The next request, waited for. */
static uint32_t await(struct control *c, const char **line)
{
    int64_t end_ms = clock_mono_ms() + DEADLINE_MS;
    uint32_t number;

    while (control_next(c, &number, line) == 0)
        if (clock_mono_ms() > end_ms || !readable(control_fd(c), DEADLINE_MS))
            fail_msg("no request came");
    return number;
}

/* Serves until there is nothing at once: what has been sent is taken in. */
static void expect_none(struct control *c)
{
    const char *line;
    uint32_t number;

    while (readable(control_fd(c), 0))
        if (control_next(c, &number, &line) != 0)
            fail_msg("a request that nobody expected: %.60s", line);
    assert_int_equal(control_next(c, &number, &line), 0);
}

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

/* Sends len bytes and a newline from a process of its own; its exit status is 0 when all were
 * taken. */
static pid_t send_long(const struct fixture *f, size_t len)
{
    pid_t pid = fork();

    if (pid == 0) {
        char *text = malloc(len + 1);
        int fd = try_connect(control_path(f->c));
        char answer;

        memset(text, 'x', len);
        text[len] = '\n';
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

static int status_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_longest_line_passes(void **state)
{
    struct fixture *f = *state;
    pid_t pid = send_long(f, CONTROL_LINE_MAX);
    const char *line;
    uint32_t number = await(f->c, &line);

    assert_int_equal(strlen(line), CONTROL_LINE_MAX);
    control_reply(f->c, number, "taken");
    assert_int_equal(status_of(pid), 0);
}

/* Serves until the client has ended; nothing must be handed out. */
static int serve_until_end(struct fixture *f, pid_t pid)
{
    int64_t end_ms = clock_mono_ms() + DEADLINE_MS;
    const char *line;
    uint32_t number;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_mono_ms() > end_ms)
            fail_msg("the client does not end");
        assert_int_equal(control_next(f->c, &number, &line), 0);
        readable(control_fd(f->c), 10);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_line_that_is_too_long_ends_the_connection(void **state)
{
    struct fixture *f = *state;

    assert_int_not_equal(serve_until_end(f, send_long(f, CONTROL_LINE_MAX + 1)), 0);
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

/* ---- Files ----------------------------------------------------------------------------------- */

static void read_note(const struct fixture *f, char *path, size_t size)
{
    FILE *in = fopen(f->note, "r");

    assert_non_null(in);
    assert_non_null(fgets(path, (int)size, in));
    fclose(in);
    path[strcspn(path, "\n")] = '\0';
}

static unsigned entries(const char *dir)
{
    DIR *d = opendir(dir);
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void the_files_are_only_ours_and_go_at_the_end(void **state)
{
    struct fixture *f = *state;
    char path[128], dir[128];

    read_note(f, path, sizeof(path));
    assert_string_equal(path, control_path(f->c));
    assert_memory_equal(path, f->tmp, strlen(f->tmp));
    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(mode_of(dir), 0700);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(mode_of(f->note), 0600);
    assert_int_equal(entries(f->node), 1);
    control_destroy(f->c);
    f->c = NULL;
    assert_int_equal(entries(f->node), 0);
    assert_int_equal(entries(f->tmp), 0);
    control_destroy(NULL);
}

static void what_a_killed_pilot_left_is_removed(void **state)
{
    struct fixture *f = *state;
    char old[128];
    pid_t pid;

    control_destroy(f->c);
    pid = fork();
    if (pid == 0) {
        create(f);
        _exit(0);
    }
    assert_int_equal(status_of(pid), 0);
    read_note(f, old, sizeof(old));
    assert_int_equal(mode_of(old), 0600);
    f->c = create(f);
    assert_string_not_equal(control_path(f->c), old);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(entries(f->tmp), 1);
}

/* Each makes something that the note may name, and that must survive. */
static void what_is_not_a_killed_pilots_stays(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *what, *setup, *named, *survives;
    } rows[] = {
        {"another file in it", "mkdir -m 700 pilot-mpi.aaaaaa; touch pilot-mpi.aaaaaa/data",
         "pilot-mpi.aaaaaa/control", "pilot-mpi.aaaaaa/data"},
        {"control is a file", "mkdir -m 700 pilot-mpi.aaaaab; touch pilot-mpi.aaaaab/control",
         "pilot-mpi.aaaaab/control", "pilot-mpi.aaaaab/control"},
        {"control is a directory", "mkdir -m 700 pilot-mpi.aaaaac; mkdir pilot-mpi.aaaaac/control",
         "pilot-mpi.aaaaac/control", "pilot-mpi.aaaaac/control"},
        {"another name", "mkdir -m 700 precious", "precious/control", "precious"},
        {"another name behind the prefix", "mkdir -m 700 pilot-mpi.precious",
         "pilot-mpi.precious/control", "pilot-mpi.precious"},
        {"open to others", "mkdir -m 755 pilot-mpi.aaaaad", "pilot-mpi.aaaaad/control",
         "pilot-mpi.aaaaad"},
        {"a link", "mkdir -m 700 precious2; ln -s precious2 pilot-mpi.aaaaae",
         "pilot-mpi.aaaaae/control", "precious2"},
        {"not the socket in it", "mkdir -m 700 pilot-mpi.aaaaaf", "pilot-mpi.aaaaaf/other",
         "pilot-mpi.aaaaaf"},
        {"another's", "mkdir -m 700 pilot-mpi.aaaaag; chown 65534 pilot-mpi.aaaaag",
         "pilot-mpi.aaaaag/control", "pilot-mpi.aaaaag"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char command[512], path[256];
        FILE *note;

        if (strstr(rows[i].setup, "chown") != NULL && geteuid() != 0)
            continue;
        print_message("%s\n", rows[i].what);
        control_destroy(f->c);
        snprintf(command, sizeof(command), "cd %s && %s", f->tmp, rows[i].setup);
        assert_int_equal(system(command), 0);
        note = fopen(f->note, "w");
        assert_non_null(note);
        fprintf(note, "%s/%s\n", f->tmp, rows[i].named);
        fclose(note);
        f->c = create(f);
        snprintf(path, sizeof(path), "%s/%s", f->tmp, rows[i].survives);
        if (access(path, F_OK) != 0)
            fail_msg("%s: it is gone", rows[i].what);
    }
    assert_int_equal(unlink(f->note), 0); /* and no note at all is no error, nor an odd one */
    assert_int_equal(symlink("/etc/passwd", f->note), 0);
    control_destroy(f->c);
    f->c = create(f);
    assert_int_equal(mode_of(f->note), 0600);
}

static void a_pilot_that_lives_keeps_its_socket(void **state)
{
    struct fixture *f = *state;
    struct control *second = create(f);
    char path[128];
    int fd = client(f); /* of the first */
    const char *line;

    say(fd, "q\n");
    await(f->c, &line);
    assert_string_equal(line, "q");
    close(fd);
    read_note(f, path, sizeof(path));
    assert_string_equal(path, control_path(second));
    control_destroy(f->c); /* must not take the note of the second with it */
    f->c = second;
    read_note(f, path, sizeof(path));
    assert_string_equal(path, control_path(second));
}

static void a_tmpdir_that_will_not_do_is_passed_over(void **state)
{
    struct fixture *f = *state;
    char longer[200];
    static const char *const bad[] = {"relative", "/no/such/place", "/proc", "", NULL};

    memset(longer, 'd', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        control_destroy(f->c);
        setenv("TMPDIR", bad[i] != NULL ? bad[i] : longer, 1);
        f->c = create(f);
        assert_memory_equal(control_path(f->c), "/tmp/pilot-mpi.", 15);
    }
}

static void a_node_directory_that_is_not_there_is_said(void **state)
{
    struct fixture *f = *state;
    struct pilot_error err;
    struct control *c = NULL;

    assert_int_equal(control_create(&c, "/no/such/dir", &err), PILOT_EIO);
    assert_non_null(strstr(err.text, "/no/such/dir/socket"));
    assert_null(c);
    assert_int_equal(entries(f->tmp), 1);
}

/* ---- Other users ----------------------------------------------------------------------------- */

static void another_user_cannot_come_in(void **state)
{
    struct fixture *f = *state;
    char dir[128];
    pid_t pid;

    if (geteuid() != 0)
        skip();
    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(control_path(f->c), '/') - control_path(f->c)),
             control_path(f->c));
    pid = fork();
    if (pid == 0) {
        bool in = setgid(NOBODY) < 0 || setuid(NOBODY) < 0 ||
                  try_connect(control_path(f->c)) >= 0 || errno != EACCES || opendir(dir) != NULL ||
                  open(f->note, O_RDONLY) >= 0 || unlink(control_path(f->c)) == 0 ||
                  unlink(f->note) == 0;

        _exit(in);
    }
    assert_int_equal(status_of(pid), 0);
    expect_none(f->c);

    /* Somebody has opened the doors: it is refused all the same. */
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(chmod(control_path(f->c), 0666), 0);
    pid = fork();
    if (pid == 0) {
        char byte;
        int fd;

        if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0 || (fd = try_connect(control_path(f->c))) < 0)
            _exit(3);
        send(fd, "{\"op\": \"add\"}\n", 14, MSG_NOSIGNAL);
        _exit(recv(fd, &byte, 1, 0) > 0);
    }
    assert_int_equal(serve_until_end(f, pid), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
        TEST(the_files_are_only_ours_and_go_at_the_end),
        TEST(what_a_killed_pilot_left_is_removed),
        TEST(what_is_not_a_killed_pilots_stays),
        TEST(a_pilot_that_lives_keeps_its_socket),
        TEST(a_tmpdir_that_will_not_do_is_passed_over),
        TEST(a_node_directory_that_is_not_there_is_said),
        TEST(another_user_cannot_come_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
