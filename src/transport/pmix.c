/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the one call to PMIx. MPI_Finalize waits for all ranks, and after a loss one would wait for
 * ever; but a process that ends without a word is a crash to who started it: Slurm's PMIx plugin
 * then kills the whole step, mpirun the whole job. PMIx_Finalize is the word, and waits for nobody
 * but the daemon on this node.
 *
 * The library is the one that MPI has loaded; where MPI has none, or one of its own under other
 * names, nothing is said. */
#include "transport/pmix.h"

#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#define ANSWER_S 2 /* a daemon that loses other ranks right now may not answer at all */

static volatile sig_atomic_t status_of_alarm;

static void on_alarm(int signal_number)
{
    (void)signal_number;
    _exit(status_of_alarm);
}

void pmix_leave(int status)
{
    void *library = dlopen("libpmix.so.2", RTLD_NOW | RTLD_NOLOAD);
    void *symbol = library != NULL ? dlsym(library, "PMIx_Finalize") : NULL;
    struct sigaction act = {.sa_handler = on_alarm};
    int (*finalize)(const void *info, size_t count);
    sigset_t set;

    if (symbol == NULL)
        return;
    *(void **)&finalize = symbol;
    status_of_alarm = status;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigaction(SIGALRM, &act, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    alarm(ANSWER_S);
    finalize(NULL, 0);
    alarm(0);
}
