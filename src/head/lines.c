/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the reading of lines that come from other programs. Must not know the head: so that any
 * bytes can be tried on it. The tasks of an answer stay the text that they are; they are read like
 * a file, by the same checks. */
#include "head/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "input/value.h"
#include "pilot.h"

#define ACK_MAX 9007199254740992.0 /* 2^53: up to here a double names each whole number */

static int wrong(char why[LINES_WHY_MAX], const char *text)
{
    snprintf(why, LINES_WHY_MAX, "%s", text);
    return PILOT_EINVAL;
}

/* The members of the one object on the line. 0, PILOT_EINVAL or PILOT_ENOMEM. */
static int take_apart(const char *line, size_t len, struct scan_members *members,
                      char why[LINES_WHY_MAX])
{
    struct scan_fail fail = {.end_word = "the end of the line"};
    const char *start = scan_blank(line, line + len), *end;

    if (start == line + len || *start != '{')
        return wrong(why, "not a JSON object");
    end = scan_value(start, line + len, members, &fail);
    if (end == NULL && fail.no_memory)
        return PILOT_ENOMEM;
    if (end == NULL) {
        snprintf(why, LINES_WHY_MAX, "not a JSON object: byte %zu: %s",
                 (size_t)(fail.at - line) + 1, fail.text);
        return PILOT_EINVAL;
    }
    if (scan_blank(end, line + len) != line + len)
        return wrong(why, "not a JSON object: there is more behind its '}'");
    return 0;
}

/* The first member of this name; NULL: none. */
static const struct scan_text *find(const struct scan_members *members, const char *name)
{
    for (size_t i = 0; i < members->count; i++)
        if (value_key_is(&members->list[i].key, name))
            return &members->list[i].value;
    return NULL;
}

/* A string as fresh text. 0 and *out NULL: it is not there, or no string. */
static int take_string(const struct scan_text *value, char **out)
{
    *out = NULL;
    return value != NULL && value_kind(value) == VALUE_STRING ? value_string(value, out) : 0;
}

/* An array of strings. PILOT_EINVAL: it is something else. */
static int take_strings(const struct scan_text *value, char ***out)
{
    struct scan_members items = {0};
    struct scan_fail fail = {0};
    char **list = NULL;
    int rc = 0;

    if (value_kind(value) != VALUE_ARRAY)
        return PILOT_EINVAL;
    if (scan_value(value->p, value->p + value->len, &items, &fail) == NULL)
        rc = PILOT_ENOMEM; /* it was scanned before, with the line */
    if (rc == 0 && items.count > 0 && (list = calloc(items.count + 1, sizeof(*list))) == NULL)
        rc = PILOT_ENOMEM;
    for (size_t i = 0; rc == 0 && i < items.count; i++) {
        rc = take_string(&items.list[i].value, &list[i]);
        if (rc == 0 && list[i] == NULL)
            rc = PILOT_EINVAL;
    }
    scan_members_fini(&items);
    if (rc == 0)
        *out = list;
    else
        strv_free(list);
    return rc;
}

/* ---- The hook -------------------------------------------------------------------------------- */

static int take_ack(const struct scan_text *value, struct hook_answer *a)
{
    double n = 0;
    int rc;

    a->has_ack = value != NULL;
    if (value == NULL || value_kind(value) != VALUE_NUMBER)
        return 0;
    rc = value_number(value, &n);
    if (rc < 0)
        return rc == PILOT_ENOMEM ? rc : 0;
    a->ack_is_number = true;
    a->ack_given = n;
    if (n >= 1 && n < ACK_MAX && n == (double)(uint64_t)n)
        a->ack = (uint64_t)n;
    return 0;
}

static int take_members(const struct scan_members *members, struct hook_answer *a,
                        char why[LINES_WHY_MAX])
{
    const struct scan_text *tasks = find(members, "tasks"), *cancel = find(members, "cancel");
    const struct scan_text *hold = find(members, "hold");
    int rc = take_ack(find(members, "ack"), a);

    if (rc < 0)
        return rc;
    if (tasks != NULL && value_kind(tasks) != VALUE_ARRAY)
        return wrong(why, "\"tasks\" must be a list");
    if (cancel != NULL)
        rc = take_strings(cancel, &a->cancel);
    if (rc == 0)
        rc = take_string(find(members, "stop"), &a->stop);
    if (rc == PILOT_EINVAL)
        return wrong(why, "\"cancel\" must be a list of task ids, \"stop\" a text without NUL");
    if (rc < 0)
        return rc;
    if (tasks != NULL)
        a->tasks = *tasks;
    a->has_hold = hold != NULL && value_kind(hold) == VALUE_BOOLEAN;
    a->hold = a->has_hold && hold->p[0] == 't';
    return 1;
}

int hook_answer_parse(const char *line, size_t len, struct hook_answer *answer,
                      char why[LINES_WHY_MAX])
{
    struct scan_members members = {0};
    int rc;

    memset(answer, 0, sizeof(*answer));
    if (scan_blank(line, line + len) == line + len)
        return 0;
    rc = take_apart(line, len, &members, why);
    if (rc == 0)
        rc = take_members(&members, answer, why);
    scan_members_fini(&members);
    return rc;
}

void hook_answer_fini(struct hook_answer *answer)
{
    strv_free(answer->cancel);
    free(answer->stop);
    memset(answer, 0, sizeof(*answer));
}

/* ---- Clients --------------------------------------------------------------------------------- */

static int take_add(const struct scan_members *members, struct client_request *r,
                    char why[LINES_WHY_MAX])
{
    int rc = take_string(find(members, "text"), &r->text);

    if (rc == 0 && r->text == NULL)
        return wrong(why, "a request to add without the text of the tasks");
    if (rc == 0)
        rc = take_string(find(members, "name"), &r->name);
    if (rc == 0 && r->name == NULL && (r->name = strdup("request")) == NULL)
        rc = PILOT_ENOMEM;
    return rc == PILOT_EINVAL ? wrong(why, "a text with NUL (\\u0000) in it; remove it") : rc;
}

static int take_cancel(const struct scan_members *members, struct client_request *r,
                       char why[LINES_WHY_MAX])
{
    const struct scan_text *ids = find(members, "ids");
    int rc = ids != NULL ? take_strings(ids, &r->ids) : 0;

    return rc == PILOT_EINVAL ? wrong(why, "ids must be a list of texts") : rc;
}

static int take_request(const struct scan_members *members, struct client_request *r,
                        char why[LINES_WHY_MAX])
{
    char *op;
    int rc = take_string(find(members, "op"), &op);

    if (rc == PILOT_ENOMEM)
        return rc;
    if (op == NULL) {
        rc = wrong(why, "not a request");
    } else if (strcmp(op, "add") == 0) {
        r->op = REQUEST_ADD;
        rc = take_add(members, r, why);
    } else if (strcmp(op, "cancel") == 0) {
        r->op = REQUEST_CANCEL;
        rc = take_cancel(members, r, why);
    } else {
        rc = wrong(why, "this pilot does not know that request; is it an older version?");
    }
    free(op);
    return rc;
}

int client_request_parse(const char *line, size_t len, struct client_request *request,
                         char why[LINES_WHY_MAX])
{
    struct scan_members members = {0};
    int rc;

    memset(request, 0, sizeof(*request));
    rc = take_apart(line, len, &members, why);
    if (rc == 0)
        rc = take_request(&members, request, why);
    scan_members_fini(&members);
    return rc;
}

void client_request_fini(struct client_request *request)
{
    free(request->name);
    free(request->text);
    strv_free(request->ids);
    memset(request, 0, sizeof(*request));
}
