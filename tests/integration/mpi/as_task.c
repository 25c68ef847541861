/* SPDX-License-Identifier: BSD-3-Clause */
/* as_task DIR CPUS CORES [NAME=VALUE ...] -- COMMAND ...
 * Executes COMMAND with the environment and the CPU mask that an agent gives a task, and nothing
 * else of a pilot: for trying MPI launchers as tasks. DIR takes the topology file. CPUS "": not
 * pinned. A list in brackets ("[0-1]"): pinned, but without a topology file. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cpus.h"
#include "agent/taskenv.h"
#include "common/buf.h"

extern char **environ;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "as_task: %s: %s\n", what, why);
    exit(125);
}

static void pin(const char *list)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    while (*list != '\0') {
        char *end;
        unsigned long first = strtoul(list, &end, 10), last = first;

        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        for (; first <= last && first < CPU_SETSIZE; first++)
            CPU_SET(first, &set);
        list = *end == ',' ? end + 1 : end;
    }
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        die("cannot set the CPU mask", strerror(errno));
}

static void export(const char *list, const char *path)
{
    struct cpus_config config = {.allowed = list};
    struct pilot_error err;
    struct cpus *c;

    if (cpus_create(&c, &config, &err) < 0 || cpus_export_xml(c, list, path, &err) < 0)
        die("topology", err.text);
    cpus_destroy(c);
}

int main(int argc, char **argv)
{
    struct taskenv_task t = {.id = "task", .attempt = 1, .node = "here", .left_s = -1};
    char path[4096], list[TASK_CPUS_MAX] = "", **base, **top;
    int command = 4;

    while (command < argc && strcmp(argv[command], "--") != 0)
        command++;
    if (argc < 6 || command + 1 >= argc)
        die("usage", "as_task DIR CPUS CORES [NAME=VALUE ...] -- COMMAND ...");
    argv[command++] = NULL;
    snprintf(path, sizeof(path), "%s/topology-%d.xml", argv[1], (int)getpid());
    snprintf(list, sizeof(list), "%s", argv[2][0] == '[' ? argv[2] + 1 : argv[2]);
    list[strcspn(list, "]")] = '\0';
    t.dir = argv[1];
    t.cpus = list;
    t.cores = (unsigned)strtoul(argv[3], NULL, 10);
    t.env = argv + 4;
    if (argv[2][0] != '\0' && argv[2][0] != '[') {
        t.xml = path;
        export(list, path);
    }
    base = taskenv_base(environ, false);
    top = base != NULL ? taskenv_task(base, &t) : NULL;
    if (top == NULL)
        die("environment", "out of memory");
    clearenv();
    for (char **v = base; *v != NULL; v++)
        putenv(*v);
    for (char **v = top; *v != NULL; v++)
        putenv(*v);
    if (list[0] != '\0')
        pin(list);
    execvp(argv[command], argv + command);
    die(argv[command], strerror(errno));
}
