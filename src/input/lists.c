/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: fields whose values have parts. Lists may be long (one task that waits for a million
 * others): what is looked up in them is looked up by a map or by sorting. */
#include "input/lists.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/strmap.h"
#include "input/value.h"

/* Puts the parts of an array or object into f->children. False: no memory; the text itself was
 * scanned before, with the whole task. */
static bool take_apart(struct fields *f, const struct scan_text *value)
{
    struct scan_fail fail = {0};

    return scan_value(value->p, value->p + value->len, &f->children, &fail) != NULL;
}

/* Hands list on, or frees it when it is incomplete. */
static int finish_list(char **list, bool complete, int rc, char ***out)
{
    if (rc == 0 && complete) {
        *out = list;
        return 0;
    }
    strv_free(list);
    return rc;
}

int lists_argv(struct fields *f, const struct scan_text *value, char ***out)
{
    uint64_t errors = f->complaints->total;
    char **argv;
    int rc = 0;

    if (!take_apart(f, value))
        return PILOT_ENOMEM;
    if (f->children.count == 0) {
        fields_complain(f, value, "command is an empty array; its first string is the program");
        return 0;
    }
    argv = calloc(f->children.count + 1, sizeof(*argv));
    if (argv == NULL)
        return PILOT_ENOMEM;
    for (size_t i = 0; i < f->children.count && rc == 0 && f->complaints->total == errors; i++) {
        const struct scan_text *item = &f->children.list[i].value;

        rc = i == 0 ? fields_string(f, item, "the program in command", &argv[i])
                    : fields_text(f, item, "an argument in command", &argv[i]);
    }
    return finish_list(argv, f->complaints->total == errors, rc, out);
}

/* One id, unless list has it already. */
static int add_id(struct fields *f, const struct scan_text *value, struct strmap *seen, char **list)
{
    size_t count = seen->used;
    char *id;
    int rc = fields_id(f, value, "an id in depends_on", &id);

    if (rc < 0 || id == NULL)
        return rc;
    if (strmap_get(seen, id, NULL)) {
        free(id);
        return 0;
    }
    list[count] = id;
    return strmap_add(seen, id, 0);
}

int lists_ids(struct fields *f, const struct scan_text *value, char ***out)
{
    uint64_t errors = f->complaints->total;
    enum value_kind kind = value_kind(value);
    struct strmap seen;
    char **list;
    int rc = 0;

    if (kind != VALUE_ARRAY && kind != VALUE_STRING && kind != VALUE_NUMBER) {
        fields_complain(f, value, "depends_on must be an array of ids, not %s",
                        value_kind_words(kind));
        return 0;
    }
    f->children.count = 0;
    if (kind == VALUE_ARRAY && !take_apart(f, value))
        return PILOT_ENOMEM;
    if (kind == VALUE_ARRAY && f->children.count == 0)
        return 0;
    list = calloc(f->children.count + 2, sizeof(*list));
    if (list == NULL)
        return PILOT_ENOMEM;
    strmap_init(&seen);
    if (kind != VALUE_ARRAY)
        rc = add_id(f, value, &seen, list);
    for (size_t i = 0; i < f->children.count && rc == 0; i++)
        rc = add_id(f, &f->children.list[i].value, &seen, list);
    strmap_fini(&seen);
    return finish_list(list, f->complaints->total == errors, rc, out);
}

/* ---- env ------------------------------------------------------------------------------------- */

int lists_compare_env(const void *a, const void *b)
{
    const char *p = *(const char *const *)a;
    const char *q = *(const char *const *)b;

    while (*p == *q && *p != '=' && *p != '\0') {
        p++;
        q++;
    }
    return (*p == '=' ? 0 : (unsigned char)*p) - (*q == '=' ? 0 : (unsigned char)*q);
}

/* What a name and a value look like is what they are: "NAME=value" without decoding. */
static bool is_plain(const struct scan_member *member)
{
    const struct scan_text *key = &member->key, *value = &member->value;

    return key->len > 0 && key->plain && value->plain && value_kind(value) == VALUE_STRING &&
           memchr(key->p, '=', key->len) == NULL;
}

static int plain_entry(const struct scan_member *member, char **out)
{
    const struct scan_text *key = &member->key, *value = &member->value;
    char *p = malloc(key->len + value->len); /* '=' and NUL for the two quotes */

    *out = p;
    if (p == NULL)
        return PILOT_ENOMEM;
    memcpy(p, key->p, key->len);
    p[key->len] = '=';
    memcpy(p + key->len + 1, value->p + 1, value->len - 2);
    p[key->len + value->len - 1] = '\0';
    return 0;
}

/* The text of a variable. 0 and *out NULL: complained. */
static int env_value(struct fields *f, const struct scan_member *member, const char *name,
                     char **out)
{
    const struct scan_text *value = &member->value;
    enum value_kind kind = value_kind(value);
    char what[80];

    *out = NULL;
    snprintf(what, sizeof(what), "env \"%.60s\"", name);
    if (kind == VALUE_STRING)
        return fields_text(f, value, what, out);
    if (kind != VALUE_NUMBER && kind != VALUE_BOOLEAN) {
        fields_complain(f, value, "%s must be a string, not %s; leave it out, or write \"\"", what,
                        value_kind_words(kind));
        return 0;
    }
    *out = strndup(value->p, value->len); /* as written: 1.50 stays 1.50 */
    return *out != NULL ? 0 : PILOT_ENOMEM;
}

/* "NAME=value" of one member. 0 and *out NULL: complained. */
static int env_entry(struct fields *f, const struct scan_member *member, char **out)
{
    char *name;
    char *value = NULL;
    int rc;

    if (is_plain(member))
        return plain_entry(member, out);
    rc = value_key(&member->key, &name);
    if (rc == PILOT_ENOMEM)
        return rc;
    if (rc == PILOT_EINVAL || name[0] == '\0' || strchr(name, '=') != NULL) {
        fields_complain(
            f, &member->key,
            "env \"%.60s\": a variable's name must not be empty, nor have '=' or NUL in it",
            rc == 0 ? name : "");
        rc = 0;
    } else {
        rc = env_value(f, member, name, &value);
    }
    if (value != NULL && asprintf(out, "%s=%s", name, value) < 0) {
        *out = NULL;
        rc = PILOT_ENOMEM;
    }
    free(value);
    free(name);
    return rc;
}

/* Complains about names that are there twice. */
static int check_twice(struct fields *f, const struct scan_text *value, char *const *env,
                       size_t count)
{
    char **sorted;

    if (count < 2)
        return 0;
    sorted = calloc(count + 1, sizeof(*sorted));
    if (sorted == NULL)
        return PILOT_ENOMEM;
    memcpy(sorted, env, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), lists_compare_env);
    for (size_t i = 1; i < count; i++)
        if (lists_compare_env(&sorted[i - 1], &sorted[i]) == 0)
            fields_complain(f, value, "env \"%.*s\" is given twice; remove one of them",
                            (int)strcspn(sorted[i], "="), sorted[i]);
    free(sorted);
    return 0;
}

int lists_env(struct fields *f, const struct scan_text *value, char ***out)
{
    uint64_t errors = f->complaints->total;
    char **env;
    size_t count = 0;
    int rc = 0;

    if (value_kind(value) != VALUE_OBJECT) {
        fields_complain(f, value, "env must be an object like {\"NAME\": \"value\"}, not %s",
                        value_kind_words(value_kind(value)));
        return 0;
    }
    if (!take_apart(f, value))
        return PILOT_ENOMEM;
    if (f->children.count == 0)
        return 0;
    env = calloc(f->children.count + 1, sizeof(*env));
    if (env == NULL)
        return PILOT_ENOMEM;
    for (size_t i = 0; i < f->children.count && rc == 0; i++) {
        rc = env_entry(f, &f->children.list[i], &env[count]);
        count += env[count] != NULL;
    }
    if (rc == 0)
        rc = check_twice(f, value, env, count);
    return finish_list(env, f->complaints->total == errors, rc, out);
}

/* Copies of what defaults have and own (sorted, owns entries) has not; PILOT_ENOMEM, or how many.
 */
static int copy_others(char **to, char *const *defaults, char **sorted_own, size_t own)
{
    int count = 0;

    for (size_t i = 0; defaults[i] != NULL; i++) {
        if (own > 0 &&
            bsearch(&defaults[i], sorted_own, own, sizeof(*sorted_own), lists_compare_env) != NULL)
            continue;
        to[count] = strdup(defaults[i]);
        if (to[count++] == NULL)
            return PILOT_ENOMEM;
    }
    return count;
}

int lists_merge_env(char ***env, char *const *defaults)
{
    size_t own = strv_len(*env);
    char **merged = calloc(own + strv_len(defaults) + 1, sizeof(*merged));
    char **in_order = calloc(own + 1, sizeof(*in_order));
    int count = PILOT_ENOMEM;

    if (merged != NULL && in_order != NULL) {
        if (own > 0) {
            memcpy(in_order, *env, own * sizeof(*in_order));
            qsort(in_order, own, sizeof(*in_order), lists_compare_env);
        }
        count = copy_others(merged, defaults, in_order, own);
    }
    free(in_order);
    if (count < 0) {
        strv_free(merged);
        return PILOT_ENOMEM;
    }
    if (own > 0)
        memcpy(merged + count, *env, own * sizeof(*merged));
    free(*env);
    *env = merged;
    return 0;
}
