/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/task_json.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"

static void add_text(cJSON *o, const char *key, const char *value)
{
    if (value != NULL)
        cJSON_AddStringToObject(o, key, value);
}

static void add_list(cJSON *o, const char *key, const char *const *values)
{
    cJSON *list = values != NULL ? cJSON_AddArrayToObject(o, key) : NULL;

    for (size_t i = 0; list != NULL && values[i] != NULL; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(values[i]));
}

static void add_env(cJSON *o, const char *const *env)
{
    cJSON *object = env != NULL ? cJSON_AddObjectToObject(o, "env") : NULL;

    for (size_t i = 0; object != NULL && env[i] != NULL; i++) {
        const char *equals = strchr(env[i], '=');
        char *name = strndup(env[i], equals ? (size_t)(equals - env[i]) : strlen(env[i]));

        if (name != NULL)
            cJSON_AddStringToObject(object, name, equals ? equals + 1 : "");
        free(name);
    }
}

char *task_to_json(const struct pilot_task *t, struct pilot_error *err)
{
    cJSON *o = cJSON_CreateObject(), *tags = NULL;
    char *text;

    if (t->tags != NULL && (tags = cJSON_ParseWithOpts(t->tags, NULL, true)) == NULL) {
        cJSON_Delete(o);
        err_set(err, PILOT_EINVAL, "task '%.200s': its tags are not JSON: %.80s",
                t->id ? t->id : "(no id)", t->tags);
        return NULL;
    }
    cJSON_Delete(tags);
    add_text(o, "id", t->id);
    add_text(o, "command", t->command);
    if (t->command == NULL)
        add_list(o, "command", t->argv);
    cJSON_AddNumberToObject(o, "cores", t->cores);
    if (t->timeout_s != 0)
        cJSON_AddNumberToObject(o, "timeout", t->timeout_s);
    if (t->time_estimate_s != 0)
        cJSON_AddNumberToObject(o, "time_estimate", t->time_estimate_s);
    if (t->memory != 0)
        cJSON_AddNumberToObject(o, "memory", (double)t->memory);
    cJSON_AddNumberToObject(o, "priority", t->priority);
    cJSON_AddNumberToObject(o, "max_retries", t->max_retries);
    add_env(o, t->env);
    if (t->tags != NULL)
        cJSON_AddRawToObject(o, "tags", t->tags);
    add_text(o, "workdir", t->workdir);
    add_text(o, "stdin", t->stdin_path);
    add_list(o, "depends_on", t->depends_on);
    text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    if (text == NULL)
        err_set(err, PILOT_ENOMEM, "out of memory for a task");
    return text;
}
