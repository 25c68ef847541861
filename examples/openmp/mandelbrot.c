/* SPDX-License-Identifier: BSD-3-Clause */
/* Area of the Mandelbrot set by counting points, with OpenMP threads.
 *
 *     ./mandelbrot POINTS_A_SIDE
 *
 * Nothing here knows of pilot-mpi: the number of threads comes from OMP_NUM_THREADS, which the
 * pilot sets to the cores of the task, and the threads stay on those cores because the task is
 * pinned. It prints which CPUs they were seen on. */
#define _GNU_SOURCE
#include <omp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define ITERATIONS 1000

static int is_inside(double re, double im)
{
    double x = 0, y = 0;

    for (int i = 0; i < ITERATIONS; i++) {
        double next = x * x - y * y + re;

        y = 2 * x * y + im;
        x = next;
        if (x * x + y * y > 4)
            return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    long side = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;
    long inside = 0;
    double start = omp_get_wtime();
    static bool seen[CPU_SETSIZE];

    if (side < 1) {
        fprintf(stderr, "mandelbrot: how many points a side? A positive number, not '%s'\n",
                argv[1]);
        return 2;
    }
#pragma omp parallel for schedule(dynamic, 8) reduction(+ : inside)
    for (long row = 0; row < side; row++) {
        int cpu = sched_getcpu();

        if (cpu >= 0 && cpu < CPU_SETSIZE) {
#pragma omp atomic write
            seen[cpu] = true;
        }
        for (long col = 0; col < side; col++)
            inside += is_inside(-2 + 2.5 * ((double)col + 0.5) / (double)side,
                                1.25 * ((double)row + 0.5) / (double)side);
    }

    /* The set is symmetric: 2.5 x 1.25 is the upper half. */
    printf("area %.5f with %ld points, %d threads on CPUs",
           2 * 2.5 * 1.25 * (double)inside / ((double)side * (double)side), side * side,
           omp_get_max_threads());
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (seen[cpu])
            printf(" %d", cpu);
    printf(", %.2f s\n", omp_get_wtime() - start);
    return 0;
}
