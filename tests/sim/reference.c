/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the reference of reference.h. Slow on purpose: every question is answered by looking at
 * everything. */
#include "reference.h"

#include "world.h"

static bool is_dead(enum task_status status)
{
    return status == TASK_FAILED || status == TASK_SKIPPED || status == TASK_CANCELLED;
}

static bool has_dead_dep(const struct reference *r, const struct ref_task *t)
{
    for (size_t d = 0; d < t->spec.dep_count; d++)
        if (is_dead(r->tasks[t->deps[d]].status))
            return true;
    return false;
}

bool ref_is_ready(const struct reference *r, task_id_t task)
{
    const struct ref_task *t = &r->tasks[task];

    for (size_t d = 0; d < t->spec.dep_count; d++)
        if (r->tasks[t->deps[d]].status != TASK_COMPLETED)
            return false;
    return t->status == TASK_PENDING && !t->lent;
}

bool ref_is_late(const struct reference *r, task_id_t task)
{
    int64_t takes_ms = r->tasks[task].spec.timeout_ms, deadline_ms = r->config.deadline_ms;

    return ref_is_ready(r, task) && deadline_ms > 0 && takes_ms > 0 &&
           r->now_ms + takes_ms > deadline_ms;
}

/* Until nothing changes: what waits for something dead is skipped. What was retried is left alone
 * until the pass unless what it depends on dies now, which `died` says. */
static void settle(struct reference *r, task_id_t died)
{
    bool newly[REF_TASKS] = {false}, changed = true;

    if (died != TASK_ID_NONE)
        newly[died] = true;
    while (changed) {
        changed = false;
        for (task_id_t i = 0; i < r->count; i++) {
            struct ref_task *t = &r->tasks[i];
            bool hit = !t->fresh_retry && has_dead_dep(r, t);

            for (size_t d = 0; d < t->spec.dep_count; d++)
                hit |= newly[t->deps[d]];
            if (t->status != TASK_PENDING || !hit)
                continue;
            t->status = TASK_SKIPPED;
            newly[i] = changed = true;
        }
    }
}

void ref_add(struct reference *r, const struct sched_task *batch, size_t count)
{
    if (r->count + count > REF_TASKS)
        world_fail("the reference holds %d tasks", REF_TASKS);
    for (size_t i = 0; i < count; i++) {
        struct ref_task *t = &r->tasks[r->count++];

        *t = (struct ref_task){.spec = batch[i], .status = batch[i].status};
        for (size_t d = 0; d < batch[i].dep_count; d++)
            t->deps[d] = batch[i].deps[d];
        t->attempts = batch[i].attempts;
        t->failures = batch[i].failures;
        t->losses = batch[i].losses;
    }
    settle(r, TASK_ID_NONE);
}

static void take(struct reference *r, task_id_t task)
{
    struct ref_task *t = &r->tasks[task];

    t->lent = false;
    t->status = TASK_RUNNING;
    t->attempts++;
    r->nodes[t->node].used += t->spec.cores;
    r->nodes[t->node].memory_used += t->spec.memory;
    r->running++;
}

static task_id_t behind(const struct reference *r, task_id_t task)
{
    for (task_id_t i = 0; i < r->count; i++)
        if (r->tasks[i].lent && r->tasks[i].after == task)
            return i;
    return TASK_ID_NONE;
}

/* Who is behind a lent one follows what that followed. */
static void leave_queue(struct reference *r, task_id_t task)
{
    task_id_t next = behind(r, task);

    if (next != TASK_ID_NONE)
        r->tasks[next].after = r->tasks[task].after;
}

static void end_attempt(struct reference *r, task_id_t task, enum attempt_reason reason,
                        int exit_code)
{
    struct ref_task *t = &r->tasks[task];
    task_id_t next = behind(r, task);

    if (t->lent) {
        leave_queue(r, task);
        next = TASK_ID_NONE;
        take(r, task); /* for a moment: both have been there */
    }
    r->nodes[t->node].used -= t->spec.cores;
    r->nodes[t->node].memory_used -= t->spec.memory;
    r->running--;
    if (next != TASK_ID_NONE)
        take(r, next);
    if (t->cancelling || reason == REASON_CANCEL) {
        t->status = TASK_CANCELLED;
    } else if (reason == REASON_EXIT && exit_code == 0) {
        t->status = TASK_COMPLETED;
    } else if (reason == REASON_STOP) {
        t->status = TASK_PENDING;
    } else if (reason == REASON_LOST) {
        t->losses++;
        t->status = TASK_PENDING;
        if (r->config.max_losses > 0 && t->losses >= r->config.max_losses)
            t->status = TASK_FAILED;
    } else {
        t->failures++;
        t->status = t->failures > t->spec.max_retries ? TASK_FAILED : TASK_PENDING;
    }
    t->cancelling = false;
    settle(r, is_dead(t->status) ? task : TASK_ID_NONE);
}

static void retry(struct reference *r, task_id_t task)
{
    struct ref_task *t = &r->tasks[task];

    if (!is_dead(t->status))
        return;
    t->status = TASK_PENDING;
    t->failures = t->losses = 0;
    t->fresh_retry = true;
}

static void cancel(struct reference *r, task_id_t task)
{
    struct ref_task *t = &r->tasks[task];

    if (t->status == TASK_RUNNING || t->lent)
        t->cancelling = true;
    if (t->status != TASK_PENDING || t->lent)
        return;
    t->status = TASK_CANCELLED;
    settle(r, task);
}

static void come_back(struct reference *r, task_id_t task)
{
    struct ref_task *t = &r->tasks[task];

    leave_queue(r, task);
    t->lent = false;
    if (!t->cancelling)
        return;
    t->cancelling = false;
    t->status = TASK_CANCELLED;
    settle(r, task);
}

/* Whatever begins there because something else is lost is lost too. */
static void lose_node(struct reference *r, node_id_t node)
{
    for (task_id_t i = 0; i < r->count; i++)
        if (r->tasks[i].status == TASK_RUNNING && r->tasks[i].node == node) {
            end_attempt(r, i, REASON_LOST, -1);
            i = (task_id_t)-1;
        }
    r->nodes[node].up = false;
}

static bool is_of_this_attempt(const struct ref_task *t, unsigned attempt)
{
    return t->lent ? t->attempts + 1 == attempt
                   : t->status == TASK_RUNNING && t->attempts == attempt;
}

void ref_apply(struct reference *r, const struct sched_event *ev)
{
    switch (ev->type) {
    case SCHED_NODE_UP:
        r->nodes[ev->node].up = true;
        r->nodes[ev->node].cores = ev->cores;
        r->nodes[ev->node].used = 0;
        r->nodes[ev->node].memory = ev->memory;
        r->nodes[ev->node].memory_used = 0;
        return;
    case SCHED_NODE_DOWN:
        lose_node(r, ev->node);
        return;
    case SCHED_ATTEMPT_ENDED:
        if (is_of_this_attempt(&r->tasks[ev->task], ev->attempt))
            end_attempt(r, ev->task, ev->reason, ev->exit_code);
        return;
    case SCHED_RETURNED:
        if (r->tasks[ev->task].lent && is_of_this_attempt(&r->tasks[ev->task], ev->attempt))
            come_back(r, ev->task);
        return;
    case SCHED_CANCEL:
        cancel(r, ev->task);
        return;
    case SCHED_DRAIN:
        r->draining = true;
        return;
    case SCHED_RETRY:
        retry(r, ev->task);
        return;
    }
}

void ref_begin_pass(struct reference *r, int64_t now_ms)
{
    r->now_ms = now_ms;
    for (task_id_t i = 0; i < r->count; i++)
        r->tasks[i].fresh_retry = false;
    settle(r, TASK_ID_NONE);
}

static bool is_earlier(const struct reference *r, task_id_t a, task_id_t b)
{
    int32_t x = r->tasks[a].spec.priority, y = r->tasks[b].spec.priority;

    return x != y ? x > y : a < b;
}

static uint32_t free_cores(const struct reference *r, node_id_t node)
{
    return r->nodes[node].up ? r->nodes[node].cores - r->nodes[node].used : 0;
}

/* Room for both on this node, which is up. */
static bool fits(const struct reference *r, task_id_t task, node_id_t node)
{
    uint64_t memory = r->nodes[node].memory;

    return r->nodes[node].up && r->tasks[task].spec.cores <= free_cores(r, node) &&
           (memory == 0 || r->tasks[task].spec.memory + r->nodes[node].memory_used <= memory);
}

static bool is_full(const struct reference *r)
{
    return r->config.max_running > 0 && r->running >= r->config.max_running;
}

void ref_start(struct reference *r, task_id_t task, node_id_t node, unsigned attempt,
               node_id_t held_node)
{
    struct ref_task *t = &r->tasks[task];

    if (r->draining || is_full(r))
        world_fail("task %u started while none may", task);
    if (!ref_is_ready(r, task))
        world_fail("task %u started, but it is not ready", task);
    if (ref_is_late(r, task))
        world_fail("task %u started, but it cannot end in time", task);
    if (!fits(r, task, node))
        world_fail("task %u needs %u cores and memory %u, node %u has %u, and %u in use of %u",
                   task, t->spec.cores, (unsigned)t->spec.memory, node, free_cores(r, node),
                   (unsigned)r->nodes[node].memory_used, (unsigned)r->nodes[node].memory);
    if (attempt != t->attempts + 1)
        world_fail("task %u: attempt %u follows attempt %u", task, attempt, t->attempts);
    for (task_id_t u = 0; u < r->count && node != held_node; u++)
        if (ref_is_ready(r, u) && !ref_is_late(r, u) && is_earlier(r, u, task) && fits(r, u, node))
            world_fail("task %u started on node %u before task %u", task, node, u);
    t->node = node;
    take(r, task);
}

static bool fits_ever(const struct reference *r, task_id_t task)
{
    const struct sched_task *t = &r->tasks[task].spec;

    for (node_id_t n = 0; n < REF_NODES; n++)
        if (r->nodes[n].up && t->cores <= r->nodes[n].cores &&
            (r->nodes[n].memory == 0 || t->memory <= r->nodes[n].memory))
            return true;
    return false;
}

/* How many are lent in that place, up to and with this one. */
static unsigned queue_before(const struct reference *r, task_id_t task)
{
    return r->tasks[task].lent ? 1 + queue_before(r, r->tasks[task].after) : 0;
}

void ref_lend(struct reference *r, const struct sched_action *lend)
{
    struct ref_task *t = &r->tasks[lend->task], *before = &r->tasks[lend->after];

    if (r->draining || !ref_is_ready(r, lend->task) || ref_is_late(r, lend->task))
        world_fail("task %u was lent while it may not start", lend->task);
    if ((before->status != TASK_RUNNING && !before->lent) || before->node != lend->node ||
        behind(r, lend->after) != TASK_ID_NONE || queue_before(r, lend->after) >= LENT_MAX)
        world_fail("task %u was lent behind task %u, which cannot hand its place on", lend->task,
                   lend->after);
    if (before->spec.cores != t->spec.cores || before->spec.memory != t->spec.memory)
        world_fail("task %u was lent behind task %u, which is of another size", lend->task,
                   lend->after);
    if (lend->attempt != t->attempts + 1)
        world_fail("task %u: attempt %u follows attempt %u", lend->task, lend->attempt,
                   t->attempts);
    for (task_id_t u = 0; u < r->count; u++)
        if (ref_is_ready(r, u) && !ref_is_late(r, u) && is_earlier(r, u, lend->task) &&
            fits_ever(r, u))
            world_fail("task %u was lent before task %u", lend->task, u);
    t->lent = true;
    t->node = lend->node;
    t->after = lend->after;
}

void ref_end_pass(const struct reference *r, node_id_t held_node)
{
    if (r->draining || is_full(r))
        return;
    for (task_id_t i = 0; i < r->count; i++)
        for (node_id_t n = 0; n < REF_NODES; n++)
            if (n != held_node && ref_is_ready(r, i) && !ref_is_late(r, i) && fits(r, i, n))
                world_fail("task %u waits, but node %u has room", i, n);
}

void ref_compare(const struct reference *r, const struct sched *s)
{
    for (task_id_t i = 0; i < r->count; i++) {
        const struct ref_task *t = &r->tasks[i];
        struct sched_task_info info;

        sched_get_task(s, i, &info);
        if (info.status != t->status)
            world_fail("task %u is %s, must be %s", i, task_status_name(info.status),
                       task_status_name(t->status));
        if (info.attempts != t->attempts || info.failures != t->failures ||
            info.losses != t->losses)
            world_fail("task %u: %u attempts, %u failures, %u losses, must be %u, %u, %u", i,
                       info.attempts, info.failures, info.losses, t->attempts, t->failures,
                       t->losses);
        if (info.lent != t->lent)
            world_fail("task %u is %slent", i, info.lent ? "" : "not ");
        if (info.node != (t->status == TASK_RUNNING || t->lent ? t->node : NODE_ID_NONE))
            world_fail("task %u is on node %u", i, info.node);
    }
}
