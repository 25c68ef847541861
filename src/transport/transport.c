/* SPDX-License-Identifier: BSD-3-Clause */
/* Dispatch to the implementations, and how to tell which one is wanted. */
#include "transport/impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

int transport_launched(struct pilot_error *err)
{
    static const char *const marks[] = {"PMIX_RANK", "PMI_RANK", "PMI_FD", "OMPI_COMM_WORLD_RANK",
                                        "PMI_SIZE"};
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        if (getenv(marks[i]) != NULL)
            return 1;
    if (tasks != NULL && strcmp(tasks, "1") != 0 && getenv("SLURM_PROCID") != NULL)
        return err_set(err, PILOT_EINVAL,
                       "srun started %s copies of this program without a way for MPI to connect "
                       "them; use srun --mpi=pmix (srun --mpi=list shows what there is)",
                       tasks);
    return 0;
}

int transport_rank(const struct transport *t)
{
    return t->rank;
}

int transport_size(const struct transport *t)
{
    return t->size;
}

int transport_send(struct transport *t, int peer, const void *frame, size_t len)
{
    return t->ops->send(t, peer, frame, len);
}

int transport_recv(struct transport *t, int *peer, const void **frame, size_t *len)
{
    return t->ops->recv(t, peer, frame, len);
}

void transport_flush(struct transport *t)
{
    t->ops->flush(t);
}

void transport_drop(struct transport *t, int peer)
{
    t->ops->drop(t, peer);
}

int transport_fd(const struct transport *t)
{
    return t->ops->fd(t);
}

int64_t transport_nap_us(struct transport *t, int64_t now_us)
{
    return t->ops->nap_us(t, now_us);
}

void transport_woken(struct transport *t, int64_t now_us)
{
    t->ops->woken(t, now_us);
}

bool transport_idle(struct transport *t)
{
    return t->ops->idle(t);
}

void transport_beat(struct transport *t, int64_t every_ms)
{
    if (t->ops->beat != NULL)
        t->ops->beat(t, every_ms);
}

struct transport_signs transport_signs(const struct transport *t, int peer)
{
    return t->ops->signs != NULL ? t->ops->signs(t, peer) : (struct transport_signs){0};
}

void transport_close(struct transport *t, bool orderly, int status)
{
    if (t != NULL)
        t->ops->close(t, orderly, status);
}
