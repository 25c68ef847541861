/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of the launcher share: a launcher with a directory of its own, waiting with a
 * deadline, and the programs that they run as tasks, which are the test program itself, called as
 * `test_x helper MODE ARGUMENT...`. */
#ifndef TEST_LAUNCH_HELPERS_H
#define TEST_LAUNCH_HELPERS_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "launch/launch.h"
#include "launch/tree.h"

#define DEADLINE_MS 30000 /* generous: only a failing test waits so long */
#define GRACE_MS 300

struct fixture {
    struct launcher *l;
    char dir[64];   /* temporary, removed at the end */
    char self[512]; /* this program */
    char pids[128]; /* file to which helpers write their pids, a line each */
    char workdir[128];
};

/* ---- Waiting --------------------------------------------------------------------------------- */

static inline void nap(void)
{
    (void)poll(NULL, 0, 2);
}

/* Waits until condition holds; fails the test after DEADLINE_MS. */
#define AWAIT(condition)                                                                           \
    do {                                                                                           \
        int64_t until_ms = clock_mono_ms() + DEADLINE_MS;                                          \
        while (!(condition)) {                                                                     \
            if (clock_mono_ms() > until_ms)                                                        \
                fail_msg("waited in vain for %s", #condition);                                     \
            nap();                                                                                 \
        }                                                                                          \
    } while (0)

static inline int next_event(struct fixture *f, struct launch_event *ev)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    int rc;

    while ((rc = launcher_next(f->l, ev)) == 0) {
        struct pollfd p = {.fd = launcher_fd(f->l), .events = POLLIN};

        if (clock_mono_ms() > until_ms)
            fail_msg("no event");
        (void)poll(&p, 1, 1000);
    }
    return rc;
}

/* valgrind cannot go on after an execve that failed late, and has limits of descriptors of its own:
 * what depends on these is left out under it. */
static inline bool under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");

    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

/* ---- Processes ------------------------------------------------------------------------------- */

static inline bool is_alive(pid_t pid)
{
    struct tree_proc proc;

    return tree_look(pid, &proc) && !proc.zombie;
}

/* The name of a process ("comm"). */
static inline bool is_named(pid_t pid, const char *name)
{
    char path[64];
    char text[64] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    if (fgets(text, sizeof(text), file) != NULL)
        text[strcspn(text, "\n")] = '\0';
    fclose(file);
    return strcmp(text, name) == 0;
}

/* A descendant of root of that name, 0 when there is none. */
static inline pid_t find_named(pid_t root, const char *name)
{
    struct tree t = {0};
    pid_t pid = 0;

    for (int i = 0; i < tree_find(&t, root, NULL, 0) && pid == 0; i++)
        if (!t.procs[i].zombie && is_named(t.procs[i].pid, name))
            pid = t.procs[i].pid;
    tree_fini(&t);
    return pid;
}

/* The descendant of this process of that name, which may just be starting; 0 when none comes. */
static inline pid_t await_named(const char *name)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    pid_t pid;

    while ((pid = find_named(getpid(), name)) == 0 && clock_mono_ms() < until_ms)
        nap();
    return pid;
}

/* How many of the pids in the helpers' file are alive; *total gets how many there are. */
static inline int living_helpers(const struct fixture *f, int *total)
{
    FILE *file = fopen(f->pids, "re");
    int alive = 0;
    int n = 0;
    int pid;

    while (file != NULL && fscanf(file, "%d", &pid) == 1) {
        n++;
        alive += is_alive((pid_t)pid);
    }
    if (file != NULL)
        fclose(file);
    if (total != NULL)
        *total = n;
    return alive;
}

/* ---- The fixture ----------------------------------------------------------------------------- */

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void start_launcher(struct fixture *f, int64_t grace_ms)
{
    struct pilot_error err;

    if (launcher_start(&f->l, &err) < 0 ||
        launcher_configure(f->l, f->workdir, NULL, grace_ms, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void make_fixture_dir(struct fixture *f)
{
    ssize_t n;

    memset(f, 0, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/test_launch.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(chmod(f->dir, 0755), 0);
    snprintf(f->pids, sizeof(f->pids), "%s/pids", f->dir);
    snprintf(f->workdir, sizeof(f->workdir), "%s/made/on/demand", f->dir);
    n = readlink("/proc/self/exe", f->self, sizeof(f->self) - 1);
    assert_true(n > 0);
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    make_fixture_dir(f);
    start_launcher(f, GRACE_MS);
    *state = f;
    return 0;
}

/* Whatever the test did: no child and no helper may be left. */
static inline int teardown(void **state)
{
    struct fixture *f = *state;

    launcher_stop(f->l);
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
        fail_msg("a child process is left");
    assert_int_equal(living_helpers(f, NULL), 0);
    assert_int_equal(nftw(f->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(f);
    return 0;
}

/* Another grace time: a new launcher in the same directory. */
static inline void restart(struct fixture *f, int64_t grace_ms)
{
    launcher_stop(f->l);
    f->l = NULL;
    start_launcher(f, grace_ms);
}

static inline struct launch_request request(const char *id, const char *command)
{
    struct launch_request req = {.key = 1, .id = id, .attempt = 1, .command = command};

    return req;
}

static inline void run(struct fixture *f, const struct launch_request *req)
{
    struct pilot_error err;

    if (launcher_run(f->l, req, &err) < 0)
        fail_msg("%s", err.text);
}

static inline struct attempt_result finish_request(struct fixture *f,
                                                   const struct launch_request *req)
{
    struct launch_event ev;

    run(f, req);
    assert_int_equal(next_event(f, &ev), 1);
    assert_int_equal(ev.key, req->key);
    return ev.result;
}

/* Runs a command to its end. */
static inline struct attempt_result finish(struct fixture *f, const char *id, const char *command)
{
    struct launch_request req = request(id, command);

    return finish_request(f, &req);
}

/* A file below the work directory, as a string; static memory. "" when it is missing. */
static inline const char *content(const struct fixture *f, const char *name)
{
    static char text[65536];
    char path[2 * PATH_MAX];
    size_t n = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", f->workdir, name);
    file = fopen(path, "re");
    if (file != NULL) {
        n = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[n] = '\0';
    return text;
}

static inline const char *out_of(const struct fixture *f, const char *id)
{
    char name[PATH_MAX];

    snprintf(name, sizeof(name), "%s/stdout.txt", id);
    return content(f, name);
}

static inline const char *err_of(const struct fixture *f, const char *id)
{
    char name[PATH_MAX];

    snprintf(name, sizeof(name), "%s/stderr.txt", id);
    return content(f, name);
}

static inline const char *helper(const struct fixture *f, const char *rest)
{
    static char command[1024];

    snprintf(command, sizeof(command), "%s helper %s", f->self, rest);
    return command;
}

/* The same with the file of pids behind it. */
static inline const char *helper_pids(const struct fixture *f, const char *rest)
{
    static char command[1024];

    snprintf(command, sizeof(command), "%s helper %s %s", f->self, rest, f->pids);
    return command;
}

/* ---- Programs run as tasks ------------------------------------------------------------------- */

static inline void write_pid(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

    if (fd < 0)
        _exit(99);
    dprintf(fd, "%d\n", (int)getpid());
    close(fd);
}

static inline void be_stubborn(void)
{
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
}

/* Forks twice, leaves the session, forgets environment and descriptors, ignores what can be
 * ignored. Returns in the first process, when the daemon has written its pid. */
static inline void make_daemon(const char *pids)
{
    int ready[2];
    char c;

    if (pipe(ready) < 0)
        _exit(99);
    if (fork() == 0) {
        (void)setsid();
        if (fork() != 0)
            _exit(0);
        be_stubborn();
        (void)clearenv();
        write_pid(pids);
        (void)chdir("/");
        for (int fd = 0; fd < 256; fd++)
            close(fd); /* ends the wait of the first process */
        for (;;)
            pause();
    }
    close(ready[1]);
    (void)!read(ready[0], &c, 1);
    close(ready[0]);
    (void)wait(NULL);
}

/* A tree that ignores TERM, each process in a session of its own, and which replaces those killed.
 */
static inline _Noreturn void be_bush(const char *pids)
{
    int depth = 2;
    int children = 0;

    be_stubborn();
    for (;;) {
        if (depth > 0 && children < 3) {
            if (fork() == 0) {
                depth--;
                children = 0;
                (void)setsid();
                write_pid(pids);
                continue;
            }
            children++;
        } else if (depth == 0) {
            pause();
        } else if (wait(NULL) > 0) {
            children--;
        }
    }
}

static inline void burn(int ms, size_t mib)
{
    clock_t until = clock() + (clock_t)ms * CLOCKS_PER_SEC / 1000;
    volatile char *block = malloc(mib << 20);

    for (size_t i = 0; block != NULL && i < mib << 20; i += 4096)
        block[i] = 1;
    while (clock() < until)
        ;
    free((void *)block);
}

/* `helper MODE ARGUMENT...`: the exit status. */
static inline int helper_main(char **argv)
{
    const char *mode = argv[0];

    if (strcmp(mode, "daemon") == 0) { /* leaves one behind */
        make_daemon(argv[1]);
    } else if (strcmp(mode, "daemon-stay") == 0) { /* and stays itself */
        be_stubborn();
        make_daemon(argv[1]);
        write_pid(argv[1]);
        for (;;)
            pause();
    } else if (strcmp(mode, "bush") == 0) {
        be_bush(argv[1]);
    } else if (strcmp(mode, "burn") == 0) { /* in a grandchild */
        if (fork() == 0) {
            burn(200, 64);
            _exit(0);
        }
        (void)wait(NULL);
    } else if (strcmp(mode, "arguments") == 0) {
        for (char **a = argv + 1; *a != NULL; a++)
            printf("[%s]\n", *a);
    } else if (strcmp(mode, "session") == 0) {
        printf("%d %d %d\n", getsid(0) == getppid(), getpgrp() == getpid(),
               open("/dev/tty", O_RDWR | O_CLOEXEC) < 0);
    } else {
        return 98;
    }
    return 0;
}

#endif
