/* SPDX-License-Identifier: BSD-3-Clause */
/* What the statuses of all tasks have to be after each event, computed in the plainest way: whole
 * tables are looked through, nothing is indexed or counted ahead. Written against the documents,
 * not against the scheduler. */
#ifndef TESTS_SIM_REFERENCE_H
#define TESTS_SIM_REFERENCE_H

#include "core/sched.h"

#define REF_TASKS 400
#define REF_NODES 16
#define REF_DEPS 4

struct ref_task {
    struct sched_task spec; /* its deps point to `deps` */
    task_id_t deps[REF_DEPS];
    enum task_status status;
    unsigned attempts, failures, losses;
    node_id_t node;
    bool cancelling;
    bool lent; /* on `node`, behind `after`, which runs or is lent too; pending until that has ended
                */
    task_id_t after;
    bool fresh_retry; /* retried since the last pass: what it depends on may be retried yet */
};

struct reference {
    struct sched_config config;
    struct ref_task tasks[REF_TASKS];
    task_id_t count;
    struct {
        bool up;
        uint32_t cores, used;
        uint64_t memory, memory_used; /* memory 0: not known, always enough */
    } nodes[REF_NODES];
    bool draining;
    unsigned running;
    int64_t now_ms; /* of the pass */
};

void ref_add(struct reference *r, const struct sched_task *batch, size_t count);
void ref_apply(struct reference *r, const struct sched_event *ev);
/* Before the scheduler's pass; then every start that it made. */
void ref_begin_pass(struct reference *r, int64_t now_ms);
void ref_start(struct reference *r, task_id_t task, node_id_t node, unsigned attempt,
               node_id_t held_node);
/* Every loan that the pass made. */
void ref_lend(struct reference *r, const struct sched_action *lend);
/* After the pass: nothing that could start is left waiting. */
void ref_end_pass(const struct reference *r, node_id_t held_node);
/* Every task's state in the scheduler is the one here. */
void ref_compare(const struct reference *r, const struct sched *s);
bool ref_is_ready(const struct reference *r, task_id_t task);
/* Ready (and not lent), but it cannot end in time. */
bool ref_is_late(const struct reference *r, task_id_t task);

#endif
