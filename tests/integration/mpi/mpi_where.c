/* SPDX-License-Identifier: BSD-3-Clause */
/* An MPI program whose ranks say where they are, one line each on standard output:
 *     rank 0 of 2 host n1 cpus 0-1 on 1 threads 2
 * cpus: what the rank may run on; on: where it runs after a moment of work; threads:
 * OMP_NUM_THREADS ("-" when unset). The ranks talk to each other once, so that a launcher that
 * starts them but does not join them is noticed. Exits with the status given as argument, after the
 * seconds given as the next one. */
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "0-3,8" of this process. */
static void print_list(char *dst, size_t size)
{
    cpu_set_t set;
    size_t len = 0;

    dst[0] = '\0';
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return;
    for (int i = 0; i < CPU_SETSIZE && len + 16 < size; i++) {
        int last = i;

        if (!CPU_ISSET(i, &set))
            continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set))
            last++;
        len += (size_t)snprintf(dst + len, size - len, last > i ? "%s%d-%d" : "%s%d",
                                len > 0 ? "," : "", i, last);
        i = last;
    }
}

/* Long enough for the kernel to have moved a rank off a core that it shares. */
static void work(double seconds)
{
    double end = MPI_Wtime() + seconds;

    while (MPI_Wtime() < end)
        ;
}

int main(int argc, char **argv)
{
    int rank, ranks, sum = 0;
    char host[64] = "", list[256];
    const char *threads = getenv("OMP_NUM_THREADS");

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    work(0.05);
    gethostname(host, sizeof(host) - 1);
    print_list(list, sizeof(list));
    printf("rank %d of %d host %s cpus %s on %d threads %s\n", rank, ranks, host, list,
           sched_getcpu(), threads != NULL ? threads : "-");
    fflush(stdout);
    sleep(argc > 2 ? (unsigned)atoi(argv[2]) : 0);
    MPI_Finalize();
    if (sum != ranks * (ranks - 1) / 2)
        return 99;
    return argc > 1 ? atoi(argv[1]) : 0;
}
