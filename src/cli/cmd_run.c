/* SPDX-License-Identifier: BSD-3-Clause */
/* pilot-mpi [OPTIONS] [FILE]: run a file of tasks, or go on with a database. A client of libpilot
 * like any other. */
#include "cli/command.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/complain.h"
#include "cli/options.h"
#include "store/store.h"

struct run_options {
    struct pilot_options pilot;
    const char *tasks;
    bool help, version;
};

#define AT(member) offsetof(struct run_options, member)

static const char *const outputs[] = {"files", "packed", "merged", "none", NULL};

static const struct option_spec specs[] = {
    {"tasks", OPTION_STRING, AT(tasks), "FILE",
     "the task file (the same as FILE); - is standard input"},
    {"cores", OPTION_COUNT, AT(pilot.cores), "N",
     "cores to use in total (default: all of the allocation)"},
    {"memory", OPTION_SIZE, AT(pilot.memory), "SIZE",
     "memory for tasks on each node (default: what it has)"},
    {"workdir", OPTION_STRING, AT(pilot.workdir), "DIR",
     "where each task gets its directory (default: ./pilot_runs)"},
    {"db", OPTION_STRING, AT(pilot.db), "FILE", "state database (default: WORKDIR/state.db)"},
    {"resume", OPTION_FLAG, AT(pilot.resume), NULL,
     "go on with what the database holds; with FILE, add its new tasks"},
    {"retry-failed", OPTION_FLAG, AT(pilot.retry_failed), NULL,
     "with --resume: run failed and skipped tasks again too"},
    {"rerun-changed", OPTION_FLAG, AT(pilot.rerun_changed), NULL,
     "with --resume FILE: run tasks again whose content has changed"},
    {"fresh", OPTION_FLAG, AT(pilot.fresh), NULL, "forget what the database holds"},
    {"stream", OPTION_FLAG, AT(pilot.stream), NULL,
     "start tasks while FILE (or a pipe) is still being read"},
    {"max-workers", OPTION_COUNT, AT(pilot.max_workers), "N",
     "tasks at once (default: as many as the cores take)"},
    {"max-failures", OPTION_COUNT, AT(pilot.max_failures), "N",
     "start nothing more after N tasks have failed"},
    {"grace", OPTION_SECONDS, AT(pilot.grace_ms), "SECONDS",
     "between TERM and KILL for a task that has to end (default: 5)"},
    {"walltime", OPTION_TIME, AT(pilot.walltime_ms), "TIME",
     "the allocation ends so long from now (default: what the batch system says)"},
    {"drain-margin", OPTION_TIME, AT(pilot.drain_margin_ms), "TIME",
     "stop so long before the end of the allocation (default: 60)"},
    {"heartbeat", OPTION_SECONDS, AT(pilot.heartbeat_ms), "SECONDS",
     "between two signs of life of a node (default: 1)"},
    {"lost-after", OPTION_SECONDS, AT(pilot.lost_after_ms), "SECONDS",
     "a node silent for so long is lost (default: 15)"},
    {"max-lost", OPTION_COUNT, AT(pilot.max_lost), "N",
     "a task that was lost with its node N times has failed (default: 3)"},
    {"max-output", OPTION_SIZE, AT(pilot.max_output), "SIZE",
     "keep so much of a task's stdout, and of its stderr (default: all)"},
    {"output", OPTION_CHOICE, AT(pilot.output), "HOW",
     "files: two a task (default); packed: a few large ones a node; merged; none", outputs},
    {"disk-wait", OPTION_TIME, AT(pilot.disk_wait_ms), "TIME",
     "wait so long for room on a full disk (default: 600)"},
    {"on-complete", OPTION_STRING, AT(pilot.hook), "CMD",
     "tell CMD of every ended task, it answers with new ones; -: stdin and stdout"},
    {"hook-events", OPTION_STRING, AT(pilot.hook_events), "LIST",
     "which ends are told (default: completed,failed,skipped,cancelled)"},
    {"dry-run", OPTION_FLAG, AT(pilot.dry_run), NULL,
     "check everything and show the order; start and change nothing"},
    {"head-only", OPTION_FLAG, AT(pilot.head_only), NULL, "no tasks on the node of rank 0"},
    {"use-hyperthreads", OPTION_FLAG, AT(pilot.use_hyperthreads), NULL,
     "a core is a hardware thread, not a physical core"},
    {"no-pin", OPTION_FLAG, AT(pilot.no_pin), NULL, "do not pin tasks to their cores"},
    {"keep-env", OPTION_FLAG, AT(pilot.keep_env), NULL,
     "leave the variables of MPI launchers and Slurm in the tasks' environment"},
    {"quiet", OPTION_FLAG, AT(pilot.quiet), NULL, "only errors and the last line"},
    {"verbose", OPTION_FLAG, AT(pilot.verbose), NULL, "a line for every start and end"},
    {"version", OPTION_FLAG, AT(version), NULL, "print the version"},
    {"help", OPTION_FLAG, AT(help), NULL, "print this"},
    {NULL, OPTION_FLAG, 0, NULL, NULL},
};

static void print_help(void)
{
    printf(
        "pilot-mpi %s: many tasks inside one allocation\n\n"
        "  pilot-mpi [OPTIONS] FILE             on this machine\n"
        "  srun -N 4 pilot-mpi [OPTIONS] FILE   in a Slurm allocation, on every node\n"
        "  mpirun -np 4 pilot-mpi ...           likewise, by any MPI launcher\n"
        "  pilot-mpi --resume                   after a crash, a kill or the walltime: the rest\n"
        "  pilot-mpi recover                    a new state of what can be read of a damaged one\n"
        "  pilot-mpi simulate FILE              how long would it take on N nodes? (--help)\n"
        "  pilot-mpi logs ID                    what a task wrote (--help)\n"
        "  pilot-mpi add FILE                   more tasks for a running pilot (pilot-mpi add "
        "--help)\n"
        "\n"
        "FILE holds the tasks: a JSON array, an object with \"tasks\" and \"defaults\", JSON "
        "Lines,\n"
        "or one shell command a line. A task: {\"id\": \"a\", \"command\": \"./run a\", \"cores\": "
        "2}; also\n"
        "timeout, time_estimate, memory, priority, max_retries, env, tags, workdir, stdin, "
        "depends_on.\n\nOptions:\n",
        pilot_version());
    options_print(specs);
    printf("\nExit status:\n"
           "  0  all tasks completed\n"
           "  1  some tasks failed or were skipped\n"
           "  2  wrong usage or bad input; nothing was run\n"
           "  3  stopped before the end; --resume goes on\n"
           "  4  the pilot itself failed (state not writable, no node left)\n");
}

/* By rank 0 alone, so that N ranks print one message. */
static bool speaks(void)
{
    static const char *const names[] = {"PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *rank = getenv(names[i]);

        if (rank != NULL)
            return strcmp(rank, "0") == 0;
    }
    return true;
}

static int status_of(int code)
{
    switch (code) {
    case PILOT_EINVAL:
    case PILOT_ENOENT:
    case PILOT_EEXIST:
    case PILOT_EBUSY:
    case PILOT_EIO:
    case PILOT_EPROTO:
    case PILOT_ESTATE:
        return PILOT_EXIT_USAGE;
    case PILOT_EAGAIN:
        return PILOT_EXIT_STOPPED;
    default:
        return PILOT_EXIT_PILOT;
    }
}

static int check(const struct run_options *o, struct pilot_error *err)
{
    err->code = PILOT_EINVAL;
    if (o->pilot.stream && o->tasks == NULL) {
        snprintf(err->text, sizeof(err->text),
                 "--stream needs a FILE to read while tasks run; - is standard input");
        return PILOT_EINVAL;
    }
    if (o->tasks != NULL && strcmp(o->tasks, "-") == 0 && o->pilot.hook != NULL &&
        strcmp(o->pilot.hook, "-") == 0) {
        snprintf(err->text, sizeof(err->text),
                 "standard input cannot have both the tasks (-) and the answers of the hook "
                 "(--on-complete -); put the tasks into a file");
        return PILOT_EINVAL;
    }
    if (o->tasks != NULL || o->pilot.resume || o->pilot.hook != NULL)
        return 0;
    snprintf(err->text, sizeof(err->text),
             "no tasks: write pilot-mpi FILE, or pilot-mpi --resume to go on (pilot-mpi --help)");
    return PILOT_EINVAL;
}

static int run(int argc, char **argv)
{
    struct run_options o = {.pilot = PILOT_OPTIONS_INIT};
    struct pilot_error err = {0};
    const char *argument = NULL;
    struct pilot *p = NULL;
    int rc;

    store_alone();
    rc = options_parse(specs, argc, argv, &o, &argument, &err);

    if (rc == 0 && (o.help || o.version)) {
        if (o.help && speaks())
            print_help();
        else if (speaks())
            printf("pilot-mpi %s\n", pilot_version());
        return fflush(stdout) == 0 ? 0 : PILOT_EXIT_PILOT;
    }
    if (rc == 0 && argument != NULL && o.tasks != NULL) {
        rc = err.code = PILOT_EINVAL;
        snprintf(err.text, sizeof(err.text),
                 "the task file is given twice, as '%.200s' and with --tasks; give it once",
                 argument);
    }
    if (o.tasks == NULL)
        o.tasks = argument;
    if (rc == 0)
        rc = check(&o, &err);
    if (rc == 0)
        rc = pilot_create(&p, &o.pilot, &err);
    if (rc == 0 && o.tasks != NULL) {
        int64_t loaded = pilot_load_file(p, o.tasks, &err);

        rc = loaded < 0 ? (int)loaded : 0;
    }
    if (rc == 0)
        rc = pilot_run(p, &err);
    if (rc < 0) {
        if (speaks())
            cli_complain(err.text);
        rc = status_of(rc);
    }
    pilot_destroy(p);
    pilot_exit(rc);
}

const struct command cmd_run = {NULL, run};
