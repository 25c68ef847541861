/* SPDX-License-Identifier: BSD-3-Clause */
/* The program that all tasks of the torture test run: behaves as it is told, and keeps a journal of
 * its own, which is evidence that the pilot has no hand in.
 *
 *     torture_task JOURNALS KIND MS [ARGUMENT...]
 *
 * JOURNALS/ID (ID: PILOT_TASK_ID, with '/' as '%') gets a line at the start and one at the end of
 * each attempt, each with one write to a descriptor opened with O_APPEND, so that attempts on
 * several nodes cannot tear each other's lines:
 *
 *     start ATTEMPT NODE SECONDS CPUS ALLOWED PID      CPUS: what the pilot said; ALLOWED: the
 * kernel end ATTEMPT NODE SECONDS STATUS PID
 *
 * A task that is killed has no end. No end is written by what never ends by itself. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FOR_EVER_S 600 /* longer than any test */
#define CHUNK 65536

static int journal = -1;

static void give_up(const char *what)
{
    fprintf(stderr, "torture_task: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : "-";
}

static void open_journal(const char *dir)
{
    char path[4096];
    size_t at = (size_t)snprintf(path, sizeof(path), "%s/", dir);

    snprintf(path + at, sizeof(path) - at, "%s", variable("PILOT_TASK_ID"));
    for (char *p = path + at; *p != '\0'; p++)
        if (*p == '/')
            *p = '%';
    journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0)
        give_up(path);
}

static void note(const char *what, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Full disks are part of the test, but journals are not on them: a line that cannot be written is a
 * fault of the test. */
static void note(const char *what, const char *fmt, ...)
{
    char line[1024];
    struct timespec now;
    va_list ap;
    int n;

    clock_gettime(CLOCK_REALTIME, &now);
    n = snprintf(line, sizeof(line), "%s %s %s %lld.%06ld ", what, variable("PILOT_ATTEMPT"),
                 variable("PILOT_NODE"), (long long)now.tv_sec, now.tv_nsec / 1000);
    va_start(ap, fmt);
    n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
    va_end(ap);
    n += snprintf(line + n, sizeof(line) - (size_t)n, " %d\n", (int)getpid());
    if (write(journal, line, (size_t)n) != n)
        give_up("journal");
}

static void note_start(void)
{
    char list[512] = "";
    size_t at = 0;
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        give_up("affinity");
    for (int cpu = 0; cpu < CPU_SETSIZE && at < sizeof(list) - 8; cpu++)
        if (CPU_ISSET(cpu, &set))
            at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%d", at > 0 ? "," : "", cpu);
    note("start", "%s %s", variable("PILOT_CPUS"), list);
}

static void nap(long ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
        ;
}

static void leave(int status)
{
    note("end", "%d", status);
    _exit(status);
}

/* A daemon as they are written: new session, forked twice, nothing of the old environment; its
 * output goes nowhere, or still to the task's files. */
static void leave_daemon(char *self, const char *dir, bool keep_output)
{
    char *argv[] = {self, (char *)dir, "stay", "0", NULL};
    char *none[] = {NULL};
    pid_t child = fork();

    if (child < 0)
        give_up("fork");
    if (child == 0) {
        setsid();
        child = fork();
        if (child == 0) {
            int null = keep_output ? -1 : open("/dev/null", O_RDWR);

            if (null >= 0 && dup2(null, 1) == 1)
                dup2(null, 2);
            execve("/proc/self/exe", argv, none);
            _exit(125);
        }
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void pour(long bytes)
{
    static char chunk[CHUNK];

    memset(chunk, 'x', sizeof(chunk));
    while (bytes > 0) {
        ssize_t n = write(1, chunk, (size_t)(bytes < CHUNK ? bytes : CHUNK));

        if (n < 0)
            give_up("stdout");
        bytes -= n;
    }
}

/* Runs a command and ends as it did. */
static int command(char **argv)
{
    int status = 0;
    pid_t child = fork();

    if (child < 0)
        give_up("fork");
    if (child == 0) {
        execvp(argv[0], argv);
        give_up(argv[0]);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 124;
}

int main(int argc, char **argv)
{
    const char *kind = argc > 2 ? argv[2] : "";
    long ms = argc > 3 ? atol(argv[3]) : 0;
    long number = argc > 4 ? atol(argv[4]) : 0;

    if (strcmp(kind, "stay") == 0) { /* the daemon */
        nap(FOR_EVER_S * 1000L);
        return 0;
    }
    if (argc < 4)
        return 2;
    open_journal(argv[1]);
    note_start();
    if (strcmp(kind, "deaf") == 0)
        signal(SIGTERM, SIG_IGN);
    if (strcmp(kind, "daemon") == 0)
        leave_daemon(argv[0], argv[1], number != 0);
    if (strcmp(kind, "write") == 0)
        pour(number);
    if (strcmp(kind, "hang") == 0)
        nap(FOR_EVER_S * 1000L);
    nap(ms);
    if (strcmp(kind, "signal") == 0)
        raise((int)number);
    if (strcmp(kind, "flaky") == 0)
        leave(atol(variable("PILOT_ATTEMPT")) <= number ? 1 : 0);
    if (strcmp(kind, "run") == 0)
        leave(command(argv + 4));
    leave(strcmp(kind, "fail") == 0 ? (int)number : 0);
}
