/* SPDX-License-Identifier: BSD-3-Clause */
/* From a request to what execve needs. */
#ifndef PILOT_LAUNCH_PLAN_H
#define PILOT_LAUNCH_PLAN_H

#include <stddef.h>

#include "launch/launch.h"
#include "launch/shell.h"
#include "launch/spawn.h"

/* Memory reused from task to task. Zero it before first use. */
struct plan {
    char **env;
    size_t env_cap;
    char *pwd; /* "PWD=..." */
    size_t pwd_cap;
    struct shell_words words;
    char *shell[5]; /* sh -c [--] COMMAND */
};
void plan_fini(struct plan *p);

/* Fills argv, shell, env, path, cwd and stdin_path of spec for a task whose directory is taskdir.
 * What spec points to is owned by p, req, base_env and taskdir. 0 or PILOT_ENOMEM. */
int plan_make(struct plan *p, const struct launch_request *req, char *const *base_env,
              const char *taskdir, struct spawn_spec *spec);

#endif
