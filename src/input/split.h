/* SPDX-License-Identifier: BSD-3-Clause */
/* Cuts the text of a task file into its tasks, one after the other, whichever form it has. Knows
 * JSON's brackets but no field of a task. */
#ifndef PILOT_INPUT_SPLIT_H
#define PILOT_INPUT_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "input/scan.h"

enum split_form {
    SPLIT_EMPTY,    /* blank */
    SPLIT_ARRAY,    /* [ {...}, ... ] */
    SPLIT_OBJECT,   /* { "tasks": [...], "defaults": {...} } */
    SPLIT_LINES,    /* one object a line */
    SPLIT_STREAM,   /* objects of several lines, one after the other, as jq prints them */
    SPLIT_COMMANDS, /* one shell command a line */
};

enum split_at {
    SPLIT_AT_OPEN,    /* before the '[' */
    SPLIT_AT_ELEMENT, /* before an element, or the ']' after an error */
    SPLIT_AT_COMMA,   /* behind an element */
    SPLIT_AT_END,     /* nothing more to cut */
};

struct split_element {
    struct scan_text text; /* the object, or the command without the blanks around it */
    unsigned line;         /* where it begins, from 1 */
    bool is_task;          /* false: what is wrong is between two of them */
};

struct split {
    enum split_form form;
    const char *begin; /* of the text, behind a byte order mark */
    const char *end;
    const char *p;       /* all before it is cut */
    const char *counted; /* lines are counted up to here ... */
    unsigned line;       /* ... which is on this line */
    enum split_at at;    /* where in an array p is; other forms use only SPLIT_AT_END */
    unsigned broken;     /* elements that were no JSON */
    bool more;           /* the text goes on behind end */
    unsigned columns;    /* characters of the first line that were before begin */
    struct scan_members
        members;               /* of the last element; SPLIT_OBJECT at first: of the whole object */
    struct scan_text tasks;    /* SPLIT_OBJECT: the value; p is NULL when there is none */
    struct scan_text defaults; /* likewise */
    const char *whole_end;     /* SPLIT_OBJECT: behind its '}'; NULL: bad JSON, see fail */
    struct scan_fail fail;     /* of the last split_next that failed */
};

/* Tells the form. The text is borrowed. 0 or PILOT_ENOMEM. */
int split_init(struct split *s, const char *text, size_t len);
void split_fini(struct split *s);

/* SPLIT_OBJECT only, when the members of the whole are no longer needed: go on with the elements of
 * its tasks. */
void split_enter_tasks(struct split *s);

/* For a text that comes piece by piece, each with whole elements only (no piece ends behind a
 * comma, and one of lines ends with a line). split_consume: all before at is behind us, the memory
 * may go. split_piece: goes on with text; last: it ends the whole. */
void split_consume(struct split *s, const char *at);
void split_piece(struct split *s, const char *text, size_t len, bool last);

/* 1 and the next element (its members in s->members when it is JSON), 0 at the end, PILOT_EINVAL
 * for text that is not JSON (s->fail says where; *out is where the element began; call again for
 * the elements behind it), PILOT_ENOMEM. */
int split_next(struct split *s, struct split_element *out);

/* Line and column (in characters) of a place in the text, from 1. Lines are counted from the last
 * element on, so at must not lie before it. */
unsigned split_line_of(const struct split *s, const char *at);
unsigned split_column_of(const struct split *s, const char *at);

#endif
