/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the text in which the state keeps a task. Equal content must give equal text, since a
 * resumed run tells a changed task by it; so the order of variables and of dependencies, which
 * means nothing, is not kept (a generator written in Python may give it another one each time). */
#include "input/taskfile.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/error.h"
#include "input/fields.h"
#include "input/lists.h"

/* Adds item to object under name, or frees it. False: no memory, also for a NULL item. */
static bool add(cJSON *object, const char *name, cJSON *item)
{
    if (item != NULL && cJSON_AddItemToObject(object, name, item))
        return true;
    cJSON_Delete(item);
    return false;
}

static bool add_text(cJSON *object, enum field field, const char *text)
{
    return text == NULL || add(object, field_names[field], cJSON_CreateString(text));
}

static bool add_number(cJSON *object, enum field field, double number, double usual)
{
    return number == usual || add(object, field_names[field], cJSON_CreateNumber(number));
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A sorted list of the same strings, to be freed by free(). */
static char **sorted(char *const *list, int (*compare)(const void *, const void *))
{
    size_t count = strv_len(list);
    char **copy = calloc(count + 1, sizeof(*copy));

    if (copy != NULL) {
        memcpy(copy, list, count * sizeof(*copy));
        qsort(copy, count, sizeof(*copy), compare);
    }
    return copy;
}

static bool add_list(cJSON *object, enum field field, char *const *list)
{
    return list == NULL ||
           add(object, field_names[field],
               cJSON_CreateStringArray((const char *const *)list, (int)strv_len(list)));
}

static bool add_ids(cJSON *object, char *const *ids)
{
    char **in_order;
    bool ok;

    if (ids == NULL)
        return true;
    in_order = sorted(ids, compare_strings);
    ok = in_order != NULL && add_list(object, FIELD_DEPENDS_ON, in_order);
    free(in_order);
    return ok;
}

static bool add_env(cJSON *object, char *const *env)
{
    cJSON *item;
    char **in_order;
    bool ok;

    if (env == NULL)
        return true;
    item = cJSON_CreateObject();
    in_order = sorted(env, lists_compare_env);
    ok = item != NULL && in_order != NULL;
    for (size_t i = 0; ok && in_order[i] != NULL; i++) {
        size_t len = strcspn(in_order[i], "=");
        char *name = strndup(in_order[i], len);
        const char *text = in_order[i] + len + (in_order[i][len] == '=');

        ok = name != NULL && add(item, name, cJSON_CreateString(text));
        free(name);
    }
    free(in_order);
    if (ok)
        return add(object, field_names[FIELD_ENV], item);
    cJSON_Delete(item);
    return false;
}

char *task_spec_to_json(const struct task_spec *spec)
{
    cJSON *object = cJSON_CreateObject();
    char *text = NULL;

    if (object != NULL && add_text(object, FIELD_ID, spec->id) &&
        add_text(object, FIELD_COMMAND, spec->command) &&
        add_list(object, FIELD_COMMAND, spec->argv) &&
        add_number(object, FIELD_CORES, spec->cores, 1) &&
        add_number(object, FIELD_TIMEOUT, (double)spec->timeout_ms / 1000, 0) &&
        add_number(object, FIELD_TIME_ESTIMATE, (double)spec->estimate_ms / 1000, 0) &&
        add_number(object, FIELD_MEMORY, (double)spec->memory, 0) &&
        add_number(object, FIELD_PRIORITY, spec->priority, 0) &&
        add_number(object, FIELD_MAX_RETRIES, spec->max_retries, 0) && add_env(object, spec->env) &&
        (spec->tags == NULL || add(object, field_names[FIELD_TAGS], cJSON_CreateRaw(spec->tags))) &&
        add_text(object, FIELD_WORKDIR, spec->workdir) &&
        add_text(object, FIELD_STDIN, spec->stdin_path) && add_ids(object, spec->depends_on))
        text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    return text;
}

static int read_fields(struct fields *fields, const struct scan_text *object,
                       const struct scan_members *members, struct task_spec *spec)
{
    int rc = fields_begin(fields, object, members, 0, 0, spec);

    if (rc < 0 || fields->complaints->total > 0)
        return rc;
    if (spec->id == NULL)
        complain(fields->complaints, &fields->place, "there is no id");
    return fields_finish(fields, spec);
}

int task_spec_from_json(const char *json, struct task_spec *spec, struct pilot_error *err)
{
    struct complaints complaints;
    struct scan_members members = {0};
    struct scan_fail fail = {0};
    struct scan_text object = {.p = scan_blank(json, json + strlen(json))};
    struct fields fields;
    const char *end;
    int rc;

    task_spec_init(spec);
    complaints_init(&complaints, "stored task");
    fields_init(&fields, &complaints, NULL);
    object.len = strlen(object.p);
    end = scan_value(object.p, object.p + object.len, &members, &fail);
    if (end == NULL || *end != '\0') {
        rc = fail.no_memory ? PILOT_ENOMEM : PILOT_EPROTO;
        err_set(err, rc, "stored task: not valid JSON: %s",
                end == NULL ? fail.text : "more text behind its end");
    } else {
        rc = read_fields(&fields, &object, &members, spec);
        if (rc < 0)
            err_set(err, rc, "stored task: out of memory");
        else
            rc = complaints_result(&complaints, err);
    }
    fields_fini(&fields);
    scan_members_fini(&members);
    if (rc < 0)
        task_spec_fini(spec);
    return rc;
}
