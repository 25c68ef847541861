/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the fields of a task, their types and limits, and the defaults. Must not know where the
 * object came from, nor what other tasks there are. A field that is wrong is complained about and
 * left out, so that one reading finds all that is wrong. */
#include "input/fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/units.h"
#include "input/ids.h"
#include "input/limits.h"
#include "input/lists.h"
#include "input/value.h"

const char *const field_names[FIELD_COUNT + 1] = {
    [FIELD_ID] = "id",
    [FIELD_COMMAND] = "command",
    [FIELD_CORES] = "cores",
    [FIELD_TIMEOUT] = "timeout",
    [FIELD_TIME_ESTIMATE] = "time_estimate",
    [FIELD_MEMORY] = "memory",
    [FIELD_PRIORITY] = "priority",
    [FIELD_MAX_RETRIES] = "max_retries",
    [FIELD_ENV] = "env",
    [FIELD_TAGS] = "tags",
    [FIELD_WORKDIR] = "workdir",
    [FIELD_STDIN] = "stdin",
    [FIELD_DEPENDS_ON] = "depends_on",
};

/* Known and without meaning: the counter that pilot.py writes into its task files. */
static const char *const ignored_name = "retries";

void fields_init(struct fields *f, struct complaints *complaints,
                 const struct taskfile_config *config)
{
    memset(f, 0, sizeof(*f));
    f->complaints = complaints;
    f->config = config;
    task_spec_init(&f->defaults);
}

void fields_fini(struct fields *f)
{
    task_spec_fini(&f->defaults);
    scan_members_fini(&f->children);
}

void fields_complain(struct fields *f, const struct scan_text *value, const char *fmt, ...)
{
    struct place place = f->place;
    va_list ap;

    place.line = f->line;
    for (const char *p = f->start; p < value->p; p++)
        place.line += *p == '\n';
    va_start(ap, fmt);
    complain_v(f->complaints, &place, fmt, ap);
    va_end(ap);
}

/* How much of a number a message shows. */
static int shown_len(const struct scan_text *value)
{
    return value->len > 40 ? 40 : (int)value->len;
}

int fields_text(struct fields *f, const struct scan_text *value, const char *what, char **out)
{
    enum value_kind kind = value_kind(value);
    int rc;

    *out = NULL;
    if (kind != VALUE_STRING) {
        fields_complain(f, value, "%s must be a string, not %s; put it in double quotes", what,
                        value_kind_words(kind));
        return 0;
    }
    rc = value_string(value, out);
    if (rc != PILOT_EINVAL)
        return rc;
    fields_complain(f, value, "%s has a NUL (\\u0000) in it; remove it", what);
    return 0;
}

static bool is_blank(const char *text)
{
    return (unsigned char)*text <= ' ' && text[strspn(text, " \t\r\n")] == '\0';
}

int fields_string(struct fields *f, const struct scan_text *value, const char *what, char **out)
{
    int rc = fields_text(f, value, what, out);

    if (rc == 0 && *out != NULL && is_blank(*out)) {
        fields_complain(f, value, "%s is empty; fill it in or leave it out", what);
        free(*out);
        *out = NULL;
    }
    return rc;
}

int fields_id(struct fields *f, const struct scan_text *value, const char *what, char **out)
{
    enum value_kind kind = value_kind(value);

    *out = NULL;
    if (kind == VALUE_STRING)
        return fields_string(f, value, what, out);
    if (value_is_integer(value)) {
        *out = strndup(value->p, value->len);
        return *out != NULL ? 0 : PILOT_ENOMEM;
    }
    if (kind == VALUE_NUMBER)
        fields_complain(f, value,
                        "%s must be a string or a whole number, not %.*s; put it in quotes", what,
                        shown_len(value), value->p);
    else
        fields_complain(f, value, "%s must be a string, not %s; put it in double quotes", what,
                        value_kind_words(kind));
    return 0;
}

/* A number between min and max. 1; 0: complained; or PILOT_ENOMEM. */
static int number_between(struct fields *f, const struct scan_text *value, enum field field,
                          double min, double max, double *out)
{
    const char *name = field_names[field];
    enum value_kind kind = value_kind(value);
    int rc;

    if (kind != VALUE_NUMBER) {
        fields_complain(f, value, "%s must be a number, not %s; write it like \"%s\": 2", name,
                        value_kind_words(kind), name);
        return 0;
    }
    rc = value_number(value, out);
    if (rc == PILOT_ENOMEM)
        return rc;
    if (rc == 0 && *out >= min && *out <= max)
        return 1;
    fields_complain(f, value, "%s is out of range: %.*s; it must be from %.0f to %.0f", name,
                    shown_len(value), value->p, min, max);
    return 0;
}

/* The same for whole numbers; 2.0 is one. */
static int integer_between(struct fields *f, const struct scan_text *value, enum field field,
                           double min, double max, double *out)
{
    int rc = number_between(f, value, field, min, max, out);

    if (rc != 1 || *out == floor(*out))
        return rc;
    fields_complain(f, value, "%s must be a whole number, not %.*s; it must be from %.0f to %.0f",
                    field_names[field], shown_len(value), value->p, min, max);
    return 0;
}

static int read_command(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    enum value_kind kind = value_kind(value);

    if (kind == VALUE_ARRAY)
        return lists_argv(f, value, &spec->argv);
    if (kind == VALUE_STRING)
        return fields_string(f, value, "command", &spec->command);
    fields_complain(f, value,
                    "command must be a string for the shell or an array of strings, not %s",
                    value_kind_words(kind));
    return 0;
}

static int read_cores(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    double cores;
    int rc = integer_between(f, value, FIELD_CORES, 1, CORES_MAX, &cores);

    if (rc != 1)
        return rc;
    if (f->config != NULL && f->config->max_cores > 0 && cores > f->config->max_cores)
        fields_complain(f, value, "cores is %.0f, but %s; ask for at most %u", cores,
                        f->config->max_cores_of != NULL ? f->config->max_cores_of
                                                        : "no node has so many",
                        f->config->max_cores);
    else
        spec->cores = (uint32_t)cores;
    return 0;
}

/* A number of seconds as milliseconds. 0, or PILOT_ENOMEM. */
static int read_seconds(struct fields *f, const struct scan_text *value, enum field field,
                        int64_t *out_ms)
{
    double seconds;
    int rc = number_between(f, value, field, 0, TIMEOUT_MAX_S, &seconds);

    if (rc != 1 || seconds == 0)
        return rc < 0 ? rc : 0;
    /* Up to whole milliseconds, but 0.07 s is 70 ms although 0.07 * 1000 is a little more. */
    *out_ms = (int64_t)ceil(seconds * 1000 - (1e-6 + 1e-12 * seconds));
    if (*out_ms == 0)
        *out_ms = 1;
    return 0;
}

static int read_timeout(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    return read_seconds(f, value, FIELD_TIMEOUT, &spec->timeout_ms);
}

static int read_estimate(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    return read_seconds(f, value, FIELD_TIME_ESTIMATE, &spec->estimate_ms);
}

static void check_memory(struct fields *f, const struct scan_text *value,
                         const struct task_spec *spec)
{
    char given[32], most[32];

    if (f->config == NULL || f->config->max_memory == 0 || spec->memory <= f->config->max_memory)
        return;
    fields_complain(f, value, "memory is %s, but %s; ask for at most %s",
                    units_size_text(spec->memory, given, sizeof(given)),
                    f->config->max_memory_of != NULL ? f->config->max_memory_of
                                                     : "no node has so much",
                    units_size_below(f->config->max_memory, most, sizeof(most)));
}

/* Bytes as a number, or a string like "2G". */
static int read_memory(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    enum value_kind kind = value_kind(value);
    double bytes;
    char *text;
    int rc;

    if (kind == VALUE_NUMBER) {
        rc = integer_between(f, value, FIELD_MEMORY, 0, (double)UNITS_SIZE_MAX, &bytes);
        if (rc == 1) {
            spec->memory = (int64_t)bytes;
            check_memory(f, value, spec);
        }
        return rc < 0 ? rc : 0;
    }
    if (kind != VALUE_STRING) {
        fields_complain(f, value,
                        "memory must be a number of bytes or a string like \"2G\", not %s",
                        value_kind_words(kind));
        return 0;
    }
    rc = fields_string(f, value, "memory", &text);
    if (rc == 0 && text != NULL && !units_parse_size(text, &spec->memory))
        fields_complain(f, value,
                        "memory \"%.40s\" is not a size; write it like \"2G\" or \"500M\"", text);
    else if (rc == 0 && text != NULL)
        check_memory(f, value, spec);
    if (rc == 0)
        free(text);
    return rc;
}

static int read_priority(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    double priority;
    int rc = integer_between(f, value, FIELD_PRIORITY, INT32_MIN, INT32_MAX, &priority);

    if (rc != 1)
        return rc;
    spec->priority = (int32_t)priority;
    return 0;
}

static int read_max_retries(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    double retries;
    int rc = integer_between(f, value, FIELD_MAX_RETRIES, 0, RETRIES_MAX, &retries);

    if (rc != 1)
        return rc;
    spec->max_retries = (uint32_t)retries;
    return 0;
}

static int read_env(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    return lists_env(f, value, &spec->env);
}

static int read_tags(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    (void)f;
    spec->tags = value_compact(value);
    return spec->tags != NULL ? 0 : PILOT_ENOMEM;
}

static int read_workdir(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    return fields_string(f, value, "workdir", &spec->workdir);
}

static int read_stdin(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    return fields_string(f, value, "stdin", &spec->stdin_path);
}

static int read_depends_on(struct fields *f, const struct scan_text *value, struct task_spec *spec)
{
    return lists_ids(f, value, &spec->depends_on);
}

typedef int read_f(struct fields *f, const struct scan_text *value, struct task_spec *spec);

static read_f *const readers[FIELD_COUNT] = {
    [FIELD_COMMAND] = read_command,
    [FIELD_CORES] = read_cores,
    [FIELD_TIMEOUT] = read_timeout,
    [FIELD_TIME_ESTIMATE] = read_estimate,
    [FIELD_MEMORY] = read_memory,
    [FIELD_PRIORITY] = read_priority,
    [FIELD_MAX_RETRIES] = read_max_retries,
    [FIELD_ENV] = read_env,
    [FIELD_TAGS] = read_tags,
    [FIELD_WORKDIR] = read_workdir,
    [FIELD_STDIN] = read_stdin,
    [FIELD_DEPENDS_ON] = read_depends_on,
};

static int note_unknown(struct fields *f, const struct scan_member *member)
{
    char *name;
    int rc = value_key(&member->key, &name);

    if (rc == PILOT_ENOMEM)
        return rc;
    complain_unknown(f->complaints, &f->place, rc == 0 ? name : "(with a NUL)");
    free(name);
    return 0;
}

static enum field field_of(const struct scan_text *key)
{
    static unsigned char lengths[FIELD_COUNT];
    unsigned field = 0;

    if (lengths[0] == 0)
        for (unsigned i = 0; i < FIELD_COUNT; i++)
            lengths[i] = (unsigned char)strlen(field_names[i]);
    for (unsigned i = 0; i < FIELD_COUNT; i++)
        if (lengths[i] == key->len && memcmp(key->p, field_names[i], key->len) == 0)
            return (enum field)i;
    while (field < FIELD_COUNT && !value_key_is(key, field_names[field])) /* with escapes */
        field++;
    return (enum field)field;
}

/* Notes which fields the object has, into f->found. False: some are unknown or there twice. */
static bool find_fields(struct fields *f, const struct scan_members *members)
{
    unsigned seen = 0;
    bool good = true;

    memset(f->found, 0, sizeof(f->found));
    for (size_t i = 0; i < members->count; i++) {
        const struct scan_member *member = &members->list[i];
        enum field field = field_of(&member->key);

        if (field == FIELD_COUNT || seen & (1u << field))
            good = false;
        else if (value_kind(&member->value) != VALUE_NULL)
            f->found[field] = member->value;
        if (field < FIELD_COUNT)
            seen |= 1u << field;
    }
    return good;
}

/* After find_fields, and when the id of the task is known: what find_fields came across. */
static int complain_of_members(struct fields *f, const struct scan_members *members)
{
    unsigned seen = 0;
    int rc = 0;

    for (size_t i = 0; i < members->count && rc == 0; i++) {
        const struct scan_member *member = &members->list[i];
        enum field field = field_of(&member->key);

        if (field < FIELD_COUNT && seen & (1u << field))
            fields_complain(f, &member->key, "\"%s\" is given twice; remove one of them",
                            field_names[field]);
        else if (field < FIELD_COUNT)
            seen |= 1u << field;
        else if (!value_key_is(&member->key, ignored_name))
            rc = note_unknown(f, member);
    }
    return rc;
}

static int read_id(struct fields *f, struct task_spec *spec)
{
    const struct scan_text *value = &f->found[FIELD_ID];
    char why[160];
    char *id;
    int rc;

    if (value->p == NULL)
        return 0;
    rc = fields_id(f, value, "id", &id);
    if (rc < 0 || id == NULL)
        return rc;
    if (id_check(id, f->config != NULL ? f->config->reserved : NULL, why, sizeof(why))) {
        spec->id = id;
        f->place.id = id;
        return 0;
    }
    fields_complain(f, value, "id '%.100s%s' %s", id, strlen(id) > 100 ? "..." : "", why);
    free(id);
    return 0;
}

int fields_begin(struct fields *f, const struct scan_text *object,
                 const struct scan_members *members, unsigned line, uint64_t number,
                 struct task_spec *spec)
{
    bool good;
    int rc;

    f->start = object->p;
    f->line = line;
    f->place = (struct place){.line = line, .number = number};
    f->found[FIELD_ID].p = NULL; /* find_fields clears all */
    if (value_kind(object) != VALUE_OBJECT) {
        fields_complain(f, object, "a task must be an object like {\"command\": \"...\"}, not %s",
                        value_kind_words(value_kind(object)));
        return 0;
    }
    good = find_fields(f, members);
    rc = read_id(f, spec);
    return rc == 0 && !good ? complain_of_members(f, members) : rc;
}

static int copy_string(char **out, const char *from)
{
    *out = strdup(from);
    return *out != NULL ? 0 : PILOT_ENOMEM;
}

static int copy_list(char ***out, char *const *from)
{
    *out = strv_dup(from);
    return *out != NULL || from == NULL ? 0 : PILOT_ENOMEM;
}

static bool names_task(char *const *ids, const char *id)
{
    for (; ids != NULL && *ids != NULL; ids++)
        if (id != NULL && strcmp(*ids, id) == 0)
            return true;
    return false;
}

/* One field that the defaults have and the task has not. */
static int inherit(const struct task_spec *from, enum field field, struct task_spec *spec)
{
    switch (field) {
    case FIELD_COMMAND:
        if (from->command != NULL)
            return copy_string(&spec->command, from->command);
        return copy_list(&spec->argv, from->argv);
    case FIELD_CORES:
        spec->cores = from->cores;
        return 0;
    case FIELD_TIMEOUT:
        spec->timeout_ms = from->timeout_ms;
        return 0;
    case FIELD_TIME_ESTIMATE:
        spec->estimate_ms = from->estimate_ms;
        return 0;
    case FIELD_MEMORY:
        spec->memory = from->memory;
        return 0;
    case FIELD_PRIORITY:
        spec->priority = from->priority;
        return 0;
    case FIELD_MAX_RETRIES:
        spec->max_retries = from->max_retries;
        return 0;
    case FIELD_TAGS:
        return from->tags != NULL ? copy_string(&spec->tags, from->tags) : 0;
    case FIELD_WORKDIR:
        return from->workdir != NULL ? copy_string(&spec->workdir, from->workdir) : 0;
    case FIELD_STDIN:
        return from->stdin_path != NULL ? copy_string(&spec->stdin_path, from->stdin_path) : 0;
    case FIELD_DEPENDS_ON:
        /* What all others wait for does not wait for itself. */
        return names_task(from->depends_on, spec->id)
                   ? 0
                   : copy_list(&spec->depends_on, from->depends_on);
    case FIELD_ENV: /* merged by name, by the caller */
    case FIELD_ID:
    case FIELD_COUNT:
        break;
    }
    return 0;
}

int fields_finish(struct fields *f, struct task_spec *spec)
{
    char why[200];
    int rc = 0;

    for (unsigned field = FIELD_COMMAND; field < FIELD_COUNT && rc == 0; field++) {
        if (f->found[field].p != NULL)
            rc = readers[field](f, &f->found[field], spec);
        else if (f->defaulted & (1u << field))
            rc = inherit(&f->defaults, (enum field)field, spec);
    }
    if (rc == 0 && f->defaults.env != NULL)
        rc = lists_merge_env(&spec->env, f->defaults.env);
    if (rc == 0 && f->found[FIELD_COMMAND].p == NULL && !(f->defaulted & (1u << FIELD_COMMAND)))
        complain(f->complaints, &f->place, "there is no command; add \"command\": \"what to run\"");
    if (rc == 0 && f->config != NULL && !limits_check(spec, why, sizeof(why)))
        complain(f->complaints, &f->place, "%s", why);
    return rc;
}

int fields_set_defaults(struct fields *f, const struct scan_text *value, unsigned line)
{
    struct scan_members members = {0};
    struct scan_fail fail = {0};
    int rc = 0;

    f->start = value->p;
    f->line = line;
    f->place = (struct place){.line = line, .part = "defaults"};
    if (value_kind(value) == VALUE_NULL)
        return 0;
    if (value_kind(value) != VALUE_OBJECT) {
        fields_complain(f, value, "\"defaults\" must be an object of fields, not %s",
                        value_kind_words(value_kind(value)));
        return 0;
    }
    if (scan_value(value->p, value->p + value->len, &members, &fail) == NULL)
        rc = PILOT_ENOMEM;
    if (rc == 0 && !find_fields(f, &members))
        rc = complain_of_members(f, &members);
    if (rc == 0 && f->found[FIELD_ID].p != NULL)
        fields_complain(f, &f->found[FIELD_ID],
                        "\"id\" cannot have a default; give each task its own");
    for (unsigned field = FIELD_COMMAND; field < FIELD_COUNT && rc == 0; field++) {
        if (f->found[field].p == NULL)
            continue;
        f->defaulted |= 1u << field;
        rc = readers[field](f, &f->found[field], &f->defaults);
    }
    scan_members_fini(&members);
    return rc;
}
