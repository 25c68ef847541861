/* SPDX-License-Identifier: BSD-3-Clause */
/* pilot-mpi simulate: how long would these tasks take on so many nodes? Runs nothing: the scheduler
 * core places them under a virtual clock. */
#include "cli/command.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/complain.h"
#include "cli/options.h"
#include "cli/simulate_input.h"
#include "common/error.h"
#include "input/text.h"
#include "report/text.h"

#define COUNTS_MAX 32     /* node counts in one call */
#define NODES_MAX 1000000 /* in each */
/* A bound that the makespan comes so near to is what limits it. */
#define NEAR 1.05

struct simulate_options {
    const char *nodes, *db;
    unsigned cores_per_node, max_workers;
    int64_t default_ms, memory_per_node;
    bool rest, help;
};

#define AT(member) offsetof(struct simulate_options, member)

static const struct option_spec specs[] = {
    {"nodes", OPTION_STRING, AT(nodes), "N[,N...]", "nodes; a line for each number (default: 1)"},
    {"cores-per-node", OPTION_COUNT, AT(cores_per_node), "N", "cores of each node (needed)"},
    {"memory-per-node", OPTION_SIZE, AT(memory_per_node), "SIZE",
     "memory of each node (default: always enough)"},
    {"db", OPTION_STRING, AT(db), "FILE",
     "state of an earlier run: take the times of its tasks, and the tasks without FILE"},
    {"rest", OPTION_FLAG, AT(rest), NULL, "with --db: only what --resume would still run"},
    {"default-time", OPTION_TIME, AT(default_ms), "TIME",
     "of tasks with no other (default: the median of the others)"},
    {"max-workers", OPTION_COUNT, AT(max_workers), "N", "tasks at once, as in the run"},
    {"help", OPTION_FLAG, AT(help), NULL, "print this"},
    {NULL, OPTION_FLAG, 0, NULL, NULL},
};

static void print_help(void)
{
    printf("pilot-mpi simulate: how long would these tasks take on so many nodes?\n\n"
           "  pilot-mpi simulate tasks.json --nodes 1,10,100 --cores-per-node 128\n"
           "  pilot-mpi simulate --db pilot_runs/state.db --rest --nodes 4 --cores-per-node 64\n\n"
           "Starts nothing. A task takes as long as it did in the run that --db names, else its\n"
           "time_estimate, else --default-time, else the median of the others. All succeed at\n"
           "their first attempt.\n\nOptions:\n");
    options_print(specs);
    printf("\nExit status: 0, or 2 when something is wrong with the options or the tasks\n");
}

static int parse_counts(const char *text, uint32_t *counts, unsigned *len, struct pilot_error *err)
{
    const char *p = text;

    *len = 0;
    do {
        char *end;
        unsigned long n = strtoul(p, &end, 10);

        if (*p < '0' || *p > '9' || n == 0 || n > NODES_MAX || *len == COUNTS_MAX ||
            (*end != '\0' && *end != ','))
            return err_set(err, PILOT_EINVAL,
                           "--nodes '%.80s': write up to %d numbers from 1 to %d, such as --nodes "
                           "10,100",
                           text, COUNTS_MAX, NODES_MAX);
        counts[(*len)++] = (uint32_t)n;
        p = end + (*end == ',');
        if (*end == '\0')
            return 0;
    } while (true);
}

static int check(const struct simulate_options *o, const char *file, struct pilot_error *err)
{
    if (file == NULL && o->db == NULL)
        return err_set(err, PILOT_EINVAL,
                       "no tasks: write pilot-mpi simulate FILE, or --db FILE for those of a run");
    if (o->cores_per_node == 0)
        return err_set(err, PILOT_EINVAL,
                       "how large is a node? Write --cores-per-node N, such as --cores-per-node "
                       "128");
    if (o->rest && o->db == NULL)
        return err_set(err, PILOT_EINVAL, "--rest needs the state of the run: add --db FILE");
    return 0;
}

static void show_source(const char *what, task_id_t count, bool *first)
{
    char number[TEXT_NUM];

    if (count == 0)
        return;
    printf("%s%s %s", *first ? "" : ", ", text_count(number, count), what);
    *first = false;
}

static void show_tasks(const struct simulate_input *in)
{
    const struct simulate_sources *s = &in->sources;
    char number[TEXT_NUM], time[TEXT_NUM], assumed[TEXT_NUM + 64];
    double core_s = 0;
    bool first = true;

    for (task_id_t i = 0; i < in->count; i++)
        core_s += (double)in->tasks[i].cores * (double)in->tasks[i].duration_ms / 1000;
    if (in->count == 0) {
        printf("no tasks are left\n");
        return;
    }
    printf("%s tasks, %s of core time (", text_count(number, in->count),
           text_duration(time, core_s));
    show_source("as recorded", s->recorded, &first);
    show_source("as estimated", s->estimated, &first);
    show_source("by --default-time", s->given, &first);
    snprintf(assumed, sizeof(assumed), "assumed to take %s, the median of the others",
             text_duration(time, (double)s->assumed_ms / 1000));
    show_source(assumed, s->assumed, &first);
    printf(")\n\n%8s %10s %10s %6s  %s\n", "nodes", "cores", "makespan", "used", "what limits it");
}

static const char *largest_gap(const struct campaign_result *r, unsigned max_workers)
{
    if (r->idle_fitting >= r->idle_waiting && r->idle_fitting >= r->idle_tail)
        return max_workers > 0 && r->most_running >= max_workers
                   ? "--max-workers, and what does not fit beside each other"
                   : "wide tasks: what is free is too narrow for them";
    if (r->idle_waiting >= r->idle_tail)
        return "dependencies: the tasks that are left wait for others";
    return "the end: nothing is left to start while the last tasks run";
}

static void show_limit(const struct simulate_input *in, const struct campaign_result *r,
                       unsigned max_workers)
{
    double makespan = (double)r->makespan_ms;
    char time[TEXT_NUM], id[80];

    snprintf(id, sizeof(id), "%.70s", in->ids[r->path_last]);
    text_make_printable(id);
    text_duration(time, (double)r->path_ms / 1000);
    if (makespan <= NEAR * (double)r->area_ms)
        printf("the cores: more of them make it shorter\n");
    else if (makespan <= NEAR * (double)r->path_ms && r->path_tasks == 1)
        printf("task '%s', which takes %s\n", id, time);
    else if (makespan <= NEAR * (double)r->path_ms)
        printf("a chain of %u tasks up to '%s', which takes %s\n", r->path_tasks, id, time);
    else
        printf("%s\n", largest_gap(r, max_workers));
}

static int simulate(const struct simulate_options *o, const struct simulate_input *in,
                    const uint32_t *counts, unsigned len, struct pilot_error *err)
{
    show_tasks(in);
    for (unsigned i = 0; i < len && in->count > 0; i++) {
        struct campaign_machine machine = {.nodes = counts[i],
                                           .cores_per_node = o->cores_per_node,
                                           .max_running = o->max_workers,
                                           .memory_per_node = o->memory_per_node};
        char nodes[TEXT_NUM], cores[TEXT_NUM], time[TEXT_NUM], used[TEXT_NUM];
        struct campaign_result r;
        int rc = campaign_run(in->tasks, in->count, &machine, &r, err);

        if (rc < 0)
            return rc;
        printf("%8s %10s %10s %5s%%  ", text_count(nodes, counts[i]),
               text_count(cores, (uint64_t)counts[i] * o->cores_per_node),
               text_duration(time, (double)r.makespan_ms / 1000),
               text_tenths(used, r.utilisation * 100));
        show_limit(in, &r, o->max_workers);
        fflush(stdout);
    }
    return 0;
}

static int run(int argc, char **argv)
{
    struct simulate_options o = {.nodes = "1"};
    struct simulate_input in = {0};
    struct pilot_error err = {0};
    uint32_t counts[COUNTS_MAX];
    const char *file = NULL;
    unsigned len = 0;
    int rc = options_parse(specs, argc, argv, &o, &file, &err);

    if (rc == 0 && o.help) {
        print_help();
        return fflush(stdout) == 0 ? 0 : PILOT_EXIT_USAGE;
    }
    if (rc == 0)
        rc = check(&o, file, &err);
    if (rc == 0)
        rc = parse_counts(o.nodes, counts, &len, &err);
    if (rc == 0) {
        struct simulate_wish wish = {.file = file,
                                     .db = o.db,
                                     .rest = o.rest,
                                     .default_ms = o.default_ms,
                                     .cores_per_node = o.cores_per_node,
                                     .memory_per_node = o.memory_per_node};

        rc = simulate_read(&in, &wish, &err);
    }
    if (rc == 0)
        rc = simulate(&o, &in, counts, len, &err);
    simulate_free(&in);
    if (rc < 0)
        cli_complain(err.text);
    return rc < 0 ? PILOT_EXIT_USAGE : 0;
}

const struct command cmd_simulate = {"simulate", run};
