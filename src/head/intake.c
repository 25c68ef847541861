/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: taking new tasks in, from files and from programs. They are staged first, behind the tasks
 * of the table, so that a text with an error leaves nothing behind. */
#include "head/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/units.h"

#define REFUSALS_SHOWN 20

bool intake_same_content(const struct head_task *known, const struct task_spec *spec)
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

/* Staged tasks whose places in the map of ids are fetched before they are needed. */
#define AHEAD 8

struct staging {
    struct head *h;
    const char *file;
    bool dynamic; /* added while running, or by a program: nothing is ever replaced */
    char **ids;   /* of all of them, known ones too, when dynamic; owned */
    size_t id_count, id_cap;
    size_t len; /* staged tasks: in the table, from its len on */
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
             "%s%s:%u: task '%s' is there already with other content; give it another id%s",
             len ? "\n" : "", s->file, line, id,
             s->dynamic ? "" : ", or run it again as it is now with --rerun-changed");
}

static int remember_id(struct staging *s, const char *id)
{
    char **ids;

    if (!s->dynamic)
        return 0;
    if (s->id_count + 1 >= s->id_cap) {
        s->id_cap = s->id_cap ? s->id_cap * 2 : 8;
        ids = realloc(s->ids, s->id_cap * sizeof(*ids));
        if (ids == NULL)
            return PILOT_ENOMEM;
        s->ids = ids;
    }
    s->ids[s->id_count] = strdup(id);
    s->ids[s->id_count + 1] = NULL;
    return s->ids[s->id_count++] != NULL ? 0 : PILOT_ENOMEM;
}

static bool replaces_changed(const struct staging *s)
{
    return s->h->opt->rerun_changed && !s->dynamic;
}

int intake_check_room(const struct head *h, const char *file, const struct task_spec *spec,
                      unsigned line, struct pilot_error *err)
{
    char size[32];

    if (spec->memory == 0 || ranks_can_hold(h, spec->cores, spec->memory))
        return 0;
    return err_set(err, PILOT_EINVAL,
                   "%s:%u: task '%.200s': no node has %u cores and %s of memory; ask for less of "
                   "one",
                   file, line, spec->id, spec->cores,
                   units_size_text(spec->memory, size, sizeof(size)));
}

static int on_file_task(void *arg, const struct task_spec *spec, unsigned line,
                        struct pilot_error *err)
{
    struct staging *s = arg;
    struct task_table *table = &s->h->tasks;
    struct arena_mark mark = arena_mark(&table->text);
    struct head_task *staged;
    task_id_t known;
    int rc;

    rc = intake_check_room(s->h, s->file, spec, line, err);
    if (rc == 0 && tasks_reserve(table, s->len + 1) < 0)
        rc = err_set(err, PILOT_ENOMEM, "out of memory for %zu tasks", s->len + 1);
    if (rc < 0)
        return rc;
    staged = &table->v[table->len + s->len];
    rc = tasks_make(table, staged, spec, &s->scratch, err);
    if (rc < 0)
        return rc;
    if (remember_id(s, spec->id) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for task '%s'", spec->id);
    if (strmap_get(&table->ids, spec->id, &known)) {
        bool same = intake_same_content(&table->v[known], spec);

        if (same)
            s->known++;
        else if (replaces_changed(s))
            s->changed++;
        else
            add_refusal(s, spec->id, line);
        if (same || !replaces_changed(s)) {
            arena_release(&table->text, mark);
            return 0;
        }
        staged->node = known; /* until it is committed: the task that it replaces */
    }
    s->len++;
    return 0;
}

static int on_expected(void *arg, size_t tasks)
{
    struct staging *s = arg;

    return tasks_reserve(&s->h->tasks, s->len + tasks);
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

void intake_append(struct head *h, const struct head_task *task)
{
    struct task_table *t = &h->tasks;

    if (strmap_add(&t->ids, task->packed, t->len) < 0)
        BUG("out of memory for the ids of %u tasks", t->len);
    if (task != &t->v[t->len])
        t->v[t->len] = *task;
    t->v[t->len++].saved = SAVE_NEW;
}

/* Puts one staged task in the table; where others were replaced, it moves to the front. */
static void take_staged(struct head *h, struct head_task *task)
{
    struct task_table *t = &h->tasks;
    task_id_t replaced = task->node;

    task->node = NODE_ID_NONE;
    if (replaced == NODE_ID_NONE) {
        intake_append(h, task);
        return;
    }
    strmap_rekey(&t->ids, task->packed); /* the key is the id at its front */
    t->v[replaced] = *task;
    t->v[replaced].saved = SAVE_REPLACED;
}

static int take_all(struct staging *s, struct pilot_error *err)
{
    struct task_table *t = &s->h->tasks;
    struct head_task *staged = t->v + t->len;

    if (strmap_reserve(&t->ids, s->len) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for %zu tasks", s->len);
    for (size_t i = 0; i < s->len; i++) {
        if (i + AHEAD < s->len)
            strmap_expect(&t->ids, staged[i + AHEAD].packed);
        take_staged(s->h, &staged[i]);
    }
    return 0;
}

static void reserve_names(struct intake_limits *l, const char *db)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".lock"};
    const char *base = strrchr(db, '/');
    unsigned n = 0;

    l->reserved[n++] = "summary.json";
    l->reserved[n++] = ".pilot";
    for (unsigned i = 0; i < 5; i++) {
        snprintf(l->names[i], sizeof(l->names[i]), "%.200s%s", base ? base + 1 : db, suffixes[i]);
        l->reserved[n++] = l->names[i];
    }
    l->reserved[n] = NULL;
}

void intake_limits_init(struct intake_limits *l, struct head *h)
{
    struct taskfile_config *c = &l->config;
    const char *largest, *fattest;
    char size[32];

    memset(c, 0, sizeof(*c));
    c->max_cores = ranks_largest(h, &largest);
    c->max_memory = ranks_most_memory(h, &fattest);
    snprintf(l->cores_of, sizeof(l->cores_of), "node %s has %u, the most of any node", largest,
             c->max_cores);
    snprintf(l->memory_of, sizeof(l->memory_of), "node %s has %s, the most of any node", fattest,
             units_size_text(c->max_memory, size, sizeof(size)));
    reserve_names(l, h->db);
    c->max_cores_of = l->cores_of;
    c->max_memory_of = l->memory_of;
    c->reserved = l->reserved;
}

/* Checks and takes what text (NULL: the file called path) holds, all of it or nothing. */
static int64_t take_in(struct staging *s, const char *path, const char *text, size_t text_len,
                       struct pilot_error *err)
{
    struct head *h = s->h;
    struct intake_limits limits;
    struct arena_mark mark = arena_mark(&h->tasks.text);
    struct taskfile_ops ops = {.task = on_file_task,
                               .expect = on_expected,
                               .known = on_known,
                               .warn = on_warning,
                               .arg = s};
    int64_t rc;

    intake_limits_init(&limits, h);
    limits.config.ids_by_content = s->dynamic;
    buf_init(&s->scratch);
    rc = text != NULL ? taskfile_read_text(s->file, text, text_len, &limits.config, &ops, err)
                      : taskfile_read(path, &limits.config, &ops, err);
    if (rc >= 0 && s->refused > 0) {
        size_t len = strlen(s->refusals.text);

        if (s->refused > REFUSALS_SHOWN)
            snprintf(s->refusals.text + len, sizeof(s->refusals.text) - len, "\n... and %llu more",
                     (unsigned long long)(s->refused - REFUSALS_SHOWN));
        rc = err_set(err, PILOT_EEXIST, "%s", s->refusals.text);
    }
    if (rc >= 0)
        rc = take_all(s, err);
    if (rc < 0)
        arena_release(&h->tasks.text, mark);
    buf_fini(&s->scratch);
    return rc < 0 ? rc : (int64_t)(s->len - s->changed);
}

int64_t intake_file(struct head *h, const char *path, struct pilot_error *err)
{
    struct staging s = {.h = h, .file = strcmp(path, "-") == 0 ? "standard input" : path};
    int64_t added = take_in(&s, path, NULL, 0, err);

    if (added >= 0) { /* a file that an earlier run did not read to its end is this one, mended */
        free(h->unread);
        h->unread = NULL;
    }
    if (added >= 0 && s.changed > 0)
        log_info("%s: %lld new tasks, %llu changed ones will run again, %llu were already there",
                 s.file, (long long)added, (unsigned long long)s.changed,
                 (unsigned long long)s.known);
    else if (added >= 0 && h->opt->resume)
        log_info("%s: %lld new tasks, %llu were already there", s.file, (long long)added,
                 (unsigned long long)s.known);
    return added;
}

void intake_start(struct head *h, task_id_t first)
{
    struct pilot_error err;

    if (first < h->tasks.len &&
        (tasks_save(h, first, &err) < 0 || tasks_schedule(h, clock_mono_ms(), &err) < 0))
        BUG("%u new tasks: %s", h->tasks.len - first, err.text);
}

int64_t intake_text(struct head *h, const char *name, const char *text, size_t len, char ***ids,
                    struct pilot_error *err)
{
    struct staging s = {.h = h, .file = name, .dynamic = true};
    int64_t added;

    if (h->over)
        return err_set(err, PILOT_ESTATE, "the run is over; nothing can be added any more");
    added = take_in(&s, NULL, text, len, err);

    /* In the run: to the store, then to the core; before it, head_run does both. */
    if (added > 0 && h->sched != NULL)
        intake_start(h, h->tasks.len - (task_id_t)added);
    if (added >= 0 && ids != NULL)
        *ids = s.ids;
    else
        strv_free(s.ids);
    return added;
}
