/* SPDX-License-Identifier: BSD-3-Clause */
/* pilot-mpi recover: a new state database of what can be read of a damaged one. */
#include "cli/command.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/complain.h"
#include "cli/options.h"
#include "common/error.h"
#include "input/taskfile.h"
#include "input/text.h"
#include "store/store.h"

enum { RECOVER_ALL = 0, RECOVER_PART = 1, RECOVER_USAGE = 2, RECOVER_FAILED = 4 };

struct recover_options {
    const char *db, *workdir, *output;
    bool help;
};

#define AT(member) offsetof(struct recover_options, member)

static const struct option_spec specs[] = {
    {"db", OPTION_STRING, AT(db), "FILE", "the damaged database (default: WORKDIR/state.db)"},
    {"workdir", OPTION_STRING, AT(workdir), "DIR",
     "the work directory of its run (default: ./pilot_runs)"},
    {"output", OPTION_STRING, AT(output), "NEW",
     "leave the damaged file where it is, and write to NEW"},
    {"help", OPTION_FLAG, AT(help), NULL, "print this"},
    {NULL, OPTION_FLAG, 0, NULL, NULL},
};

static void print_help(void)
{
    printf("pilot-mpi recover: a new state database of what can be read of a damaged one\n\n"
           "  pilot-mpi recover [--workdir DIR | --db FILE] [-o NEW]\n\n"
           "The damaged file is not changed. It is renamed to FILE.damaged, and the new one takes\n"
           "its name, so that pilot-mpi --resume goes on with it; with -o both stay where they "
           "are.\n"
           "What could not be read is listed. Tasks among it are added again, and run again, by\n"
           "pilot-mpi --resume with the task file that they came from.\n\nOptions:\n");
    options_print(specs);
    printf("\nExit status:\n"
           "  0  all of it could be read\n"
           "  1  a part of it; the rest is listed\n"
           "  2  wrong usage, no such file, or a pilot is using it; nothing was done\n"
           "  4  nothing could be read, or no new file could be written\n");
}

static void tell(void *arg, const char *what)
{
    unsigned *count = arg;
    char *text = strdup(what);

    if (text == NULL)
        return;
    text_make_printable(text);
    if ((*count)++ == 0)
        printf("Could not be read:\n");
    printf("  %s\n", text);
    free(text);
}

static void tell_result(const struct store_recovered *r, bool resumable_as_usual)
{
    printf("Recovered: %lld tasks (%lld completed), %lld attempts\n", (long long)r->tasks,
           (long long)r->completed, (long long)r->attempts);
    if (r->lost_attempts > 0)
        printf("Missing: %lld attempts of these tasks; only the history lacks them\n",
               (long long)r->lost_attempts);
    if (r->newest_lost)
        printf("Missing: the newest transactions; tasks that ended in them will run again\n");
    if (r->lost > 0)
        printf("Missing: %lld tasks. To add them again, and run them again, go on with the task "
               "file that they came from: pilot-mpi --resume FILE\n",
               (long long)r->lost);
    printf("New: %s\nOld: %s\n", r->made, r->old);
    if (!resumable_as_usual)
        printf("Go on with: pilot-mpi --resume --db %s\n", r->made);
}

static int recover(const struct recover_options *o, struct pilot_error *err)
{
    unsigned told = 0;
    const struct store_recover_hooks hooks = {
        .parse = task_spec_from_json, .tell = tell, .arg = &told};
    char host[256] = "", path[PATH_MAX];
    const struct store_owner owner = {
        .host = host, .pid = getpid(), .job = "pilot-mpi recover", .workdir = NULL};
    struct store_recovered result;
    int rc;

    gethostname(host, sizeof(host) - 1);
    if (snprintf(path, sizeof(path), "%s%s",
                 o->db        ? o->db
                 : o->workdir ? o->workdir
                              : "./pilot_runs",
                 o->db ? "" : "/state.db") >= (int)sizeof(path))
        return err_set(err, PILOT_EINVAL, "the name of the database is too long");
    rc = store_recover(path, o->output, &owner, &hooks, &result, err);
    if (rc < 0)
        return rc;
    tell_result(&result, o->output == NULL);
    if (fflush(stdout) != 0)
        cli_complain("the new database is made, but what is missing could not be written");
    return told > 0 || result.lost_attempts > 0 || result.newest_lost ? RECOVER_PART : RECOVER_ALL;
}

static int status_of(int code)
{
    switch (code) {
    case PILOT_EINVAL:
    case PILOT_ENOENT:
    case PILOT_EEXIST:
    case PILOT_EBUSY:
        return RECOVER_USAGE;
    default:
        return RECOVER_FAILED;
    }
}

static int run(int argc, char **argv)
{
    static char output[] = "--output";
    struct recover_options o = {0};
    struct pilot_error err = {0};
    const char *argument = NULL;
    int rc;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "-o") == 0)
            argv[i] = output;
    rc = options_parse(specs, argc, argv, &o, &argument, &err);
    if (rc == 0 && o.help) {
        print_help();
        return fflush(stdout) == 0 ? 0 : RECOVER_FAILED;
    }
    if (rc == 0 && argument != NULL)
        rc = err_set(&err, PILOT_EINVAL, "'%.200s' is no option; name the database with --db",
                     argument);
    if (rc == 0)
        rc = recover(&o, &err);
    if (rc < 0) {
        cli_complain(err.text);
        rc = status_of(rc);
    }
    return rc;
}

const struct command cmd_recover = {"recover", run};
