/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the reading of one task file from its bytes to the caller's tasks, and the ids of tasks
 * that were given none. Must not look at single fields (fields.c) or brackets (split.c).
 *
 * The text is read into memory as a whole, though not its JSON tree: a mapped file that somebody
 * shortens meanwhile would end the pilot with SIGBUS, and a pipe cannot be mapped. */
#include "input/taskfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"
#include "common/strmap.h"
#include "input/complaints.h"
#include "input/fields.h"
#include "input/graph.h"
#include "input/limits.h"
#include "input/split.h"
#include "input/text.h"
#include "input/value.h"

#define TOP_WARNINGS_MAX 20
#define READ_BYTES 1048576

struct reader {
    const struct taskfile_config *config;
    const struct taskfile_ops *ops;
    struct pilot_error *err;
    struct split split;
    struct complaints complaints;
    struct fields fields;
    struct graph graph;
    uint64_t number;     /* tasks so far, those that are wrong included */
    bool incomplete;     /* the id of some task could not be read */
    bool callback_rc;    /* an error is the callback's, worded by it */
    bool given_known;    /* given holds ... */
    struct strmap given; /* ... the ids of the file that a generated one could be equal to */
    char **given_list;   /* owns its keys */
    size_t given_count, given_cap;
};

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

/* Collects the ids of the whole file that begin like generated ones: also those of later tasks must
 * stay free, and tasks are handed out before the later ones are read. */
static int find_given(struct reader *r)
{
    static const char start[] = "\"task-";
    const char *end = r->split.end;
    const char *p = r->split.begin;
    int rc = 0;

    while (rc == 0 && (p = memmem(p, (size_t)(end - p), start, sizeof(start) - 1)) != NULL) {
        const char *quote = memchr(p + 1, '"', (size_t)(end - p - 1));

        if (quote != NULL && quote - p < 40 && is_id_value(r->split.begin, p))
            rc = add_given(r, p + 1, (size_t)(quote - p - 1));
        p += sizeof(start) - 1;
    }
    r->given_known = true;
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
    int rc = r->given_known ? 0 : find_given(r);
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

/* Hands a task to the caller, unless the file is to be refused anyway. */
static int hand_out(struct reader *r, const struct task_spec *spec, unsigned line)
{
    int rc;

    if (r->complaints.total > 0 || (spec->command == NULL && spec->argv == NULL))
        return 0;
    rc = r->ops->task(r->ops->arg, spec, line, r->err);
    r->callback_rc = rc < 0;
    return rc < 0 ? rc : 0;
}

static int add_to_graph(struct reader *r, const struct task_spec *spec, unsigned line)
{
    struct place place = {.line = line, .id = spec->id};
    unsigned first_line;
    int rc = graph_add(&r->graph, spec->id, line, spec->depends_on, &first_line);

    if (rc == PILOT_EEXIST)
        complain(&r->complaints, &place,
                 "duplicate id, first used on line %u; give each task an id of its own",
                 first_line);
    else if (rc == PILOT_EINVAL)
        complain(&r->complaints, &place, "more tasks than the pilot can number; split the file");
    else
        return rc;
    return 0;
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
    if (rc == 0)
        rc = fields_finish(&r->fields, spec);
    if (rc == 0 && spec->id != NULL)
        rc = add_to_graph(r, spec, e->line);
    else
        r->incomplete = true;
    return rc == 0 ? hand_out(r, spec, e->line) : rc;
}

static void complain_syntax(struct reader *r, const struct scan_fail *fail, uint64_t number)
{
    struct place place = {
        .line = split_line_of(&r->split, fail->at),
        .column = split_column_of(&r->split, fail->at),
        .number = number,
    };

    complain(&r->complaints, &place, "not valid JSON: %s", fail->text);
    r->incomplete = true;
}

static int read_tasks(struct reader *r)
{
    struct split_element e;
    struct task_spec spec;
    int rc;

    while ((rc = split_next(&r->split, &e)) != 0) {
        r->number += rc == 1 || e.is_task;
        if (rc == PILOT_EINVAL) {
            complain_syntax(r, &r->split.fail, e.is_task ? r->number : 0);
            continue;
        }
        if (rc < 0)
            return rc;
        task_spec_init(&spec);
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
    return hand_out(r, spec, e->line);
}

/* A file that is called JSON and does not look like it is read all the same, but not silently. */
static void warn_of_name(struct reader *r)
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

static int read_commands(struct reader *r)
{
    struct split_element e;
    struct task_spec spec;
    int rc;

    warn_of_name(r);
    while ((rc = split_next(&r->split, &e)) == 1) {
        r->number++;
        task_spec_init(&spec);
        rc = read_command(r, &e, &spec);
        task_spec_fini(&spec);
        if (rc < 0)
            return rc;
    }
    if (rc == 0 && r->number == 0)
        complain(&r->complaints, &(struct place){0},
                 "there are only comments in it; write one shell command a line");
    return rc;
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

/* Reads "defaults" wherever they are, before the first task. */
static int read_defaults(struct reader *r)
{
    const struct scan_text *defaults = &r->split.defaults;

    if (defaults->len > 0)
        return fields_set_defaults(&r->fields, defaults, split_line_of(&r->split, defaults->p));
    /* Broken JSON hides them, perhaps: then a missing command is not one more error. */
    if (r->split.whole_end == NULL)
        r->fields.defaulted |= 1u << FIELD_COMMAND;
    return 0;
}

static int read_object(struct reader *r)
{
    struct split *s = &r->split;
    struct scan_fail whole_fail = s->fail;
    struct place place = {.line = 1};
    int rc = check_members(r);

    if (rc == 0)
        rc = read_defaults(r);
    if (rc < 0)
        return rc;
    if (s->tasks.p != NULL && s->tasks.p < s->end && *s->tasks.p == '[') {
        split_enter_tasks(s);
        rc = read_tasks(r);
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
        complain_syntax(r, &whole_fail, 0);
    if (s->whole_end != NULL && scan_blank(s->whole_end, s->end) < s->end) {
        whole_fail.at = scan_blank(s->whole_end, s->end);
        snprintf(whole_fail.text, sizeof(whole_fail.text),
                 "there is more text behind the '}' that ends the object; remove it");
        complain_syntax(r, &whole_fail, 0);
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

static int read_form(struct reader *r)
{
    int rc;

    switch (r->split.form) {
    case SPLIT_EMPTY:
        complain(&r->complaints, &(struct place){0},
                 "the file is empty; write a JSON array of tasks, or one shell command a line");
        return 0;
    case SPLIT_COMMANDS:
        return read_commands(r);
    case SPLIT_OBJECT:
        rc = read_object(r);
        break;
    default:
        rc = read_tasks(r);
        break;
    }
    if (rc < 0)
        return rc;
    return graph_check(&r->graph, r->ops, !r->incomplete, &r->complaints);
}

static void reader_fini(struct reader *r)
{
    for (size_t i = 0; i < r->given_count; i++)
        free(r->given_list[i]);
    free(r->given_list);
    strmap_fini(&r->given);
    graph_fini(&r->graph);
    fields_fini(&r->fields);
    split_fini(&r->split);
}

static bool is_utf16(const char *text, size_t len)
{
    return len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0);
}

int64_t taskfile_read_text(const char *name, const char *text, size_t len,
                           const struct taskfile_config *config, const struct taskfile_ops *ops,
                           struct pilot_error *err)
{
    struct reader r = {.config = config, .ops = ops, .err = err};
    int rc;

    if (is_utf16(text, len))
        return err_set(err, PILOT_EINVAL, "%s: the file is UTF-16; save it as UTF-8", name);
    complaints_init(&r.complaints, name);
    fields_init(&r.fields, &r.complaints, config);
    graph_init(&r.graph);
    strmap_init(&r.given);
    rc = split_init(&r.split, text, len);
    if (rc == 0)
        rc = read_form(&r);
    if (rc == 0 || !r.callback_rc)
        warn_of_fields(&r);
    if (rc == 0)
        rc = complaints_result(&r.complaints, err);
    else if (!r.callback_rc)
        err_set(err, rc, "%s: out of memory", name);
    reader_fini(&r);
    return rc < 0 ? rc : (int64_t)r.number;
}

/* Reads fd to its end into fresh memory; hint: how much is likely to come. */
static int read_fd(int fd, const char *name, size_t hint, char **text, size_t *len,
                   struct pilot_error *err)
{
    size_t cap = hint + READ_BYTES;
    char *data = malloc(cap);
    size_t used = 0;
    ssize_t n = 1;

    while (data != NULL && n != 0) {
        n = read(fd, data + used, cap - used);
        if (n < 0 && errno != EINTR) {
            int errnum = errno;

            free(data);
            return err_set_errno(err, PILOT_EIO, errnum, "%s: cannot be read", name);
        }
        used += n > 0 ? (size_t)n : 0;
        if (used == cap) {
            char *more = realloc(data, cap * 2);

            if (more == NULL)
                free(data);
            data = more;
            cap *= 2;
        }
    }
    if (data == NULL)
        return err_set(err, PILOT_ENOMEM, "%s: out of memory", name);
    *text = data;
    *len = used;
    return 0;
}

static int read_file(const char *path, char **text, size_t *len, struct pilot_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int rc;

    if (fd < 0 && errno == ENOENT)
        return err_set(err, PILOT_ENOENT, "%s: there is no such file; name the file with the tasks",
                       path);
    if (fd < 0)
        return err_set_errno(err, PILOT_EIO, errno, "%s: cannot be opened", path);
    if (fstat(fd, &st) < 0)
        st.st_size = 0;
    else if (S_ISDIR(st.st_mode)) {
        close(fd);
        return err_set(err, PILOT_EIO, "%s: is a directory; name the task file in it", path);
    }
    rc = read_fd(fd, path, st.st_size > 0 ? (size_t)st.st_size : 0, text, len, err);
    close(fd);
    return rc;
}

int64_t taskfile_read(const char *path, const struct taskfile_config *config,
                      const struct taskfile_ops *ops, struct pilot_error *err)
{
    const char *name = path;
    char *text = NULL;
    size_t len = 0;
    int64_t rc;

    if (strcmp(path, "-") == 0) {
        name = "standard input";
        rc = read_fd(STDIN_FILENO, name, 0, &text, &len, err);
    } else {
        rc = read_file(path, &text, &len, err);
    }
    if (rc < 0)
        return rc;
    rc = taskfile_read_text(name, text, len, config, ops, err);
    free(text);
    return rc;
}
