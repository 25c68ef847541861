/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the table of runs, and which waits for which. */
#include "agent/runs.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

void runs_fini(struct runs *r)
{
    free(r->v);
    free(r->tasks);
    free(r->unused);
    free(r->returned);
    memset(r, 0, sizeof(*r));
}

int runs_reserve(struct runs *r)
{
    uint32_t cap = r->cap ? r->cap * 2 : 16;
    struct run *v;
    task_id_t *tasks;
    uint32_t *unused;

    if (r->unused_len > 0)
        return 0;
    v = realloc(r->v, cap * sizeof(*v));
    if (v == NULL)
        return PILOT_ENOMEM;
    r->v = v;
    tasks = realloc(r->tasks, cap * sizeof(*tasks));
    if (tasks == NULL)
        return PILOT_ENOMEM;
    r->tasks = tasks;
    unused = realloc(r->unused, cap * sizeof(*unused));
    if (unused == NULL)
        return PILOT_ENOMEM;
    r->unused = unused;
    for (uint32_t i = cap; i-- > r->cap;) {
        memset(&r->v[i], 0, sizeof(r->v[i]));
        r->tasks[i] = TASK_ID_NONE;
        r->unused[r->unused_len++] = i;
    }
    r->cap = cap;
    return 0;
}

uint32_t runs_next(const struct runs *r)
{
    return r->unused[r->unused_len - 1];
}

void runs_add(struct runs *r, task_id_t task, uint32_t attempt, uint32_t before)
{
    uint32_t index = r->unused[--r->unused_len];
    struct run *run = &r->v[index];

    run->task = r->tasks[index] = task;
    run->attempt = attempt;
    run->next = RUN_NONE;
    run->before = before;
    run->used = true;
    if (before == RUN_NONE)
        return;
    BUG_ON(r->v[before].next != RUN_NONE);
    r->v[before].next = index;
}

uint32_t runs_remove(struct runs *r, uint32_t index)
{
    struct run *run = &r->v[index];
    uint32_t next = run->next;

    if (run->before != RUN_NONE)
        r->v[run->before].next = next;
    if (next != RUN_NONE)
        r->v[next].before = run->before;
    if (next != RUN_NONE && run->before == RUN_NONE) {
        r->v[next].cpus = run->cpus;
        memset(&run->cpus, 0, sizeof(run->cpus));
    }
    run->used = false;
    r->tasks[index] = TASK_ID_NONE;
    r->unused[r->unused_len++] = index;
    return run->before == RUN_NONE ? next : RUN_NONE;
}

uint32_t runs_first(const struct runs *r, uint32_t index)
{
    while (r->v[index].before != RUN_NONE)
        index = r->v[index].before;
    return index;
}

int runs_give_back(struct runs *r, task_id_t task, task_id_t behind)
{
    if (r->returned_len == r->returned_cap) {
        uint32_t cap = r->returned_cap ? r->returned_cap * 2 : 16;
        struct returned *v = realloc(r->returned, cap * sizeof(*v));

        if (v == NULL)
            return PILOT_ENOMEM;
        r->returned = v;
        r->returned_cap = cap;
    }
    r->returned[r->returned_len++] =
        (struct returned){.task = task, .behind = behind, .number = ++r->backs};
    return 0;
}

void runs_acknowledge(struct runs *r, uint32_t backs)
{
    uint32_t known = 0;

    while (known < r->returned_len && (int32_t)(backs - r->returned[known].number) >= 0)
        known++;
    if (known == 0)
        return;
    r->returned_len -= known;
    memmove(r->returned, r->returned + known, r->returned_len * sizeof(*r->returned));
}

/* The place among those that went back, from a place on; returned_len: it did not. */
static uint32_t find_returned(const struct runs *r, uint32_t from, task_id_t task)
{
    while (from < r->returned_len && r->returned[from].task != task)
        from++;
    return from;
}

/* What one followed when it went back was still here: if that went back too, it did so later. */
enum run_turn runs_turn(const struct runs *r, task_id_t *after)
{
    uint32_t at = find_returned(r, 0, *after);
    bool stepped = at < r->returned_len;

    while (at < r->returned_len) {
        *after = r->returned[at].behind;
        at = find_returned(r, at + 1, *after);
    }
    if (runs_find_task(r, *after) == RUN_NONE)
        return TURN_NOW;
    return stepped ? TURN_BACK : TURN_WAITS;
}

uint32_t runs_find_task(const struct runs *r, task_id_t task)
{
    for (uint32_t i = 0; i < r->cap; i++)
        if (r->tasks[i] == task)
            return i;
    return RUN_NONE;
}

uint32_t runs_find(const struct runs *r, task_id_t task, uint32_t attempt)
{
    for (uint32_t i = 0; i < r->cap; i++)
        if (r->tasks[i] == task && r->v[i].attempt == attempt)
            return i;
    return RUN_NONE;
}
