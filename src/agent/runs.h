/* SPDX-License-Identifier: BSD-3-Clause */
/* The attempts that a node has: those that run, and those lent to it, which begin when another has
 * ended. Their numbers are the launcher's keys. */
#ifndef PILOT_AGENT_RUNS_H
#define PILOT_AGENT_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/cpus.h"
#include "common/task.h"

#define RUN_NONE UINT32_MAX

struct run {
    task_id_t task;
    uint32_t attempt;
    struct cpus_set cpus; /* empty while it waits */
    int64_t oom_noted;    /* when it began */
    uint32_t next;        /* the run that is lent to us and begins when this one has ended */
    uint32_t before;      /* the run that this one waits for, which may wait itself; RUN_NONE: it
                           * has begun, as far as we know */
    bool used;
};

/* One that we gave back. Until the head knows that, it may send others that follow it. */
struct returned {
    task_id_t task;
    task_id_t behind; /* what it followed when it went back */
    uint32_t number;  /* how many it was, of all */
};

/* When one that the head sent to follow another begins. */
enum run_turn {
    TURN_NOW, /* what has its cores has ended: the head knows that, or will hand it their place */
    TURN_WAITS,
    TURN_BACK, /* it cannot wait, and must be back before the end of what it is behind now */
};

struct runs {
    struct run *v;    /* owned */
    task_id_t *tasks; /* owned; that of each, TASK_ID_NONE where it is not used: it is searched for
                       * each task that is lent, and a wide node has thousands */
    uint32_t cap;
    uint32_t *unused; /* owned; a stack */
    uint32_t unused_len;
    struct returned *returned; /* owned; in the order in which they were given back */
    uint32_t returned_len, returned_cap;
    uint32_t backs; /* given back in all */
};

/* A zeroed table is an empty one; the runs' own cpus are the caller's. */
void runs_fini(struct runs *r);
/* Room for one more. 0 or PILOT_ENOMEM. */
int runs_reserve(struct runs *r);
/* The number that runs_add will take. After runs_reserve. */
uint32_t runs_next(const struct runs *r);
/* before: which it waits for, and which nothing waits for yet; or RUN_NONE. Its cpus are left as
 * they are. */
void runs_add(struct runs *r, task_id_t task, uint32_t attempt, uint32_t before);
/* Ended, or given back. What waited for it waits for what it waited for; or has begun, and has its
 * cpus: then it is returned. Otherwise RUN_NONE, and the cpus are the caller's to give back. */
uint32_t runs_remove(struct runs *r, uint32_t index);
/* What has the cpus that this one will have. */
uint32_t runs_first(const struct runs *r, uint32_t index);

/* The task, which follows another, goes back to the head. 0 or PILOT_ENOMEM. */
int runs_give_back(struct runs *r, task_id_t task, task_id_t behind);
/* The head knows of so many that came back. */
void runs_acknowledge(struct runs *r, uint32_t backs);
/* Of one that the head sent after that one, which may have ended or gone back meanwhile. What went
 * back is stepped over: *after becomes what it really follows. */
enum run_turn runs_turn(const struct runs *r, task_id_t *after);

/* The run of that task, begun or not, or RUN_NONE. */
uint32_t runs_find_task(const struct runs *r, task_id_t task);
/* The run of that attempt, begun or not, or RUN_NONE. */
uint32_t runs_find(const struct runs *r, task_id_t task, uint32_t attempt);

#endif
