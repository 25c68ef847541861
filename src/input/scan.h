/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the values of a JSON text begin and end, and where the text stops being JSON. Decodes
 * nothing: what a value means is cJSON's work (value.h). All texts are borrowed, none needs a NUL
 * at its end. */
#ifndef PILOT_INPUT_SCAN_H
#define PILOT_INPUT_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#define SCAN_DEPTH_MAX 1024 /* levels of [ and {, a task's own included */

struct scan_text {
    const char *p;
    size_t len;
    bool plain; /* a string that is known to have no escapes; false: it may have some */
};

/* One member of an object or element of an array. */
struct scan_member {
    struct scan_text key; /* without its quotes, escapes as written; empty in an array */
    struct scan_text value;
};

/* Reused from one value to the next; scan_members_fini frees it. All zero is an empty list. */
struct scan_members {
    struct scan_member *list;
    size_t count;
    size_t cap;
};

struct scan_fail {
    const char *end_word; /* in: what the end of the text is called, "the end of the line" */
    const char *at;       /* out: where */
    bool no_memory;       /* out: not the text's fault */
    char text[192];       /* out: "expected ',' or '}', found ..." */
};

/* The end of the JSON value that starts at p (blanks before it are skipped), or NULL and fail.
 * members (may be NULL) gets the direct members or elements of the value. After a failure it holds
 * those seen so far, the last one perhaps with an empty value. */
const char *scan_value(const char *p, const char *end, struct scan_members *members,
                       struct scan_fail *fail);

/* The end of the value at p by counting brackets, whatever is between them; a string ends at its
 * quote or with its line. NULL: the brackets are never closed. For going on after an error. */
const char *scan_balanced(const char *p, const char *end);

/* The first byte that is not a blank of JSON. */
const char *scan_blank(const char *p, const char *end);

void scan_members_fini(struct scan_members *members);

#endif
