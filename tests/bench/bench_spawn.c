/* SPDX-License-Identifier: BSD-3-Clause */
/* The yardstick: how fast this machine starts and reaps processes when nothing else is done.
 *
 *     bench_spawn [--vfork] [--files DIR | --pipes] [--keep FILE] N P COMMAND [ARGUMENT...]
 *
 * runs COMMAND N times in P loops of posix_spawn (or vfork and execvp) and waitpid, each in a
 * process of its own that is pinned to one of the allowed CPUs, round-robin. What is left of the
 * yardstick with these is what nobody can do better who does as much:
 *
 *     --files DIR  each run has a new directory DIR/NUMBER with a file for standard output and one
 *                  for standard error in it
 *     --pipes      its standard output and error are pipes, which are read to their ends
 *     --keep FILE  the runs are tasks in a new state database (keep.h): a process writes what has
 *                  ended, in a transaction each 20 ms, and the rows of all at the beginning
 *
 * Prints "RATE per second ..."; exit status 1 when a run failed. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "keep.h"

#define PACE_NS 20000000

extern char **environ;

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int64_t wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Of all processes that were started, and of those that they started. */
static double cpu_us(void)
{
    struct rusage ru;

    if (getrusage(RUSAGE_CHILDREN, &ru) < 0)
        return 0;
    return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1e6 +
           (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

static void pin(long loop)
{
    cpu_set_t allowed;
    cpu_set_t one;
    long left;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        return;
    left = loop % CPU_COUNT(&allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || left-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)sched_setaffinity(0, sizeof(one), &one);
        return;
    }
}

/* ---- What becomes of the output ----------------------------------------------------------------
 */

struct output {
    int dir;    /* in which directories are made; -1: none */
    bool pipes; /* neither: output goes where ours goes */
    int fds[2]; /* the run's */
    int ends[2];
};

/* Returns an error number. */
static int open_files(struct output *o, long number)
{
    static const char *const names[2] = {"stdout.txt", "stderr.txt"};
    char path[64];

    snprintf(path, sizeof(path), "%ld", number);
    if (mkdirat(o->dir, path, 0777) < 0)
        return errno;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%ld/%s", number, names[i]);
        o->fds[i] = openat(o->dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
        if (o->fds[i] < 0)
            return errno;
    }
    return 0;
}

/* Returns an error number. */
static int open_pipes(struct output *o)
{
    for (int i = 0; i < 2; i++) {
        int ends[2];

        if (pipe2(ends, O_CLOEXEC) < 0)
            return errno;
        o->ends[i] = ends[0];
        o->fds[i] = ends[1];
    }
    return 0;
}

static bool has_fds(const struct output *o)
{
    return o->dir >= 0 || o->pipes;
}

static void close_fds(const struct output *o)
{
    if (has_fds(o)) {
        close(o->fds[0]);
        close(o->fds[1]);
    }
}

static void read_pipes(const struct output *o)
{
    char block[4096];

    for (int i = 0; i < 2; i++) {
        while (read(o->ends[i], block, sizeof(block)) > 0)
            ;
        close(o->ends[i]);
    }
}

/* ---- What is kept of a run ----------------------------------------------------------------------
 */

struct run {
    int64_t start_ms;
    atomic_int_least64_t end_ms; /* 0: it has not ended */
};

/* Between the loops and who keeps. */
struct runs {
    atomic_bool given_up; /* by a loop: not all will end */
    struct run v[];
};

static struct runs *share_runs(long n)
{
    void *p = mmap(NULL, sizeof(struct runs) + (size_t)n * sizeof(struct run),
                   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static bool one_was_killed(const pid_t *pids, long loops)
{
    for (long i = 0; i < loops; i++) {
        siginfo_t info = {0};

        if (waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
            (info.si_pid != 0 && info.si_code != CLD_EXITED))
            return true;
    }
    return false;
}

/* Writes the ends of all runs, as they come. Each loop's come in order; next says how far it is. */
static void keep_ends(struct keep *k, struct runs *runs, long n, const pid_t *pids, long loops)
{
    const struct timespec pace = {.tv_nsec = PACE_NS};
    long *next = calloc((size_t)loops, sizeof(*next));
    long kept = 0;

    if (next == NULL)
        _exit(1);
    for (long i = 0; i < loops; i++)
        next[i] = i;
    while (kept < n && !atomic_load(&runs->given_up) && !one_was_killed(pids, loops)) {
        keep_begin(k);
        for (long i = 0; i < loops; i++) {
            for (; next[i] < n; next[i] += loops, kept++) {
                struct run *r = &runs->v[next[i]];
                int64_t end_ms = atomic_load_explicit(&r->end_ms, memory_order_acquire);

                if (end_ms == 0)
                    break;
                keep_end(k, next[i], r->start_ms, end_ms, 700);
            }
        }
        keep_commit(k);
        if (kept < n)
            (void)nanosleep(&pace, NULL);
    }
    free(next);
}

/* ---- The loops ----------------------------------------------------------------------------------
 */

/* Returns an error number. */
static int start(pid_t *pid, char **argv, bool by_vfork, const struct output *o)
{
    if (!by_vfork)
        return posix_spawnp(pid, argv[0], NULL, NULL, argv, environ);
    *pid = vfork();
    if (*pid == 0) {
        if (!has_fds(o) || (dup2(o->fds[0], 1) == 1 && dup2(o->fds[1], 2) == 2))
            execvp(argv[0], argv);
        _exit(127);
    }
    return *pid < 0 ? errno : 0;
}

/* One loop of several: it makes the runs first, first + step, ... below end. */
static int run_loop(long first, long step, long end, char **argv, bool by_vfork, struct output *o,
                    struct runs *runs)
{
    int failures = 0;

    for (long i = first; i < end; i += step) {
        int status = 0;
        pid_t pid = 0;
        int rc = 0;

        if (runs != NULL)
            runs->v[i].start_ms = wall_ms();
        if (has_fds(o))
            rc = o->dir >= 0 ? open_files(o, i) : open_pipes(o);
        if (rc != 0) {
            fprintf(stderr, "bench_spawn: cannot make the files of run %ld: %s\n", i, strerror(rc));
            return 1;
        }
        rc = start(&pid, argv, by_vfork, o);
        if (rc != 0) {
            fprintf(stderr, "bench_spawn: cannot execute '%s': %s\n", argv[0], strerror(rc));
            return 1;
        }
        close_fds(o);
        if (o->pipes)
            read_pipes(o);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        failures += status != 0;
        if (runs != NULL)
            atomic_store_explicit(&runs->v[i].end_ms, wall_ms(), memory_order_release);
    }
    return failures > 0;
}

static int usage(void)
{
    fputs("usage: bench_spawn [--vfork] [--files DIR | --pipes] [--keep FILE] N P COMMAND "
          "[ARGUMENT...]\n",
          stderr);
    return 2;
}

struct options {
    struct output output;
    bool by_vfork;
    const char *keep; /* NULL: nothing is kept */
};

/* How many arguments were options; -1: they are wrong. */
static int parse(int argc, char **argv, struct options *o)
{
    int i;

    *o = (struct options){.output = {.dir = -1}};
    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--vfork") == 0) {
            o->by_vfork = true;
        } else if (strcmp(argv[i], "--pipes") == 0) {
            o->output.pipes = o->by_vfork = true;
        } else if (strcmp(argv[i], "--keep") == 0 && i + 1 < argc) {
            o->keep = argv[++i];
        } else if (strcmp(argv[i], "--files") == 0 && i + 1 < argc) {
            o->by_vfork = true; /* what the pilot does */
            o->output.dir = open(argv[++i], O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (o->output.dir < 0) {
                fprintf(stderr, "bench_spawn: cannot open '%s': %s\n", argv[i], strerror(errno));
                return -1;
            }
        } else {
            return -1;
        }
    }
    return o->output.dir >= 0 && o->output.pipes ? -1 : i - 1;
}

/* A process; exits with the status of what it does. */
static pid_t begin_loop(long i, long loops, long n, char **argv, struct options *o,
                        struct runs *runs)
{
    pid_t pid = fork();
    int failed;

    if (pid < 0) {
        perror("bench_spawn: fork");
        exit(1);
    }
    if (pid == 0) {
        pin(i);
        failed = run_loop(i, loops, n, argv, o->by_vfork, &o->output, runs);
        if (failed && runs != NULL)
            atomic_store(&runs->given_up, true);
        _exit(failed);
    }
    return pid;
}

int main(int argc, char **argv)
{
    struct options o;
    int options = parse(argc, argv, &o);
    long n = options >= 0 && argc - options > 3 ? strtol(argv[options + 1], NULL, 10) : 0;
    long loops = n > 0 ? strtol(argv[options + 2], NULL, 10) : 0;
    char **command = argv + options + 3;
    struct keep *k;
    struct runs *runs = NULL;
    pid_t *pids;
    int failed = 0;
    double begin;
    double wall;

    if (n < 1 || loops < 1)
        return usage();
    pids = calloc((size_t)loops, sizeof(*pids));
    if (pids == NULL)
        return 1;
    begin = now_s();
    if (o.keep != NULL && (runs = share_runs(n)) == NULL) {
        perror("bench_spawn: mmap");
        return 1;
    }
    for (long i = 0; i < loops; i++)
        pids[i] = begin_loop(i, loops, n, command, &o, runs);
    if (o.keep != NULL) {
        k = keep_open(o.keep, command[0]);
        keep_add(k, n);
        keep_ends(k, runs, n, pids, loops);
        keep_close(k);
    }
    for (long i = 0; i < loops; i++) {
        int status = 0;

        while (wait(&status) < 0 && errno == EINTR)
            ;
        failed |= status != 0;
    }
    wall = now_s() - begin;
    printf("%.1f per second (%ld runs of %s, %ld loops, %.3f s, %.1f us CPU each)\n",
           (double)n / wall, n, command[0], loops, wall, cpu_us() / (double)n);
    free(pids);
    return failed;
}
