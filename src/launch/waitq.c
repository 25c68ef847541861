/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the list of waitq.h. */
#include "launch/waitq.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

void waitq_init(struct waitq *q)
{
    *q = (struct waitq){0};
    q->last = &q->first;
}

void waitq_fini(struct waitq *q)
{
    while (q->first != NULL)
        waitq_remove(q, &q->first);
}

static void free_waiting(struct waiting *w)
{
    buf_fini(&w->msg);
    wire_fds_close(&w->fds);
    free(w);
}

int waitq_add(struct waitq *q, const struct buf *msg, const struct launch_event *attempt,
              const struct wire_fds *fds, const char *cpus)
{
    struct waiting *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return PILOT_ENOMEM;
    buf_put(&w->msg, msg->data, msg->len);
    if (!buf_ok(&w->msg) || wire_fds_dup(&w->fds, fds) < 0) {
        int rc = buf_ok(&w->msg) ? PILOT_ESYS : PILOT_ENOMEM;

        free_waiting(w);
        return rc;
    }
    w->attempt = *attempt;
    memcpy(w->cpus, cpus, strlen(cpus) + 1);
    *q->last = w;
    q->last = &w->next;
    q->n++;
    return 0;
}

struct waiting **waitq_find(struct waitq *q, uint64_t key)
{
    for (struct waiting **link = &q->first; *link != NULL; link = &(*link)->next)
        if ((*link)->attempt.key == key)
            return link;
    return NULL;
}

void waitq_remove(struct waitq *q, struct waiting **link)
{
    struct waiting *w = *link;

    *link = w->next;
    if (q->last == &w->next)
        q->last = link;
    q->n--;
    free_waiting(w);
}
