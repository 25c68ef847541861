/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: finding circles among dependencies of the whole table. The reader of a file finds those
 * within the file; in a resumed run one can be closed through tasks that only the state knows: by
 * --rerun-changed, and by a file that adds what a damaged state has lost. */
#include "head/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"

enum { NEW, OPEN, DONE };

struct walk {
    const struct sched_task *tasks;
    unsigned char *color;
    size_t *next;    /* of each task: the dependency to look at next */
    task_id_t *path; /* the open ones, each depending on the one behind it */
    size_t len;
};

/* Words the circle that ends where it meets again. */
static int complain(const struct head *h, const struct walk *w, task_id_t meets,
                    struct pilot_error *err)
{
    char text[1024] = "";
    size_t from = 0, len = 0;

    while (w->path[from] != meets)
        from++;
    for (size_t i = from; i < w->len && len < sizeof(text); i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%.100s -> ",
                                head_task_id(h, w->path[i]));
    return err_set(err, PILOT_EINVAL,
                   "task '%s' would depend on itself, together with tasks that the database has: "
                   "%s%.100s; remove one of these dependencies",
                   head_task_id(h, meets), text, head_task_id(h, meets));
}

/* Depth first from one task, without recursion: a chain may be a million long. */
static int walk_from(const struct head *h, struct walk *w, task_id_t start, struct pilot_error *err)
{
    w->path[0] = start;
    w->len = 1;
    w->color[start] = OPEN;
    while (w->len > 0) {
        task_id_t at = w->path[w->len - 1], dep;

        if (w->next[at] == w->tasks[at].dep_count) {
            w->color[at] = DONE;
            w->len--;
            continue;
        }
        dep = w->tasks[at].deps[w->next[at]++];
        if (w->color[dep] == OPEN)
            return complain(h, w, dep, err);
        if (w->color[dep] == DONE)
            continue;
        w->color[dep] = OPEN;
        w->path[w->len++] = dep;
    }
    return 0;
}

int cycles_check(const struct head *h, const struct sched_task *tasks, task_id_t count,
                 struct pilot_error *err)
{
    struct walk w = {.tasks = tasks,
                     .color = calloc((size_t)count + 1, sizeof(*w.color)),
                     .next = calloc((size_t)count + 1, sizeof(*w.next)),
                     .path = calloc((size_t)count + 1, sizeof(*w.path))};
    int rc = 0;

    if (w.color == NULL || w.next == NULL || w.path == NULL)
        rc = err_set(err, PILOT_ENOMEM, "out of memory for %u tasks", count);
    for (task_id_t i = 0; rc == 0 && i < count; i++)
        if (w.color[i] == NEW)
            rc = walk_from(h, &w, i, err);
    free(w.color);
    free(w.next);
    free(w.path);
    return rc;
}
