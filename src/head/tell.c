/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: what people are told about tasks, in a ring ordered by commit. Nothing leaves it before the
 * change it tells of is committed: a line with a check mark is a promise. */
#include "head/impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

/* As much as the fastest tasks there can be end while the store writes a million new ones, two for
 * each; with what is queued for the store, some 50 MB. Above it nothing is started until the store
 * has caught up; what runs goes on. */
#define UNCOMMITTED_MAX 250000

static struct notice *at(struct notices *q, size_t i)
{
    return &q->v[(q->first + i) & (q->cap - 1)];
}

static void grow(struct notices *q)
{
    size_t cap = q->cap ? q->cap * 2 : 256;
    struct notice *v = malloc(cap * sizeof(*v));

    if (v == NULL)
        BUG("out of memory for what is to be told");
    for (size_t i = 0; i < q->len; i++)
        v[i] = *at(q, i);
    free(q->v);
    q->v = v;
    q->cap = cap;
    q->first = 0;
}

static bool is_end(const struct notice *n)
{
    return (n->what == TOLD_ENDED || n->what == TOLD_DROPPED) && n->status > TASK_RUNNING;
}

void tell_later(struct head *h, const struct notice *n)
{
    struct notices *q = &h->notices;

    if (q->len == q->cap)
        grow(q);
    *at(q, q->len++) = *n;
    q->unset++;
    if (is_end(n))
        q->ends[n->status]++;
}

void tell_seal(struct head *h, uint64_t barrier)
{
    struct notices *q = &h->notices;

    for (; q->unset > 0; q->unset--)
        at(q, q->len - q->unset)->barrier = barrier;
}

static void remember_failure(struct head *h, const struct notice *n,
                             const struct attempt_result *result)
{
    struct report_failure *f;

    if (h->failure_count >= FAILURES_SHOWN)
        return;
    f = &h->failures[h->failure_count];
    f->attempt = n->attempt;
    f->result = *result;
    f->node = n->node != NODE_ID_NONE ? h->nodes[n->node].name : "";
    h->failure_tasks[h->failure_count++] = n->task;
}

static void make_event(struct head *h, const struct notice *n, const struct attempt_result *result)
{
    struct event e = {.task = n->task,
                      .status = n->status,
                      .node = n->node != NODE_ID_NONE ? h->nodes[n->node].name : "",
                      .cpus = n->text ? n->text : "",
                      .attempts = n->attempt,
                      .result = *result};

    events_take(h, &e);
}

static void call_started(struct head *h, const struct notice *n)
{
    struct attempt_result none = {.exit_code = -1};
    struct head_report r = {.status = TASK_RUNNING,
                            .result = &none,
                            .node = h->nodes[n->node].name,
                            .workdir = h->workdir,
                            .attempts = n->attempt};
    struct task_spec spec;

    hook_started(h, n->task, n->node, n->attempt);
    h->again = h->again || h->hook != NULL;
    if (h->callbacks.started == NULL || tasks_unpack(&h->tasks.v[n->task], &spec) < 0)
        return;
    r.spec = &spec;
    h->callbacks.started(h->callbacks.arg, &r);
    task_spec_fini(&spec);
}

static void tell(struct head *h, const struct notice *n)
{
    const char *id = n->what != TOLD_REPLY ? head_task_id(h, n->task) : NULL;
    const struct attempt_result plain = {
        .reason = REASON_EXIT, .exit_code = n->attempt > 0 ? 0 : -1, .end_wall_ms = n->took_ms};
    const struct attempt_result *result = n->result != NULL ? n->result : &plain;

    switch (n->what) {
    case TOLD_STARTED:
        report_task_started(h->report, id, h->tasks.v[n->task].cores, h->nodes[n->node].name);
        call_started(h, n);
        break;
    case TOLD_ENDED: {
        struct task_spec spec;
        unsigned max_retries = 0;

        if (n->status == TASK_PENDING && tasks_unpack(&h->tasks.v[n->task], &spec) == 0) {
            max_retries = spec.max_retries;
            task_spec_fini(&spec);
        }
        if (n->status == TASK_FAILED)
            remember_failure(h, n, result);
        report_task_ended(h->report, id, n->attempt, n->status, result, n->failures, max_retries);
        break;
    }
    case TOLD_DROPPED:
        if (n->status == TASK_SKIPPED)
            report_task_skipped(h->report, id,
                                n->cause != TASK_ID_NONE ? head_task_id(h, n->cause) : NULL);
        break;
    case TOLD_REPLY:
        requests_reply(h, n);
        h->again = true; /* frames have been sent in this turn already */
        break;
    }
    if (n->event && !h->over)
        make_event(h, n, result); /* after the loop it stays to be told: a resume does */
}

void tell_committed(struct head *h, uint64_t committed)
{
    struct notices *q = &h->notices;

    while (q->len > q->unset && at(q, 0)->barrier <= committed) {
        struct notice n = *at(q, 0); /* telling may add notices, and so move them */

        q->first = (q->first + 1) & (q->cap - 1);
        q->len--;
        if (is_end(&n))
            q->ends[n.status]--;
        tell(h, &n);
        free(n.result);
        free(n.text);
        free(n.inbox);
    }
}

size_t tell_untold(const struct head *h, enum task_status status)
{
    return h->notices.ends[status];
}

bool tell_holds(const struct head *h)
{
    return h->notices.len > UNCOMMITTED_MAX;
}

uint64_t tell_count(const struct head *h, const struct sched_counts *c, enum task_status status)
{
    return c->by_status[status] - tell_untold(h, status);
}

void tell_fini(struct head *h)
{
    for (size_t i = 0; i < h->notices.len; i++) {
        free(at(&h->notices, i)->result);
        free(at(&h->notices, i)->text);
        free(at(&h->notices, i)->inbox);
    }
    free(h->notices.v);
    memset(&h->notices, 0, sizeof(h->notices));
}
