/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the wording around a complaint, its order and its limits. A file of a million bad lines
 * costs no more memory than one of 20. Must not know what is right. */
#include "input/complaints.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "input/suggest.h"
#include "input/text.h"

/* All kept lines and the count of the others must fit in one pilot_error. */
_Static_assert((COMPLAINT_LINE_MAX + 1) * TASKFILE_ERRORS_SHOWN + 64 < PILOT_ERROR_MAX,
               "an error text is too short for all lines");

void complaints_init(struct complaints *c, const char *file)
{
    c->file = file; /* the lists need no clearing: they are large, and this runs for each task */
    c->total = 0;
    c->kept = 0;
    c->names = 0;
    c->names_left_out = 0;
}

/* "FILE:LINE:COLUMN: task 'ID'", shortened so that it leaves room for what is wrong. */
static void describe(const struct complaints *c, const struct place *place, char *out, size_t size)
{
    size_t len = strlen(c->file);
    const char *file = len > 80 ? c->file + len - 77 : c->file;
    size_t used = (size_t)snprintf(out, size, "%s%s", len > 80 ? "..." : "", file);

    if (place->line > 0)
        used += (size_t)snprintf(out + used, size - used, ":%u", place->line);
    if (place->column > 0)
        used += (size_t)snprintf(out + used, size - used, ":%u", place->column);
    if (place->id != NULL)
        snprintf(out + used, size - used, ": task '%.60s%s'", place->id,
                 strlen(place->id) > 60 ? "..." : "");
    else if (place->number > 0)
        snprintf(out + used, size - used, ": task number %" PRIu64, place->number);
    else if (place->part != NULL)
        snprintf(out + used, size - used, ": %s", place->part);
}

/* Where a complaint about this line belongs in the list; what it pushes out at the end is lost. */
static struct complaint *make_room(struct complaints *c, unsigned line)
{
    unsigned at = c->kept;

    while (at > 0 && c->list[at - 1].line > line)
        at--;
    if (at == TASKFILE_ERRORS_SHOWN)
        return NULL;
    if (c->kept < TASKFILE_ERRORS_SHOWN)
        c->kept++;
    memmove(&c->list[at + 1], &c->list[at], (c->kept - 1 - at) * sizeof(c->list[0]));
    return &c->list[at];
}

void complain_v(struct complaints *c, const struct place *place, const char *fmt, va_list ap)
{
    struct complaint *slot;
    size_t used;
    int more;

    c->total++;
    slot = make_room(c, place->line);
    if (slot == NULL)
        return;
    slot->line = place->line;
    describe(c, place, slot->text, sizeof(slot->text));
    used = strlen(slot->text);
    used += (size_t)snprintf(slot->text + used, sizeof(slot->text) - used, ": ");
    more = vsnprintf(slot->text + used, sizeof(slot->text) - used, fmt, ap);
    if (more > 0 && used + (size_t)more >= sizeof(slot->text))
        memcpy(slot->text + sizeof(slot->text) - 4, "...", 4);
    text_make_printable(slot->text);
}

void complain(struct complaints *c, const struct place *place, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain_v(c, place, fmt, ap);
    va_end(ap);
}

void complain_unknown(struct complaints *c, const struct place *place, const char *name)
{
    char shown[sizeof(c->unknown[0].name)];
    char where[COMPLAINT_LINE_MAX];
    struct unknown_name *u;

    snprintf(shown, sizeof(shown), "%s", name);
    text_make_printable(shown);
    for (unsigned i = 0; i < c->names; i++) {
        if (strcmp(c->unknown[i].name, shown) == 0) {
            c->unknown[i].count++;
            return;
        }
    }
    if (c->names == COMPLAINT_NAMES_MAX) {
        c->names_left_out++;
        return;
    }
    u = &c->unknown[c->names++];
    u->count = 1;
    memcpy(u->name, shown, sizeof(shown));
    describe(c, place, where, sizeof(where));
    text_make_printable(where);
    snprintf(u->where, sizeof(u->where), "%.*s", (int)sizeof(u->where) - 1, where);
}

void complaints_warn(const struct complaints *c, const char *const *known,
                     const struct taskfile_ops *ops)
{
    char text[COMPLAINT_LINE_MAX];
    size_t used;

    if (ops->warn == NULL)
        return;
    for (unsigned i = 0; i < c->names; i++) {
        const struct unknown_name *u = &c->unknown[i];
        const char *near = suggest_name(u->name, known);

        used = (size_t)snprintf(text, sizeof(text), "%s: unknown field \"%s\" is ignored; ",
                                u->where, u->name);
        if (near != NULL)
            used +=
                (size_t)snprintf(text + used, sizeof(text) - used, "did you mean \"%s\"?", near);
        else
            used += (size_t)snprintf(text + used, sizeof(text) - used,
                                     "data of your own belong in \"tags\"");
        if (u->count > 1)
            snprintf(text + used, sizeof(text) - used, " (%" PRIu64 " times in this file)",
                     u->count);
        ops->warn(ops->arg, text);
    }
    if (c->names_left_out > 0) {
        snprintf(text, sizeof(text),
                 "%s: %" PRIu64 " more unknown fields are ignored; data of your "
                 "own belong in \"tags\"",
                 c->file, c->names_left_out);
        ops->warn(ops->arg, text);
    }
}

int complaints_result(const struct complaints *c, struct pilot_error *err)
{
    char all[PILOT_ERROR_MAX];
    size_t used = 0;

    if (c->total == 0)
        return 0;
    for (unsigned i = 0; i < c->kept; i++)
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? "\n" : "",
                                 c->list[i].text);
    if (c->total > c->kept)
        snprintf(all + used, sizeof(all) - used, "\n... and %" PRIu64 " more error%s",
                 c->total - c->kept, c->total - c->kept == 1 ? "" : "s");
    return err_set(err, PILOT_EINVAL, "%s", all);
}
