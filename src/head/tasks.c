/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the table of tasks. A task is kept as its id and its packed spec, which is what an agent is
 * sent; the JSON text goes to the store and is forgotten. Files are read into a staging list first,
 * so that a file with an error leaves nothing behind. */
#include "head/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/log.h"
#include "input/taskfile.h"

#define REFUSALS_SHOWN 20

int tasks_unpack(const struct head_task *task, struct task_spec *spec)
{
    struct rd rd;

    rd_init(&rd, task->blob + strlen(task->blob) + 1, task->packed_len);
    return spec_unpack(&rd, spec);
}

/* Packs spec into task; everything else of it is zero. */
static int make_task(struct head_task *task, const struct task_spec *spec, struct buf *scratch,
                     struct pilot_error *err)
{
    size_t id_len = strlen(spec->id) + 1;

    memset(task, 0, sizeof(*task));
    buf_clear(scratch);
    spec_pack(scratch, spec);
    if (!buf_ok(scratch) || scratch->len > UINT32_MAX ||
        (task->blob = malloc(id_len + scratch->len)) == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for task '%s'", spec->id);
    memcpy(task->blob, spec->id, id_len);
    memcpy(task->blob + id_len, scratch->data, scratch->len);
    task->packed_len = (uint32_t)scratch->len;
    task->cores = spec->cores;
    task->node = NODE_ID_NONE;
    return 0;
}

static int reserve(struct task_table *t, size_t more)
{
    size_t cap = t->cap ? t->cap : 256;
    struct head_task *v;

    if (t->len + more <= t->cap)
        return 0;
    while (cap < t->len + more)
        cap *= 2;
    if (cap >= TASK_ID_NONE || (v = realloc(t->v, cap * sizeof(*v))) == NULL)
        return PILOT_ENOMEM;
    t->v = v;
    t->cap = (task_id_t)cap;
    return 0;
}

/* By the canonical text, in which the order of env and depends_on does not matter. */
static bool same_content(const struct head_task *known, const struct task_spec *spec)
{
    struct task_spec old;
    char *before = NULL, *now = NULL;
    bool same;

    if (tasks_unpack(known, &old) == 0) {
        before = task_spec_to_json(&old);
        now = task_spec_to_json(spec);
        task_spec_fini(&old);
    }
    same = before != NULL && now != NULL && strcmp(before, now) == 0;
    free(before);
    free(now);
    return same;
}

/* ---- From the database ----------------------------------------------------------------------- */

struct load_state {
    struct head *h;
    struct buf scratch;
};

static int on_stored_task(void *arg, const struct store_task *st, struct pilot_error *err)
{
    struct load_state *ls = arg;
    struct task_table *t = &ls->h->tasks;
    struct task_spec spec;
    int rc = task_spec_from_json(st->spec_json, &spec, err);

    if (rc < 0)
        return rc;
    BUG_ON(st->task != t->len);
    rc = reserve(t, 1);
    if (rc == 0)
        rc = make_task(&t->v[t->len], &spec, &ls->scratch, err);
    task_spec_fini(&spec);
    if (rc < 0)
        return rc;
    t->v[t->len].status = st->status;
    t->v[t->len].attempts = st->attempts;
    t->v[t->len].failures = st->failures;
    t->len++;
    if (strmap_add(&t->ids, t->v[t->len - 1].blob, t->len - 1) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for %u tasks", t->len);
    return 0;
}

int tasks_load_state(struct head *h, struct pilot_error *err)
{
    struct load_state ls = {.h = h};
    int rc;

    buf_init(&ls.scratch);
    rc = store_load(h->store, on_stored_task, &ls, err);
    buf_fini(&ls.scratch);
    return rc;
}

/* ---- From a file ----------------------------------------------------------------------------- */

struct staged {
    struct head_task task;
    unsigned line;
};

struct staging {
    struct head *h;
    const char *file;
    struct staged *v;
    size_t len, cap;
    struct buf scratch;
    uint64_t known;   /* in the database with the same content */
    uint64_t changed; /* with other content, and will run again */
    uint64_t refused; /* with other content */
    struct pilot_error refusals;
};

static void add_refusal(struct staging *s, const char *id, unsigned line)
{
    char *text = s->refusals.text;
    size_t len = strlen(text);

    if (s->refused++ >= REFUSALS_SHOWN)
        return;
    snprintf(text + len, sizeof(s->refusals.text) - len,
             "%s%s:%u: task '%s' is in the database with other content; give it another id, or run "
             "it again as it is now with --rerun-changed",
             len ? "\n" : "", s->file, line, id);
}

static int on_file_task(void *arg, const struct task_spec *spec, unsigned line,
                        struct pilot_error *err)
{
    struct staging *s = arg;
    struct staged *slot;
    task_id_t known;
    int rc;

    if (s->len == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        struct staged *v = realloc(s->v, cap * sizeof(*v));

        if (v == NULL)
            return err_set(err, PILOT_ENOMEM, "out of memory for %zu tasks", cap);
        s->v = v;
        s->cap = cap;
    }
    slot = &s->v[s->len];
    rc = make_task(&slot->task, spec, &s->scratch, err);
    if (rc < 0)
        return rc;
    slot->line = line;
    if (strmap_get(&s->h->tasks.ids, spec->id, &known)) {
        bool same = same_content(&s->h->tasks.v[known], spec);

        if (same)
            s->known++;
        else if (s->h->opt->rerun_changed)
            s->changed++;
        else
            add_refusal(s, spec->id, line);
        if (same || !s->h->opt->rerun_changed) {
            free(slot->task.blob);
            return 0;
        }
        slot->task.node = known; /* until it is committed: the task that it replaces */
    }
    s->len++;
    return 0;
}

static bool on_known(void *arg, const char *id)
{
    const struct staging *s = arg;

    return strmap_get(&s->h->tasks.ids, id, NULL);
}

static void on_warning(void *arg, const char *text)
{
    (void)arg;
    log_warn("%s", text);
}

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
        store_put_task(h->store, number, &spec, json, TASK_PENDING);
    task_spec_fini(&spec);
    free(json);
    if (json == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for task '%s'", task->blob);
    task->saved = SAVED;
    h->changed = true;
    return 0;
}

int tasks_save(struct head *h, task_id_t first, struct pilot_error *err)
{
    int rc = 0;

    for (task_id_t i = first; i < h->tasks.len && rc == 0; i++)
        if (h->tasks.v[i].saved != SAVED)
            rc = save(h, i, err);
    return rc;
}

/* Puts one staged task in the table. */
static void take_staged(struct head *h, struct head_task *task)
{
    struct task_table *t = &h->tasks;
    bool replaces = task->node != NODE_ID_NONE;
    task_id_t number = replaces ? task->node : t->len;

    task->node = NODE_ID_NONE;
    if (replaces) {
        strmap_rekey(&t->ids, task->blob); /* the key is the id at the front of the blob */
        free(t->v[number].blob);
    } else {
        t->len++;
        if (strmap_add(&t->ids, task->blob, number) < 0)
            BUG("out of memory for the ids of %u tasks", t->len);
    }
    task->saved = replaces ? SAVE_REPLACED : SAVE_NEW;
    t->v[number] = *task;
    task->blob = NULL;
}

static int take_all(struct staging *s, struct pilot_error *err)
{
    struct head *h = s->h;
    int rc = reserve(&h->tasks, s->len);

    if (rc < 0)
        return err_set(err, rc, "out of memory for %zu tasks", s->len);
    for (size_t i = 0; i < s->len; i++)
        take_staged(h, &s->v[i].task);
    return 0;
}

static const char *const *reserved_names(struct head *h, char names[6][256])
{
    static const char *list[8];
    const char *base = strrchr(h->db, '/');
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".lock"};
    unsigned n = 0;

    list[n++] = "summary.json";
    list[n++] = ".pilot";
    for (unsigned i = 0; i < 5; i++) {
        snprintf(names[i], sizeof(names[i]), "%.200s%s", base ? base + 1 : h->db, suffixes[i]);
        list[n++] = names[i];
    }
    list[n] = NULL;
    return list;
}

int64_t tasks_load_file(struct head *h, const char *path, struct pilot_error *err)
{
    struct staging s = {.h = h, .file = strcmp(path, "-") == 0 ? "standard input" : path};
    char names[6][256], words[MSG_NAME_MAX + 80];
    const char *largest;
    struct taskfile_config config = {.max_cores = ranks_largest(h, &largest)};
    struct taskfile_ops ops = {
        .task = on_file_task, .known = on_known, .warn = on_warning, .arg = &s};
    int64_t rc, added = 0;

    snprintf(words, sizeof(words), "node %s has %u, the most of any node", largest,
             config.max_cores);
    config.max_cores_of = words;
    config.reserved = reserved_names(h, names);
    buf_init(&s.scratch);
    rc = taskfile_read(path, &config, &ops, err);
    if (rc >= 0 && s.refused > 0) {
        size_t len = strlen(s.refusals.text);

        if (s.refused > REFUSALS_SHOWN)
            snprintf(s.refusals.text + len, sizeof(s.refusals.text) - len, "\n... and %llu more",
                     (unsigned long long)(s.refused - REFUSALS_SHOWN));
        rc = err_set(err, PILOT_EEXIST, "%s", s.refusals.text);
    }
    if (rc >= 0) {
        added = (int64_t)(s.len - s.changed);
        rc = take_all(&s, err);
        if (rc == 0 && s.changed > 0)
            log_info("%s: %lld new tasks, %llu changed ones will run again, %llu were already there",
                     s.file, (long long)added, (unsigned long long)s.changed,
                     (unsigned long long)s.known);
        else if (rc == 0 && h->opt->resume)
            log_info("%s: %lld new tasks, %llu were already there", s.file, (long long)added,
                     (unsigned long long)s.known);
    }
    for (size_t i = 0; rc < 0 && i < s.len; i++)
        free(s.v[i].task.blob);
    free(s.v);
    buf_fini(&s.scratch);
    return rc < 0 ? rc : added;
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
        task->failures = 0;
        if (h->store != NULL)
            store_task_status(h->store, i, TASK_PENDING, "--retry-failed");
        count++;
    }
    return count;
}

/* A resumed task may need more cores than this allocation's nodes have. */
static int check_sizes(const struct head *h, struct pilot_error *err)
{
    const char *name;
    unsigned most = ranks_largest(h, &name), wrong = 0;
    char text[PILOT_ERROR_MAX] = "";

    for (task_id_t i = 0; i < h->tasks.len; i++) {
        const struct head_task *task = &h->tasks.v[i];
        size_t len = strlen(text);

        if (task->cores <= most || task->status != TASK_PENDING || wrong++ >= REFUSALS_SHOWN)
            continue;
        snprintf(text + len, sizeof(text) - len, "%stask '%s' needs %u cores, but node %s has %u, "
                 "the most of any node; resume it in an allocation with larger nodes",
                 len ? "\n" : "", task->blob, task->cores, name, most);
    }
    return wrong ? err_set(err, PILOT_EINVAL, "%s", text) : 0;
}

struct batch {
    struct sched_task *tasks;
    task_id_t *deps;
    size_t dep_count, dep_cap;
};

static int add_deps(struct head *h, struct batch *b, const struct task_spec *spec)
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
        if (!strmap_get(&h->tasks.ids, spec->depends_on[i], &b->deps[b->dep_count]))
            BUG("task '%s' depends on '%s', which nobody knows", spec->id, spec->depends_on[i]);
        b->dep_count++;
    }
    return 0;
}

static int describe(struct head *h, struct batch *b, task_id_t i)
{
    const struct head_task *task = &h->tasks.v[i];
    struct sched_task *st = &b->tasks[i];
    struct task_spec spec;
    size_t before = b->dep_count;
    int rc = tasks_unpack(task, &spec);

    if (rc < 0)
        return rc;
    st->cores = spec.cores;
    st->priority = spec.priority;
    st->timeout_ms = spec.timeout_ms;
    st->max_retries = spec.max_retries;
    st->status = task->status;
    st->attempts = task->attempts;
    st->failures = task->failures;
    rc = add_deps(h, b, &spec);
    st->dep_count = b->dep_count - before;
    task_spec_fini(&spec);
    return rc;
}

int tasks_schedule(struct head *h, int64_t now_ms, struct pilot_error *err)
{
    struct batch b = {.tasks = calloc(h->tasks.len + 1, sizeof(*b.tasks))};
    size_t at = 0;
    int rc = check_sizes(h, err);

    if (rc < 0) {
        free(b.tasks);
        return rc;
    }
    rc = b.tasks != NULL ? 0 : PILOT_ENOMEM;
    for (task_id_t i = 0; rc == 0 && i < h->tasks.len; i++)
        rc = describe(h, &b, i);
    /* The list of dependencies has stopped growing: now its entries have addresses. */
    for (task_id_t i = 0; rc == 0 && i < h->tasks.len; i++) {
        b.tasks[i].deps = b.deps ? b.deps + at : NULL;
        at += b.tasks[i].dep_count;
    }
    if (rc == 0)
        rc = h->opt->rerun_changed ? cycles_check(h, b.tasks, h->tasks.len, err) : 0;
    if (rc == 0)
        rc = sched_add(h->sched, b.tasks, h->tasks.len, now_ms, &h->actions);
    free(b.tasks);
    free(b.deps);
    return rc == PILOT_ENOMEM ? err_set(err, rc, "out of memory for %u tasks", h->tasks.len) : rc;
}

void tasks_fini(struct head *h)
{
    for (task_id_t i = 0; i < h->tasks.len; i++)
        free(h->tasks.v[i].blob);
    free(h->tasks.v);
    strmap_fini(&h->tasks.ids);
    memset(&h->tasks, 0, sizeof(h->tasks));
}
