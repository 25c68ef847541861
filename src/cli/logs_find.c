/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: finding outputs. An attempt that runs, or was lost with its node or its pilot, has no place
 * in the state: its newest record is looked for in the packs of its node, all such attempts in one
 * pass. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/logs.h"
#include "common/error.h"
#include "store/outputs.h"

#define KEY_MAX (PACK_ID_MAX + 16)

void logs_list_fini(struct logs_list *l)
{
    for (size_t i = 0; i < l->len; i++) {
        free(l->v[i].id);
        free(l->v[i].node);
    }
    free(l->v);
    memset(l, 0, sizeof(*l));
}

static struct logs_attempt *add(struct logs_list *l, const char *id, size_t id_len,
                                const char *node, unsigned attempt)
{
    struct logs_attempt *a;

    if (l->len == l->cap) {
        size_t cap = l->cap > 0 ? 2 * l->cap : 16;
        struct logs_attempt *v = realloc(l->v, cap * sizeof(*v));

        if (v == NULL)
            return NULL;
        l->v = v;
        l->cap = cap;
    }
    a = &l->v[l->len];
    *a = (struct logs_attempt){.id = strndup(id, id_len), .node = strdup(node), .attempt = attempt};
    if (a->id == NULL || a->node == NULL) {
        free(a->id);
        free(a->node);
        return NULL;
    }
    l->len++;
    return a;
}

static int no_memory(struct pilot_error *err)
{
    return err_set(err, PILOT_ENOMEM, "out of memory for the list of attempts");
}

/* ---- Places ---------------------------------------------------------------------------------- */

static int nothing(void *arg, const struct store_output *o, struct pilot_error *err)
{
    (void)arg, (void)o, (void)err;
    return 1; /* one row shows that it can be read */
}

int logs_place_init(struct logs_place *p, const char *workdir, const char *db,
                    struct pilot_error *err)
{
    struct store_facts facts = {0};
    int rc;

    memset(p, 0, sizeof(*p));
    if (workdir == NULL && db == NULL)
        workdir = "./pilot_runs";
    if (db == NULL && asprintf(&p->db, "%s/state.db", workdir) < 0)
        p->db = NULL;
    else if (db != NULL)
        p->db = strdup(db);
    if (p->db == NULL)
        return no_memory(err);
    rc = store_read_outputs(p->db, NULL, nothing, NULL, &facts, err);
    p->state = rc >= 0;
    p->run = facts.run;
    if (rc < 0)
        snprintf(p->why_not, sizeof(p->why_not), "%.500s", err->text);
    if (workdir != NULL)
        p->workdir = strdup(workdir);
    else if (facts.workdir != NULL)
        p->workdir = strdup(facts.workdir);
    else
        return err_set(err, PILOT_EINVAL,
                       "%s does not say where its tasks ran%s%s; name that with --workdir DIR", db,
                       rc < 0 ? ": " : "", p->why_not);
    free(facts.workdir);
    return p->workdir != NULL ? 0 : no_memory(err);
}

void logs_place_fini(struct logs_place *p)
{
    free(p->workdir);
    free(p->db);
}

bool logs_pack_dir(char *out, size_t size, const struct logs_place *p, const char *node)
{
    return snprintf(out, size, "%s/.pilot/%s", p->workdir, node) < (int)size;
}

bool logs_file(char *out, size_t size, const struct logs_place *p, const struct logs_attempt *a,
               enum pack_stream stream)
{
    const char *name = stream == PACK_STDOUT ? "stdout" : "stderr";
    char number[16] = "";

    if (!a->last)
        snprintf(number, sizeof(number), ".%u", a->attempt);
    return snprintf(out, size, "%s/%s/%s%s.txt", p->workdir, a->id, name, number) < (int)size;
}

/* ---- Out of the state ------------------------------------------------------------------------ */

static int take_row(void *arg, const struct store_output *o, struct pilot_error *err)
{
    struct logs_list *l = arg;
    struct logs_attempt *a;

    l->task_known = true;
    l->task_over = o->status > TASK_RUNNING;
    if (o->attempt == 0)
        return 0;
    a = add(l, o->id, strlen(o->id), o->node, o->attempt);
    if (a == NULL)
        return no_memory(err);
    a->last = o->last;
    a->ended = o->ended;
    a->known = o->packed;
    a->at = o->pack_at;
    return 0;
}

/* ---- Out of the packs ------------------------------------------------------------------------ */

struct search {
    struct logs_list *list;
    struct strmap map; /* "ATTEMPT/ID" -> index in the list */
    const char *only;  /* this task, NULL: all */
    const char *node;
    uint64_t run;
    bool all;    /* take also what is not in the list */
    char **keys; /* owned: those of the map */
    size_t keys_n;
};

static int remember(struct search *s, const char *key, size_t index)
{
    char **keys = s->keys;

    if ((s->keys_n & (s->keys_n - 1)) == 0) /* full at each power of two */
        keys = realloc(s->keys, (s->keys_n > 0 ? 2 * s->keys_n : 1) * sizeof(*keys));
    if (keys == NULL)
        return PILOT_ENOMEM;
    s->keys = keys;
    keys[s->keys_n] = strdup(key);
    if (keys[s->keys_n] == NULL)
        return PILOT_ENOMEM;
    s->keys_n++;
    return strmap_add(&s->map, keys[s->keys_n - 1], (uint32_t)index);
}

static int take_found(void *arg, const struct pack_found *found)
{
    struct search *s = arg;
    size_t id_len = found->record.id_len;
    struct logs_attempt *a;
    char key[KEY_MAX + 1];
    uint32_t index;

    if (memchr(found->id, '\0', id_len) != NULL || (s->run != 0 && found->record.run != s->run) ||
        (s->only != NULL && (strlen(s->only) != id_len || memcmp(s->only, found->id, id_len) != 0)))
        return 0;
    snprintf(key, sizeof(key), "%u/%.*s", found->record.attempt, (int)id_len, found->id);
    if (!strmap_get(&s->map, key, &index)) {
        if (!s->all)
            return 0;
        if (add(s->list, found->id, id_len, s->node, found->record.attempt) == NULL ||
            remember(s, key, s->list->len - 1) < 0)
            return PILOT_ENOMEM;
        index = (uint32_t)s->list->len - 1;
    }
    a = &s->list->v[index];
    if (strcmp(a->node, s->node) != 0)
        return 0;
    a->at = found->at;
    a->found = true;
    return 0;
}

static int search_node(struct search *s, const struct logs_place *p, const char *node)
{
    struct pack_reader *r = malloc(sizeof(*r));
    char dir[PATH_MAX];
    int rc = 0;

    if (r == NULL)
        return PILOT_ENOMEM;
    s->node = node;
    if (logs_pack_dir(dir, sizeof(dir), p, node)) {
        pack_reader_init(r, dir);
        rc = pack_scan(r, 0, NULL, take_found, s);
        pack_reader_fini(r);
    }
    free(r);
    return rc;
}

static int search_nodes(struct search *s, const struct logs_place *p)
{
    char dir[PATH_MAX];
    struct dirent *e;
    int rc = 0;
    DIR *d;

    if (!logs_pack_dir(dir, sizeof(dir), p, "") || (d = opendir(dir)) == NULL)
        return 0;
    while (rc == 0 && (e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            rc = search_node(s, p, e->d_name);
    closedir(d);
    return rc;
}

static bool needs_search(const struct logs_place *p, const struct logs_attempt *a)
{
    char dir[PATH_MAX];

    return !a->known && a->node[0] != '\0' && logs_pack_dir(dir, sizeof(dir), p, a->node) &&
           pack_newest(dir) > 0;
}

/* For the attempts of the list whose place is not known. */
static int search_missing(struct search *s, const struct logs_place *p)
{
    int rc = 0;
    size_t len = s->list->len;
    char key[KEY_MAX + 1];

    for (size_t i = 0; rc == 0 && i < len; i++) {
        const struct logs_attempt *a = &s->list->v[i];

        if (!needs_search(p, a))
            continue;
        snprintf(key, sizeof(key), "%u/%s", a->attempt, a->id);
        rc = remember(s, key, i);
    }
    return rc == 0 && s->keys_n > 0 ? search_nodes(s, p) : rc;
}

static int compare(const void *left, const void *right)
{
    const struct logs_attempt *a = left, *b = right;
    int order = strcmp(a->id, b->id);

    return order != 0 ? order : (a->attempt > b->attempt) - (a->attempt < b->attempt);
}

static int search_all(struct search *s, const struct logs_place *p)
{
    struct logs_list *l = s->list;
    int rc;

    s->all = true;
    rc = search_nodes(s, p);
    qsort(l->v, l->len, sizeof(*l->v), compare);
    for (size_t i = 0; i < l->len; i++)
        l->v[i].last = i + 1 == l->len || strcmp(l->v[i].id, l->v[i + 1].id) != 0;
    return rc;
}

int logs_find(struct logs_place *p, const char *id, struct logs_list *l, struct pilot_error *err)
{
    struct search s = {.list = l, .only = id, .run = p->run};
    int rc = 0;

    strmap_init(&s.map);
    if (p->state)
        rc = store_read_outputs(p->db, id, take_row, l, NULL, err);
    if (rc == 0 && (p->state ? search_missing(&s, p) : search_all(&s, p)) < 0)
        rc = no_memory(err);
    strmap_fini(&s.map);
    for (size_t i = 0; i < s.keys_n; i++)
        free(s.keys[i]);
    free(s.keys);
    return rc;
}
