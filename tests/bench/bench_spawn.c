/* SPDX-License-Identifier: BSD-3-Clause */
/* The yardstick: how fast this machine starts and reaps processes when nothing else is done.
 *
 *     bench_spawn [--vfork] [--files DIR] N P COMMAND [ARGUMENT...]
 *
 * runs COMMAND N times in P loops of posix_spawn (or vfork and execvp) and waitpid, each in a
 * process of its own that is pinned to one of the allowed CPUs, round-robin. With --files each run
 * has a new directory DIR/NUMBER with a file for standard output and one for standard error in it,
 * as tasks have: what is left of the yardstick then is what nobody can do better who makes them.
 * Prints "RATE per second ..."; exit status 1 when a run failed. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
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

struct output {
    int dir; /* in which directories are made; -1: output goes where ours goes */
    int fds[2];
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

static void close_files(const struct output *o)
{
    if (o->dir < 0)
        return;
    close(o->fds[0]);
    close(o->fds[1]);
}

/* Returns an error number. */
static int start(pid_t *pid, char **argv, bool by_vfork, const struct output *o)
{
    if (!by_vfork)
        return posix_spawnp(pid, argv[0], NULL, NULL, argv, environ);
    *pid = vfork();
    if (*pid == 0) {
        if (o->dir < 0 || (dup2(o->fds[0], 1) == 1 && dup2(o->fds[1], 2) == 2))
            execvp(argv[0], argv);
        _exit(127);
    }
    return *pid < 0 ? errno : 0;
}

/* One loop of several: it makes the runs first, first + step, ... below end. */
static int run_loop(long first, long step, long end, char **argv, bool by_vfork, struct output *o)
{
    int failures = 0;

    for (long i = first; i < end; i += step) {
        int status = 0;
        pid_t pid = 0;
        int rc = o->dir >= 0 ? open_files(o, i) : 0;

        if (rc != 0) {
            fprintf(stderr, "bench_spawn: cannot make the files of run %ld: %s\n", i, strerror(rc));
            return 1;
        }
        rc = start(&pid, argv, by_vfork, o);

        if (rc != 0) {
            fprintf(stderr, "bench_spawn: cannot execute '%s': %s\n", argv[0], strerror(rc));
            return 1;
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        failures += status != 0;
        close_files(o);
    }
    return failures > 0;
}

static int usage(void)
{
    fputs("usage: bench_spawn [--vfork] [--files DIR] N P COMMAND [ARGUMENT...]\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct output output = {.dir = -1};
    bool by_vfork = false;
    long runs, loops;
    int failed = 0;
    double begin;
    double wall;

    for (; argc > 1 && strncmp(argv[1], "--", 2) == 0; argc--, argv++) {
        if (strcmp(argv[1], "--vfork") == 0) {
            by_vfork = true;
        } else if (strcmp(argv[1], "--files") == 0 && argc > 2) {
            by_vfork = true; /* what the pilot does */
            output.dir = open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (output.dir < 0) {
                fprintf(stderr, "bench_spawn: cannot open '%s': %s\n", argv[2], strerror(errno));
                return 1;
            }
            argc--;
            argv++;
        } else {
            return usage();
        }
    }
    runs = argc > 3 ? strtol(argv[1], NULL, 10) : 0;
    loops = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    if (runs < 1 || loops < 1)
        return usage();
    begin = now_s();
    for (long i = 0; i < loops; i++) {
        pid_t pid = fork();

        if (pid < 0) {
            perror("bench_spawn: fork");
            return 1;
        }
        if (pid == 0) {
            pin(i);
            _exit(run_loop(i, loops, runs, argv + 3, by_vfork, &output));
        }
    }
    for (long i = 0; i < loops; i++) {
        int status = 0;

        while (wait(&status) < 0 && errno == EINTR)
            ;
        failed |= status != 0;
    }
    wall = now_s() - begin;
    printf("%.1f per second (%ld runs of %s, %ld loops, %.3f s, %.1f us CPU each)\n",
           (double)runs / wall, runs, argv[3], loops, wall, cpu_us() / (double)runs);
    return failed;
}
