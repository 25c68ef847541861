/* SPDX-License-Identifier: BSD-3-Clause */
/* What it costs that a commit is on the disk before it is told: the time of one commit with each
 * setting of PRAGMA synchronous, in interleaved rounds, since the disk's own pace changes.
 *
 *   bench_commit DIR [ROUNDS [COMMITS]]
 *
 * A commit holds one start and one end of a task. OFF: no flush at all; NORMAL: at checkpoints;
 * FULL: at each commit. Also counts what the pilot itself gets, at most 50 commits a second. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "store/internal.h"

#define ROUNDS_MAX 100

static const char *const settings[] = {"OFF", "NORMAL", "FULL"};

static void die(const char *what)
{
    fprintf(stderr, "bench_commit: %s\n", what);
    exit(1);
}

static void wait_for(struct store *s, uint64_t barrier)
{
    struct pollfd p = {.fd = store_fd(s), .events = POLLIN};
    struct pilot_error err;
    uint64_t count;

    while (store_committed(s) < barrier) {
        if (store_failed(s, &err))
            die(err.text);
        if (poll(&p, 1, 1000) > 0 && read(p.fd, &count, sizeof(count)) < 0)
            die("cannot read the eventfd");
    }
}

/* Milliseconds a commit. */
static double one_round(const char *path, const char *synchronous, unsigned commits)
{
    const struct store_setup setup = {.synchronous = synchronous, .pace_us = 1};
    const struct store_owner owner = {.host = "bench", .pid = 1, .job = ""};
    struct task_spec spec = {.id = (char[16]){""}, .command = (char[]){"true"}, .cores = 1};
    struct attempt_result result = {.reason = REASON_EXIT, .end_wall_ms = 1};
    struct pilot_error err;
    struct store *s;
    int64_t begin_us;

    if (store_open_with(&s, path, STORE_FRESH, &owner, &setup, &err) < 0 ||
        store_start(s, &err) < 0)
        die(err.text);
    for (unsigned i = 0; i < commits; i++) {
        snprintf(spec.id, 16, "t%u", i);
        store_put_task(s, i, &spec, "{}", TASK_PENDING);
    }
    wait_for(s, store_barrier(s));
    begin_us = clock_mono_us();
    for (unsigned i = 0; i < commits; i++) {
        snprintf(spec.id, 16, "t%u", i);
        store_attempt_started(s, i, spec.id, 1, "node", 1);
        store_attempt_ended(s, i, 1, "node", "0", &result, TASK_COMPLETED, false);
        wait_for(s, store_barrier(s));
    }
    begin_us = clock_mono_us() - begin_us;
    if (store_close(s, &err) < 0)
        die(err.text);
    return (double)begin_us / 1e3 / commits;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 9;
    unsigned commits = argc > 3 ? (unsigned)atoi(argv[3]) : 200;
    double ms[3][ROUNDS_MAX];
    char path[4096];

    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX || commits < 1)
        die("usage: bench_commit DIR [ROUNDS [COMMITS]]");
    snprintf(path, sizeof(path), "%s/bench_commit.db", argv[1]);
    for (unsigned r = 0; r < rounds; r++)
        for (int i = 0; i < 3; i++)
            ms[i][r] = one_round(path, settings[i], commits);
    unlink(path);
    printf("%-8s %12s %12s %12s   ms a commit, %u rounds of %u\n", "", "least", "median", "most",
           rounds, commits);
    for (int i = 0; i < 3; i++) {
        qsort(ms[i], rounds, sizeof(ms[i][0]), compare);
        printf("%-8s %12.3f %12.3f %12.3f\n", settings[i], ms[i][0], ms[i][rounds / 2],
               ms[i][rounds - 1]);
    }
    return 0;
}
