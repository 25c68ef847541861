/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: ids and dependencies while a file is read. The search for circles keeps its own
 * stack, so that a chain of a million tasks needs no deep recursion. */
#include "input/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/large.h"

#define LATE_BIT 0x80000000u
#define EDGE_GONE UINT32_MAX /* known from an earlier run, or complained about */
#define PATH_SHOWN 8         /* tasks of a circle that a message names */

void graph_init(struct graph *g)
{
    memset(g, 0, sizeof(*g));
    strmap_init(&g->index);
}

void graph_fini(struct graph *g)
{
    arena_fini(&g->ids);
    free(g->nodes);
    free(g->edges);
    free(g->late);
    strmap_fini(&g->index);
    graph_init(g);
}

static const char *keep_text(struct graph *g, const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = arena_take(&g->ids, len);

    return copy != NULL ? memcpy(copy, text, len) : NULL;
}

/* list with room for one more than count elements of size bytes; NULL (and list as it was): no
 * memory. */
static void *with_room(void *list, size_t count, size_t *cap, size_t size)
{
    size_t more = *cap ? *cap * 2 : 64;

    if (count < *cap)
        return list;
    list = reallocarray(list, more, size);
    if (list == NULL)
        return NULL;
    large_pages(list, more * size);
    *cap = more;
    return list;
}

/* An id that is not (yet) a task: its place in late, with LATE_BIT. False: no memory. */
static bool add_late(struct graph *g, const char *id, uint32_t *to)
{
    const char **late = with_room(g->late, g->late_count, &g->late_cap, sizeof(*late));

    if (late == NULL)
        return false;
    g->late = late;
    late[g->late_count] = keep_text(g, id);
    if (late[g->late_count] == NULL)
        return false;
    *to = LATE_BIT | (uint32_t)g->late_count++;
    return true;
}

/* The last task waits for id. */
static int add_edge(struct graph *g, const char *id)
{
    uint32_t *edges;
    uint32_t to;

    if (g->edge_count >= GRAPH_TASKS_MAX)
        return PILOT_ENOMEM;
    if (!strmap_get(&g->index, id, &to) && !add_late(g, id, &to))
        return PILOT_ENOMEM;
    if (to == g->count - 1)
        g->has_loop = true;
    edges = with_room(g->edges, g->edge_count, &g->edge_cap, sizeof(*edges));
    if (edges == NULL)
        return PILOT_ENOMEM;
    g->edges = edges;
    edges[g->edge_count++] = to;
    return 0;
}

int graph_add(struct graph *g, const char *id, unsigned line, char *const *depends_on,
              unsigned *first_line)
{
    struct graph_node node = {.line = line, .first_edge = (uint32_t)g->edge_count};
    struct graph_node *nodes;
    uint32_t known;
    int rc;

    if (g->count >= GRAPH_TASKS_MAX)
        return PILOT_EINVAL;
    nodes = with_room(g->nodes, g->count, &g->cap, sizeof(*nodes));
    if (nodes == NULL)
        return PILOT_ENOMEM;
    g->nodes = nodes;
    node.id = keep_text(g, id);
    if (node.id == NULL)
        return PILOT_ENOMEM;
    rc = strmap_put(&g->index, node.id, (uint32_t)g->count, &known);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        *first_line = g->nodes[known].line;
        return PILOT_EEXIST;
    }
    rc = 0;
    g->nodes[g->count++] = node;
    for (; depends_on != NULL && *depends_on != NULL && rc == 0; depends_on++)
        rc = add_edge(g, *depends_on);
    return rc;
}

void graph_expect(const struct graph *g, const char *id)
{
    strmap_expect(&g->index, id);
}

int graph_reserve(struct graph *g, size_t tasks)
{
    size_t cap = g->count + tasks;
    struct graph_node *nodes;

    if (cap <= g->cap)
        return 0;
    nodes = cap < GRAPH_TASKS_MAX ? reallocarray(g->nodes, cap, sizeof(*nodes)) : NULL;
    if (nodes == NULL)
        return PILOT_ENOMEM;
    large_pages(nodes, cap * sizeof(*nodes));
    g->nodes = nodes;
    g->cap = cap;
    return strmap_reserve(&g->index, tasks);
}

bool graph_has(const struct graph *g, const char *id)
{
    return strmap_get(&g->index, id, NULL);
}

bool graph_line(const struct graph *g, const char *id, unsigned *line)
{
    uint32_t node;

    if (!strmap_get(&g->index, id, &node))
        return false;
    *line = g->nodes[node].line;
    return true;
}

static size_t edges_end(const struct graph *g, size_t node)
{
    return node + 1 < g->count ? g->nodes[node + 1].first_edge : g->edge_count;
}

static struct place place_of(const struct graph *g, size_t node)
{
    return (struct place){.line = g->nodes[node].line, .id = g->nodes[node].id};
}

/* Turns the ids that were named before their task into nodes. True when one was. */
static bool resolve(struct graph *g, const struct taskfile_ops *ops, bool complete,
                    struct complaints *complaints)
{
    bool forward = false;

    for (size_t node = 0; g->late_count > 0 && node < g->count; node++) {
        for (size_t e = g->nodes[node].first_edge; e < edges_end(g, node); e++) {
            const char *id;

            if (!(g->edges[e] & LATE_BIT))
                continue;
            id = g->late[g->edges[e] & ~LATE_BIT];
            if (strmap_get(&g->index, id, &g->edges[e])) {
                forward = true;
                continue;
            }
            g->edges[e] = EDGE_GONE;
            if (complete && (ops->known == NULL || !ops->known(ops->arg, id))) {
                struct place place = place_of(g, node);

                complain(complaints, &place,
                         "depends_on names '%.80s', which is no task of this file%s; correct the "
                         "id, or add that task",
                         id, ops->known != NULL ? " or of the earlier run" : "");
            }
        }
    }
    return forward;
}

/* ---- Circles --------------------------------------------------------------------------------- */

/* unseen -> on the stack -> done, or -> in a circle that was reported. */
enum mark { MARK_UNSEEN, MARK_STACK, MARK_DONE, MARK_CIRCLE };

struct search {
    struct graph *g;
    struct complaints *complaints;
    uint32_t *stack;  /* the way from the start to the node at hand */
    uint32_t *cursor; /* the next edge of each node to follow */
    unsigned char *mark;
    size_t depth;
};

/* path[0] waits for path[1], ..., the last one for path[0]. */
static void report_circle(struct search *s, const uint32_t *path, size_t len)
{
    const struct graph_node *nodes = s->g->nodes;
    int id_max = len < PATH_SHOWN ? 200 / (int)(len + 1) : 24;
    struct place place;
    char text[300];
    size_t first = 0;
    size_t used = 0;

    for (size_t i = 1; i < len; i++)
        if (path[i] < path[first])
            first = i;
    for (size_t i = 0; i < len; i++) {
        if (len > PATH_SHOWN && i == PATH_SHOWN - 1) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, "(%zu more) -> ",
                                     len - PATH_SHOWN);
            i = len - 1;
        }
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%.*s -> ", id_max,
                                 nodes[path[(first + i) % len]].id);
    }
    place = place_of(s->g, path[first]);
    complain(s->complaints, &place, "depends on itself: %s%.*s; remove one of these dependencies",
             text, id_max, nodes[path[first]].id);
}

static void found_circle(struct search *s, uint32_t back_to)
{
    size_t start = s->depth - 1;

    while (s->stack[start] != back_to)
        start--;
    report_circle(s, s->stack + start, s->depth - start);
    for (size_t i = start; i < s->depth; i++)
        s->mark[s->stack[i]] = MARK_CIRCLE;
}

static void push(struct search *s, uint32_t node)
{
    s->stack[s->depth++] = node;
    s->cursor[node] = s->g->nodes[node].first_edge;
    s->mark[node] = MARK_STACK;
}

static void search_from(struct search *s, uint32_t start)
{
    push(s, start);
    while (s->depth > 0) {
        uint32_t node = s->stack[s->depth - 1];
        uint32_t to;

        if (s->cursor[node] == edges_end(s->g, node)) {
            if (s->mark[node] == MARK_STACK)
                s->mark[node] = MARK_DONE;
            s->depth--;
            continue;
        }
        to = s->g->edges[s->cursor[node]++];
        if (to == EDGE_GONE)
            continue;
        if (s->mark[to] == MARK_UNSEEN)
            push(s, to);
        else if (s->mark[to] == MARK_STACK)
            found_circle(s, to);
    }
}

static int find_circles(struct graph *g, struct complaints *complaints)
{
    struct search s = {.g = g, .complaints = complaints};
    int rc = PILOT_ENOMEM;

    s.stack = calloc(g->count, sizeof(*s.stack));
    s.cursor = calloc(g->count, sizeof(*s.cursor));
    s.mark = calloc(g->count, 1);
    if (s.stack != NULL && s.cursor != NULL && s.mark != NULL) {
        for (size_t node = 0; node < g->count; node++)
            if (s.mark[node] == MARK_UNSEEN)
                search_from(&s, (uint32_t)node);
        rc = 0;
    }
    free(s.stack);
    free(s.cursor);
    free(s.mark);
    return rc;
}

int graph_check(struct graph *g, const struct taskfile_ops *ops, bool complete,
                struct complaints *complaints)
{
    bool forward = resolve(g, ops, complete, complaints);

    /* Tasks that wait only for earlier ones cannot form a circle. */
    return forward || g->has_loop ? find_circles(g, complaints) : 0;
}
