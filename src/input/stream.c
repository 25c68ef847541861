/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: cutting a text that comes in any portions into pieces of whole tasks, which go the way of a
 * whole file (reader.h, split.h). Brackets are counted byte by byte, going on where the last
 * portion ended, so that a task that comes slowly is not scanned again and again; the strict
 * grammar sees only what is complete. Must not look into a task. */
#include "input/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "input/limits.h"
#include "input/reader.h"

/* The text of one task and blanks around it. */
#define WINDOW_MAX (TASK_TEXT_MAX + (1u << 20))
#define WINDOW_FIRST 65536
#define PROBE_BYTES 65536

/* FORM -> TASKS -> TAIL; FORM -> TAIL for an object without an array of tasks. */
enum stream_at {
    AT_FORM,  /* too little has come to tell the form, or the head of an object is not complete */
    AT_TASKS, /* within the tasks, or the lines */
    AT_TAIL,  /* behind the array's ']' */
};

/* Counting of brackets, and of lines where these are what counts. */
struct cut {
    size_t seen;     /* bytes of the window that were looked at */
    size_t complete; /* they hold whole tasks up to here */
    size_t depth;
    bool in_string;
    bool closed; /* at complete the array has ended */
};

struct task_stream {
    struct reader reader;
    enum stream_at at;
    char *window; /* what has come and was not read yet */
    size_t len, cap;
    size_t probe; /* at this length an incomplete task is checked for what is wrong already */
    struct cut cut;
};

struct task_stream *task_stream_create(const char *name, const struct taskfile_config *config,
                                       const struct taskfile_ops *ops)
{
    struct task_stream *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    reader_init(&s->reader, name, config, ops);
    s->probe = PROBE_BYTES;
    s->reader.parked = parked_create();
    s->cap = WINDOW_FIRST;
    s->window = malloc(s->cap);
    if (s->reader.parked == NULL || s->window == NULL) {
        task_stream_destroy(s);
        return NULL;
    }
    return s;
}

void task_stream_destroy(struct task_stream *s)
{
    if (s == NULL)
        return;
    parked_destroy(s->reader.parked);
    reader_fini(&s->reader);
    free(s->window);
    free(s);
}

/* ---- Where tasks end ------------------------------------------------------------------------- */

static bool is_lines(enum split_form form)
{
    return form == SPLIT_LINES || form == SPLIT_COMMANDS;
}

static void look_for_lines(struct cut *c, const char *text, size_t len)
{
    const char *newline = memrchr(text + c->seen, '\n', len - c->seen);

    if (newline != NULL)
        c->complete = (size_t)(newline + 1 - text);
    c->seen = len;
}

/* A bracket at p. */
static void count_bracket(struct cut *c, const char *text, const char *p)
{
    if (*p == '{' || *p == '[') {
        c->depth++;
        return;
    }
    if (c->depth == 0)
        c->closed = true;
    else
        c->depth--;
    if (c->depth == 0)
        c->complete = (size_t)(p + 1 - text);
}

/* Behind the string that p is in; the end, or a backslash there, when it has not come whole. A line
 * break ends it too: it is an error, which the grammar finds. */
static const char *skip_string(struct cut *c, const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '\\') {
            if (end - p < 2)
                return p;
            p++;
        } else if (*p == '"' || *p == '\n') {
            c->in_string = false;
            return p + 1;
        }
    }
    return p;
}

static void look_for_brackets(struct cut *c, const char *text, size_t len)
{
    const char *p = text + c->seen;
    const char *end = text + len;

    while (p < end && !c->closed) {
        if (c->in_string) {
            p = skip_string(c, p, end);
            if (c->in_string)
                break;
            continue;
        }
        if (*p == '"')
            c->in_string = true;
        else if (*p == '{' || *p == '}' || *p == '[' || *p == ']')
            count_bracket(c, text, p);
        p++;
    }
    c->seen = (size_t)(p - text);
}

/* The first n bytes of the window have been read. */
static void consume(struct task_stream *s, size_t n)
{
    split_consume(&s->reader.split, s->window + n);
    memmove(s->window, s->window + n, s->len - n);
    s->len -= n;
    s->cut.seen = s->cut.seen > n ? s->cut.seen - n : 0;
    s->cut.complete = 0;
    s->probe = PROBE_BYTES;
}

/* ---- Telling the form ------------------------------------------------------------------------ */

/* Is the first line break, or so much behind the first bracket, there as it takes to tell JSON from
 * a command? */
static bool can_tell(const char *text, size_t len)
{
    const char *end = text + len;
    const char *p, *next;

    if (len > 0 && (unsigned char)text[0] >= 0xef && len < 3)
        return false; /* a byte order mark */
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    p = scan_blank(text, end);
    if (p == end)
        return false;
    if (*p != '[' && *p != '{')
        return true;
    next = scan_blank(p + 1, end);
    return end - next >= 2 || memchr(p, '\n', (size_t)(end - p)) != NULL;
}

/* Whatever comes, the text is wrong there: what is cut off is never more than a part of its last
 * line. */
static bool is_wrong(const struct scan_fail *fail, const char *end)
{
    return fail->at < end && memchr(fail->at, '\n', (size_t)(end - fail->at)) != NULL;
}

/* The object form, its array of tasks has begun: the members in front of it count, those behind it
 * come with the tail. */
static int begin_object(struct task_stream *s)
{
    struct split *split = &s->reader.split;
    size_t count = 0;
    int rc;

    while (count < split->members.count && split->members.list[count].value.p != split->tasks.p)
        count++;
    split->members.count = count < split->members.count ? count + 1 : count;
    if (split->defaults.p > split->tasks.p)
        split->defaults = (struct scan_text){0};
    rc = reader_begin_object(&s->reader);
    if (rc == 0)
        consume(s, (size_t)(split->tasks.p - s->window));
    return rc;
}

/* An object stands first. True: it has come so far that the form is known. */
static bool knows_object(const struct split *split)
{
    const struct scan_text *tasks = &split->tasks;

    if (split->whole_end != NULL || is_wrong(&split->fail, split->end))
        return true;
    return split->form == SPLIT_OBJECT && tasks->p != NULL && tasks->p < split->end &&
           *tasks->p == '[';
}

/* Goes on to AT_TASKS when the form is known. */
static int tell_form(struct task_stream *s, bool final)
{
    struct split *split = &s->reader.split;
    int rc;

    if (!final && !can_tell(s->window, s->len))
        return 0;
    rc = reader_refuse_utf16(s->reader.complaints.file, s->window, s->len, s->reader.err);
    if (rc < 0) {
        s->reader.callback_rc = true; /* it is worded */
        return rc;
    }
    split_fini(split);
    rc = split_init(split, s->window, s->len);
    if (rc < 0)
        return rc;
    if (split->form == SPLIT_EMPTY)
        return final ? reader_whole(&s->reader) : 0;
    if (*split->p == '{' && split->form != SPLIT_COMMANDS && !final && !knows_object(split) &&
        s->len <= WINDOW_MAX)
        return 0;
    s->at = AT_TASKS;
    if (split->form == SPLIT_COMMANDS)
        reader_warn_of_name(&s->reader);
    if (split->form != SPLIT_OBJECT) {
        consume(s, (size_t)(split->p - s->window));
    } else if (split->tasks.p != NULL && split->tasks.p < split->end && *split->tasks.p == '[') {
        rc = begin_object(s);
    } else {
        s->at = AT_TAIL; /* it has no array of tasks: complaints are all that comes of it */
        return reader_whole(&s->reader);
    }
    if (split->form == SPLIT_ARRAY || split->form == SPLIT_OBJECT)
        s->cut.seen = 1; /* the '[' itself */
    return rc;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* The first n bytes of the window, whole tasks. */
static int read_piece(struct task_stream *s, size_t n, bool last)
{
    struct reader *r = &s->reader;
    int rc;

    split_piece(&r->split, s->window, n, last);
    rc = r->split.form == SPLIT_COMMANDS ? reader_commands(r) : reader_tasks(r);
    if (rc < 0 || r->complaints.total > 0)
        return rc;
    consume(s, n);
    if (s->cut.closed)
        s->at = AT_TAIL;
    return 0;
}

/* No task is complete yet. Is it wrong already, or too large? */
static bool is_hopeless(struct task_stream *s)
{
    const char *end = s->window + s->len;
    struct scan_fail fail = {0};
    const char *p = scan_blank(s->window, end);

    if (s->len > WINDOW_MAX)
        return true;
    if (s->len < s->probe || is_lines(s->reader.split.form))
        return false;
    s->probe = 2 * s->len;
    if (p < end && (*p == ',' || (*p == '[' && s->reader.split.at == SPLIT_AT_OPEN)))
        p++;
    return scan_value(p, end, NULL, &fail) == NULL && is_wrong(&fail, end);
}

static int read_tasks(struct task_stream *s, bool final)
{
    struct reader *r = &s->reader;

    if (is_lines(r->split.form))
        look_for_lines(&s->cut, s->window, s->len);
    else
        look_for_brackets(&s->cut, s->window, s->len);
    if (s->cut.closed || (s->cut.complete > 0 && !final))
        return read_piece(s, s->cut.complete, s->cut.closed);
    if (final)
        return read_piece(s, s->len, true);
    if (!is_hopeless(s))
        return 0;
    if (s->len <= WINDOW_MAX)
        return read_piece(s, s->len, true);
    complain(&r->complaints, &(struct place){.line = r->split.line, .number = r->number + 1},
             "more than the %u MiB of text that one task may have; is a bracket missing? Put large "
             "data into a file that the task reads",
             TASK_TEXT_MAX >> 20);
    return 0;
}

/* Behind the array only blanks may follow. */
static void check_array_tail(struct task_stream *s)
{
    struct scan_fail fail = {.at = scan_blank(s->window, s->window + s->len)};

    split_piece(&s->reader.split, s->window, s->len, true);
    if (fail.at < s->window + s->len) {
        snprintf(fail.text, sizeof(fail.text),
                 "there is more text behind the ']' that ends the tasks; remove it, or the ']'");
        reader_complain_syntax(&s->reader, &fail, 0);
    }
    consume(s, s->len);
}

/* Members of the object may follow: they are read as those of one with an empty array in front, of
 * which the split is told that it begins so much further left. */
static int check_object_tail(struct task_stream *s)
{
    static const char front[] = "{\"tasks\":[]";
    struct reader *r = &s->reader;
    unsigned line = r->split.line, columns = r->split.columns;
    size_t len = strlen(front) + s->len;
    struct scan_fail fail;
    char *text = malloc(len + 1);
    int rc;

    if (text == NULL)
        return PILOT_ENOMEM;
    memcpy(text, front, strlen(front));
    memcpy(text + strlen(front), s->window, s->len);
    split_fini(&r->split);
    rc = split_init(&r->split, text, len);
    r->split.line = line;
    r->split.columns = columns - (unsigned)strlen(front);
    fail = r->split.fail;
    if (rc == 0 && r->split.whole_end == NULL)
        reader_complain_syntax(r, &fail, 0);
    else if (rc == 0 && r->split.defaults.p != NULL)
        complain(&r->complaints,
                 &(struct place){.line = split_line_of(&r->split, r->split.defaults.p)},
                 "\"defaults\" stands behind the tasks, which have been started without it; in a "
                 "file that is read while it runs it must stand before \"tasks\"");
    else if (rc == 0)
        rc = reader_whole(r);
    split_fini(&r->split);
    free(text);
    return rc;
}

static int go_on(struct task_stream *s, bool final, struct pilot_error *err)
{
    struct reader *r = &s->reader;
    int rc = 0;

    r->err = err;
    if (s->at == AT_FORM)
        rc = tell_form(s, final);
    if (rc == 0 && s->at == AT_TASKS && r->complaints.total == 0)
        rc = read_tasks(s, final);
    if (rc < 0 || r->complaints.total > 0)
        return reader_result(r, rc);
    if (s->at == AT_TAIL && r->split.form == SPLIT_ARRAY)
        check_array_tail(s);
    else if (s->at == AT_TAIL && final)
        rc = check_object_tail(s);
    else if (s->at == AT_TAIL && s->len > WINDOW_MAX)
        complain(&r->complaints, &(struct place){.line = r->split.line},
                 "more than %u MiB of text behind the tasks; remove it", WINDOW_MAX >> 20);
    return rc < 0 || r->complaints.total > 0 ? reader_result(r, rc) : 0;
}

int task_stream_put(struct task_stream *s, const char *text, size_t len, struct pilot_error *err)
{
    if (s->cap - s->len < len) {
        size_t cap = 2 * (s->len + len);
        char *window = realloc(s->window, cap);

        if (window == NULL)
            return err_set(err, PILOT_ENOMEM, "%s: out of memory", s->reader.complaints.file);
        s->window = window;
        s->cap = cap;
    }
    memcpy(s->window + s->len, text, len);
    s->len += len;
    return go_on(s, false, err);
}

int task_stream_end(struct task_stream *s, struct pilot_error *err)
{
    struct reader *r = &s->reader;
    int rc = go_on(s, true, err);

    if (rc < 0)
        return rc;
    if (r->split.form == SPLIT_COMMANDS)
        reader_want_commands(r);
    return reader_result(r, parked_finish(r->parked, r));
}
