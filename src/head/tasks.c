/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the table of tasks. A task is kept as its id and its packed spec, which is what an agent is
 * sent; the JSON text goes to the store and is forgotten. New ones come through intake.c. */
#include "head/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/large.h"
#include "common/log.h"
#include "common/units.h"
#include "input/taskfile.h"

#define REFUSALS_SHOWN 20
/* So many tasks are given to the core at once, and to the store, that what is said of them stays in
 * the caches; more to the core when they depend on later ones. */
#define BATCH 4096
/* Below what one message may carry; more than the largest text with large defaults makes. */
#define SPEC_MAX_BYTES (48u << 20)

int tasks_unpack(const struct head_task *task, struct task_spec *spec)
{
    struct rd rd;

    rd_init(&rd, task->packed, task->packed_len);
    return spec_unpack(&rd, spec);
}

int tasks_make(struct task_table *t, struct head_task *task, const struct task_spec *spec,
               struct buf *scratch, struct pilot_error *err)
{
    char *packed;

    memset(task, 0, sizeof(*task));
    buf_clear(scratch);
    spec_pack(scratch, spec);
    if (scratch->len > SPEC_MAX_BYTES)
        return err_set(
            err, PILOT_EINVAL,
            "task '%.200s': it takes %zu bytes, more than the %u a task may have; put large "
            "data in a file and its name in the task",
            spec->id, scratch->len, (unsigned)SPEC_MAX_BYTES);
    if (!buf_ok(scratch) || (packed = arena_take(&t->text, scratch->len)) == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for task '%s'", spec->id);
    memcpy(packed, scratch->data, scratch->len);
    task->packed = packed;
    task->packed_len = (uint32_t)scratch->len;
    task->cores = spec->cores;
    task->memory = spec->memory;
    task->node = NODE_ID_NONE;
    return 0;
}

int tasks_reserve(struct task_table *t, size_t more)
{
    size_t cap = t->cap ? t->cap : 256;
    struct head_task *v;

    if (t->len + more <= t->cap)
        return 0;
    while (cap < t->len + more)
        cap *= 2;
    if (cap >= TASK_ID_NONE || (v = realloc(t->v, cap * sizeof(*v))) == NULL)
        return PILOT_ENOMEM;
    large_pages(v, cap * sizeof(*v));
    t->v = v;
    t->cap = (task_id_t)cap;
    return 0;
}

/* ---- From the database ----------------------------------------------------------------------- */

/* The ids of so many tasks are on their way to the map, whose places are far away in memory. */
#define IDS_AHEAD 16

struct load_state {
    struct head *h;
    struct buf scratch;
    size_t expected;   /* tasks; 0: not known */
    task_id_t entered; /* ids that are in the map */
};

static int remember_end(struct head *h, const struct store_task *st)
{
    struct event e = {.task = st->task,
                      .status = st->status,
                      .attempts = st->attempts,
                      .node = (char *)st->node,
                      .cpus = (char *)st->cpus,
                      .result = st->result};

    return events_remember(h, &e);
}

/* Enters the ids of all tasks but the last few, as they are said to be. */
static int enter_ids(struct load_state *ls, task_id_t but, struct pilot_error *err)
{
    struct task_table *t = &ls->h->tasks;
    uint32_t there;

    for (; ls->entered + but < t->len; ls->entered++) {
        const char *id = t->v[ls->entered].packed;
        int rc = strmap_put(&t->ids, id, ls->entered, &there);

        if (rc < 0)
            return err_set(err, PILOT_ENOMEM, "out of memory for %u tasks", t->len);
        if (rc == 0)
            return err_set(err, PILOT_EPROTO,
                           "the state database is damaged: tasks number %u and %u have the same "
                           "id '%s'; `pilot-mpi recover` makes a new one of what can be read",
                           there, ls->entered, id);
    }
    return 0;
}

static int append_stored(struct load_state *ls, const struct task_spec *spec,
                         struct pilot_error *err)
{
    struct task_table *t = &ls->h->tasks;
    int rc = tasks_reserve(t, 1);

    if (rc < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for %u tasks", t->len);
    rc = tasks_make(t, &t->v[t->len], spec, &ls->scratch, err);
    if (rc < 0)
        return rc;
    strmap_expect(&t->ids, t->v[t->len].packed);
    t->len++;
    /* With the last one all of them: nothing is written to a state before it is known to be good.
     */
    return enter_ids(ls, t->len == ls->expected ? 0 : IDS_AHEAD, err);
}

static void set_state(const struct head *h, struct head_task *task, const struct store_task *st)
{
    task->status = (uint8_t)st->status;
    task->attempts = st->attempts;
    task->failures = st->failures;
    task->losses = st->losses;
    task->suspicion = (uint8_t)(st->suspicion < UINT8_MAX ? st->suspicion : UINT8_MAX);
    task->convicted = trial_convicts(h, task);
    if (task->convicted)
        task->status = TASK_FAILED;
}

static int on_stored_task(void *arg, const struct store_task *st, struct pilot_error *err)
{
    struct load_state *ls = arg;
    struct task_table *t = &ls->h->tasks;
    struct task_spec spec;
    int rc = task_spec_from_json(st->spec_json, &spec, err);

    if (rc == PILOT_EINVAL || (rc == 0 && strcmp(spec.id, st->id) != 0)) {
        task_spec_fini(&spec);
        return err_set(err, PILOT_EPROTO,
                       "the state database is damaged: the JSON of task '%s' is not its own, or "
                       "none; `pilot-mpi recover` makes a new one of what can be read",
                       st->id);
    }
    if (rc < 0)
        return rc;
    BUG_ON(st->task > t->len);
    rc = st->task == t->len ? append_stored(ls, &spec, err) : 0;
    task_spec_fini(&spec);
    if (rc < 0)
        return rc;
    set_state(ls->h, &t->v[st->task], st);
    if (st->told && remember_end(ls->h, st) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for %u tasks", t->len);
    return 0;
}

static int on_expected(void *arg, size_t tasks, struct pilot_error *err)
{
    struct load_state *ls = arg;
    struct task_table *t = &ls->h->tasks;

    ls->expected = tasks;
    if (tasks_reserve(t, tasks) < 0 || strmap_reserve(&t->ids, tasks) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for %zu tasks", tasks);
    return 0;
}

int tasks_open_state(struct head *h, const char *db, const struct store_owner *owner,
                     struct pilot_error *err)
{
    struct load_state ls = {.h = h};
    const struct store_reader reader = {.expect = on_expected, .task = on_stored_task, .arg = &ls};
    int rc;

    buf_init(&ls.scratch);
    rc = store_resume(&h->store, db, owner, &reader, err);
    if (rc == 0)
        rc = enter_ids(&ls, 0, err);
    buf_fini(&ls.scratch);
    return rc;
}

/* ---- To the store ---------------------------------------------------------------------------- */

static int save(struct head *h, task_id_t number, struct pilot_error *err)
{
    struct head_task *task = &h->tasks.v[number];
    struct task_spec spec;
    char *json = NULL;

    if (tasks_unpack(task, &spec) == 0)
        json = task_spec_to_json(&spec);
    if (json != NULL && task->saved == SAVE_REPLACED)
        store_replace_task(h->store, number, &spec, json);
    else if (json != NULL)
        store_put_task(h->store, number, &spec, json, (enum task_status)task->status);
    task_spec_fini(&spec);
    free(json);
    if (json == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for task '%s'", task->packed);
    task->saved = SAVED;
    h->changed = true;
    return 0;
}

int tasks_save(struct head *h, task_id_t first, struct pilot_error *err)
{
    task_id_t saved = 0;
    int rc = 0;

    for (task_id_t i = first; i < h->tasks.len && rc == 0; i++) {
        if (h->tasks.v[i].saved == SAVED)
            continue;
        rc = save(h, i, err);
        if (++saved % BATCH == 0)
            store_offer(h->store);
    }
    return rc;
}

/* ---- To the core ----------------------------------------------------------------------------- */

int tasks_retry_failed(struct head *h)
{
    int count = 0;

    for (task_id_t i = 0; i < h->tasks.len; i++) {
        struct head_task *task = &h->tasks.v[i];

        if (task->status != TASK_FAILED && task->status != TASK_SKIPPED)
            continue;
        task->status = TASK_PENDING;
        task->failures = task->losses = 0;
        task->suspicion = 0;
        if (h->store != NULL)
            store_task_status(h->store, i, TASK_PENDING, "--retry-failed", false);
        count++;
    }
    return count;
}

/* Why no node of this allocation can hold the task. */
static void word_size(const struct head *h, const struct head_task *task, char *text, size_t size)
{
    const char *name;
    unsigned cores = ranks_largest(h, &name);
    char needs[32], has[32];
    int64_t memory;

    if (task->cores > cores) {
        snprintf(text, size, "needs %u cores, but node %s has %u, the most of any node",
                 task->cores, name, cores);
        return;
    }
    memory = ranks_most_memory(h, &name);
    units_size_text(task->memory, needs, sizeof(needs));
    if (memory > 0 && task->memory > memory)
        snprintf(text, size, "needs %s of memory, but node %s has %s, the most of any node", needs,
                 name, units_size_text(memory, has, sizeof(has)));
    else
        snprintf(text, size, "needs %u cores and %s of memory, and no node has both", task->cores,
                 needs);
}

/* A resumed task may need more than this allocation's nodes have. */
int tasks_check_sizes(const struct head *h, struct pilot_error *err)
{
    unsigned wrong = 0;
    char text[PILOT_ERROR_MAX] = "";

    for (task_id_t i = 0; i < h->tasks.len; i++) {
        const struct head_task *task = &h->tasks.v[i];
        size_t len = strlen(text);
        char why[400];

        if (task->status != TASK_PENDING || ranks_can_hold(h, task->cores, task->memory) ||
            wrong++ >= REFUSALS_SHOWN)
            continue;
        word_size(h, task, why, sizeof(why));
        snprintf(text + len, sizeof(text) - len,
                 "%stask '%s' %s; resume it in an allocation with larger nodes", len ? "\n" : "",
                 task->packed, why);
    }
    return wrong ? err_set(err, PILOT_EINVAL, "%s", text) : 0;
}

struct batch {
    struct sched_task *tasks;
    size_t count, cap;
    task_id_t *deps;
    size_t dep_count, dep_cap;
    task_id_t last_dep; /* the highest number in deps */
};

static int add_deps(struct head *h, struct batch *b, const struct task_spec *spec,
                    struct pilot_error *err)
{
    for (size_t i = 0; spec->depends_on != NULL && spec->depends_on[i] != NULL; i++) {
        if (b->dep_count == b->dep_cap) {
            size_t cap = b->dep_cap ? b->dep_cap * 2 : 1024;
            task_id_t *deps = realloc(b->deps, cap * sizeof(*deps));

            if (deps == NULL)
                return PILOT_ENOMEM;
            b->deps = deps;
            b->dep_cap = cap;
        }
        /* Input is checked as it comes in; a database that was damaged may lack some of it. */
        if (!strmap_get(&h->tasks.ids, spec->depends_on[i], &b->deps[b->dep_count]))
            return err_set(err, PILOT_EINVAL,
                           "task '%s' depends on '%s', which is not in the state database; resume "
                           "with the task file that both came from: --resume FILE",
                           spec->id, spec->depends_on[i]);
        if (b->deps[b->dep_count] > b->last_dep)
            b->last_dep = b->deps[b->dep_count];
        b->dep_count++;
    }
    return 0;
}

/* What the scheduler counts with. A task with both is killed at its timeout, whatever was expected.
 */
static int64_t longest_ms(const struct task_spec *spec)
{
    if (spec->timeout_ms == 0 || spec->estimate_ms == 0)
        return spec->timeout_ms + spec->estimate_ms;
    return spec->timeout_ms < spec->estimate_ms ? spec->timeout_ms : spec->estimate_ms;
}

static int describe(struct head *h, struct batch *b, task_id_t i, struct sched_task *st,
                    struct pilot_error *err)
{
    const struct head_task *task = &h->tasks.v[i];
    struct task_spec spec;
    size_t before = b->dep_count;
    struct rd rd;
    int rc;

    rd_init(&rd, task->packed, task->packed_len);
    rc = spec_unpack_shape(&rd, &spec);
    if (rc < 0)
        return rc;
    *st = (struct sched_task){.cores = spec.cores,
                              .memory = (uint64_t)spec.memory,
                              .priority = spec.priority,
                              .timeout_ms = longest_ms(&spec),
                              .max_retries = spec.max_retries,
                              .status = (enum task_status)task->status,
                              .attempts = task->attempts,
                              .failures = task->failures,
                              .losses = task->losses};
    rc = add_deps(h, b, &spec, err);
    st->dep_count = b->dep_count - before;
    task_spec_fini(&spec);
    return rc;
}

static int add_to_batch(struct head *h, struct batch *b, task_id_t i, struct pilot_error *err)
{
    if (b->count == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        struct sched_task *tasks = reallocarray(b->tasks, cap, sizeof(*tasks));

        if (tasks == NULL)
            return PILOT_ENOMEM;
        b->tasks = tasks;
        b->cap = cap;
    }
    return describe(h, b, i, &b->tasks[b->count++], err);
}

/* The list of dependencies has stopped growing: now its entries have addresses. */
static void point_to_deps(struct batch *b)
{
    size_t at = 0;

    for (size_t i = 0; i < b->count; i++) {
        b->tasks[i].deps = b->deps ? b->deps + at : NULL;
        at += b->tasks[i].dep_count;
    }
}

static int give_batch(struct head *h, struct batch *b, int64_t now_ms)
{
    int rc;

    point_to_deps(b);
    rc = sched_add(h->sched, b->tasks, b->count, now_ms, &h->actions);
    b->count = b->dep_count = b->last_dep = 0;
    return rc;
}

int tasks_schedule(struct head *h, int64_t now_ms, struct pilot_error *err)
{
    task_id_t first = sched_count(h->sched);
    bool resumed = h->opt->resume && first == 0; /* then circles are looked for among all */
    struct batch b = {0};
    int rc = sched_reserve(h->sched, h->tasks.len - first);

    for (task_id_t i = first; rc == 0 && i < h->tasks.len; i++) {
        rc = add_to_batch(h, &b, i, err);
        if (rc == 0 && b.count >= BATCH && b.last_dep <= i && !resumed)
            rc = give_batch(h, &b, now_ms);
    }
    if (rc == 0 && resumed) {
        point_to_deps(&b);
        rc = cycles_check(h, b.tasks, (task_id_t)b.count, err);
    }
    if (rc == 0)
        rc = give_batch(h, &b, now_ms);
    free(b.tasks);
    free(b.deps);
    return rc == PILOT_ENOMEM ? err_set(err, rc, "out of memory for %u tasks", h->tasks.len) : rc;
}

void tasks_fini(struct head *h)
{
    arena_fini(&h->tasks.text);
    free(h->tasks.v);
    strmap_fini(&h->tasks.ids);
    memset(&h->tasks, 0, sizeof(h->tasks));
}
