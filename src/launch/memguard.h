/* SPDX-License-Identifier: BSD-3-Clause */
/* Holds one attempt to the memory that it may have: by a control group where one can be made, else
 * by looking at its processes again and again. */
#ifndef PILOT_LAUNCH_MEMGUARD_H
#define PILOT_LAUNCH_MEMGUARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "launch/memcg.h"
#include "launch/tree.h"

struct memguard {
    int64_t limit; /* bytes; 0: nobody asked */
    int64_t used;  /* the most that was seen */
    bool over;
    struct memcg_task group;
};

void memguard_init(struct memguard *g);

/* Before the attempt is started. Its first process has to write "0" to g->group.procs_fd if that
 * is not -1; when it could not, memguard_watch says so. m may be NULL. */
void memguard_begin(struct memguard *g, const struct memcg *m, int64_t limit);
void memguard_watch(struct memguard *g);

/* Looks at the descendants of root, for which t is scratch. Returns how long to wait before the
 * next look; g->over says that the attempt has to be killed. */
int64_t memguard_look(struct memguard *g, struct tree *t, pid_t root);

/* Nothing of the attempt is left. g->over says how it ended; then the guard is as new. */
void memguard_end(struct memguard *g);

/* "used 2.1G of 2G" */
void memguard_describe(const struct memguard *g, char *text, size_t size);

#endif
