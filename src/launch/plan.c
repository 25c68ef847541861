/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the environment and the argument vector of a task.
 *
 * PWD is set to where the task runs, as a shell would do: a program that is executed directly must
 * not see the pilot's. SHLVL and _, which bash as /bin/sh would set too, are left alone. */
#include "launch/plan.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/error.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

void plan_fini(struct plan *p)
{
    free(p->env);
    free(p->pwd);
    shell_words_fini(&p->words);
    memset(p, 0, sizeof(*p));
}

/* Puts entry ("NAME=value") in the place of an earlier one of that name, or at the end of env[n].
 */
static size_t set_entry(char **env, size_t n, char *entry)
{
    size_t name = strcspn(entry, "=") + 1;

    for (size_t i = 0; i < n; i++) {
        /* Two bytes first: many names begin alike, but few with both. */
        if (env[i][0] == entry[0] && env[i][1] == entry[1] && strncmp(env[i], entry, name) == 0) {
            env[i] = entry;
            return n;
        }
    }
    env[n] = entry;
    return n + 1;
}

/* "PWD=" and the absolute form of dir; NULL when memory is short. */
static char *make_pwd(struct plan *p, const char *dir)
{
    char here[4096];
    size_t need;

    here[0] = '\0'; /* no more of it: this is done for each task */
    if (dir[0] != '/' && getcwd(here, sizeof(here)) == NULL)
        here[0] = '\0';
    if (here[0] != '\0' && strcmp(dir, ".") == 0)
        dir = "";
    need = strlen("PWD=") + strlen(here) + 1 + strlen(dir) + 1;
    if (need > p->pwd_cap) {
        char *pwd = realloc(p->pwd, need);

        if (pwd == NULL)
            return NULL;
        p->pwd = pwd;
        p->pwd_cap = need;
    }
    stpcpy(
        stpcpy(stpcpy(stpcpy(p->pwd, "PWD="), here), here[0] != '\0' && dir[0] != '\0' ? "/" : ""),
        dir);
    return p->pwd;
}

static int make_env(struct plan *p, char *const *base, char *const *over, const char *dir)
{
    size_t base_n = strv_len(base);
    size_t over_n = strv_len(over);
    char *pwd = make_pwd(p, dir);
    size_t n = base_n;

    if (base_n + over_n + 2 > p->env_cap) {
        size_t cap = base_n + over_n + 32;
        char **env = realloc(p->env, cap * sizeof(*env));

        if (env == NULL)
            return PILOT_ENOMEM;
        p->env = env;
        p->env_cap = cap;
    }
    if (pwd == NULL)
        return PILOT_ENOMEM;
    if (base_n > 0)
        memcpy(p->env, base, base_n * sizeof(*base));
    for (size_t i = 0; i < over_n; i++)
        n = set_entry(p->env, n, over[i]);
    n = set_entry(p->env, n, pwd);
    p->env[n] = NULL;
    return 0;
}

/* bash, as sh too, takes functions from the environment, which hide programs: BASH_FUNC_which%%. */
static bool is_exported_function(char *const *env, const char *word)
{
    static const char prefix[] = "BASH_FUNC_";
    size_t len = strlen(word);

    for (; *env != NULL; env++) {
        const char *name = *env + sizeof(prefix) - 1;

        if ((*env)[0] == 'B' && strncmp(*env, prefix, sizeof(prefix) - 1) == 0 &&
            strncmp(name, word, len) == 0 && (name[len] == '%' || name[len] == '('))
            return true;
    }
    return false;
}

static void plan_command(struct plan *p, const char *command, struct spawn_spec *spec)
{
    size_t n = 0;

    p->shell[n++] = (char *)"sh";
    p->shell[n++] = (char *)"-c";
    if (command[0] == '-' || command[0] == '+')
        p->shell[n++] = (char *)"--"; /* or sh takes it for an option of its own */
    p->shell[n++] = (char *)command;
    p->shell[n] = NULL;
    spec->shell = p->shell;
    spec->argv = NULL;
    if (!shell_split(command, &p->words) || is_exported_function(spec->env, p->words.v[0]))
        return;
    /* Without PATH a shell has a default of its own, known to it alone. */
    if (spec->path == NULL && strchr(p->words.v[0], '/') == NULL)
        return;
    spec->argv = p->words.v;
}

int plan_make(struct plan *p, const struct launch_request *req, char *const *base_env,
              const char *taskdir, struct spawn_spec *spec)
{
    spec->cwd = req->cwd != NULL ? req->cwd : taskdir;
    spec->stdin_path = req->stdin_path;
    if (make_env(p, base_env, req->env, spec->cwd) < 0)
        return PILOT_ENOMEM;
    spec->env = p->env;
    spec->path = strv_value(p->env, "PATH");
    if (req->argv == NULL) {
        plan_command(p, req->command, spec);
        return 0;
    }
    spec->argv = req->argv;
    spec->shell = NULL;
    if (spec->path == NULL)
        spec->path = DEFAULT_PATH;
    return 0;
}
