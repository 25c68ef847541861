/* SPDX-License-Identifier: BSD-3-Clause */
/* The yardstick: how fast this machine starts and reaps processes when nothing else is done.
 *
 *     bench_spawn [--vfork] N P COMMAND [ARGUMENT...]
 *
 * runs COMMAND N times in P loops of posix_spawn (or vfork and execvp) and waitpid, each in a
 * process of its own that is pinned to one of the allowed CPUs, round-robin. Prints "RATE per
 * second
 * ..."; exit status 1 when a run failed. */
#include <errno.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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

/* Returns an error number. */
static int start(pid_t *pid, char **argv, bool by_vfork)
{
    if (!by_vfork)
        return posix_spawnp(pid, argv[0], NULL, NULL, argv, environ);
    *pid = vfork();
    if (*pid == 0) {
        execvp(argv[0], argv);
        _exit(127);
    }
    return *pid < 0 ? errno : 0;
}

static int run_loop(long runs, char **argv, bool by_vfork)
{
    int failures = 0;

    for (long i = 0; i < runs; i++) {
        int status = 0;
        pid_t pid;
        int rc = start(&pid, argv, by_vfork);

        if (rc != 0) {
            fprintf(stderr, "bench_spawn: cannot execute '%s': %s\n", argv[0], strerror(rc));
            return 1;
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        failures += status != 0;
    }
    return failures > 0;
}

int main(int argc, char **argv)
{
    bool by_vfork = argc > 1 && strcmp(argv[1], "--vfork") == 0;
    long runs, loops;
    int failed = 0;
    double begin;
    double wall;

    if (by_vfork) {
        argc--;
        argv++;
    }
    runs = argc > 3 ? strtol(argv[1], NULL, 10) : 0;
    loops = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    if (runs < 1 || loops < 1) {
        fputs("usage: bench_spawn [--vfork] N P COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    begin = now_s();
    for (long i = 0; i < loops; i++) {
        pid_t pid = fork();

        if (pid < 0) {
            perror("bench_spawn: fork");
            return 1;
        }
        if (pid == 0) {
            pin(i);
            _exit(run_loop(runs / loops + (i < runs % loops), argv + 3, by_vfork));
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
