/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of the scheduler core share: a scheduler, and what it does written as text.
 * "0@1#2" is attempt 2 of task 0 started on node 1, "kill 0@1#2" its end asked for, "0:failed" a
 * status, "2:skipped(0)" one with its cause, "0:pending*" a retry that counts, "lend 3@1#1>0" task
 * 3 lent behind task 0, "3@1#1!" its start there, "recall 3@1#1" that it is wanted back.
 * sched_check runs whenever that text is compared. The running status is not written: every start
 * must follow it. */
#ifndef TESTS_UNIT_SCHED_FIXTURE_H
#define TESTS_UNIT_SCHED_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/sched.h"

struct fixture {
    struct sched *s;
    struct sched_actions out;
    int64_t now_ms;
    char text[4096];
};

static inline struct fixture begin_with(struct sched_config config)
{
    struct fixture f = {.s = sched_create(&config)};

    assert_non_null(f.s);
    return f;
}

static inline struct fixture begin(void)
{
    return begin_with((struct sched_config){.patience_ms = 1000});
}

static inline void finish(struct fixture *f)
{
    sched_actions_fini(&f->out);
    sched_destroy(f->s);
}

static inline void put(struct fixture *f, const char *fmt, ...)
{
    size_t len = strlen(f->text);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->text + len, sizeof(f->text) - len, fmt, ap);
    va_end(ap);
}

static inline void put_status(struct fixture *f, const struct sched_action *a)
{
    put(f, "%s%u:%s", f->text[0] ? " " : "", a->task, task_status_name(a->status));
    if (a->cause != TASK_ID_NONE)
        put(f, "(%u)", a->cause);
    if (a->retry)
        put(f, "*");
    assert_int_equal(a->cause != TASK_ID_NONE, a->status == TASK_SKIPPED);
    assert_int_equal(a->attempt == 0, a->node == NODE_ID_NONE);
}

/* What happened since the last call must be this. */
static inline void expect(struct fixture *f, const char *text)
{
    sched_check(f->s);
    f->text[0] = '\0';
    for (size_t i = 0; i < f->out.len; i++) {
        const struct sched_action *a = &f->out.v[i];
        const char *gap = f->text[0] ? " " : "";

        if (a->type == SCHED_STATUS && a->status == TASK_RUNNING) {
            assert_true(i + 1 < f->out.len && a[1].type == SCHED_START && a[1].task == a->task);
            assert_true(a[1].attempt == a->attempt && a[1].node == a->node);
        } else if (a->type == SCHED_STATUS) {
            put_status(f, a);
        } else {
            static const char *const words[] = {[SCHED_START] = "",
                                                [SCHED_LEND] = "lend ",
                                                [SCHED_RECALL] = "recall ",
                                                [SCHED_KILL] = "kill "};

            put(f, "%s%s%u@%u#%u", gap, words[a->type], a->task, a->node, a->attempt);
            if (a->type == SCHED_LEND)
                put(f, ">%u", a->after);
            if (a->sent)
                put(f, "!");
        }
    }
    f->out.len = 0;
    assert_string_equal(f->text, text);
}

static inline void apply(struct fixture *f, struct sched_event ev)
{
    assert_int_equal(sched_apply(f->s, &ev, f->now_ms, &f->out), 0);
}

static inline void up(struct fixture *f, node_id_t node, uint32_t cores)
{
    apply(f, (struct sched_event){.type = SCHED_NODE_UP, .node = node, .cores = cores});
}

static inline void down(struct fixture *f, node_id_t node)
{
    apply(f, (struct sched_event){.type = SCHED_NODE_DOWN, .node = node});
}

static inline void end(struct fixture *f, task_id_t task, unsigned attempt,
                       enum attempt_reason reason, int exit_code)
{
    apply(f, (struct sched_event){.type = SCHED_ATTEMPT_ENDED,
                                  .task = task,
                                  .attempt = attempt,
                                  .reason = reason,
                                  .exit_code = exit_code});
}

static inline void returned(struct fixture *f, task_id_t task, unsigned attempt)
{
    apply(f, (struct sched_event){.type = SCHED_RETURNED, .task = task, .attempt = attempt});
}

static inline void done(struct fixture *f, task_id_t task)
{
    struct sched_task_info info;

    sched_get_task(f->s, task, &info);
    end(f, task, info.attempts, REASON_EXIT, 0);
}

static inline void cancel(struct fixture *f, task_id_t task)
{
    apply(f, (struct sched_event){.type = SCHED_CANCEL, .task = task});
}

static inline void retry(struct fixture *f, task_id_t task)
{
    apply(f, (struct sched_event){.type = SCHED_RETRY, .task = task});
}

static inline void add(struct fixture *f, struct sched_task t)
{
    if (t.cores == 0)
        t.cores = 1;
    assert_int_equal(sched_add(f->s, &t, 1, f->now_ms, &f->out), 0);
}

static inline void add_cores(struct fixture *f, uint32_t cores)
{
    add(f, (struct sched_task){.cores = cores});
}

static inline void add_after(struct fixture *f, task_id_t dep)
{
    add(f, (struct sched_task){.deps = &dep, .dep_count = 1});
}

static inline void place(struct fixture *f)
{
    assert_int_equal(sched_place(f->s, f->now_ms, &f->out), 0);
}

static inline void place_at(struct fixture *f, int64_t now_ms)
{
    f->now_ms = now_ms;
    place(f);
}

static inline enum task_status status(const struct fixture *f, task_id_t task)
{
    struct sched_task_info info;

    sched_get_task(f->s, task, &info);
    return info.status;
}

#endif
