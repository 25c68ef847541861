/* SPDX-License-Identifier: BSD-3-Clause */
/* What the launcher alone makes of the machine: bench_spawn's work, through launcher_run.
 *
 *     bench_launch N P COMMAND
 *
 * runs COMMAND (a string, as in a task file) as N tasks, P at once, each pinned to one of the
 * allowed CPUs, with a directory and two output files each below a temporary directory in TMPDIR,
 * which is removed. Prints "RATE per second ...", to be compared with bench_spawn run in the same
 * minute. */
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "launch/launch.h"

extern char **environ;

#define PARALLEL_MAX 1024

static char cpus_of[PARALLEL_MAX][16];

static void choose_cpus(long parallel)
{
    cpu_set_t allowed;
    int cpu = -1;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        return;
    for (long i = 0; i < parallel; i++) {
        do {
            cpu = (cpu + 1) % CPU_SETSIZE;
        } while (!CPU_ISSET(cpu, &allowed));
        snprintf(cpus_of[i], sizeof(cpus_of[i]), "%d", cpu);
    }
}

/* Of this process, the launcher's and the tasks. */
static double cpu_us(void)
{
    double us = 0;

    for (int i = 0; i < 2; i++) {
        struct rusage ru;

        if (getrusage(i == 0 ? RUSAGE_SELF : RUSAGE_CHILDREN, &ru) == 0)
            us += (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1e6 +
                  (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
    }
    return us;
}

static void die(const struct pilot_error *err)
{
    fprintf(stderr, "bench_launch: %s\n", err->text);
    exit(1);
}

/* key: number of the place (one of P at once) that the task takes. */
static void start(struct launcher *l, long number, uint64_t place, const char *command)
{
    static char *env[] = {(char *)"PILOT_TASK_ID=x", (char *)"PILOT_CORES=1",
                          (char *)"OMP_NUM_THREADS=1", NULL};
    struct launch_request req = {
        .key = place, .attempt = 1, .command = command, .env = env, .cpus = cpus_of[place]};
    struct pilot_error err;
    char id[32];

    snprintf(id, sizeof(id), "t%ld", number);
    req.id = id;
    if (launcher_run(l, &req, &err) < 0)
        die(&err);
}

static long run_all(struct launcher *l, long runs, long parallel, const char *command)
{
    long started = 0;
    long failed = 0;

    while (started < runs && started < parallel) {
        start(l, started, (uint64_t)started, command);
        started++;
    }
    while (launcher_running(l) > 0) {
        struct pollfd p = {.fd = launcher_fd(l), .events = POLLIN};
        struct launch_event ev;
        int rc;

        (void)poll(&p, 1, -1);
        while ((rc = launcher_next(l, &ev)) > 0) {
            failed += ev.result.reason != REASON_EXIT || ev.result.exit_code != 0;
            if (started < runs)
                start(l, started++, ev.key, command);
        }
        if (rc < 0) {
            fputs("bench_launch: the launcher died\n", stderr);
            exit(1);
        }
    }
    return failed;
}

static void remove_dir(char *dir)
{
    char *argv[] = {(char *)"rm", (char *)"-rf", dir, NULL};
    pid_t pid;

    if (posix_spawnp(&pid, "rm", NULL, NULL, argv, environ) == 0)
        (void)waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    long runs = argc == 4 ? strtol(argv[1], NULL, 10) : 0;
    long parallel = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    const char *tmp = getenv("TMPDIR");
    struct pilot_error err;
    struct launcher *l;
    char dir[4096];
    int64_t begin;
    double wall;
    long failed;

    if (runs < 1 || parallel < 1 || parallel > PARALLEL_MAX) {
        fputs("usage: bench_launch N P COMMAND\n", stderr);
        return 2;
    }
    snprintf(dir, sizeof(dir), "%s/bench_launch.XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(dir) == NULL) {
        perror("bench_launch: mkdtemp");
        return 1;
    }
    choose_cpus(parallel);
    if (launcher_start(&l, &err) < 0 || launcher_configure(l, dir, NULL, 1000, &err) < 0)
        die(&err);
    begin = clock_mono_us();
    failed = run_all(l, runs, parallel, argv[3]);
    wall = (double)(clock_mono_us() - begin) / 1e6;
    launcher_stop(l); /* reaps guardian and slots, so that their CPU time is counted */
    printf("%.1f per second (%ld tasks of %s, %ld at once, %.3f s, %.1f us CPU each)\n",
           (double)runs / wall, runs, argv[3], parallel, wall, cpu_us() / (double)runs);
    remove_dir(dir);
    return failed > 0;
}
