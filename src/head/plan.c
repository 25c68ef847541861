/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: --dry-run. Lets the scheduler core run dry: every attempt succeeds, all of a round at once,
 * which shows the order and the nodes, not the times. */
#include "head/impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/site.h"
#include "common/error.h"
#include "common/units.h"

#define SHOWN 20

static void show_node(const struct node *n)
{
    char memory[32];

    printf("node %s: %u cores: %s%s%s\n", n->name, n->cores, n->map, n->memory ? "; memory: " : "",
           n->memory ? units_size_text(n->memory, memory, sizeof(memory)) : "");
}

static void show_nodes(const struct head *h)
{
    for (unsigned i = 0; i < h->node_count; i++)
        if (h->nodes[i].state == NODE_UP)
            show_node(&h->nodes[i]);
}

static void show_start(const struct head *h, const struct sched_action *a, uint64_t n)
{
    struct task_spec spec;

    if (n > SHOWN || tasks_unpack(&h->tasks.v[a->task], &spec) < 0)
        return;
    printf("%6llu  %s (%uc) %s: %.60s%s\n", (unsigned long long)n, spec.id, spec.cores,
           h->nodes[a->node].name, spec.command ? spec.command : spec.argv[0],
           spec.command ? "" : " ...");
    task_spec_fini(&spec);
}

/* Starts what can be started and ends it all. Returns the number of starts. */
static uint64_t one_round(struct head *h, int64_t now_ms, uint64_t before)
{
    struct sched_actions starts;
    uint64_t n = 0;

    if (sched_place(h->sched, now_ms, &h->actions) < 0)
        BUG("out of memory in the scheduler");
    starts = h->actions;
    memset(&h->actions, 0, sizeof(h->actions));
    for (size_t i = 0; i < starts.len; i++) {
        const struct sched_action *a = &starts.v[i];
        struct sched_event ev = {.type = SCHED_ATTEMPT_ENDED,
                                 .node = a->node,
                                 .task = a->task,
                                 .attempt = a->attempt,
                                 .reason = REASON_EXIT};

        if (a->type != SCHED_START)
            continue;
        show_start(h, a, before + ++n);
        if (sched_apply(h->sched, &ev, now_ms, &h->actions) < 0)
            BUG("out of memory in the scheduler");
    }
    h->actions.len = 0;
    sched_actions_fini(&starts);
    return n;
}

/* A dry run reads a copy of the state: loading it would close attempts that were cut short. */
int plan_load_state(struct head *h, struct pilot_error *err)
{
    static const char *const suffixes[] = {"", "-wal"};
    struct store_owner owner = {.host = "dry run", .pid = getpid(), .job = ""};
    char dir[] = "/tmp/pilot-mpi-dry-XXXXXX", copy[64];
    int rc = 0;

    if (mkdtemp(dir) == NULL)
        return err_set_errno(err, PILOT_EIO, errno, "cannot make a directory below /tmp");
    for (int i = 0; i < 2 && rc == 0; i++) {
        char from[4096];

        snprintf(from, sizeof(from), "%s%s", h->db, suffixes[i]);
        snprintf(copy, sizeof(copy), "%s/state.db%s", dir, suffixes[i]);
        rc = site_copy_file(from, copy, i == 0, err);
    }
    snprintf(copy, sizeof(copy), "%s/state.db", dir);
    if (rc == 0)
        rc = tasks_open_state(h, copy, &owner, err);
    store_close(h->store, NULL);
    h->store = NULL;
    site_remove_dir(dir);
    if (rc == 0 && h->opt->retry_failed)
        tasks_retry_failed(h);
    return rc;
}

int plan_show(struct head *h, struct pilot_error *err)
{
    uint64_t n, total = 0;
    struct sched_counts c;

    (void)err;
    if (h->opt->quiet)
        return PILOT_EXIT_COMPLETED; /* it was checked; nobody wants to see the order */
    show_nodes(h);
    sched_get_counts(h->sched, &c);
    printf("%u tasks, %u to run; the order, if all succeed and take equally long:\n", h->tasks.len,
           c.by_status[TASK_PENDING]);
    for (int64_t now_ms = 0; (n = one_round(h, now_ms, total)) > 0; now_ms += SCHED_PATIENCE_MS)
        total += n;
    if (total > SHOWN)
        printf("        ... and %llu more\n", (unsigned long long)(total - SHOWN));
    printf("dry run: nothing was started or changed\n");
    return PILOT_EXIT_COMPLETED;
}
