/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: telling the forms of a task file apart, cutting it up, and finding the next task behind a
 * broken one. Must not look into a task.
 *
 * JSON that is broken must never be taken for a list of commands and run: where a text could be the
 * one or the other, it is JSON. A shell needs a blank behind its '[' and '{', JSON has a string,
 * a bracket or a line break there. */
#include "input/split.h"

#include <stdio.h>
#include <string.h>

#include "input/text.h"
#include "input/value.h"
#include "pilot.h"

#define BROKEN_MAX 100 /* broken elements after which an array is given up: each costs a search */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *line_end(const char *p, const char *end)
{
    const char *newline = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;

    return newline != NULL ? newline : end;
}

unsigned split_line_of(const struct split *s, const char *at)
{
    unsigned line = s->line;

    for (const char *p = line_end(s->counted, at); p < at; p = line_end(p + 1, at))
        line++;
    return line;
}

unsigned split_column_of(const struct split *s, const char *at)
{
    const char *start = at;
    unsigned column = 1;

    while (start > s->begin && start[-1] != '\n')
        start--;
    if (start == s->begin)
        column += s->columns;
    for (; start < at; start++)
        column += ((unsigned char)*start & 0xc0) != 0x80; /* not within a character */
    return column;
}

/* Does a text that starts with '[' or '{' at p go on as JSON does? */
static bool opens_json(const char *p, const char *end)
{
    const char *next = scan_blank(p + 1, end);

    if (next == end || memchr(p, '\n', (size_t)(next - p)) != NULL)
        return true;
    if (*p == '[')
        return next == p + 1 ? *next != '[' || next + 1 == end || !is_blank(next[1])
                             : *next == '{' || *next == ']';
    return next == p + 1 || *next == '"' || *next == '}';
}

/* The value of a member of the whole object; p is NULL when it is not there. */
static struct scan_text member_value(const struct scan_members *members, const char *name)
{
    for (size_t i = 0; i < members->count; i++)
        if (value_key_is(&members->list[i].key, name))
            return members->list[i].value;
    return (struct scan_text){0};
}

/* The text starts with an object: is it the whole file, or the first of several? */
static enum split_form form_of_object(struct split *s)
{
    const char *newline = line_end(s->p, s->end);
    const char *second = scan_blank(newline, s->end);

    s->whole_end = scan_value(s->p, s->end, &s->members, &s->fail);
    s->tasks = member_value(&s->members, "tasks");
    s->defaults = member_value(&s->members, "defaults");
    if (s->tasks.p != NULL || s->defaults.p != NULL)
        return SPLIT_OBJECT;
    if (s->whole_end != NULL)
        return s->whole_end <= newline ? SPLIT_LINES : SPLIT_STREAM;
    return second == s->end || *second == '{' ? SPLIT_LINES : SPLIT_STREAM;
}

int split_init(struct split *s, const char *text, size_t len)
{
    memset(s, 0, sizeof(*s));
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    s->begin = s->counted = text;
    s->end = text + len;
    s->line = 1;
    s->fail.end_word = "the end of the file";
    s->p = scan_blank(text, s->end);
    if (s->p == s->end)
        s->form = SPLIT_EMPTY;
    else if ((*s->p != '[' && *s->p != '{') || !opens_json(s->p, s->end))
        s->form = SPLIT_COMMANDS;
    else if (*s->p == '[')
        s->form = SPLIT_ARRAY;
    else
        s->form = form_of_object(s);
    if (s->fail.no_memory) {
        split_fini(s);
        return PILOT_ENOMEM;
    }
    if (s->form == SPLIT_COMMANDS)
        s->p = text;
    if (s->form == SPLIT_LINES)
        s->fail.end_word = "the end of the line";
    return 0;
}

void split_fini(struct split *s)
{
    scan_members_fini(&s->members);
}

void split_enter_tasks(struct split *s)
{
    s->p = s->tasks.p;
}

void split_consume(struct split *s, const char *at)
{
    s->columns = split_column_of(s, at) - 1;
    s->line = split_line_of(s, at);
    s->counted = s->begin = s->p = at;
}

void split_piece(struct split *s, const char *text, size_t len, bool last)
{
    s->begin = s->counted = s->p = text;
    s->end = text + len;
    s->more = !last;
}

/* An element begins at p. */
static void begin_element(struct split *s, const char *p, struct split_element *out)
{
    s->line = split_line_of(s, p);
    s->counted = p;
    out->line = s->line;
    out->text.p = p;
    out->text.len = 0;
    out->is_task = true;
}

/* What is wrong at at is not within a task. */
static int fail_between(struct split *s, struct split_element *out, const char *at,
                        const char *text)
{
    begin_element(s, at, out);
    out->is_task = false;
    s->fail.at = at;
    snprintf(s->fail.text, sizeof(s->fail.text), "%s", text);
    return PILOT_EINVAL;
}

/* How far p is into its line, when nothing but blanks is before it; -1 otherwise. */
static long indent_of(const struct split *s, const char *p)
{
    const char *start = p;

    while (start > s->begin && is_blank(start[-1]) && start[-1] != '\n')
        start--;
    return start == s->begin || start[-1] == '\n' ? p - start : -1;
}

/* The next line behind at that begins with '{' as far in as the broken element did: in a file
 * written by people or by printers that is the next task. */
static const char *next_alike(const struct split *s, const char *element, const char *at)
{
    long indent = indent_of(s, element);
    const char *p = line_end(at, s->end);

    while (indent >= 0 && p < s->end) {
        const char *q = scan_blank(p, s->end);

        if (q < s->end && *q == '{' && indent_of(s, q) == indent)
            return q;
        p = line_end(q, s->end);
    }
    return NULL;
}

/* Behind the broken element: past its balanced brackets and the ',' that follows, or at the ']'. */
static const char *behind_balanced(const struct split *s, const char *element)
{
    const char *next;

    if (element == s->end || (*element != '{' && *element != '['))
        return NULL;
    next = scan_balanced(element, s->end);
    if (next == NULL || next <= s->fail.at)
        return NULL;
    next = scan_blank(next, s->end);
    if (next == s->end || (*next != ',' && *next != ']'))
        return NULL;
    return *next == ',' ? next + 1 : next;
}

/* The element that starts at element is broken at s->fail.at: moves on to the next one, or to the
 * end when there is no telling where it is. */
static void recover(struct split *s, const char *element)
{
    const char *next = NULL;
    size_t used;

    if (s->form == SPLIT_LINES) {
        s->p = line_end(s->fail.at, s->end);
        return;
    }
    if (++s->broken < BROKEN_MAX)
        next = next_alike(s, element, s->fail.at);
    if (next == NULL && s->broken < BROKEN_MAX && s->form != SPLIT_STREAM)
        next = behind_balanced(s, element);
    if (next != NULL) {
        s->p = next;
        s->at = SPLIT_AT_ELEMENT;
        return;
    }
    s->at = SPLIT_AT_END;
    used = strlen(s->fail.text);
    if (scan_blank(line_end(s->fail.at, s->end), s->end) < s->end)
        snprintf(s->fail.text + used, sizeof(s->fail.text) - used,
                 " (nothing behind this was read)");
}

/* The JSON value at s->p, which must end before limit. */
static int cut_value(struct split *s, const char *limit, struct split_element *out)
{
    const char *end;

    begin_element(s, s->p, out);
    end = scan_value(s->p, limit, &s->members, &s->fail);
    if (end == NULL && s->fail.no_memory)
        return PILOT_ENOMEM;
    if (end == NULL) {
        recover(s, out->text.p);
        return PILOT_EINVAL;
    }
    out->text.len = (size_t)(end - out->text.p);
    s->p = end;
    s->at = SPLIT_AT_COMMA;
    return 1;
}

/* At the ']': only blanks may follow it. (In an object the members behind it were checked with the
 * whole.) */
static int finish_array(struct split *s, struct split_element *out)
{
    s->at = SPLIT_AT_END;
    s->p = scan_blank(s->p + 1, s->end);
    if (s->p == s->end || s->form == SPLIT_OBJECT)
        return 0;
    return fail_between(
        s, out, s->p,
        "there is more text behind the ']' that ends the tasks; remove it, or the ']'");
}

/* Neither ',' nor ']' is behind an element. A '{' there is the next task, its ',' forgotten. */
static int miss_comma(struct split *s, struct split_element *out)
{
    if (s->p == s->end) {
        s->at = SPLIT_AT_END;
        return fail_between(s, out, s->p,
                            "the file ends before the ']' that closes the tasks; is it complete?");
    }
    s->at = *s->p == '{' && ++s->broken < BROKEN_MAX ? SPLIT_AT_ELEMENT : SPLIT_AT_END;
    return fail_between(s, out, s->p, "expected ',' or ']' behind a task");
}

static int next_in_array(struct split *s, struct split_element *out)
{
    const char *comma;

    s->p = scan_blank(s->p, s->end);
    if (s->p == s->end && s->more)
        return 0;
    if (s->at == SPLIT_AT_OPEN) {
        s->p = scan_blank(s->p + 1, s->end);
        s->at = SPLIT_AT_ELEMENT;
    }
    if (s->p < s->end && *s->p == ']')
        return finish_array(s, out);
    if (s->at == SPLIT_AT_COMMA) {
        if (s->p == s->end || *s->p != ',')
            return miss_comma(s, out);
        comma = s->p;
        s->p = scan_blank(s->p + 1, s->end);
        if (s->p < s->end && *s->p == ']') {
            s->at = SPLIT_AT_END;
            return fail_between(s, out, comma, "a trailing comma before ']'; remove it");
        }
    }
    return cut_value(s, s->end, out);
}

static int next_line(struct split *s, struct split_element *out)
{
    const char *limit;
    const char *behind;
    int rc;

    s->p = scan_blank(s->p, s->end);
    if (s->p == s->end)
        return 0;
    limit = line_end(s->p, s->end);
    rc = cut_value(s, limit, out);
    if (rc != 1)
        return rc;
    behind = scan_blank(s->p, limit);
    s->p = limit;
    if (behind == limit)
        return 1;
    rc = fail_between(s, out, behind,
                      *behind == ','
                          ? "a ',' behind the object; lines of JSON have none (or put all into [ ])"
                          : "more text behind the object; write one object a line");
    out->is_task = true; /* the one in front of it */
    return rc;
}

static int next_command(struct split *s, struct split_element *out)
{
    while (s->p < s->end) {
        const char *p = scan_blank(s->p, s->end);
        const char *end = line_end(p, s->end);

        s->p = end;
        if (p == s->end || *p == '#')
            continue;
        begin_element(s, p, out);
        while (end[-1] == '\r')
            end--;
        out->text.len = (size_t)(end - p);
        return 1;
    }
    return 0;
}

int split_next(struct split *s, struct split_element *out)
{
    if (s->at == SPLIT_AT_END)
        return 0;
    switch (s->form) {
    case SPLIT_ARRAY:
    case SPLIT_OBJECT:
        return next_in_array(s, out);
    case SPLIT_LINES:
        return next_line(s, out);
    case SPLIT_STREAM:
        s->p = scan_blank(s->p, s->end);
        return s->p < s->end ? cut_value(s, s->end, out) : 0;
    case SPLIT_COMMANDS:
        return next_command(s, out);
    case SPLIT_EMPTY:
        break;
    }
    return 0;
}
