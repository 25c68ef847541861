/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the table of nodes and its index. The index is one ordered set of (free cores, number)
 * pairs, each pair a single number: its neighbours are the next fuller or emptier node, and ties
 * fall to the lowest number by themselves. Once a task asks for memory, a tournament over the same
 * numbers says where along that order enough of it is free; tasks without memory never look
 * there. */
#include "core/nodes.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

static uint64_t pair(const struct nodes *n, uint32_t free_cores, node_id_t id)
{
    return (uint64_t)free_cores * n->cap + id;
}

/* value: of the node at its place in the order; 0: it is no longer there. */
static void index_memory(struct nodes *n, node_id_t id, uint64_t value)
{
    maxtree_set(&n->by_memory, pair(n, n->v[id].free_cores, id), value);
}

static inline void index_add(struct nodes *n, node_id_t id)
{
    if (!n->v[id].up || id == n->held)
        return;
    idset_add(&n->by_free, pair(n, n->v[id].free_cores, id));
    if (n->use_memory)
        index_memory(n, id, n->memory[id].free + 1);
}

static inline void index_remove(struct nodes *n, node_id_t id)
{
    if (!n->v[id].up || id == n->held)
        return;
    idset_remove(&n->by_free, pair(n, n->v[id].free_cores, id));
    if (n->use_memory)
        index_memory(n, id, 0);
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
    free(n->memory);
    free(n->most_memory);
    idset_fini(&n->by_free);
    maxtree_fini(&n->by_memory);
    nodes_init(n);
}

static int grow_most_memory(struct nodes *n, uint32_t cores)
{
    uint64_t *most;

    if (n->most_memory && cores <= n->indexed_cores)
        return 0;
    most = realloc(n->most_memory, ((size_t)cores + 1) * sizeof(*most));
    if (!most)
        return PILOT_ENOMEM;
    for (size_t i = n->most_memory ? (size_t)n->indexed_cores + 1 : 0; i <= cores; i++)
        most[i] = 0;
    n->most_memory = most;
    return 0;
}

/* Replaces the index by one for so many nodes of so many cores. */
static int make_index(struct nodes *n, uint32_t cap, uint32_t cores)
{
    uint64_t bound = ((uint64_t)cores + 1) * cap;
    struct maxtree by_memory = {0};
    struct idset by_free;
    int rc = n->use_memory ? maxtree_init(&by_memory, bound) : 0;

    if (rc < 0)
        return rc;
    rc = idset_init(&by_free, bound);
    if (rc < 0) {
        maxtree_fini(&by_memory);
        return rc;
    }
    idset_fini(&n->by_free);
    maxtree_fini(&n->by_memory);
    n->by_free = by_free;
    n->by_memory = by_memory;
    n->cap = cap;
    n->indexed_cores = cores;
    for (uint32_t i = 0; i < n->len; i++)
        index_add(n, i);
    return 0;
}

/* Makes room for node number id, with so many cores, in table and index. Both grow here only, so
 * that everything after NODE_UP works without memory. */
static int grow(struct nodes *n, node_id_t id, uint32_t cores)
{
    uint64_t cap = n->cap;
    uint32_t most = cores > n->indexed_cores ? cores : n->indexed_cores;
    int rc = grow_most_memory(n, most);

    if (rc < 0 || (id < n->cap && cores <= n->indexed_cores))
        return rc;
    if (id >= cap) {
        struct node_memory *memory;
        struct node *v;

        cap = id < cap * 2 ? cap * 2 : (uint64_t)id + 1;
        if (cap > UINT32_MAX)
            return PILOT_ENOMEM;
        v = realloc(n->v, cap * sizeof(*v));
        if (!v)
            return PILOT_ENOMEM;
        n->v = v;
        memory = realloc(n->memory, cap * sizeof(*memory));
        if (!memory)
            return PILOT_ENOMEM;
        n->memory = memory;
    }
    return make_index(n, (uint32_t)cap, most);
}

/* A node that is up may be the largest. */
static void count_max(struct nodes *n, node_id_t id)
{
    uint32_t cores = n->v[id].cores;
    uint64_t memory = n->memory[id].all;

    for (uint32_t i = cores + 1; i-- > 0 && n->most_memory[i] <= memory;)
        n->most_memory[i] = memory + 1;
    if (cores > n->max_cores) {
        n->max_cores = cores;
        n->max_count = 0;
    }
    n->max_count += cores == n->max_cores;
}

/* Looks at all nodes, which is rare. */
static void recount(struct nodes *n)
{
    n->max_cores = n->max_count = 0;
    memset(n->most_memory, 0, ((size_t)n->indexed_cores + 1) * sizeof(*n->most_memory));
    for (uint32_t i = 0; i < n->len; i++)
        if (n->v[i].up)
            count_max(n, i);
}

int nodes_use_memory(struct nodes *n)
{
    int rc;

    if (n->use_memory)
        return 0;
    n->use_memory = true;
    rc = n->cap > 0 ? make_index(n, n->cap, n->indexed_cores) : 0;
    n->use_memory = rc == 0;
    if (rc == 0 && n->most_memory)
        recount(n);
    return rc;
}

int nodes_add(struct nodes *n, node_id_t id, uint32_t cores, uint64_t memory)
{
    int rc = grow(n, id, cores);

    if (rc < 0)
        return rc;
    while (n->len <= id)
        n->v[n->len++] = (struct node){0};
    BUG_ON(n->v[id].up);
    n->v[id].up = true;
    n->v[id].cores = n->v[id].free_cores = cores;
    n->memory[id].all = n->memory[id].free = memory;
    index_add(n, id);
    n->up++;
    n->cores_total += cores;
    count_max(n, id);
    return 0;
}

void nodes_remove(struct nodes *n, node_id_t id)
{
    struct node *node = &n->v[id];

    BUG_ON(!node->up || node->running_len > 0 || node->free_cores != node->cores ||
           n->memory[id].free != n->memory[id].all);
    if (n->held == id)
        nodes_hold(n, NODE_ID_NONE);
    index_remove(n, id);
    node->up = false;
    n->up--;
    n->cores_total -= node->cores;
    if (node->cores == n->max_cores)
        n->max_count--;
    if (n->max_count > 0 && (!n->use_memory || n->memory[id].all + 1 < n->most_memory[node->cores]))
        return;
    recount(n); /* one of the largest has gone */
}

int nodes_reserve(struct nodes *n, node_id_t id)
{
    struct node *node = &n->v[id];
    uint32_t cap = node->running_cap ? node->running_cap * 2 : 4;
    struct place *running;

    if (node->running_len < node->running_cap)
        return 0;
    running = realloc(node->running, cap * sizeof(*running));
    if (!running)
        return PILOT_ENOMEM;
    node->running = running;
    node->running_cap = cap;
    return 0;
}

/* Of memory more or less is free by a difference, which wraps around as unsigned numbers do. */
static inline void set_free(struct nodes *n, node_id_t id, uint32_t free_cores,
                            uint64_t more_memory)
{
    index_remove(n, id);
    n->cores_busy += n->v[id].free_cores;
    n->cores_busy -= free_cores;
    n->v[id].free_cores = free_cores;
    if (more_memory != 0)
        n->memory[id].free += more_memory;
    index_add(n, id);
}

uint32_t nodes_take(struct nodes *n, node_id_t id, uint32_t cores, uint64_t memory, task_id_t task)
{
    struct node *node = &n->v[id];

    BUG_ON(!node->up || node->free_cores < cores || (memory > 0 && n->memory[id].free < memory) ||
           node->running_len == node->running_cap);
    set_free(n, id, node->free_cores - cores, 0 - memory);
    node->running[node->running_len] = (struct place){.task = task, .lent = TASK_ID_NONE};
    return node->running_len++;
}

bool nodes_give(struct nodes *n, node_id_t id, uint32_t cores, uint64_t memory, uint32_t slot)
{
    struct node *node = &n->v[id];

    BUG_ON(!node->up || node->cores - node->free_cores < cores ||
           (memory > 0 && n->memory[id].all - n->memory[id].free < memory) ||
           slot >= node->running_len || node->running[slot].lent != TASK_ID_NONE);
    set_free(n, id, node->free_cores + cores, memory);
    node->running_len--;
    if (slot == node->running_len)
        return false;
    node->running[slot] = node->running[node->running_len];
    return true;
}

_Static_assert(IDSET_NONE == MAXTREE_NONE, "number_of takes both");

static node_id_t number_of(const struct nodes *n, uint64_t found)
{
    return found == IDSET_NONE ? NODE_ID_NONE : (node_id_t)(found % n->cap);
}

node_id_t nodes_fullest(const struct nodes *n, uint32_t cores, uint64_t memory)
{
    uint64_t from = pair(n, cores, 0);

    return number_of(n, memory == 0 ? idset_next(&n->by_free, from)
                                    : maxtree_next(&n->by_memory, from, memory + 1));
}

uint32_t nodes_max_free(const struct nodes *n)
{
    uint64_t last = idset_last(&n->by_free);

    return last == IDSET_NONE ? 0 : (uint32_t)(last / n->cap);
}

node_id_t nodes_emptiest(const struct nodes *n, uint32_t cores, uint64_t memory)
{
    uint64_t last = memory == 0 ? idset_last(&n->by_free) : maxtree_last(&n->by_memory, memory + 1);
    uint32_t most = last == IDSET_NONE ? 0 : (uint32_t)(last / n->cap);

    return nodes_fullest(n, most > cores ? most : cores, memory);
}

uint64_t nodes_fits_now_below(const struct nodes *n, uint32_t cores)
{
    return maxtree_most(&n->by_memory, pair(n, cores, 0));
}

uint64_t nodes_fits_ever_below(const struct nodes *n, uint32_t cores)
{
    return cores <= n->indexed_cores && n->most_memory ? n->most_memory[cores] : 0;
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
