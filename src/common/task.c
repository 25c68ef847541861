/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/task.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/error.h"

static const char *const status_names[TASK_STATUS_COUNT] = {
    "pending", "running", "completed", "failed", "skipped", "cancelled",
};

static const char *const reason_names[ATTEMPT_REASON_COUNT] = {
    "exit", "signal", "timeout", "spawn", "lost", "cancel", "stop", "memory", "disk",
};

void task_spec_init(struct task_spec *spec)
{
    memset(spec, 0, sizeof(*spec));
    spec->cores = 1;
}

void task_spec_fini(struct task_spec *spec)
{
    free(spec->id);
    free(spec->command);
    strv_free(spec->argv);
    strv_free(spec->env);
    free(spec->tags);
    free(spec->workdir);
    free(spec->stdin_path);
    strv_free(spec->depends_on);
    task_spec_init(spec);
}

static int index_of(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

const char *task_status_name(enum task_status status)
{
    BUG_ON((unsigned)status >= TASK_STATUS_COUNT);
    return status_names[status];
}

bool task_status_parse(const char *name, enum task_status *out)
{
    int i = index_of(status_names, TASK_STATUS_COUNT, name);

    if (i >= 0)
        *out = (enum task_status)i;
    return i >= 0;
}

const char *attempt_reason_name(enum attempt_reason reason)
{
    BUG_ON((unsigned)reason >= ATTEMPT_REASON_COUNT);
    return reason_names[reason];
}

bool attempt_reason_parse(const char *name, enum attempt_reason *out)
{
    int i = index_of(reason_names, ATTEMPT_REASON_COUNT, name);

    if (i >= 0)
        *out = (enum attempt_reason)i;
    return i >= 0;
}
