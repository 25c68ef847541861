/* SPDX-License-Identifier: BSD-3-Clause */
/* pilot-mpi add: what it asks, what it says, and where it finds a pilot. The pilot is this test: it
 * has a control socket and an inbox, and answers what the case wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/control.h"
#include "cli/client.h"
#include "common/clock.h"
#include "head/inbox.h"

#define DEADLINE_MS 30000
#define TEXT_MAX 16384

struct fixture {
    char base[64], work[96], node[256];
    struct control *c; /* NULL: nobody on this host */
    struct inbox *b;   /* NULL: nobody reads there */
    struct inbox *killed;
    const char *reply; /* to be given */
    bool dies;         /* when asked, instead; as if killed */
    unsigned requests;
    char request[TEXT_MAX];
    char out[TEXT_MAX], err[TEXT_MAX];
};

static void start_control(struct fixture *f)
{
    struct pilot_error err = {0};

    if (control_create(&f->c, f->node, &err) != 0)
        fail_msg("%s", err.text);
}

static void start_inbox(struct fixture *f)
{
    struct pilot_error err = {0};

    if (inbox_create(&f->b, f->work, &err) != 0)
        fail_msg("%s", err.text);
}

static void stop(struct fixture *f)
{
    control_destroy(f->c);
    inbox_destroy(f->b);
    inbox_destroy(f->killed);
    f->c = NULL;
    f->b = f->killed = NULL;
}

static int setup(void **state)
{
    static char host[65];
    struct fixture *f = calloc(1, sizeof(*f));

    gethostname(host, sizeof(host) - 1);
    strcpy(f->base, "/tmp/test-add.XXXXXX");
    if (mkdtemp(f->base) == NULL)
        return -1;
    chmod(f->base, 0755);
    snprintf(f->work, sizeof(f->work), "%s/pilot_runs", f->base);
    snprintf(f->node, sizeof(f->node), "%s/.pilot", f->work);
    mkdir(f->work, 0755);
    mkdir(f->node, 0755);
    snprintf(f->node, sizeof(f->node), "%s/.pilot/%s", f->work, host);
    mkdir(f->node, 0755);
    unsetenv("PILOT_SOCKET");
    unsetenv("PILOT_TASK_DIR");
    unsetenv("PILOT_TASK_ID");
    unsetenv("TMPDIR");
    f->reply = "{\"ok\": true, \"ids\": [\"a\"], \"new\": 1}";
    *state = f;
    return chdir(f->base);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    int rc;

    stop(f);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->base);
    rc = chdir("/") | system(command);
    free(f);
    return rc;
}

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void read_file(const char *path, char *text)
{
    FILE *in = fopen(path, "r");
    size_t n;

    assert_non_null(in);
    n = fread(text, 1, TEXT_MAX - 1, in);
    text[n] = '\0';
    fclose(in);
}

/* ---- The pilot ------------------------------------------------------------------------------- */

static void take(struct fixture *f, const char *text)
{
    f->requests++;
    snprintf(f->request, sizeof(f->request), "%s", text);
}

static void serve(struct fixture *f)
{
    const char *name, *text;
    uint32_t client;

    while (f->c != NULL && control_next(f->c, &client, &text) > 0) {
        take(f, text);
        if (!f->dies) {
            control_reply(f->c, client, f->reply);
        } else {
            control_destroy(f->c);
            f->c = NULL;
        }
    }
    while (f->b != NULL && inbox_next(f->b, clock_mono_ms(), &name, &text) > 0) {
        take(f, text);
        if (!f->dies) {
            inbox_reply(f->b, name, f->reply);
        } else {
            f->killed = f->b;
            f->b = NULL;
        }
    }
}

/* Serves until the process has ended; its exit status. */
static int serve_until_end(struct fixture *f, pid_t pid)
{
    int64_t end_ms = clock_mono_ms() + DEADLINE_MS;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct pollfd p = {.fd = f->c != NULL ? control_fd(f->c) : -1, .events = POLLIN};

        if (clock_mono_ms() > end_ms)
            fail_msg("the client does not end");
        serve(f);
        poll(&p, 1, 5);
    }
    if (!WIFEXITED(status))
        fail_msg("the client ended with signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* ---- The program ----------------------------------------------------------------------------- */

#define ARGS_MAX 32
#define ADD(f, ...) add(f, (const char *[ARGS_MAX]){"pilot-mpi", "add", __VA_ARGS__})

/* Its standard input is the file "in" if there is one. */
static pid_t start(const char *const *argv)
{
    pid_t pid = fork();

    if (pid == 0) {
        int in = open(access("in", F_OK) == 0 ? "in" : "/dev/null", O_RDONLY);
        int out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        int err = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600);

        if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
            _exit(99);
        execv(PILOT_MPI, (char *const *)argv);
        _exit(98);
    }
    return pid;
}

static int add(struct fixture *f, const char *const *argv)
{
    int status;

    f->requests = 0;
    f->request[0] = '\0';
    status = serve_until_end(f, start(argv));
    read_file("out", f->out);
    read_file("err", f->err);
    return status;
}

static void expect_status(const struct fixture *f, int expected, int got)
{
    if (expected != got)
        fail_msg("exit status %d instead of %d: %s%s", got, expected, f->out, f->err);
}

static void expect_said(const struct fixture *f, const char *words)
{
    if (strstr(f->err, words) == NULL)
        fail_msg("no '%s' in: %s", words, f->err);
}

/* What was asked, after one request. */
static void expect_asked(const struct fixture *f, const char *name, const char *text)
{
    cJSON *o = cJSON_Parse(f->request);

    assert_int_equal(f->requests, 1);
    assert_non_null(o);
    assert_string_equal(cJSON_GetObjectItem(o, "op")->valuestring, "add");
    assert_string_equal(cJSON_GetObjectItem(o, "name")->valuestring, name);
    assert_string_equal(cJSON_GetObjectItem(o, "text")->valuestring, text);
    cJSON_Delete(o);
}

/* ---- What is asked --------------------------------------------------------------------------- */

static void a_file_is_sent_as_it_is(void **state)
{
    struct fixture *f = *state;
    static const char text[] =
        "[{\"id\": \"a\",\r\n \"command\": \"echo \\\"\\u00e4\\\" \\\\ \t$x\"}]\n"
        "\x01 \xff\xfe \xc3\xa4";

    start_control(f);
    write_file("tasks.json", text);
    expect_status(f, 0, ADD(f, "tasks.json"));
    expect_asked(f, "tasks.json", text);
    assert_string_equal(f->out, "a\n");
    assert_string_equal(f->err, "");

    write_file("in", "echo one\n");
    expect_status(f, 0, ADD(f, "-"));
    expect_asked(f, "standard input", "echo one\n");
    write_file("in", "");
    expect_status(f, 0, ADD(f, "-"));
    expect_asked(f, "standard input", "");
}

static void options_make_one_task(void **state)
{
    struct fixture *f = *state;
    char expected[TEXT_MAX];

    start_control(f);
    expect_status(f, 0, ADD(f, "--command", "./run 'a' \"b\""));
    expect_asked(f, "command line", "{\"command\":\"./run 'a' \\\"b\\\"\"}");

    snprintf(expected, sizeof(expected),
             "{\"id\":\"T1\",\"command\":\"c\",\"cores\":4,\"priority\":-3,\"timeout\":2.5,"
             "\"max_retries\":2,\"env\":{\"A\":\"1=2\",\"B\":\"\"},\"depends_on\":[\"x\",\"y\"],"
             "\"stdin\":\"%s/in.txt\",\"workdir\":\"/abs\",\"tags\":{\"T\": [100]}}",
             f->base);
    expect_status(f, 0,
                  ADD(f, "--id=T1", "--command", "c", "--cores", "4", "--priority", "-3",
                      "--timeout", "2.5", "--max-retries=2", "--env", "A=1=2",
                      "--env=B=", "--depends-on", "x", "--depends-on", "y", "--stdin", "in.txt",
                      "--task-workdir", "/abs", "--tags", "{\"T\": [100]}"));
    expect_asked(f, "command line", expected);

    snprintf(expected, sizeof(expected),
             "{\"command\":\"c\",\"stdin\":\"%s/x/./y\",\"workdir\":\"%s\"}", f->base, f->base);
    expect_status(f, 0, ADD(f, "--command", "c", "--stdin", ".//./x/./y", "--task-workdir", "."));
    expect_asked(f, "command line", expected);
    expect_status(f, 0, ADD(f, "--command", "c", "--stdin", "x/./y", "--task-workdir", "./"));
    expect_asked(f, "command line", expected);
}

static void wrong_usage_asks_nobody(void **state)
{
    static const struct {
        const char *args[6];
        const char *said;
    } rows[] = {
        {{NULL}, "no tasks: write pilot-mpi add FILE"},
        {{"--id", "a"}, "--id without a command"},
        {{"--cores", "2"}, "--cores without a command"},
        {{"tasks.json", "--command", "c"}, "give one of the two"},
        {{"tasks.json", "--cores", "2"}, "--cores is for a task that is given with --command"},
        {{"tasks.json", "more.json"}, "one argument too many"},
        {{"--command", ""}, "--command is empty"},
        {{"--command", "c", "--cores", "0"}, "--cores '0': write a whole number from 1 on"},
        {{"--command", "c", "--priority", "high"}, "--priority 'high': write a whole number"},
        {{"--command", "c", "--priority", "-"}, "write a whole number"},
        {{"--command", "c", "--priority", "99999999999"}, "write a whole number"},
        {{"--command", "c", "--max-retries", "-1"}, "a whole number from 0 on"},
        {{"--command", "c", "--env", "A"}, "--env 'A': write --env NAME=VALUE"},
        {{"--command", "c", "--env", "=1"}, "write --env NAME=VALUE"},
        {{"--command", "c", "--tags", "{x"}, "--tags '{x' is not JSON"},
        {{"--command", "c", "--tags", "1 2"}, "is not JSON"},
        {{"--command", "c", "--timeout", "soon"}, "a number of seconds"},
        {{"--comand", "c"}, "did you mean '--command'?"},
        {{"--wibble"}, "--help lists the options"},
        {{"--id"}, "--id needs a value"},
        {{"no-such-file.json"}, "cannot read 'no-such-file.json': No such file"},
        {{"."}, "cannot read '.': Is a directory"},
        {{"nul.json"}, "there is a NUL byte in it"},
        {{"huge.txt"}, "longer than 32 MiB; add it in several parts"},
    };
    struct fixture *f = *state;

    start_control(f);
    write_file("tasks.json", "[]");
    write_file("nul.json", "[]");
    write_file("huge.txt", "x");
    assert_int_equal(truncate("nul.json", 5), 0);
    {
        char line[1024];
        FILE *huge = fopen("huge.txt", "w");

        memset(line, 'x', sizeof(line));
        for (int i = 0; i < 32 * 1024 + 1; i++)
            fwrite(line, 1, sizeof(line), huge);
        fclose(huge);
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *argv[ARGS_MAX] = {"pilot-mpi", "add"};

        memcpy(argv + 2, rows[i].args, sizeof(rows[i].args));
        expect_status(f, 2, add(f, argv));
        expect_said(f, rows[i].said);
        assert_string_equal(f->out, "");
        assert_int_equal(f->requests, 0);
    }
}

/* 12 MiB of control characters are 72 MiB as JSON. */
static void what_is_too_long_as_a_request_is_said(void **state)
{
    struct fixture *f = *state;
    char line[1024];
    FILE *out = fopen("tasks.txt", "w");

    memset(line, 1, sizeof(line));
    for (int i = 0; i < 12 * 1024; i++)
        fwrite(line, 1, sizeof(line), out);
    fclose(out);
    start_control(f);
    expect_status(f, 2, ADD(f, "tasks.txt"));
    expect_said(f, "too many for one request");
    assert_int_equal(f->requests, 0);
}

static void help_is_printed(void **state)
{
    struct fixture *f = *state;

    expect_status(f, 0, ADD(f, "--help"));
    assert_non_null(strstr(f->out, "--depends-on ID"));
    assert_non_null(strstr(f->out, "3  no pilot answers"));
    assert_string_equal(f->err, "");
}

/* ---- What is answered ------------------------------------------------------------------------ */

static void answers_become_output_and_exit_status(void **state)
{
    static const struct {
        const char *reply;
        int status;
        const char *out, *err;
    } rows[] = {
        {"{\"ok\": true, \"ids\": [\"a\", \"b/c\"], \"new\": 1}", 0, "a\nb/c\n", ""},
        {"{\"ok\": true, \"ids\": [], \"new\": 0}", 0, "", ""},
        {"{\"ok\": true, \"ids\": [\"\\u001b[31mred\\u0007\"]}", 0, "?[31mred?\n", ""},
        {"{\"ok\": false, \"code\": \"refused\", \"message\": \"one\\ntwo \\u001b[2J\"}", 1, "",
         "pilot-mpi: one\npilot-mpi: two ?[2J\n"},
        {"{\"ok\": false, \"message\": \"no\"}", 1, "", "pilot-mpi: no\n"},
        {"{\"ok\": false, \"code\": \"over\", \"message\": \"it is over\"}", 3, "",
         "pilot-mpi: it is over\n"},
        {"{\"ok\": false, \"code\": \"stopping\", \"message\": \"it ends\"}", 3, "",
         "pilot-mpi: it ends\n"},
        {"nonsense", 3, "",
         "pilot-mpi: the pilot's answer makes no sense; is it of another version?\n"},
        {"", 3, "", "pilot-mpi: the pilot's answer makes no sense; is it of another version?\n"},
        {"[]", 3, "", "pilot-mpi: the pilot's answer makes no sense; is it of another version?\n"},
    };
    struct fixture *f = *state;

    start_control(f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        f->reply = rows[i].reply;
        expect_status(f, rows[i].status, ADD(f, "--command", "c"));
        assert_string_equal(f->out, rows[i].out);
        assert_string_equal(f->err, rows[i].err);
    }
}

static void a_long_answer_is_read_to_its_end(void **state)
{
    struct fixture *f = *state;
    char *reply = malloc(2000000);
    size_t len = (size_t)sprintf(reply, "{\"ok\": true, \"ids\": [");
    char *line = NULL;
    size_t size = 0, n = 0;
    FILE *out;

    for (int i = 0; i < 65535; i++)
        len += (size_t)sprintf(reply + len, "%s\"task-%d\"", i ? "," : "", i);
    sprintf(reply + len, "]}");
    start_control(f);
    f->reply = reply;
    expect_status(f, 0, ADD(f, "--command", "c"));
    out = fopen("out", "r");
    while (getline(&line, &size, out) > 0)
        n++;
    assert_int_equal(n, 65535);
    assert_string_equal(line, "task-65534\n");
    fclose(out);
    free(line);
    free(reply);
}

static void a_pilot_that_dies_before_it_answers(void **state)
{
    struct fixture *f = *state;

    start_control(f);
    f->dies = true;
    expect_status(f, 3, ADD(f, "--command", "c"));
    assert_int_equal(f->requests, 1);
    expect_said(f, "it is not known whether");
    expect_said(f, "run the same command again is safe");
    assert_string_equal(f->out, "");
}

/* ---- Where the pilot is found ---------------------------------------------------------------- */

static void it_is_found_in_many_ways(void **state)
{
    struct fixture *f = *state;
    char db[256], elsewhere[256], lock[512];

    start_control(f);
    snprintf(db, sizeof(db), "%s/state.db", f->work);
    snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere/my.db", f->base);
    expect_status(f, 0, ADD(f, "--command", "c")); /* ./pilot_runs */
    expect_status(f, 0, ADD(f, "--command", "c", "--workdir", f->work));
    expect_status(f, 0, ADD(f, "--command", "c", "--workdir", "pilot_runs/"));
    expect_status(f, 0, ADD(f, "--command", "c", "--db", db));
    expect_status(f, 0, ADD(f, "--command", "c", "--db", "pilot_runs/state.db"));
    assert_int_equal(chdir(f->work), 0);
    expect_status(f, 0, ADD(f, "--command", "c", "--db", "state.db"));
    expect_status(f, 0, ADD(f, "--command", "c", "--workdir", "."));
    expect_status(f, 3, ADD(f, "--command", "c"));

    expect_status(f, 3, ADD(f, "--command", "c", "--db", elsewhere));
    assert_int_equal(mkdir("../elsewhere", 0755), 0);
    snprintf(lock, sizeof(lock), "host x, pid 1, since today\nworkdir %s\n", f->work);
    write_file("../elsewhere/my.db.lock", lock);
    expect_status(f, 0, ADD(f, "--command", "c", "--db", elsewhere));

    assert_int_equal(chdir("/"), 0);
    setenv("PILOT_SOCKET", control_path(f->c), 1);
    assert_int_equal(chdir(f->base), 0);
    assert_int_equal(rename("pilot_runs", "moved"), 0);
    expect_status(f, 0, ADD(f, "--command", "c"));
    /* What is said explicitly is meant, though a task has a pilot. */
    expect_status(f, 3, ADD(f, "--command", "c", "--workdir", "pilot_runs"));
    assert_int_equal(rename("moved", "pilot_runs"), 0);
    setenv("PILOT_SOCKET", "", 1);
    expect_status(f, 0, ADD(f, "--command", "c"));
}

static void without_a_pilot_it_says_where_it_looked(void **state)
{
    struct fixture *f = *state;
    char old[128];

    expect_status(f, 3, ADD(f, "--command", "c", "--workdir", "no-such-dir"));
    expect_said(f, "no-such-dir/.pilot/");
    expect_said(f, "/socket: not there");
    expect_said(f, "no-such-dir/.pilot/inbox: not there");
    expect_said(f, "nothing was added; start the pilot, or name the one that runs with --workdir");

    start_control(f);
    snprintf(old, sizeof(old), "%s", control_path(f->c));
    stop(f);
    setenv("PILOT_SOCKET", old, 1);
    expect_status(f, 3, ADD(f, "--command", "c"));
    expect_said(f, old);
    expect_said(f, "No such file or directory");
}

/* The container of a task has a /tmp of its own. */
static void a_task_without_its_socket_uses_the_inbox(void **state)
{
    struct fixture *f = *state;
    char dir[256];

    start_inbox(f);
    assert_int_equal(rename("pilot_runs", "other_runs"), 0);
    snprintf(dir, sizeof(dir), "%s/other_runs/sweep/7", f->base);
    setenv("PILOT_SOCKET", "/no/such/socket", 1);
    expect_status(f, 3, ADD(f, "--command", "c"));
    setenv("PILOT_TASK_DIR", dir, 1);
    setenv("PILOT_TASK_ID", "sweep/7", 1);
    expect_status(f, 0, ADD(f, "--command", "c"));
    assert_string_equal(f->out, "a\n");
    setenv("PILOT_TASK_ID", "weep/7", 1); /* not its own directory */
    expect_status(f, 3, ADD(f, "--command", "c"));
}

static void from_another_host_through_the_inbox(void **state)
{
    struct fixture *f = *state;

    start_inbox(f);
    expect_status(f, 0, ADD(f, "--command", "c"));
    expect_asked(f, "command line", "{\"command\":\"c\"}");
    assert_string_equal(f->out, "a\n");
    assert_string_equal(f->err, "");
    f->reply = "{\"ok\": false, \"code\": \"refused\", \"message\": \"no\"}";
    expect_status(f, 1, ADD(f, "--command", "c"));
    stop(f);
    assert_int_equal(access("pilot_runs/.pilot/inbox", F_OK), -1); /* nothing was left in it */
    expect_status(f, 3, ADD(f, "--command", "c"));
}

/* ---- Trust ----------------------------------------------------------------------------------- */

static void a_note_that_others_could_write_is_not_trusted(void **state)
{
    static const char *const commands[] = {
        "chmod 660 socket",
        "chmod 604 socket",
        "chmod 600 socket; mv socket real; ln -s real socket",
        "rm socket; cp real socket; chmod 600 socket; chown 65534 socket",
        "rm socket; mkfifo -m 600 socket",
        "rm socket; touch socket; chmod 600 socket",
    };
    struct fixture *f = *state;

    start_control(f);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        char command[512];

        if (strstr(commands[i], "chown") != NULL && geteuid() != 0)
            continue;
        snprintf(command, sizeof(command), "cd %s && %s", f->node, commands[i]);
        assert_int_equal(system(command), 0);
        if (ADD(f, "--command", "c") != 3 || f->requests != 0)
            fail_msg("trusted after: %s", commands[i]);
    }
}

static void an_inbox_that_others_could_enter_is_not_trusted(void **state)
{
    static const char *const commands[] = {
        "chmod 750 inbox",
        "chmod 700 inbox; mv inbox real; ln -s real inbox",
        "rm inbox; mv real inbox; chown 65534 inbox",
    };
    struct fixture *f = *state;

    start_inbox(f);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        char command[512];

        if (strstr(commands[i], "chown") != NULL && geteuid() != 0)
            continue;
        snprintf(command, sizeof(command), "cd %s/.pilot && %s", f->work, commands[i]);
        assert_int_equal(system(command), 0);
        if (ADD(f, "--command", "c") != 3 || f->requests != 0)
            fail_msg("trusted after: %s", commands[i]);
    }
}

/* Somebody has made a socket of the name that a pilot of ours had. */
static void another_users_listener_is_not_trusted(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), status;
    pid_t pid;

    if (geteuid() != 0)
        skip();
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/theirs", f->base);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(chmod(address.sun_path, 0666), 0);
    assert_int_equal(listen(fd, 5), 0);
    setenv("PILOT_SOCKET", address.sun_path, 1);
    pid = fork();
    if (pid == 0) { /* root listens, nobody asks */
        struct client_target target = {0};
        struct pilot_error err = {0};
        char *reply = NULL;

        alarm(10); /* who trusts it waits for its answer */
        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(9);
        _exit(client_ask(&target, "secret", 6, &reply, &err) != PILOT_ENOENT ||
              strstr(err.text, "another user") == NULL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(fd);
}

/* ---- The inbox of a pilot that is gone ------------------------------------------------------- */

static unsigned files_in_inbox(void)
{
    DIR *d = opendir("pilot_runs/.pilot/inbox");
    struct dirent *entry;
    unsigned n = 0;

    assert_non_null(d);
    while ((entry = readdir(d)) != NULL)
        n += entry->d_name[0] != '.' && strcmp(entry->d_name, "alive") != 0;
    closedir(d);
    return n;
}

/* By the client without the program, which is less patient in this test. Its error in f->err; its
 * code, or 0 and the reply in f->out. */
static int ask(struct fixture *f)
{
    int pair[2], status;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(pair), 0);
    f->requests = 0;
    pid = fork();
    if (pid == 0) {
        struct client_target target = {0};
        struct pilot_error err = {0};
        char *reply = NULL;
        int rc = client_ask(&target, "{\"op\": \"x\"}", 11, &reply, &err);
        const char *text = rc == 0 ? reply : err.text;

        if (write(pair[1], text, strlen(text)) < 0)
            _exit(99);
        free(reply);
        _exit(-rc);
    }
    close(pair[1]);
    status = serve_until_end(f, pid);
    n = read(pair[0], f->err, sizeof(f->err) - 1);
    f->err[n > 0 ? n : 0] = '\0';
    close(pair[0]);
    return -status;
}

static void a_request_that_nobody_takes_is_withdrawn(void **state)
{
    struct fixture *f = *state;

    start_inbox(f);
    f->killed = f->b;
    f->b = NULL;
    assert_int_equal(ask(f), PILOT_ENOENT);
    expect_said(f, "nobody reads there any more; was the pilot killed?");
    assert_int_equal(files_in_inbox(), 0);
    f->b = f->killed;
    f->killed = NULL;
    assert_int_equal(ask(f), 0);
    assert_string_equal(f->err, f->reply);
    assert_int_equal(files_in_inbox(), 0);
}

static void a_request_that_was_taken_and_not_answered(void **state)
{
    struct fixture *f = *state;

    start_inbox(f);
    f->dies = true;
    assert_int_equal(ask(f), PILOT_ELOST);
    expect_said(f, "took the request");
    expect_said(f, "it is not known whether");
    assert_int_equal(files_in_inbox(), 1); /* for the pilot that goes on */
    f->dies = false;
    start_inbox(f);
    serve(f);
    assert_int_equal(f->requests, 2);
}

static void an_end_that_comes_while_it_waits(void **state)
{
    struct fixture *f = *state;
    int64_t end_ms = clock_mono_ms() + DEADLINE_MS;
    int status;
    pid_t pid;

    start_inbox(f);
    pid = start((const char *[]){"pilot-mpi", "add", "--command", "c", NULL});
    while (files_in_inbox() == 0 && clock_mono_ms() < end_ms)
        poll(NULL, 0, 1);
    inbox_destroy(f->b);
    f->b = NULL;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    read_file("err", f->err);
    assert_int_equal(WEXITSTATUS(status), 3);
    /* Either the pilot still told it, or it has withdrawn. */
    if (strstr(f->err, "the run has ended; nothing was added") == NULL)
        expect_said(f, "the pilot of this work directory has ended");
    if (access("pilot_runs/.pilot/inbox", F_OK) == 0)
        assert_int_equal(files_in_inbox(), 0);
}

/* ---- Speed ----------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void it_is_quick(void **state)
{
    struct fixture *f = *state;
    int64_t us[100];
    int status;
    pid_t server;

    start_control(f);
    setenv("PILOT_SOCKET", control_path(f->c), 1);
    server = fork();
    if (server == 0)
        for (;;) {
            struct pollfd p = {.fd = control_fd(f->c), .events = POLLIN};

            if (getppid() == 1)
                _exit(0);
            poll(&p, 1, 1000);
            serve(f);
        }
    for (int i = 0; i < 100; i++) {
        pid_t pid;

        us[i] = clock_mono_us();
        pid = start((const char *[]){"pilot-mpi", "add", "--command", "c", NULL});
        assert_int_equal(waitpid(pid, &status, 0), pid);
        us[i] = clock_mono_us() - us[i];
        assert_int_equal(status, 0);
    }
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    qsort(us, 100, sizeof(us[0]), by_size);
    print_message("pilot-mpi add: %.1f ms (fastest), %.1f ms (median of 100)\n",
                  (double)us[0] / 1000, (double)us[50] / 1000);
    assert_true(us[0] < 100000); /* to start MPI alone takes more than twice as long */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_sent_as_it_is),
        TEST(options_make_one_task),
        TEST(wrong_usage_asks_nobody),
        TEST(what_is_too_long_as_a_request_is_said),
        TEST(help_is_printed),
        TEST(answers_become_output_and_exit_status),
        TEST(a_long_answer_is_read_to_its_end),
        TEST(a_pilot_that_dies_before_it_answers),
        TEST(it_is_found_in_many_ways),
        TEST(without_a_pilot_it_says_where_it_looked),
        TEST(a_task_without_its_socket_uses_the_inbox),
        TEST(from_another_host_through_the_inbox),
        TEST(a_note_that_others_could_write_is_not_trusted),
        TEST(an_inbox_that_others_could_enter_is_not_trusted),
        TEST(another_users_listener_is_not_trusted),
        TEST(a_request_that_nobody_takes_is_withdrawn),
        TEST(a_request_that_was_taken_and_not_answered),
        TEST(an_end_that_comes_while_it_waits),
        TEST(it_is_quick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
