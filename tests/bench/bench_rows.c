/* SPDX-License-Identifier: BSD-3-Clause */
/* What SQLite alone takes for the tasks of a run: their rows, and each one's end, in the product's
 * tables (keep.h), as fast as they can be written.
 *
 *   bench_rows FILE TASKS
 *
 * The ends come in transactions of 4,000, as 200,000 a second make them at 50 commits a second.
 * Prints "RATE per second ...". */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "keep.h"

#define BATCH 4000

int main(int argc, char **argv)
{
    long tasks = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    int64_t now_ms = clock_wall_ms(), begin_us, added_us, end_us;
    struct keep *k;

    if (tasks < 1) {
        fputs("usage: bench_rows FILE TASKS\n", stderr);
        return 2;
    }
    begin_us = clock_mono_us();
    k = keep_open(argv[1], "true");
    keep_add(k, tasks);
    added_us = clock_mono_us();
    for (long i = 0; i < tasks; i++) {
        if (i % BATCH == 0)
            keep_begin(k);
        keep_end(k, i, now_ms + i / 100, now_ms + i / 100 + 1, 700);
        if (i % BATCH == BATCH - 1 || i == tasks - 1)
            keep_commit(k);
    }
    keep_close(k);
    end_us = clock_mono_us();
    printf("%.1f per second (%ld tasks; %.2f us to add one, %.2f us to end it)\n",
           1e6 * (double)tasks / (double)(end_us - begin_us), tasks,
           (double)(added_us - begin_us) / (double)tasks,
           (double)(end_us - added_us) / (double)tasks);
    return 0;
}
