/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/simulate_input.h"

#include "cli/complain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/strmap.h"
#include "common/units.h"
#include "input/taskfile.h"
#include "store/durations.h"

#define NO_NUMBER TASK_ID_NONE

struct item {
    char *id;    /* owned */
    char **deps; /* owned; ids */
    uint32_t cores;
    int32_t priority;
    int64_t timeout_ms, estimate_ms, memory;
    int64_t recorded_ms; /* -1: not known */
    bool left;           /* a resumed run would still have to do it */
    task_id_t number;    /* in the simulation; NO_NUMBER: not in it */
};

struct gathering {
    const struct simulate_wish *wish;
    struct item *v;
    size_t len, cap;
    struct strmap ids;
};

/* ---- Gathering ------------------------------------------------------------------------------- */

static int add_item(struct gathering *g, const struct task_spec *spec, struct pilot_error *err)
{
    struct item item = {.cores = spec->cores,
                        .priority = spec->priority,
                        .timeout_ms = spec->timeout_ms,
                        .estimate_ms = spec->estimate_ms,
                        .memory = spec->memory,
                        .recorded_ms = -1,
                        .left = true};

    if (g->len == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 256;
        struct item *v = realloc(g->v, cap * sizeof(*v));

        if (v == NULL)
            return err_set(err, PILOT_ENOMEM, "out of memory for %zu tasks", cap);
        g->v = v;
        g->cap = cap;
    }
    item.id = strdup(spec->id);
    item.deps = strv_dup(spec->depends_on);
    if (item.id == NULL || (item.deps == NULL && spec->depends_on != NULL) ||
        strmap_add(&g->ids, item.id, (uint32_t)g->len) < 0) {
        free(item.id);
        strv_free(item.deps);
        return err_set(err, PILOT_ENOMEM, "out of memory for task '%.100s'", spec->id);
    }
    g->v[g->len++] = item;
    return 0;
}

static int on_task(void *arg, const struct task_spec *spec, unsigned line, struct pilot_error *err)
{
    (void)line;
    return add_item(arg, spec, err);
}

static void on_warning(void *arg, const char *text)
{
    (void)arg;
    cli_complain(text);
}

static int read_file(struct gathering *g, struct pilot_error *err)
{
    char words[80], memory_words[80], size[16];
    struct taskfile_config config = {.max_cores = g->wish->cores_per_node,
                                     .max_cores_of = words,
                                     .max_memory = g->wish->memory_per_node,
                                     .max_memory_of = memory_words};
    struct taskfile_ops ops = {.task = on_task, .warn = on_warning, .arg = g};
    int64_t rc;

    snprintf(words, sizeof(words), "a node has %u (--cores-per-node)", g->wish->cores_per_node);
    snprintf(memory_words, sizeof(memory_words), "a node has %s (--memory-per-node)",
             units_size_text(g->wish->memory_per_node, size, sizeof(size)));
    rc = taskfile_read(g->wish->file, &config, &ops, err);
    return rc < 0 ? (int)rc : 0;
}

static int on_recorded(void *arg, const struct store_recorded *task, struct pilot_error *err)
{
    struct gathering *g = arg;
    uint32_t i = (uint32_t)g->len;
    struct task_spec spec;
    int rc;

    if (g->wish->file != NULL) {
        if (!strmap_get(&g->ids, task->id, &i))
            return 0;
    } else {
        rc = task_spec_from_json(task->spec_json, &spec, err);
        if (rc == 0)
            rc = add_item(g, &spec, err);
        task_spec_fini(&spec);
        if (rc < 0)
            return rc;
    }
    g->v[i].recorded_ms = task->duration_ms;
    g->v[i].left = task->status == TASK_PENDING || task->status == TASK_RUNNING;
    return 0;
}

/* ---- Durations ------------------------------------------------------------------------------- */

/* -1: not known. */
static int64_t known_ms(const struct gathering *g, const struct item *item,
                        struct simulate_sources *sources)
{
    if (item->recorded_ms >= 0) {
        sources->recorded++;
        return item->recorded_ms;
    }
    if (item->estimate_ms > 0) {
        sources->estimated++;
        return item->estimate_ms;
    }
    if (g->wish->default_ms > 0) {
        sources->given++;
        return g->wish->default_ms;
    }
    sources->assumed++;
    return -1;
}

static int compare_ms(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Of everything that is known, the tasks that are not simulated among it. -1: nothing is. */
static int64_t median_ms(const struct gathering *g, struct pilot_error *err)
{
    int64_t *all = calloc(g->len + 1, sizeof(*all)), median = -1;
    struct simulate_sources unused = {0};
    size_t count = 0;

    if (all == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for %zu durations", g->len);
    for (size_t i = 0; i < g->len; i++) {
        int64_t ms = known_ms(g, &g->v[i], &unused);

        if (ms >= 0)
            all[count++] = ms;
    }
    if (count > 0) {
        qsort(all, count, sizeof(*all), compare_ms);
        median = all[count / 2];
    } else {
        err_set(err, PILOT_EINVAL,
                "nothing says how long the tasks take; give them a time_estimate (seconds), take "
                "an earlier run's times with --db FILE, or give one for all with "
                "--default-time TIME");
    }
    free(all);
    return median;
}

/* ---- The simulation's form ------------------------------------------------------------------- */

static int take_item(struct gathering *g, struct item *item, int64_t assumed_ms,
                     struct simulate_input *out)
{
    struct campaign_task *t = &out->tasks[item->number];
    int64_t ms = known_ms(g, item, &out->sources);

    *t = (struct campaign_task){.cores = item->cores,
                                .priority = item->priority,
                                .timeout_ms = item->timeout_ms,
                                .memory = item->memory,
                                .duration_ms = ms >= 0 ? ms : assumed_ms};
    /* It would be ended then. */
    if (t->timeout_ms > 0 && t->duration_ms > t->timeout_ms)
        t->duration_ms = t->timeout_ms;
    if (item->cores > out->widest)
        out->widest = item->cores;
    out->ids[item->number] = strdup(item->id);
    return out->ids[item->number] != NULL ? 0 : PILOT_ENOMEM;
}

static void link_items(struct gathering *g, struct simulate_input *out)
{
    size_t at = 0;

    for (size_t i = 0; i < g->len; i++) {
        const struct item *item = &g->v[i];
        struct campaign_task *t;

        if (item->number == NO_NUMBER)
            continue;
        t = &out->tasks[item->number];
        t->deps = out->deps + at;
        for (char **dep = item->deps; dep != NULL && *dep != NULL; dep++) {
            uint32_t other;

            /* What has ended is waited for no more. */
            if (strmap_get(&g->ids, *dep, &other) && g->v[other].number != NO_NUMBER)
                out->deps[at + t->dep_count++] = g->v[other].number;
        }
        at += t->dep_count;
    }
}

static int convert(struct gathering *g, struct simulate_input *out, struct pilot_error *err)
{
    size_t deps = 0;
    bool unknown = false;
    int rc = 0;

    for (size_t i = 0; i < g->len; i++) {
        struct item *item = &g->v[i];

        item->number = g->wish->rest && !item->left ? NO_NUMBER : out->count++;
        deps += strv_len(item->deps);
        unknown = unknown || (item->number != NO_NUMBER && item->recorded_ms < 0 &&
                              item->estimate_ms == 0 && g->wish->default_ms == 0);
    }
    if (unknown && (out->sources.assumed_ms = median_ms(g, err)) < 0)
        return err->code;
    out->tasks = calloc((size_t)out->count + 1, sizeof(*out->tasks));
    out->ids = calloc((size_t)out->count + 1, sizeof(*out->ids));
    out->deps = calloc(deps + 1, sizeof(*out->deps));
    if (out->tasks == NULL || out->ids == NULL || out->deps == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for %u tasks", out->count);
    for (size_t i = 0; i < g->len && rc == 0; i++)
        if (g->v[i].number != NO_NUMBER)
            rc = take_item(g, &g->v[i], out->sources.assumed_ms, out);
    if (rc < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for %u tasks", out->count);
    link_items(g, out);
    return 0;
}

int simulate_read(struct simulate_input *out, const struct simulate_wish *wish,
                  struct pilot_error *err)
{
    struct gathering g = {.wish = wish};
    int rc = 0;

    memset(out, 0, sizeof(*out));
    strmap_init(&g.ids);
    if (wish->file != NULL)
        rc = read_file(&g, err);
    if (rc == 0 && wish->db != NULL)
        rc = store_read_durations(wish->db, on_recorded, &g, err);
    if (rc == 0)
        rc = convert(&g, out, err);
    for (size_t i = 0; i < g.len; i++) {
        free(g.v[i].id);
        strv_free(g.v[i].deps);
    }
    free(g.v);
    strmap_fini(&g.ids);
    if (rc < 0)
        simulate_free(out);
    return rc;
}

void simulate_free(struct simulate_input *in)
{
    for (task_id_t i = 0; in->ids != NULL && i < in->count; i++)
        free(in->ids[i]);
    free(in->ids);
    free(in->tasks);
    free(in->deps);
    memset(in, 0, sizeof(*in));
}
