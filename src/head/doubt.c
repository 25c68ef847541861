/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: attempts that ended by a signal that stops us too, while nobody here had sent one. When a
 * batch system ends a job (scancel, the walltime, a lost node) or warns of that (sbatch
 * --signal=USR1@60, without the B:), it signals every process of it at once, tasks and pilot alike:
 * such a task has not failed, it was stopped with us. Whose signal comes first is chance, so the
 * judgement waits for a moment. After a KILL we do not come to judge, nor does a node that was
 * killed come to report more: what was not judged is then an attempt that was lost. */
#include "head/impl.h"

#include <signal.h>
#include <stdlib.h>

#include "common/error.h"

#define DOUBT_MS                                                                                   \
    1000 /* between the first and the last process that slurmstepd signals, and more               \
          */

struct doubt {
    struct doubt *next;
    int64_t due_ms;
    node_id_t node;
    struct msg_ended ended;
};

/* A shell says 128 + the number of the signal that ended its last command. */
static bool by_our_signal(const struct attempt_result *r)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGKILL};

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if ((r->reason == REASON_SIGNAL && r->signal == ours[i]) ||
            (r->reason == REASON_EXIT && r->exit_code == 128 + ours[i]))
            return true;
    return false;
}

bool doubt_take(struct head *h, node_id_t node, const struct msg_ended *m, int64_t now_ms)
{
    struct doubt *d;

    if (!by_our_signal(&m->result))
        return false;
    d = malloc(sizeof(*d));
    if (d == NULL)
        BUG("out of memory for the end of an attempt");
    d->next = NULL;
    d->due_ms = now_ms + DOUBT_MS;
    d->node = node;
    d->ended = *m;
    if (h->doubts == NULL)
        h->last_doubt = &h->doubts;
    *h->last_doubt = d;
    h->last_doubt = &d->next;
    return true;
}

void doubt_turn(struct head *h, int64_t now_ms)
{
    while (h->doubts != NULL && (h->stop >= STOP_TERM || h->doubts->due_ms <= now_ms)) {
        struct doubt *d = h->doubts;

        h->doubts = d->next;
        if (h->stop >= STOP_TERM) {
            d->ended.result.reason = REASON_STOP;
            d->ended.result.exit_code = -1;
        }
        actions_ended(h, d->node, &d->ended, now_ms);
        free(d);
    }
}

int64_t doubt_next_ms(const struct head *h)
{
    return h->doubts != NULL ? h->doubts->due_ms : INT64_MAX;
}

void doubt_fini(struct head *h)
{
    while (h->doubts != NULL) {
        struct doubt *d = h->doubts;

        h->doubts = d->next;
        free(d);
    }
}
