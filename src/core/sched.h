/* SPDX-License-Identifier: BSD-3-Clause */
/* The scheduler core: which task starts next, on which node; what a task's end means for it and for
 * the tasks behind it. A pure library: no clock, no files, no messages; the same events with the
 * same times give the same actions. It knows how many cores and how much memory are free on a node,
 * not which.
 *
 * sched_apply takes one event and appends the status changes that follow from it; sched_place makes
 * one placement pass and appends SCHED_START actions. Call sched_place once a turn of the loop,
 * after all events of the turn: it costs work in proportion to what changed. */
#ifndef PILOT_CORE_SCHED_H
#define PILOT_CORE_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/task.h"
#include "pilot.h"

typedef uint32_t node_id_t; /* given by the caller: 0, 1, 2, ... */
#define NODE_ID_NONE UINT32_MAX

struct sched_config {
    unsigned max_running; /* tasks at once; 0: no limit */
    unsigned max_losses;  /* a task fails for good after so many losses; 0: never */
    int64_t patience_ms;  /* a task that does not fit waits so long before a node is held for it */
    int64_t look_ms;      /* so long where the running tasks say when it fits; 0: patience_ms */
    int64_t lend_ms;      /* tasks expected to end within that are lent (SCHED_LEND); 0: none */
    int64_t deadline_ms;  /* a task that says how long it takes is late, and does not start, when
                           * it could end only after this; 0: there is none */
};
#define SCHED_PATIENCE_MS 10000
#define SCHED_LOOK_MS 100
#define SCHED_LEND_MS 100

struct sched_task {
    uint32_t cores;
    uint64_t memory; /* bytes, set aside while it runs; 0: none. See sched_memory */
    int32_t priority;
    int64_t timeout_ms; /* it ends within that: the shorter of its timeout and of what the user
                         * expects; 0: nobody knows */
    uint32_t max_retries;
    const task_id_t *deps; /* numbers of tasks added before or in the same batch (see below) */
    size_t dep_count;
    /* From an earlier run; zero for a new task. */
    enum task_status status; /* never TASK_RUNNING */
    unsigned attempts, failures, losses;
};

enum sched_event_type {
    SCHED_NODE_UP,       /* node, cores, memory */
    SCHED_NODE_DOWN,     /* node: its running attempts are lost (their tasks go back or fail) */
    SCHED_ATTEMPT_ENDED, /* task, attempt, reason, exit_code; stale attempts are ignored */
    SCHED_RETURNED,      /* task, attempt: lent, and has not been started: ready again, nothing
                          * counted. It must come before the end of the one that would have handed
                          * its place on to it; stale ones are ignored */
    SCHED_CANCEL, /* task: pending -> cancelled; running or lent: SCHED_KILL, cancelled at its
                   * end or when it comes back; nothing happens if it has ended */
    SCHED_DRAIN,  /* nothing starts any more; what runs may end. SCHED_RECALL for all lent */
    SCHED_RETRY,  /* task: failed, skipped or cancelled -> pending, failures = losses = 0;
                   * nothing happens otherwise. In any order: what a retried task depends on
                   * may be retried after it, but before the next sched_place, which skips it
                   * again if that is not done */
};

struct sched_event {
    enum sched_event_type type;
    node_id_t node;
    uint32_t cores;
    uint64_t memory; /* bytes; 0: not known, so that there is always enough */
    task_id_t task;
    unsigned attempt;
    enum attempt_reason reason;
    int exit_code;
    int64_t ran_ms; /* of the attempt that has ended, as its node measured it; 0: it did not */
};

enum sched_action_type {
    SCHED_START,  /* start attempt of task on node; sent: it was lent, and has begun by itself */
    SCHED_LEND,   /* send attempt of task to node, where it begins when `after` has ended: it takes
                   * over the same cores. It is still pending until then */
    SCHED_RECALL, /* ask node for a lent attempt, if it has not begun. SCHED_RETURNED answers */
    SCHED_KILL,   /* end the attempt of task on node */
    SCHED_STATUS, /* task is now status (running too: just before its SCHED_START) */
};

struct sched_action {
    enum sched_action_type type;
    task_id_t task;
    task_id_t cause;  /* STATUS skipped: the task that failed or was cancelled, however many
                       * skipped ones lie between; else TASK_ID_NONE */
    node_id_t node;   /* of the attempt; NODE_ID_NONE for a STATUS without one */
    unsigned attempt; /* 1, 2, ...; 0 for a STATUS without one */
    task_id_t after;  /* LEND: the task that it follows: the last lent there, or what runs */
    enum task_status status;
    bool retry; /* STATUS pending: a retry that counts (not a loss) */
    bool sent;  /* START */
};

/* A growing list of actions, in the order in which they happened; the caller clears it. */
struct sched_actions {
    struct sched_action *v; /* owned */
    size_t len, cap;
};
void sched_actions_fini(struct sched_actions *a);

/* A task's memory as it is counted: the 9 highest bits from the first that is set. So there are few
 * different amounts, even if each of a million tasks has its own; what fits by the byte always
 * fits, and a node is promised at most 0.4 % more than it has. */
uint64_t sched_memory(uint64_t bytes);

struct sched;
struct sched *sched_create(const struct sched_config *config); /* NULL: no memory */
void sched_destroy(struct sched *s);

/* Room for so many more tasks, so that adding them in parts moves nothing. 0 or PILOT_ENOMEM. */
int sched_reserve(struct sched *s, size_t count);

/* Adds tasks number sched_count(s), ... ; deps may point to any task already added or in the same
 * call, and must not form cycles (checked by the reader of the file; BUG here). A task whose
 * dependency has already failed is skipped at once (an action). Strong guarantee: on PILOT_ENOMEM
 * nothing was added. */
int sched_add(struct sched *s, const struct sched_task *tasks, size_t count, int64_t now_ms,
              struct sched_actions *out);
task_id_t sched_count(const struct sched *s);

/* 0, or PILOT_ENOMEM: then the event has not happened, or (sched_place) all actions in out have
 * happened and the next call goes on. Events that contradict the state (an unknown task, a node
 * twice up) are BUG()s of the caller, except stale attempts, which are ignored. */
int sched_apply(struct sched *s, const struct sched_event *ev, int64_t now_ms,
                struct sched_actions *out);
int sched_place(struct sched *s, int64_t now_ms, struct sched_actions *out);

/* The next time at which sched_place could do something although no event comes (a waiting task's
 * patience running out); INT64_MAX: never. After a sched_place at that time it is later. */
int64_t sched_next_ms(const struct sched *s, int64_t now_ms);

struct sched_counts {
    task_id_t by_status[TASK_STATUS_COUNT];
    task_id_t blocked; /* pending ones that still wait for a dependency */
    task_id_t lent;    /* pending ones that wait on a node for the end of another task */
    task_id_t late;    /* pending ones that would otherwise be ready, as far as a pass came to
                        * them: of those that would fit some node, all when nothing runs */
    unsigned cores_total, cores_busy;
    unsigned nodes_up;
    uint64_t failures; /* tasks that became failed since sched_create */
};
void sched_get_counts(const struct sched *s, struct sched_counts *out);

struct sched_task_info {
    enum task_status status;
    unsigned attempts, failures, losses;
    bool lent;      /* pending, and on a node as attempt number attempts + 1 */
    node_id_t node; /* of the running or lent attempt, else NODE_ID_NONE */
    uint32_t cores;
};
void sched_get_task(const struct sched *s, task_id_t task, struct sched_task_info *out);

/* Largest number of cores that any node which is up has in all. */
uint32_t sched_max_node_cores(const struct sched *s);

/* After a pass: nothing runs, and of the tasks that wait for nothing each is late or wider than any
 * node that is up: only a new task, or a node that comes up, can change that. */
bool sched_stuck(const struct sched *s);

/* The node that is kept for a wide task, and that task; false: none is. */
bool sched_get_hold(const struct sched *s, task_id_t *task, node_id_t *node);

/* Checks every invariant (see sched.c), for tests and the simulator; BUG() when one is broken. */
void sched_check(const struct sched *s);

#endif
