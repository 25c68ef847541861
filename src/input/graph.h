/* SPDX-License-Identifier: BSD-3-Clause */
/* The ids of a file and which task waits for which: finds ids given twice, ids that are nowhere,
 * and circles. About 60 bytes a task and 4 a dependency, besides the text of the ids. */
#ifndef PILOT_INPUT_GRAPH_H
#define PILOT_INPUT_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/strmap.h"
#include "input/complaints.h"

#define GRAPH_TASKS_MAX (UINT32_MAX / 2)

struct graph_node {
    const char *id;      /* in the arena */
    unsigned line;       /* in the file */
    uint32_t first_edge; /* its edges end where those of the next node begin */
};

struct graph {
    struct graph_node *nodes;
    size_t count, cap;
    uint32_t *edges; /* what a task waits for: a node, or LATE_BIT and a place in late */
    size_t edge_count, edge_cap;
    const char **late; /* ids named before (or without) their task, in the arena */
    size_t late_count, late_cap;
    bool has_loop;       /* a task waits for itself */
    struct strmap index; /* id -> node */
    struct arena ids;
};

void graph_init(struct graph *g);
void graph_fini(struct graph *g);

/* Adds a task that waits for depends_on (NULL: nothing). 0; PILOT_EEXIST and the line of the first
 * one when the id is there already; PILOT_EINVAL when there are too many; PILOT_ENOMEM. */
int graph_add(struct graph *g, const char *id, unsigned line, char *const *depends_on,
              unsigned *first_line);

/* This id will be added soon. */
void graph_expect(const struct graph *g, const char *id);

/* Room for about so many more. 0 or PILOT_ENOMEM. */
int graph_reserve(struct graph *g, size_t tasks);

bool graph_has(const struct graph *g, const char *id);
/* The same, and the line on which it was. */
bool graph_line(const struct graph *g, const char *id, unsigned *line);

/* When all tasks are added: complains about unknown ids (unless complete is false: some tasks could
 * not be read) and circles. 0 or PILOT_ENOMEM. */
int graph_check(struct graph *g, const struct taskfile_ops *ops, bool complete,
                struct complaints *complaints);

#endif
