/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: which task of a stream waits for which id. A task waits for one id at a time, the first of
 * its dependencies that has not come; so a task costs one place in one chain, however many it
 * names. Kept tasks are canonical JSON, the smallest form that gives the same task again. Ids of
 * all that were ever kept stay in the reader's graph, which at the end finds what is missing, and
 * circles. */
#include "input/parked.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "input/reader.h"

#define NONE UINT32_MAX

struct kept {
    char *json; /* owned; NULL: handed out */
    unsigned line;
    uint32_t next; /* in its chain */
};

struct parked {
    struct kept *tasks;
    size_t count, cap, left;
    struct strmap wanted; /* id -> its chain; keys are in the arena */
    uint32_t *chains;     /* of each wanted id: the first task */
    size_t chain_count, chain_cap;
    struct arena ids;
};

struct parked *parked_create(void)
{
    return calloc(1, sizeof(struct parked));
}

void parked_destroy(struct parked *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++)
        free(p->tasks[i].json);
    free(p->tasks);
    free(p->chains);
    strmap_fini(&p->wanted);
    arena_fini(&p->ids);
    free(p);
}

/* Room for one more; false: no memory. */
static bool grow(void **list, size_t count, size_t *cap, size_t size)
{
    size_t more = *cap ? *cap * 2 : 64;
    void *moved;

    if (count < *cap)
        return true;
    moved = count < NONE / 2 ? reallocarray(*list, more, size) : NULL;
    if (moved == NULL)
        return false;
    *list = moved;
    *cap = more;
    return true;
}

static const char *first_missing(const struct reader *r, const struct task_spec *spec)
{
    for (char **id = spec->depends_on; id != NULL && *id != NULL; id++)
        if (r->ops->known == NULL || !r->ops->known(r->ops->arg, *id))
            return *id;
    return NULL;
}

/* The chain of an id, a fresh one if nobody wanted it. False: no memory. */
static bool chain_of(struct parked *p, const char *id, uint32_t *chain)
{
    size_t size = strlen(id) + 1;
    char *key;

    if (strmap_get(&p->wanted, id, chain))
        return true;
    if (!grow((void **)&p->chains, p->chain_count, &p->chain_cap, sizeof(*p->chains)) ||
        (key = arena_take(&p->ids, size)) == NULL)
        return false;
    memcpy(key, id, size);
    if (strmap_add(&p->wanted, key, (uint32_t)p->chain_count) < 0)
        return false;
    *chain = (uint32_t)p->chain_count;
    p->chains[p->chain_count++] = NONE;
    return true;
}

static int wait_for(struct parked *p, uint32_t task, const char *id)
{
    uint32_t chain;

    if (!chain_of(p, id, &chain))
        return PILOT_ENOMEM;
    p->tasks[task].next = p->chains[chain];
    p->chains[chain] = task;
    return 0;
}

static int keep(struct parked *p, struct reader *r, const struct task_spec *spec, unsigned line,
                const char *missing)
{
    unsigned first_line;
    int rc = graph_add(&r->graph, spec->id, line, spec->depends_on, &first_line);
    struct kept *k;

    if (rc == PILOT_EEXIST)
        reader_complain_twice(r, spec->id, line, first_line);
    if (rc < 0)
        return rc == PILOT_EEXIST ? 0 : PILOT_ENOMEM;
    if (!grow((void **)&p->tasks, p->count, &p->cap, sizeof(*p->tasks)))
        return PILOT_ENOMEM;
    k = &p->tasks[p->count++];
    *k = (struct kept){.json = task_spec_to_json(spec), .line = line, .next = NONE};
    if (k->json == NULL)
        return PILOT_ENOMEM;
    p->left++;
    return wait_for(p, (uint32_t)(p->count - 1), missing);
}

/* What task waited for has come: hands it out and puts those that wait for it in front of *queue,
 * or lets it wait for its next dependency. */
static int look_again(struct parked *p, struct reader *r, uint32_t task, uint32_t *queue)
{
    struct kept *k = &p->tasks[task];
    struct task_spec spec;
    const char *missing;
    uint32_t chain;
    int rc = task_spec_from_json(k->json, &spec, r->err);

    if (rc < 0)
        return PILOT_ENOMEM; /* it is our own text */
    missing = first_missing(r, &spec);
    if (missing != NULL) {
        rc = wait_for(p, task, missing);
    } else {
        rc = reader_hand_out(r, &spec, k->line);
        free(k->json);
        k->json = NULL;
        p->left--;
        if (strmap_get(&p->wanted, spec.id, &chain))
            while (p->chains[chain] != NONE) {
                uint32_t first = p->chains[chain];

                p->chains[chain] = p->tasks[first].next;
                p->tasks[first].next = *queue;
                *queue = first;
            }
    }
    task_spec_fini(&spec);
    return rc;
}

static int look_at_all(struct parked *p, struct reader *r, uint32_t queue)
{
    int rc = 0;

    while (queue != NONE && rc == 0) {
        uint32_t task = queue;

        queue = p->tasks[task].next;
        rc = look_again(p, r, task, &queue);
    }
    return rc;
}

/* The task id is known now. */
static int release(struct parked *p, struct reader *r, const char *id)
{
    uint32_t chain, queue;

    if (p->left == 0 || !strmap_get(&p->wanted, id, &chain))
        return 0;
    queue = p->chains[chain];
    p->chains[chain] = NONE;
    return look_at_all(p, r, queue);
}

int parked_offer(struct parked *p, struct reader *r, const struct task_spec *spec, unsigned line)
{
    const char *missing = first_missing(r, spec);
    unsigned first_line;
    int rc;

    if (r->complaints.total > 0)
        return 0; /* nothing more is taken */
    if (missing != NULL)
        return keep(p, r, spec, line, missing);
    if (graph_line(&r->graph, spec->id, &first_line)) {
        reader_complain_twice(r, spec->id, line, first_line);
        return 0;
    }
    rc = reader_hand_out(r, spec, line);
    return rc == 0 ? release(p, r, spec->id) : rc;
}

/* Somebody else may have added what they wait for: all are looked at once more. */
static int look_once_more(struct parked *p, struct reader *r)
{
    int rc = 0;

    for (size_t i = 0; i < p->chain_count; i++)
        p->chains[i] = NONE;
    for (size_t i = 0; i < p->count && rc == 0; i++) {
        if (p->tasks[i].json == NULL)
            continue;
        p->tasks[i].next = NONE;
        rc = look_at_all(p, r, (uint32_t)i);
    }
    return rc;
}

int parked_finish(struct parked *p, struct reader *r)
{
    int rc;

    if (p->left == 0 || r->complaints.total > 0)
        return 0;
    rc = look_once_more(p, r);
    if (rc < 0 || p->left == 0)
        return rc;
    return graph_check(&r->graph, r->ops, true, &r->complaints);
}
