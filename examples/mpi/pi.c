/* SPDX-License-Identifier: BSD-3-Clause */
/* Pi by the midpoint rule, the intervals shared out among the ranks.
 *
 *     mpirun -np 2 ./pi INTERVALS
 *
 * Prints where each rank ran, to be compared with the cores that the task was given (PILOT_CPUS).
 */
#define _GNU_SOURCE
#include <math.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    long intervals = argc > 1 ? strtol(argv[1], NULL, 10) : 100000000;
    char host[MPI_MAX_PROCESSOR_NAME];
    double sum = 0, pi = 0, start;
    int rank, size, len;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_processor_name(host, &len);
    if (intervals < 1) {
        if (rank == 0)
            fprintf(stderr, "pi: how many intervals? A positive number, not '%s'\n", argv[1]);
        MPI_Finalize();
        return 2;
    }
    start = MPI_Wtime();
    for (long i = rank; i < intervals; i += size) {
        double x = ((double)i + 0.5) / (double)intervals;

        sum += 4 / (1 + x * x);
    }
    sum /= (double)intervals;
    MPI_Reduce(&sum, &pi, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    printf("rank %d of %d on %s, CPU %d\n", rank, size, host, sched_getcpu());
    fflush(stdout);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0)
        printf("pi %.12f error %.1e in %.2f s\n", pi, fabs(pi - acos(-1.0)), MPI_Wtime() - start);
    MPI_Finalize();
    return 0;
}
