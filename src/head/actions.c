/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: carrying out what the scheduler core decided: messages to agents, changes of state, and
 * what people will be told. The core has the tasks' statuses; here nothing is decided. */
#include "head/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

void actions_store_start(struct head *h, task_id_t id, node_id_t node, unsigned attempt)
{
    store_attempt_started(h->store, id, head_task_id(h, id), attempt, h->nodes[node].name,
                          clock_wall_ms());
}

static void tell_start(struct head *h, task_id_t id, node_id_t node, unsigned attempt)
{
    struct notice n = {.what = TOLD_STARTED, .task = id, .node = node, .attempt = attempt};

    tell_later(h, &n);
}

void actions_send_start(struct head *h, task_id_t id, node_id_t node, unsigned attempt)
{
    const struct head_task *task = &h->tasks.v[id];

    msg_put_run(node_frame(h, node), id, attempt, TASK_ID_NONE, h->nodes[node].backs, task->packed,
                task->packed_len);
    tell_start(h, id, node, attempt);
    h->changed = true;
}

static void start(struct head *h, const struct sched_action *a)
{
    h->tasks.v[a->task].node = a->node;
    if (a->sent)
        tell_start(h, a->task, a->node, a->attempt); /* it has begun by itself */
    else if (trial_holds_start(h, a, clock_mono_ms()))
        return;
    else
        actions_send_start(h, a->task, a->node, a->attempt);
    actions_store_start(h, a->task, a->node, a->attempt);
}

/* Sent there, or lent and not taken back just now (by lend, a moment ago). */
static bool is_on(const struct head *h, task_id_t task, node_id_t node)
{
    struct sched_task_info info;

    sched_get_task(h->sched, task, &info);
    return info.node == node;
}

static void lend(struct head *h, const struct sched_action *a)
{
    struct head_task *task = &h->tasks.v[a->task];
    struct sched_event back = {
        .type = SCHED_RETURNED, .node = a->node, .task = a->task, .attempt = a->attempt};

    if (!trial_allows_loan(h, a, clock_mono_ms()) || !is_on(h, a->after, a->node)) {
        if (sched_apply(h->sched, &back, clock_mono_ms(), &h->actions) < 0)
            BUG("out of memory in the scheduler");
        return;
    }
    task->node = a->node;
    msg_put_run(node_frame(h, a->node), a->task, a->attempt, a->after, h->nodes[a->node].backs,
                task->packed, task->packed_len);
}

/* KILL and RECALL. */
static void kill_attempt(struct head *h, const struct sched_action *a)
{
    struct msg_kill m = {.task = a->task,
                         .attempt = a->attempt,
                         .reason = REASON_CANCEL,
                         .unbegun = a->type == SCHED_RECALL};

    trial_cancel(h, a->task);
    if (h->nodes[a->node].state == NODE_UP)
        msg_put_kill(node_frame(h, a->node), &m);
}

/* A status that follows from the end of an attempt. */
static void attempt_over(struct head *h, const struct sched_action *a, node_id_t node,
                         const char *cpus, const struct attempt_result *result)
{
    struct sched_task_info info;
    struct notice n = {.what = TOLD_ENDED,
                       .task = a->task,
                       .node = node,
                       .attempt = a->attempt,
                       .status = a->status,
                       .took_ms = result->end_wall_ms - result->start_wall_ms};

    sched_get_task(h->sched, a->task, &info);
    h->summary.attempts++;
    h->summary.lost += result->reason == REASON_LOST;
    n.failures = info.failures;
    n.event = a->status > TASK_RUNNING && events_want(h, a->status);
    if (n.event && (n.text = strdup(cpus)) == NULL)
        BUG("out of memory for the end of a task");
    if (a->status != TASK_COMPLETED || n.event) {
        n.result = malloc(sizeof(*n.result));
        if (n.result == NULL)
            BUG("out of memory for the end of a task");
        *n.result = *result;
    }
    store_attempt_ended(h->store, a->task, a->attempt, h->nodes[node].name, cpus, result, a->status,
                        n.event);
    h->tasks.v[a->task].node = NODE_ID_NONE;
    tell_later(h, &n);
}

static void skip_or_cancel(struct head *h, const struct sched_action *a)
{
    struct notice n = {.what = TOLD_DROPPED,
                       .task = a->task,
                       .cause = a->cause,
                       .node = NODE_ID_NONE,
                       .status = a->status};
    char why[300] = "";

    if (a->status == TASK_SKIPPED && a->cause != TASK_ID_NONE)
        snprintf(why, sizeof(why), "dependency %.250s did not complete", head_task_id(h, a->cause));
    n.event = events_want(h, a->status);
    store_task_status(h->store, a->task, a->status, why, n.event);
    tell_later(h, &n);
}

/* Goes through the actions since the last call. Those with an attempt are about attempts that ended
 * on node, with this result. */
static void carry_out(struct head *h, node_id_t node, const char *cpus,
                      const struct attempt_result *result)
{
    for (size_t i = 0; i < h->actions.len; i++) {
        const struct sched_action *a = &h->actions.v[i];

        if (a->type == SCHED_START)
            start(h, a);
        else if (a->type == SCHED_LEND)
            lend(h, a);
        else if (a->type == SCHED_KILL || a->type == SCHED_RECALL)
            kill_attempt(h, a);
        else if (a->status == TASK_RUNNING)
            continue; /* its SCHED_START is the next action */
        else if (a->attempt != 0)
            attempt_over(h, a, node, cpus, result);
        else
            skip_or_cancel(h, a);
        h->changed = true;
    }
    h->actions.len = 0;
}

void actions_do(struct head *h)
{
    carry_out(h, NODE_ID_NONE, "", NULL);
}

static void count_usage(struct head *h, const struct head_task *task,
                        const struct attempt_result *r)
{
    h->summary.cpu_s += (double)(r->user_us + r->sys_us) / 1e6;
    h->summary.core_s += (double)task->cores * (double)(r->end_wall_ms - r->start_wall_ms) / 1e3;
}

/* What took less than 1 ms took that; 0, not known, when the clock was set back meanwhile. */
static int64_t ran_ms(const struct attempt_result *r)
{
    int64_t ms = r->end_wall_ms - r->start_wall_ms;

    return ms > 0 ? ms : ms == 0;
}

void actions_ended(struct head *h, node_id_t node, const struct msg_ended *m, int64_t now_ms)
{
    const struct head_task *task = &h->tasks.v[m->task];
    struct sched_task_info info;
    struct sched_event ev = {.type = SCHED_ATTEMPT_ENDED,
                             .node = node,
                             .task = m->task,
                             .attempt = m->attempt,
                             .reason = m->result.reason,
                             .exit_code = m->result.exit_code,
                             .ran_ms = ran_ms(&m->result)};

    sched_get_task(h->sched, m->task, &info);
    if ((info.status != TASK_RUNNING && !info.lent) || info.attempts + info.lent != m->attempt ||
        info.node != node)
        return; /* of a node that had been given up */
    count_usage(h, task, &m->result);
    if (sched_apply(h->sched, &ev, now_ms, &h->actions) < 0)
        BUG("out of memory in the scheduler");
    carry_out(h, node, m->cpus, &m->result);
}

void actions_returned(struct head *h, node_id_t node, const struct msg_back *m, int64_t now_ms)
{
    struct sched_task_info info;
    struct sched_event ev = {
        .type = SCHED_RETURNED, .node = node, .task = m->task, .attempt = m->attempt};

    sched_get_task(h->sched, m->task, &info);
    if (!info.lent || info.node != node)
        return; /* as above */
    h->tasks.v[m->task].node = NODE_ID_NONE;
    if (sched_apply(h->sched, &ev, now_ms, &h->actions) < 0)
        BUG("out of memory in the scheduler");
    actions_do(h);
}

void actions_node_lost(struct head *h, node_id_t node, int64_t now_ms)
{
    struct sched_event ev = {.type = SCHED_NODE_DOWN, .node = node};
    struct attempt_result result = {.reason = REASON_LOST, .exit_code = -1};

    if (h->sched == NULL)
        return;
    if (node == 0)
        trial_withdraw_all(h, now_ms);
    /* The node's own account of its attempts is lost with it: what is known is when they were
     * sent, and that it is over now. */
    result.start_wall_ms = result.end_wall_ms = clock_wall_ms();
    snprintf(result.message, sizeof(result.message), "node %.140s", h->nodes[node].name);
    if (sched_apply(h->sched, &ev, now_ms, &h->actions) < 0)
        BUG("out of memory in the scheduler");
    for (size_t i = 0; i < h->actions.len; i++) {
        const struct sched_action *a = &h->actions.v[i];

        if (a->type == SCHED_STATUS && a->attempt != 0 && h->stop < STOP_TERM)
            log_warn("task '%s' was running on %s; %s", head_task_id(h, a->task),
                     h->nodes[node].name,
                     a->status == TASK_PENDING ? "it will run again" : "it is given up");
    }
    carry_out(h, node, "", &result);
}

void actions_stop_running(struct head *h, bool now)
{
    for (task_id_t i = 0; i < h->tasks.len; i++) {
        const struct head_task *task = &h->tasks.v[i];
        struct msg_kill m = {.task = i, .reason = REASON_STOP, .now = now};
        struct sched_task_info info;

        if (task->node == NODE_ID_NONE || h->nodes[task->node].state != NODE_UP)
            continue;
        sched_get_task(h->sched, i, &info);
        m.attempt = info.attempts + info.lent;
        msg_put_kill(node_frame(h, task->node), &m);
    }
}
