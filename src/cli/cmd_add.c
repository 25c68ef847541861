/* SPDX-License-Identifier: BSD-3-Clause */
/* pilot-mpi add: gives a running pilot more tasks. Must not start anything heavy (no MPI, no
 * SQLite): tasks may call it by the ten thousand. What the tasks are is left to the pilot to judge;
 * here they are only read, because a path means nothing on another node. */
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "agent/control.h"
#include "cli/client.h"
#include "cli/client_reply.h"
#include "cli/complain.h"
#include "cli/options.h"
#include "common/buf.h"
#include "common/error.h"
#include "input/text.h"

/* The exit status of commands that talk to a pilot. */
enum { ADD_DONE = 0, ADD_REFUSED = 1, ADD_USAGE = 2, ADD_NO_PILOT = 3 };

struct add_options {
    struct client_target target;
    const char *id, *command, *task_workdir, *stdin_path, *tags;
    unsigned cores;
    int64_t timeout_ms, estimate_ms, memory;
    int priority, max_retries;
    struct option_list env, depends_on;
    bool help;
};

#define AT(member) offsetof(struct add_options, member)

static const struct option_spec specs[] = {
    {"id", OPTION_STRING, AT(id), "ID", "of the task (default: made from its content)"},
    {"command", OPTION_STRING, AT(command), "CMD", "what it runs, with sh -c"},
    {"cores", OPTION_COUNT, AT(cores), "N", "cores on one node (default: 1)"},
    {"depends-on", OPTION_LIST, AT(depends_on), "ID",
     "start when this task has completed; may be repeated"},
    {"timeout", OPTION_SECONDS, AT(timeout_ms), "SECONDS", "end it after so long"},
    {"time-estimate", OPTION_SECONDS, AT(estimate_ms), "SECONDS", "how long it will take"},
    {"memory", OPTION_SIZE, AT(memory), "SIZE", "memory that it may use"},
    {"priority", OPTION_NUMBER, AT(priority), "N", "higher ones start first (default: 0)"},
    {"max-retries", OPTION_NUMBER, AT(max_retries), "N",
     "attempts after a failed one (default: 0)"},
    {"env", OPTION_LIST, AT(env), "NAME=VALUE", "in its environment; may be repeated"},
    {"tags", OPTION_STRING, AT(tags), "JSON", "kept with it and handed back"},
    {"stdin", OPTION_STRING, AT(stdin_path), "FILE", "its standard input"},
    {"task-workdir", OPTION_STRING, AT(task_workdir), "DIR",
     "where it runs (default: its own directory)"},
    {"workdir", OPTION_STRING, AT(target.workdir), "DIR",
     "the pilot's work directory (default: in a task, its pilot; else ./pilot_runs)"},
    {"db", OPTION_STRING, AT(target.db), "FILE", "the pilot's state database"},
    {"help", OPTION_FLAG, AT(help), NULL, "print this"},
    {NULL, OPTION_FLAG, 0, NULL, NULL},
};

static void print_help(void)
{
    printf(
        "pilot-mpi add: give a running pilot more tasks\n\n"
        "  pilot-mpi add FILE                            any form of a task file; - is standard "
        "input\n"
        "  pilot-mpi add --id a --command './run a' --cores 2\n\n"
        "In a task, on a node where the pilot runs tasks, or on a host that shares its work\n"
        "directory. Returns when the tasks are saved, and prints their ids. What is there already\n"
        "with the same content is fine. All are added, or none.\n\nOptions:\n");
    options_print(specs);
    printf("\nExit status:\n"
           "  0  added, or there already\n"
           "  1  refused; the reason is on standard error\n"
           "  2  wrong usage\n"
           "  3  no pilot answers, or it ends\n");
}

/* ---- A file of tasks ------------------------------------------------------------------------- */

static int read_all(int fd, const char *name, struct buf *text, struct pilot_error *err)
{
    char block[65536];
    ssize_t n;

    while ((n = read(fd, block, sizeof(block))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, PILOT_EINVAL, errno, "cannot read '%.200s'", name);
        if (memchr(block, '\0', (size_t)n) != NULL)
            return err_set(err, PILOT_EINVAL, "'%.200s' is no text: there is a NUL byte in it",
                           name);
        buf_put(text, block, (size_t)n);
        if (text->len > CONTROL_LINE_MAX)
            return err_set(err, PILOT_EINVAL,
                           "'%.200s' is longer than %u MiB; add it in several parts", name,
                           CONTROL_LINE_MAX >> 20);
    }
    buf_put_u8(text, '\0');
    return buf_ok(text) ? 0 : err_set(err, PILOT_ENOMEM, "out of memory for '%.200s'", name);
}

static int read_file(const char *path, struct buf *text, struct pilot_error *err)
{
    int fd, rc;

    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "standard input", text, err);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, PILOT_EINVAL, errno, "cannot read '%.200s'", path);
    rc = read_all(fd, path, text, err);
    close(fd);
    return rc;
}

/* ---- One task from the options --------------------------------------------------------------- */

/* On the command line a path begins where the person (or the task) is, not where the pilot is. */
static bool add_path(cJSON *task, const char *field, const char *path)
{
    char here[PATH_MAX], *whole;
    bool ok;

    if (path == NULL || path[0] == '/')
        return path == NULL || cJSON_AddStringToObject(task, field, path) != NULL;
    while (path[0] == '.' && path[1] == '/') /* so that "." and "./" are the same task */
        path += 1 + strspn(path + 1, "/");
    if (strcmp(path, ".") == 0)
        path = "";
    if (getcwd(here, sizeof(here)) == NULL ||
        asprintf(&whole, "%s%s%s", here, path[0] != '\0' ? "/" : "", path) < 0)
        return false;
    ok = cJSON_AddStringToObject(task, field, whole) != NULL;
    free(whole);
    return ok;
}

static bool add_env(cJSON *task, const struct option_list *env)
{
    cJSON *o = env->len > 0 ? cJSON_AddObjectToObject(task, "env") : NULL;

    for (size_t i = 0; i < env->len; i++) {
        const char *equals = strchr(env->v[i], '=');
        char *name = strndup(env->v[i], (size_t)(equals - env->v[i]));
        bool ok = name != NULL && cJSON_AddStringToObject(o, name, equals + 1) != NULL;

        free(name);
        if (!ok)
            return false;
    }
    return true;
}

static bool add_ids(cJSON *task, const struct option_list *ids)
{
    cJSON *list = ids->len > 0 ? cJSON_AddArrayToObject(task, "depends_on") : NULL;

    for (size_t i = 0; i < ids->len; i++)
        if (!cJSON_AddItemToArray(list, cJSON_CreateString(ids->v[i])))
            return false;
    return true;
}

static bool add_number(cJSON *task, const char *field, double number)
{
    return number == 0 || cJSON_AddNumberToObject(task, field, number) != NULL;
}

/* Options that are not given are no fields. */
static cJSON *task_of(const struct add_options *o)
{
    cJSON *task = cJSON_CreateObject();

    if (task != NULL && (o->id == NULL || cJSON_AddStringToObject(task, "id", o->id) != NULL) &&
        cJSON_AddStringToObject(task, "command", o->command) != NULL &&
        add_number(task, "cores", o->cores) && add_number(task, "priority", o->priority) &&
        add_number(task, "timeout", (double)o->timeout_ms / 1000) &&
        add_number(task, "time_estimate", (double)o->estimate_ms / 1000) &&
        add_number(task, "memory", (double)o->memory) &&
        add_number(task, "max_retries", o->max_retries) && add_env(task, &o->env) &&
        add_ids(task, &o->depends_on) && add_path(task, "stdin", o->stdin_path) &&
        add_path(task, "workdir", o->task_workdir) &&
        (o->tags == NULL || cJSON_AddRawToObject(task, "tags", o->tags) != NULL))
        return task;
    cJSON_Delete(task);
    return NULL;
}

static int text_of_options(const struct add_options *o, struct buf *text, struct pilot_error *err)
{
    cJSON *task = task_of(o);
    char *json = task != NULL ? cJSON_PrintUnformatted(task) : NULL;

    cJSON_Delete(task);
    if (json != NULL)
        buf_put(text, json, strlen(json) + 1);
    free(json);
    return json != NULL && buf_ok(text) ? 0 : err_set(err, PILOT_ENOMEM, "out of memory");
}

/* ---- Usage ----------------------------------------------------------------------------------- */

static const char *task_option_given(const struct add_options *o)
{
    const struct {
        const char *name;
        bool given;
    } options[] = {
        {"id", o->id != NULL},
        {"command", o->command != NULL},
        {"cores", o->cores != 0},
        {"depends-on", o->depends_on.len > 0},
        {"timeout", o->timeout_ms != 0},
        {"time-estimate", o->estimate_ms != 0},
        {"memory", o->memory != 0},
        {"priority", o->priority != 0},
        {"max-retries", o->max_retries != 0},
        {"env", o->env.len > 0},
        {"tags", o->tags != NULL},
        {"stdin", o->stdin_path != NULL},
        {"task-workdir", o->task_workdir != NULL},
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (options[i].given)
            return options[i].name;
    return NULL;
}

static int check_values(const struct add_options *o, struct pilot_error *err)
{
    cJSON *tags = NULL;
    bool good;

    if (o->max_retries < 0)
        return err_set(err, PILOT_EINVAL, "--max-retries %d: write a whole number from 0 on",
                       o->max_retries);
    for (size_t i = 0; i < o->env.len; i++)
        if (strchr(o->env.v[i], '=') == NULL || o->env.v[i][0] == '=')
            return err_set(err, PILOT_EINVAL, "--env '%.200s': write --env NAME=VALUE",
                           o->env.v[i]);
    if (o->tags == NULL)
        return 0;
    tags = cJSON_ParseWithOpts(o->tags, NULL, true);
    good = tags != NULL;
    cJSON_Delete(tags);
    return good
               ? 0
               : err_set(err, PILOT_EINVAL,
                         "--tags '%.200s' is not JSON: write, say, --tags '{\"T\": 100}'", o->tags);
}

static int check(const struct add_options *o, const char *file, struct pilot_error *err)
{
    const char *given = task_option_given(o);

    if (file != NULL && given != NULL)
        return err_set(err, PILOT_EINVAL,
                       "--%s is for a task that is given with --command; '%.200s' says itself what "
                       "its tasks are: give one of the two",
                       given, file);
    if (file == NULL && given == NULL)
        return err_set(err, PILOT_EINVAL,
                       "no tasks: write pilot-mpi add FILE, or pilot-mpi add --command CMD "
                       "(pilot-mpi add --help)");
    if (file == NULL && o->command == NULL)
        return err_set(err, PILOT_EINVAL, "--%s without a command: add --command CMD", given);
    return check_values(o, err);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* Fresh; NULL: no memory. */
static char *request_of(const char *name, const char *text)
{
    cJSON *o = cJSON_CreateObject();
    char *request = NULL;

    if (o != NULL && cJSON_AddStringToObject(o, "op", "add") != NULL &&
        cJSON_AddStringToObject(o, "name", name) != NULL &&
        cJSON_AddStringToObject(o, "text", text) != NULL)
        request = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return request;
}

static int print_ids(char **ids)
{
    for (; ids != NULL && *ids != NULL; ids++) {
        text_make_printable(*ids);
        puts(*ids);
    }
    if (fflush(stdout) != 0)
        cli_complain("the tasks are added, but their ids could not be written");
    return ADD_DONE;
}

/* What the pilot said, told to the person; the exit status. */
static int tell(const char *text)
{
    struct client_reply reply;
    int status;

    if (client_reply_parse(text, &reply) < 0) {
        cli_complain("the pilot's answer makes no sense; is it of another version?");
        status = ADD_NO_PILOT;
    } else if (reply.ok) {
        status = print_ids(reply.ids);
    } else {
        cli_complain(reply.message);
        status = reply.refused ? ADD_REFUSED : ADD_NO_PILOT;
    }
    client_reply_fini(&reply);
    return status;
}

static int ask(const struct client_target *target, const char *name, struct buf *text,
               struct pilot_error *err)
{
    char *request = request_of(name, (const char *)text->data), *reply = NULL;
    int rc;

    buf_fini(text);
    rc = request == NULL ? err_set(err, PILOT_ENOMEM, "out of memory for the request")
                         : client_ask(target, request, strlen(request), &reply, err);
    free(request);
    if (rc < 0)
        return rc;
    rc = tell(reply);
    free(reply);
    return rc;
}

static int status_of(int code)
{
    return code == PILOT_EINVAL ? ADD_USAGE : ADD_NO_PILOT;
}

static int run(int argc, char **argv)
{
    struct add_options o = {0};
    struct pilot_error err = {0};
    const char *file = NULL;
    struct buf text;
    int rc = options_parse(specs, argc, argv, &o, &file, &err);

    buf_init(&text);
    if (rc == 0 && o.help) {
        print_help();
        rc = fflush(stdout) == 0 ? ADD_DONE : ADD_USAGE;
    } else if (rc == 0) {
        rc = check(&o, file, &err);
        if (rc == 0)
            rc = file != NULL ? read_file(file, &text, &err) : text_of_options(&o, &text, &err);
        if (rc == 0)
            rc = ask(&o.target,
                     file == NULL             ? "command line"
                     : strcmp(file, "-") == 0 ? "standard input"
                                              : file,
                     &text, &err);
    }
    if (rc < 0) {
        cli_complain(err.text);
        rc = status_of(rc);
    }
    buf_fini(&text);
    free(o.env.v);
    free(o.depends_on.v);
    return rc;
}

const struct command cmd_add = {"add", run};
