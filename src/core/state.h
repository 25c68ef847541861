/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the scheduler core share: the state, and the few functions that change it. The
 * invariants are listed in sched.c. Nobody outside core/ includes this. */
#ifndef PILOT_CORE_STATE_H
#define PILOT_CORE_STATE_H

#include "core/nodes.h"
#include "core/readyq.h"
#include "core/sched.h"

#define NEVER_MS INT64_MIN
#define EDGE_NONE UINT32_MAX

struct task {
    union {
        int64_t since_ms; /* running: the start; pending, not lent: when it first was the first in
                           * order and fitted nowhere, or NEVER_MS */
        struct {          /* lent: its neighbours in the ring of those behind one place */
            task_id_t before, behind;
        } queue;
    };
    uint32_t timeout_ms; /* 0: none; longer than 49 days counts as 49 days */
    int32_t priority;
    uint32_t max_retries;
    uint32_t attempts, failures;
    uint32_t waits; /* edges to tasks that have not completed; in whatever status this one is */
    union {
        node_id_t node;  /* running, lent */
        task_id_t cause; /* skipped: the failed or cancelled task behind it */
    };
    uint32_t shape;
    uint32_t slot;      /* running: place in its node's list; lent: that of the one that runs */
    uint32_t first_dep; /* its edges are [first_dep, first_dep of the next task) */
    uint32_t last_edge; /* of the ring of edges of tasks that depend on it; EDGE_NONE */
    uint16_t losses;
    uint8_t status;      /* enum task_status */
    bool queued : 1;     /* has an entry, perhaps a dead one, in its shape's heap */
    bool cancelling : 1; /* running, lent: cancelled once this attempt has ended, or come back */
    bool late : 1;       /* pending: would be ready, but cannot end before the deadline */
    bool lent : 1;       /* pending: sent to a node, to take the place of a task that runs there */
};

_Static_assert(sizeof(struct task) == 56, "there may be millions");

struct edge {
    task_id_t dependency, dependent;
    uint32_t next; /* in the ring of its dependency; behind the last comes the first */
};

/* One node kept for the first task in order that fits nowhere (hold.c). */
struct hold {
    uint64_t key; /* that task; KEY_NONE: there is no hold */
    node_id_t node;
    int64_t start_ms;  /* when it is expected to start there; INT64_MAX: unknown. Only ever moves
                        * to an earlier time, so that guesses gone wrong do not starve the task */
    int64_t review_ms; /* not started by then: look whether another node is better */
    unsigned reviews;
    uint32_t spare; /* cores that it is expected to leave free */
    uint64_t spare_memory;
    bool stale; /* the node has changed since spare was computed */
};

/* What each action that needs memory of its own will want is reserved before anything changes. */
struct sched {
    struct sched_config config;
    struct task *tasks; /* owned */
    task_id_t count, cap;
    struct edge *edges; /* owned */
    uint32_t edge_count, edge_cap;
    struct readyq ready;
    struct nodes nodes;
    struct hold hold;
    uint64_t unknown_key; /* the task of which no told duration says when it fits */
    task_id_t by_status[TASK_STATUS_COUNT];
    task_id_t blocked, late, lent;
    uint64_t failed; /* tasks that became failed here */
    bool draining;
    int64_t wake_ms;  /* see sched_next_ms */
    task_id_t *fresh; /* owned; took their place since the last pass: something may be lent behind
                       * them. Some may have ended since */
    size_t fresh_len, fresh_cap;
    task_id_t *retried; /* owned; retried since the last pass: their dependencies may be dead */
    size_t retried_len, retried_cap;
    struct hold_end *ends; /* owned; scratch of hold.c */
    size_t ends_cap;
};

/* Why a task changes its status; goes into the action. */
struct why {
    task_id_t cause;
    node_id_t node;
    unsigned attempt;
    bool retry;
};
#define WHY_NONE ((struct why){.cause = TASK_ID_NONE, .node = NODE_ID_NONE})

/* Room for `more` elements behind len; grows by half at least. Returns 0 or PILOT_ENOMEM. */
int state_reserve(void **v, size_t *cap, size_t len, size_t more, size_t size);
int state_reserve_actions(struct sched_actions *out, size_t more);
void state_append(struct sched_actions *out, const struct sched_action *action);

/* The one function that changes a status (sched.c has the table). Needs room for an action. */
void state_set_status(struct sched *s, task_id_t id, enum task_status to, struct why why,
                      struct sched_actions *out);
/* Counts a task that is new in its status. */
void state_enter(struct sched *s, task_id_t id);
/* Takes the first task of its shape, which must be ready, out of the order: it is late. */
void state_set_late(struct sched *s, task_id_t id);
/* Pending -> skipped, and all that is pending behind it. Needs room for 1 + blocked actions. */
void state_skip(struct sched *s, task_id_t id, task_id_t cause, struct sched_actions *out);

/* Failed, skipped or cancelled: what depends on it cannot start. */
bool state_is_dead(enum task_status status);
/* The task to blame when one depends on the dead task id. */
task_id_t state_blame(const struct sched *s, task_id_t id);
/* The edges of the tasks that depend on id, in the order added: first (e = EDGE_NONE) and next;
 * EDGE_NONE: no more. */
uint32_t state_next_edge(const struct sched *s, task_id_t id, uint32_t e);
uint32_t state_deps_end(const struct sched *s, task_id_t id);
/* The first dependency of the task that is dead, or TASK_ID_NONE. */
task_id_t state_dead_dep(const struct sched *s, task_id_t id);
uint64_t state_key(const struct sched *s, task_id_t id);
uint32_t state_cores(const struct sched *s, task_id_t id);
uint64_t state_memory(const struct sched *s, task_id_t id);
/* The first ready task in order that some node which is up could hold; KEY_NONE. */
uint64_t state_first_possible(const struct sched *s);
task_id_t state_ready_count(const struct sched *s);
int64_t state_add_ms(int64_t a_ms, int64_t b_ms); /* both >= 0 or times; stops at INT64_MAX */

/* A ready task, which is the top of its heap, is not ready any more; the caller says why. */
void state_leave_heap(struct sched *s, task_id_t id);
/* Would it end after the deadline if it started at that time? */
bool state_is_late(const struct sched *s, task_id_t id, int64_t start_ms);
/* The first ready task in order that some node which is up could hold and that is not late. Late
 * ones before it are taken out of the order. */
uint64_t state_first_in_time(struct sched *s, int64_t now_ms);
/* The attempt of a pending task begins on t->node (STATUS and START). Room for 2 actions. */
void state_begin(struct sched *s, task_id_t id, bool sent, int64_t now_ms,
                 struct sched_actions *out);

/* lend.c: room for one more fresh one. 0 or PILOT_ENOMEM. */
int lend_reserve(struct sched *s);
/* It has just begun. After lend_reserve. */
void lend_note(struct sched *s, task_id_t id);
/* At the end of a pass: lends behind the fresh ones what may be. 0 or PILOT_ENOMEM. */
int lend_pass(struct sched *s, int64_t now_ms, struct sched_actions *out);
/* Asks for all that is lent back. Room for s->lent actions. */
void lend_recall(struct sched *s, struct sched_actions *out);
/* A lent task leaves the queue behind its place; its status is the caller's business. */
void lend_unlink(struct sched *s, task_id_t id);
/* How many are lent behind the place. */
uint32_t lend_count(const struct sched *s, const struct place *place);
/* The one behind that one, or TASK_ID_NONE. */
task_id_t lend_next(const struct sched *s, const struct place *place, task_id_t id);
/* The place has now that number in its node's list. */
void lend_moved(struct sched *s, const struct place *place, uint32_t slot);

/* hold.c: brings the hold up to date when the first task in order, key, fits nowhere. Sets
 * wake_ms. Returns 0 or PILOT_ENOMEM. */
int hold_update(struct sched *s, uint64_t key, int64_t now_ms);
/* After a start on, or an end on, the held node. */
void hold_touch(struct sched *s);
void hold_release(struct sched *s);
/* May this ready task start on the held node now? */
bool hold_allows(struct sched *s, uint64_t key, int64_t now_ms);

#endif
