/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the way of a task from an element of the text to the caller, in every form of a task file,
 * and the ids of tasks that were given none. Must not look at single fields (fields.c) or brackets
 * (split.c), nor know whether the text is whole (taskfile.c) or comes piece by piece (stream.c). */
#include "input/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/error.h"
#include "input/limits.h"
#include "input/text.h"
#include "input/value.h"

#define TOP_WARNINGS_MAX 20
#define FORESEE_FIRST 1000 /* tasks */
#define FORESEE 32

/* ---- Ids of tasks that have none ------------------------------------------------------------- */

/* Is the string at p the value of an "id"? */
static bool is_id_value(const char *begin, const char *p)
{
    while (p > begin && strchr(" \t\r\n", p[-1]) != NULL)
        p--;
    if (p == begin || *--p != ':')
        return false;
    while (p > begin && strchr(" \t\r\n", p[-1]) != NULL)
        p--;
    return p - begin >= 4 && memcmp(p - 4, "\"id\"", 4) == 0;
}

static int add_given(struct reader *r, const char *text, size_t len)
{
    char *id;

    if (r->given_count == r->given_cap) {
        size_t cap = r->given_cap ? r->given_cap * 2 : 64;
        char **list = reallocarray(r->given_list, cap, sizeof(*list));

        if (list == NULL)
            return PILOT_ENOMEM;
        r->given_list = list;
        r->given_cap = cap;
    }
    id = strndup(text, len);
    if (id == NULL)
        return PILOT_ENOMEM;
    r->given_list[r->given_count++] = id;
    return strmap_get(&r->given, id, NULL) ? 0 : strmap_add(&r->given, id, 0);
}

static int find_given_in(struct reader *r, const char *begin, const char *end)
{
    static const char start[] = "\"task-";
    const char *p = begin;
    int rc = 0;

    while (rc == 0 && (p = memmem(p, (size_t)(end - p), start, sizeof(start) - 1)) != NULL) {
        const char *quote = memchr(p + 1, '"', (size_t)(end - p - 1));

        if (quote != NULL && quote - p < 40 && is_id_value(begin, p))
            rc = add_given(r, p + 1, (size_t)(quote - p - 1));
        p += sizeof(start) - 1;
    }
    return rc;
}

/* Collects the ids of the whole file that begin like generated ones: also those of later tasks must
 * stay free, and tasks are handed out before the later ones are read. (In a stream the later ones
 * are not known; there such an id is a duplicate, and the file is to be mended.) */
static int find_given(struct reader *r)
{
    char *text;
    size_t len;
    int rc;

    r->given_known = true;
    if (r->again == NULL)
        return find_given_in(r, r->split.begin, r->split.end);
    rc = r->again(r->again_arg, &text, &len);
    if (rc < 0)
        return rc;
    rc = find_given_in(r, text, text + len);
    free(text);
    return rc;
}

/* FNV-1a, 64 bit. */
static uint64_t hash_of(const char *p, size_t len)
{
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)p[i]) * 1099511628211u;
    return h;
}

/* "task-N", N being the place of the task in the file; by content, "auto-" and a hash of its
 * text: so that adding the same text again is seen to be the same task. */
static int generate_id(struct reader *r, const struct split_element *e, struct task_spec *spec)
{
    int rc = r->given_known || r->parked != NULL ? 0 : find_given(r);
    char start[32], id[64];

    if (rc < 0)
        return rc;
    if (r->config->ids_by_content)
        snprintf(start, sizeof(start), "auto-%016" PRIx64, hash_of(e->text.p, e->text.len));
    else
        snprintf(start, sizeof(start), "task-%" PRIu64, r->number);
    snprintf(id, sizeof(id), "%s", start);
    for (unsigned n = 2; strmap_get(&r->given, id, NULL) || graph_has(&r->graph, id); n++)
        snprintf(id, sizeof(id), "%s-%u", start, n);
    spec->id = strdup(id);
    return spec->id != NULL ? 0 : PILOT_ENOMEM;
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

int reader_hand_out(struct reader *r, const struct task_spec *spec, unsigned line)
{
    int rc;

    if (r->complaints.total > 0 || (spec->command == NULL && spec->argv == NULL))
        return 0;
    rc = r->ops->task(r->ops->arg, spec, line, r->err);
    r->callback_rc = rc < 0;
    return rc < 0 ? rc : 0;
}

void reader_complain_twice(struct reader *r, const char *id, unsigned line, unsigned first_line)
{
    struct place place = {.line = line, .id = id};

    complain(&r->complaints, &place,
             "duplicate id, first used on line %u; give each task an id of its own", first_line);
}

static int add_to_graph(struct reader *r, const struct task_spec *spec, unsigned line)
{
    struct place place = {.line = line, .id = spec->id};
    unsigned first_line;
    int rc = graph_add(&r->graph, spec->id, line, spec->depends_on, &first_line);

    if (rc == PILOT_EEXIST)
        reader_complain_twice(r, spec->id, line, first_line);
    else if (rc == PILOT_EINVAL)
        complain(&r->complaints, &place, "more tasks than the pilot can number; split the file");
    else
        return rc;
    return 0;
}

static int take_task(struct reader *r, const struct task_spec *spec, unsigned line)
{
    int rc;

    if (r->parked != NULL)
        return parked_offer(r->parked, r, spec, line);
    rc = add_to_graph(r, spec, line);
    return rc == 0 ? reader_hand_out(r, spec, line) : rc;
}

/* Is it too much text for one task? */
static bool refuse_size(struct reader *r, const struct split_element *e, struct place place)
{
    if (e->text.len <= TASK_TEXT_MAX)
        return false;
    place.line = e->line;
    complain(&r->complaints, &place,
             "%zu bytes of text, more than the %u MiB that one task may have; put the data into "
             "a file that the task reads",
             e->text.len, TASK_TEXT_MAX >> 20);
    return true;
}

static int read_task(struct reader *r, const struct split_element *e, struct task_spec *spec)
{
    int rc;

    if (refuse_size(r, e, (struct place){.number = r->number})) {
        r->incomplete = true;
        return 0;
    }
    rc = fields_begin(&r->fields, &e->text, &r->split.members, e->line, r->number, spec);

    if (rc < 0)
        return rc;
    if (value_kind(&e->text) != VALUE_OBJECT) {
        r->incomplete = true;
        return 0;
    }
    if (spec->id == NULL && r->fields.found[FIELD_ID].p == NULL)
        rc = generate_id(r, e, spec);
    if (spec->id != NULL)
        graph_expect(&r->graph, spec->id);
    if (rc == 0)
        rc = fields_finish(&r->fields, spec);
    if (rc == 0 && spec->id != NULL)
        return take_task(r, spec, e->line);
    r->incomplete = true;
    return rc;
}

void reader_complain_syntax(struct reader *r, const struct scan_fail *fail, uint64_t number)
{
    struct place place = {
        .line = split_line_of(&r->split, fail->at),
        .column = split_column_of(&r->split, fail->at),
        .number = number,
    };

    complain(&r->complaints, &place, "not valid JSON: %s", fail->text);
    r->incomplete = true;
}

/* By the tasks so far, which may be like the others: lists that are made once need not be moved.
 * May be: so room is made for no more than FORESEE times as many, and once more when they are
 * there. */
static int foresee(struct reader *r)
{
    const struct split *s = &r->split;
    double done = (double)r->before + (double)(s->p - s->begin);
    double left = (r->again != NULL ? (double)r->size : (double)(s->end - s->begin)) - done;
    double as_many = left > 0 ? left / done : 0;
    size_t tasks = (size_t)((as_many < FORESEE ? as_many : FORESEE) * (double)r->number);
    int rc = graph_reserve(&r->graph, tasks);

    if (rc == 0 && r->ops->expect != NULL)
        rc = r->ops->expect(r->ops->arg, tasks);
    r->foresee_at = r->number * FORESEE;
    return rc;
}

/* What comes piece by piece is read up to the first thing that is wrong: where the next task would
 * begin may not have come yet. */
static bool has_failed(const struct reader *r)
{
    return r->parked != NULL && r->complaints.total > 0;
}

int reader_tasks(struct reader *r)
{
    struct split_element e;
    struct task_spec spec;
    int rc;

    task_spec_init(&spec);
    while (!has_failed(r) && (rc = split_next(&r->split, &e)) != 0) {
        r->number += rc == 1 || e.is_task;
        if (rc == PILOT_EINVAL) {
            reader_complain_syntax(r, &r->split.fail, e.is_task ? r->number : 0);
            continue;
        }
        if (rc < 0)
            return rc;
        if (r->number == r->foresee_at && r->parked == NULL && (rc = foresee(r)) < 0)
            return rc;
        rc = read_task(r, &e, &spec);
        task_spec_fini(&spec);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- A list of commands ---------------------------------------------------------------------- */

/* A command that is no text, or none that is complete. */
static bool refuse_command(struct reader *r, const struct split_element *e, struct place place)
{
    const char *broken = text_not_utf8(e->text.p, e->text.len);
    size_t backslashes = 0;

    if (memchr(e->text.p, '\0', e->text.len) != NULL) {
        complain(&r->complaints, &place,
                 "the command has a NUL byte in it; is this a text file at all?");
        return true;
    }
    if (broken != NULL) {
        place.column = split_column_of(&r->split, broken);
        complain(&r->complaints, &place,
                 "the byte 0x%02x in the command is not UTF-8; save the file as UTF-8",
                 (unsigned char)*broken);
        return true;
    }
    while (backslashes < e->text.len && e->text.p[e->text.len - 1 - backslashes] == '\\')
        backslashes++;
    if (backslashes % 2 == 0)
        return false;
    complain(&r->complaints, &place,
             "the command ends in a backslash, but it cannot go on on the next line; write each "
             "command on one line");
    return true;
}

static int read_command(struct reader *r, const struct split_element *e, struct task_spec *spec)
{
    struct place place = {.line = e->line};
    char why[200];

    if (r->config->ids_by_content) {
        int rc = generate_id(r, e, spec);

        if (rc == 0)
            rc = graph_add(&r->graph, spec->id, e->line, NULL, &(unsigned){0});
        if (rc < 0)
            return rc;
    } else if (asprintf(&spec->id, "%" PRIu64, r->number) < 0) {
        spec->id = NULL;
        return PILOT_ENOMEM;
    }
    place.id = spec->id;
    if (refuse_size(r, e, place) || refuse_command(r, e, place))
        return 0;
    spec->command = strndup(e->text.p, e->text.len);
    if (spec->command == NULL)
        return PILOT_ENOMEM;
    if (!limits_check(spec, why, sizeof(why)))
        complain(&r->complaints, &place, "%s", why);
    return r->parked != NULL ? parked_offer(r->parked, r, spec, e->line)
                             : reader_hand_out(r, spec, e->line);
}

/* A file that is called JSON and does not look like it is read all the same, but not silently. */
void reader_warn_of_name(struct reader *r)
{
    const char *dot = strrchr(r->complaints.file, '.');
    char text[COMPLAINT_LINE_MAX];

    if (dot == NULL || r->ops->warn == NULL ||
        (strcasecmp(dot, ".json") != 0 && strcasecmp(dot, ".jsonl") != 0))
        return;
    snprintf(text, sizeof(text),
             "%.200s: read as a list of shell commands, since it starts with neither '[' nor '{'",
             r->complaints.file);
    r->ops->warn(r->ops->arg, text);
}

int reader_commands(struct reader *r)
{
    struct split_element e;
    struct task_spec spec;
    int rc = 0;

    task_spec_init(&spec);
    while (!has_failed(r) && (rc = split_next(&r->split, &e)) == 1) {
        r->number++;
        rc = read_command(r, &e, &spec);
        task_spec_fini(&spec);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

void reader_want_commands(struct reader *r)
{
    if (r->number == 0)
        complain(&r->complaints, &(struct place){0},
                 "there are only comments in it; write one shell command a line");
}

/* ---- The object form ------------------------------------------------------------------------- */

/* A member of the whole object that is neither "tasks" nor "defaults". */
static int warn_of_member(struct reader *r, const struct scan_member *member)
{
    char text[COMPLAINT_LINE_MAX];
    char *name;
    int rc = value_key(&member->key, &name);

    if (rc == PILOT_ENOMEM)
        return rc;
    snprintf(text, sizeof(text),
             "%.120s:%u: \"%.60s\" is ignored; a task file has \"tasks\" and \"defaults\"",
             r->complaints.file, split_line_of(&r->split, member->key.p), rc == 0 ? name : "?");
    free(name);
    text_make_printable(text);
    r->ops->warn(r->ops->arg, text);
    return 0;
}

/* The members of the whole object, as far as the split has them. */
static int check_members(struct reader *r)
{
    static const char *const names[] = {"tasks", "defaults"};
    unsigned seen[2] = {0, 0};
    unsigned warned = 0;

    for (size_t i = 0; i < r->split.members.count; i++) {
        const struct scan_member *member = &r->split.members.list[i];
        size_t n = 0;

        while (n < 2 && !value_key_is(&member->key, names[n]))
            n++;
        if (n < 2 && seen[n]++ == 1) {
            struct place place = {.line = split_line_of(&r->split, member->key.p)};

            complain(&r->complaints, &place, "\"%s\" is given twice; put all into one", names[n]);
        } else if (n == 2 && r->ops->warn != NULL && warned++ < TOP_WARNINGS_MAX) {
            int rc = warn_of_member(r, member);

            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

int reader_begin_object(struct reader *r)
{
    const struct scan_text *defaults = &r->split.defaults;
    int rc = check_members(r);

    if (rc == 0 && defaults->len > 0)
        rc = fields_set_defaults(&r->fields, defaults, split_line_of(&r->split, defaults->p));
    return rc;
}

/* Of an object that is there as a whole: its "defaults" may stand behind its tasks. */
static int read_object(struct reader *r)
{
    struct split *s = &r->split;
    struct scan_fail whole_fail = s->fail;
    struct place place = {.line = 1};
    int rc = reader_begin_object(r);

    if (rc < 0)
        return rc;
    /* Broken JSON hides the defaults, perhaps: then a missing command is not one more error. */
    if (s->whole_end == NULL && s->defaults.len == 0)
        r->fields.defaulted |= 1u << FIELD_COMMAND;
    if (s->tasks.p != NULL && s->tasks.p < s->end && *s->tasks.p == '[') {
        split_enter_tasks(s);
        rc = reader_tasks(r);
    } else if (s->tasks.p != NULL && s->tasks.len > 0) {
        place.line = split_line_of(s, s->tasks.p);
        complain(&r->complaints, &place, "\"tasks\" must be an array of objects, not %s",
                 value_kind_words(value_kind(&s->tasks)));
    } else if (s->whole_end != NULL) {
        complain(&r->complaints, &place, "there is no \"tasks\" beside \"defaults\"; add it");
    }
    if (rc < 0)
        return rc;
    if (s->whole_end == NULL && !r->incomplete)
        reader_complain_syntax(r, &whole_fail, 0);
    if (s->whole_end != NULL && scan_blank(s->whole_end, s->end) < s->end) {
        whole_fail.at = scan_blank(s->whole_end, s->end);
        snprintf(whole_fail.text, sizeof(whole_fail.text),
                 "there is more text behind the '}' that ends the object; remove it");
        reader_complain_syntax(r, &whole_fail, 0);
    }
    return 0;
}

/* What an unknown field may have been meant to be. In a lone object also the members of the object
 * form, as it was not recognised as one. */
static void warn_of_fields(struct reader *r)
{
    const char *names[FIELD_COUNT + 3];
    size_t count = 0;

    while (field_names[count] != NULL) {
        names[count] = field_names[count];
        count++;
    }
    if (r->split.form != SPLIT_ARRAY && r->number == 1) {
        names[count++] = "tasks";
        names[count++] = "defaults";
    }
    names[count] = NULL;
    complaints_warn(&r->complaints, names, r->ops);
}

/* ---- The whole ------------------------------------------------------------------------------- */

int reader_whole(struct reader *r)
{
    int rc;

    switch (r->split.form) {
    case SPLIT_EMPTY:
        complain(&r->complaints, &(struct place){0},
                 "the file is empty; write a JSON array of tasks, or one shell command a line");
        return 0;
    case SPLIT_COMMANDS:
        reader_warn_of_name(r);
        rc = reader_commands(r);
        if (rc == 0)
            reader_want_commands(r);
        return rc;
    case SPLIT_OBJECT:
        rc = read_object(r);
        break;
    default:
        rc = reader_tasks(r);
        break;
    }
    return rc;
}

void reader_init(struct reader *r, const char *name, const struct taskfile_config *config,
                 const struct taskfile_ops *ops)
{
    memset(r, 0, sizeof(*r));
    r->config = config;
    r->ops = ops;
    r->foresee_at = FORESEE_FIRST;
    complaints_init(&r->complaints, name);
    fields_init(&r->fields, &r->complaints, config);
    graph_init(&r->graph);
    strmap_init(&r->given);
}

void reader_fini(struct reader *r)
{
    for (size_t i = 0; i < r->given_count; i++)
        free(r->given_list[i]);
    free(r->given_list);
    strmap_fini(&r->given);
    graph_fini(&r->graph);
    fields_fini(&r->fields);
    split_fini(&r->split);
}

int reader_refuse_utf16(const char *name, const char *text, size_t len, struct pilot_error *err)
{
    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return err_set(err, PILOT_EINVAL, "%s: the file is UTF-16; save it as UTF-8", name);
    return 0;
}

int reader_result(struct reader *r, int rc)
{
    if (rc == 0 || !r->callback_rc)
        warn_of_fields(r);
    if (rc == 0)
        return complaints_result(&r->complaints, r->err);
    if (!r->callback_rc)
        err_set(r->err, rc, "%s: out of memory", r->complaints.file);
    return rc;
}
