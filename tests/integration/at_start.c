/* SPDX-License-Identifier: BSD-3-Clause */
/* Preloaded into the ranks of a pilot, does something to one of them at a certain moment of its
 * start. AT_START="RANK MOMENT DEED", several with commas between them.
 *
 *   moments  enter  before MPI_Init
 *            init   right after it
 *            heard  at the second message that came (of others' cards and HELLOs): some have not
 *            said   half a second after two messages were sent, a card and a HELLO
 *   deeds    die    kill -9 itself
 *            N      sleep N seconds */
#include <mpi.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HOOK __attribute__((visibility("default")))

static void moment(const char *now)
{
    const char *all = getenv("AT_START"), *rank = getenv("PMIX_RANK");
    char list[256], *save = NULL;

    if (all == NULL || rank == NULL)
        return;
    snprintf(list, sizeof(list), "%s", all);
    for (char *one = strtok_r(list, ",", &save); one != NULL; one = strtok_r(NULL, ",", &save)) {
        char who[16], when[16], deed[16];

        if (sscanf(one, "%15s %15s %15s", who, when, deed) != 3 || strcmp(who, rank) != 0 ||
            strcmp(when, now) != 0)
            continue;
        if (strcmp(deed, "die") == 0)
            kill(getpid(), SIGKILL);
        sleep((unsigned)atoi(deed));
    }
}

HOOK int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    int rc;

    moment("enter");
    rc = PMPI_Init_thread(argc, argv, required, provided);
    moment("init");
    return rc;
}

static unsigned sent;
static time_t sent_at_ms;

static time_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

HOOK int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
                   MPI_Request *request)
{
    if (++sent == 2)
        sent_at_ms = now_ms();
    return PMPI_Isend(data, count, type, to, tag, comm, request);
}

HOOK int MPI_Improbe(int from, int tag, MPI_Comm comm, int *flag, MPI_Message *message,
                     MPI_Status *status)
{
    static bool said;

    if (!said && sent >= 2 && now_ms() - sent_at_ms >= 500) {
        said = true;
        moment("said");
    }
    return PMPI_Improbe(from, tag, comm, flag, message, status);
}

HOOK int MPI_Imrecv(void *data, int count, MPI_Datatype type, MPI_Message *message,
                    MPI_Request *request)
{
    static unsigned heard;

    if (++heard == 2)
        moment("heard");
    return PMPI_Imrecv(data, count, type, message, request);
}
