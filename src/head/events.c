/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the ends of tasks that a hook or a callback is still to be told of or has not answered. An
 * event begins when the end is committed (with the mark "still to be told") and is over when the
 * answer is queued: what the answer adds and the mark "answered" then lie between the same two
 * barriers of the store, and so in one transaction. */
#include "head/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/log.h"
#include "pack/unpack.h"

static struct event *at(struct events *q, size_t i)
{
    return &q->v[(q->first + i) & (q->cap - 1)];
}

static void grow(struct events *q)
{
    size_t cap = q->cap ? q->cap * 2 : 256;
    struct event *v = malloc(cap * sizeof(*v));

    if (v == NULL)
        BUG("out of memory for the ends of tasks");
    for (size_t i = 0; i < q->len; i++)
        v[i] = *at(q, i);
    free(q->v);
    q->v = v;
    q->cap = cap;
    q->first = 0;
}

/* The bits of the statuses named in a list. */
static int parse_wanted(const char *list, unsigned *wanted, struct pilot_error *err)
{
    *wanted = 0;

    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        enum task_status status;
        char name[16] = "";

        if (len < sizeof(name))
            memcpy(name, list, len);
        if (task_status_parse(name, &status) && status > TASK_RUNNING)
            *wanted |= 1u << status;
        else
            return err_set(err, PILOT_EINVAL,
                           "--hook-events: '%.*s' is no end of a task; write completed, failed, "
                           "skipped or cancelled, or several of them with commas",
                           (int)(len < 40 ? len : 40), list);
        list += len + (list[len] == ',');
    }
    return 0;
}

int events_init(struct head *h, struct pilot_error *err)
{
    h->events.first_seq = h->events.next_to_tell = 1;
    h->events.wanted =
        1u << TASK_COMPLETED | 1u << TASK_FAILED | 1u << TASK_SKIPPED | 1u << TASK_CANCELLED;
    if (h->opt->hook_events != NULL)
        return parse_wanted(h->opt->hook_events, &h->events.wanted, err);
    return 0;
}

bool events_want(const struct head *h, enum task_status status)
{
    return (h->hook != NULL || h->callbacks.ended != NULL) && (h->events.wanted >> status & 1) != 0;
}

static void call_back(struct head *h, const struct event *e)
{
    struct head_report r = {.status = e->status,
                            .result = &e->result,
                            .node = e->node,
                            .workdir = h->workdir,
                            .attempts = e->attempts};
    struct task_spec spec;

    if (h->callbacks.ended == NULL)
        return;
    if (tasks_unpack(&h->tasks.v[e->task], &spec) < 0)
        BUG("out of memory for a task");
    r.spec = &spec;
    h->callbacks.ended(h->callbacks.arg, &r);
    task_spec_fini(&spec);
}

static void answered(struct head *h, task_id_t task)
{
    store_event_answered(h->store, task);
    h->changed = h->again = true;
}

/* Whoever is told gets the names of files: they are made of packed output now. */
static void unpack(struct head *h, const struct event *e)
{
    struct pack_key key = {.id = head_task_id(h, e->task), .attempt = e->attempts};
    struct pack_reader *r;
    struct pilot_error err;
    char dir[PATH_MAX];
    bool torn = false;

    if (!e->result.packed ||
        snprintf(dir, sizeof(dir), "%s/.pilot/%s", h->workdir, e->node) >= (int)sizeof(dir))
        return;
    r = malloc(sizeof(*r));
    if (r == NULL)
        BUG("out of memory for the output of a task");
    pack_reader_init(r, dir);
    if (pack_unpack(r, &key, e->result.pack_at, h->workdir, 0, &torn, &err) < 0)
        log_warn("%s", err.text);
    else if (torn)
        log_warn("not all of the output of task '%s' can be read in %s", key.id, dir);
    pack_reader_fini(r);
    free(r);
}

void events_take(struct head *h, const struct event *e)
{
    struct events *q = &h->events;
    struct event *slot;

    unpack(h, e);
    call_back(h, e);
    if (h->hook == NULL) {
        answered(h, e->task);
        return;
    }
    if (q->len == q->cap)
        grow(q);
    slot = at(q, q->len++);
    *slot = *e;
    slot->node = strdup(e->node);
    slot->cpus = strdup(e->cpus);
    slot->answered = false;
    h->again = true; /* the hook has had its turn already */
    if (slot->node == NULL || slot->cpus == NULL)
        BUG("out of memory for the end of a task");
}

int events_remember(struct head *h, const struct event *e)
{
    size_t n = h->resumed_count;
    struct event *v = h->resumed;

    if ((n & (n - 1)) == 0) { /* full at each power of two */
        v = realloc(h->resumed, (n ? n * 2 : 1) * sizeof(*v));
        if (v == NULL)
            return PILOT_ENOMEM;
        h->resumed = v;
    }
    v[h->resumed_count] = *e;
    v[h->resumed_count].node = strdup(e->node);
    v[h->resumed_count].cpus = strdup(e->cpus);
    if (v[h->resumed_count].node == NULL || v[h->resumed_count].cpus == NULL)
        return PILOT_ENOMEM;
    h->resumed_count++;
    return 0;
}

void events_take_resumed(struct head *h)
{
    for (size_t i = 0; i < h->resumed_count; i++) {
        const struct head_task *task = &h->tasks.v[h->resumed[i].task];

        /* One that will run again (--retry-failed) has a new end to tell. */
        if ((h->hook != NULL || h->callbacks.ended != NULL) && task->status != TASK_PENDING)
            events_take(h, &h->resumed[i]);
        free(h->resumed[i].node);
        free(h->resumed[i].cpus);
    }
    free(h->resumed);
    h->resumed = NULL;
    h->resumed_count = 0;
}

bool events_pending(const struct head *h)
{
    return h->events.len > 0;
}

struct event *events_find(struct head *h, uint64_t seq)
{
    struct events *q = &h->events;
    struct event *e;

    if (seq < q->first_seq || seq - q->first_seq >= q->len)
        return NULL;
    e = at(q, seq - q->first_seq);
    return e->answered ? NULL : e;
}

static void drop_first(struct events *q)
{
    free(at(q, 0)->node);
    free(at(q, 0)->cpus);
    q->first = (q->first + 1) & (q->cap - 1);
    q->len--;
    q->first_seq++;
}

void events_answer(struct head *h, uint64_t seq)
{
    struct events *q = &h->events;
    struct event *e = events_find(h, seq);

    if (e == NULL)
        return;
    e->answered = true;
    answered(h, e->task);
    while (q->len > 0 && at(q, 0)->answered)
        drop_first(q);
}

void events_fini(struct head *h)
{
    while (h->events.len > 0)
        drop_first(&h->events);
    h->callbacks.ended = NULL;
    events_take_resumed(h);
    free(h->events.v);
    memset(&h->events, 0, sizeof(h->events));
}
