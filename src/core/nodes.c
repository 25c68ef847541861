/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the table of nodes and its index. The index is one ordered set of (free cores, number)
 * pairs, each pair a single number: its neighbours are the next fuller or emptier node, and ties
 * fall to the lowest number by themselves. */
#include "core/nodes.h"

#include <stdlib.h>

#include "common/error.h"

static uint64_t pair(const struct nodes *n, uint32_t free_cores, node_id_t id)
{
    return (uint64_t)free_cores * n->cap + id;
}

static void index_add(struct nodes *n, node_id_t id)
{
    if (n->v[id].up && id != n->held)
        idset_add(&n->by_free, pair(n, n->v[id].free_cores, id));
}

static void index_remove(struct nodes *n, node_id_t id)
{
    if (n->v[id].up && id != n->held)
        idset_remove(&n->by_free, pair(n, n->v[id].free_cores, id));
}

void nodes_init(struct nodes *n)
{
    *n = (struct nodes){.held = NODE_ID_NONE};
}

void nodes_fini(struct nodes *n)
{
    for (uint32_t i = 0; i < n->len; i++)
        free(n->v[i].running);
    free(n->v);
    idset_fini(&n->by_free);
    nodes_init(n);
}

/* Makes room for node number id, with so many cores, in table and index. Both grow here only, so
 * that everything after NODE_UP works without memory. */
static int grow(struct nodes *n, node_id_t id, uint32_t cores)
{
    uint64_t cap = n->cap;
    uint32_t most = cores > n->indexed_cores ? cores : n->indexed_cores;
    struct idset fresh;
    int rc;

    if (id < n->cap && cores <= n->indexed_cores)
        return 0;
    if (id >= cap) {
        struct node *v;

        cap = id < cap * 2 ? cap * 2 : (uint64_t)id + 1;
        if (cap > UINT32_MAX)
            return PILOT_ENOMEM;
        v = realloc(n->v, cap * sizeof(*v));
        if (!v)
            return PILOT_ENOMEM;
        n->v = v;
    }
    rc = idset_init(&fresh, ((uint64_t)most + 1) * cap);
    if (rc < 0)
        return rc;
    idset_fini(&n->by_free);
    n->by_free = fresh;
    n->cap = (uint32_t)cap;
    n->indexed_cores = most;
    for (uint32_t i = 0; i < n->len; i++)
        index_add(n, i);
    return 0;
}

static void count_max(struct nodes *n, uint32_t cores)
{
    if (cores > n->max_cores) {
        n->max_cores = cores;
        n->max_count = 0;
    }
    n->max_count += cores == n->max_cores;
}

int nodes_add(struct nodes *n, node_id_t id, uint32_t cores)
{
    int rc = grow(n, id, cores);

    if (rc < 0)
        return rc;
    while (n->len <= id)
        n->v[n->len++] = (struct node){0};
    BUG_ON(n->v[id].up);
    n->v[id].up = true;
    n->v[id].cores = n->v[id].free_cores = cores;
    index_add(n, id);
    n->up++;
    n->cores_total += cores;
    count_max(n, cores);
    return 0;
}

void nodes_remove(struct nodes *n, node_id_t id)
{
    struct node *node = &n->v[id];

    BUG_ON(!node->up || node->running_len > 0 || node->free_cores != node->cores);
    if (n->held == id)
        nodes_hold(n, NODE_ID_NONE);
    index_remove(n, id);
    node->up = false;
    n->up--;
    n->cores_total -= node->cores;
    if (node->cores < n->max_cores || --n->max_count > 0)
        return;
    n->max_cores = 0; /* the last of the largest has gone: look at all, which is rare */
    for (uint32_t i = 0; i < n->len; i++)
        if (n->v[i].up)
            count_max(n, n->v[i].cores);
}

int nodes_reserve(struct nodes *n, node_id_t id)
{
    struct node *node = &n->v[id];
    uint32_t cap = node->running_cap ? node->running_cap * 2 : 4;
    task_id_t *running;

    if (node->running_len < node->running_cap)
        return 0;
    running = realloc(node->running, cap * sizeof(*running));
    if (!running)
        return PILOT_ENOMEM;
    node->running = running;
    node->running_cap = cap;
    return 0;
}

static void set_free(struct nodes *n, node_id_t id, uint32_t free_cores)
{
    index_remove(n, id);
    n->cores_busy += n->v[id].free_cores;
    n->cores_busy -= free_cores;
    n->v[id].free_cores = free_cores;
    index_add(n, id);
}

uint32_t nodes_take(struct nodes *n, node_id_t id, uint32_t cores, task_id_t task)
{
    struct node *node = &n->v[id];

    BUG_ON(!node->up || node->free_cores < cores || node->running_len == node->running_cap);
    set_free(n, id, node->free_cores - cores);
    node->running[node->running_len] = task;
    return node->running_len++;
}

task_id_t nodes_give(struct nodes *n, node_id_t id, uint32_t cores, uint32_t slot)
{
    struct node *node = &n->v[id];

    BUG_ON(!node->up || node->cores - node->free_cores < cores || slot >= node->running_len);
    set_free(n, id, node->free_cores + cores);
    node->running_len--;
    if (slot == node->running_len)
        return TASK_ID_NONE;
    node->running[slot] = node->running[node->running_len];
    return node->running[slot];
}

static node_id_t number_of(const struct nodes *n, uint64_t found)
{
    return found == IDSET_NONE ? NODE_ID_NONE : (node_id_t)(found % n->cap);
}

node_id_t nodes_fullest(const struct nodes *n, uint32_t cores)
{
    return number_of(n, idset_next(&n->by_free, pair(n, cores, 0)));
}

uint32_t nodes_max_free(const struct nodes *n)
{
    uint64_t last = idset_last(&n->by_free);

    return last == IDSET_NONE ? 0 : (uint32_t)(last / n->cap);
}

node_id_t nodes_emptiest(const struct nodes *n, uint32_t cores)
{
    uint32_t most = nodes_max_free(n);

    return nodes_fullest(n, most > cores ? most : cores);
}

void nodes_hold(struct nodes *n, node_id_t id)
{
    node_id_t before = n->held;

    if (id != NODE_ID_NONE)
        index_remove(n, id);
    n->held = id;
    if (before != NODE_ID_NONE && before != id)
        index_add(n, before);
}
