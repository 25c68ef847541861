/* SPDX-License-Identifier: BSD-3-Clause */
/* One JSON object -> one task_spec: every field and every check on it. */
#ifndef PILOT_INPUT_FIELDS_H
#define PILOT_INPUT_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/task.h"
#include "input/complaints.h"
#include "input/scan.h"

#define CORES_MAX 1000000
#define RETRIES_MAX 1000000
#define TIMEOUT_MAX_S 1e9

enum field {
    FIELD_ID,
    FIELD_COMMAND,
    FIELD_CORES,
    FIELD_TIMEOUT,
    FIELD_TIME_ESTIMATE,
    FIELD_MEMORY,
    FIELD_PRIORITY,
    FIELD_MAX_RETRIES,
    FIELD_ENV,
    FIELD_TAGS,
    FIELD_WORKDIR,
    FIELD_STDIN,
    FIELD_DEPENDS_ON,
    FIELD_COUNT,
};

/* "id", "command", ...; NULL-terminated. */
extern const char *const field_names[FIELD_COUNT + 1];

/* What stays the same for all tasks of a file, and the object at hand. */
struct fields {
    struct complaints *complaints;
    const struct taskfile_config *config; /* NULL: no limits of this run */
    struct task_spec defaults;
    unsigned defaulted;           /* bit FIELD_X: the defaults have it */
    struct scan_members children; /* scratch for arrays and objects within a field */
    struct place place;
    const char *start;                   /* of the object; lines are counted from here */
    unsigned line;                       /* of start */
    struct scan_text found[FIELD_COUNT]; /* values; p is NULL for those not there */
};

void fields_init(struct fields *f, struct complaints *complaints,
                 const struct taskfile_config *config);
void fields_fini(struct fields *f);

/* The value of "defaults", on this line. Complains about what is wrong in it. 0 or PILOT_ENOMEM. */
int fields_set_defaults(struct fields *f, const struct scan_text *value, unsigned line);

/* Begins with an object (its members as scan_value lists them) that is task number. Sets spec->id,
 * unless it has none. 0 or PILOT_ENOMEM; what is wrong is complained about. spec must be
 * initialised. */
int fields_begin(struct fields *f, const struct scan_text *object,
                 const struct scan_members *members, unsigned line, uint64_t number,
                 struct task_spec *spec);

/* All other fields of it, and the defaults. As fields_begin. */
int fields_finish(struct fields *f, struct task_spec *spec);

/* Used between fields.c and lists.c. Complains about the value of a field. */
void fields_complain(struct fields *f, const struct scan_text *value, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A string without NUL, fresh; what names it in messages. 0 and *out NULL: complained. */
int fields_text(struct fields *f, const struct scan_text *value, const char *what, char **out);
/* The same, and not blank. */
int fields_string(struct fields *f, const struct scan_text *value, const char *what, char **out);
/* An id: a string, or an integer as its text. As fields_string. */
int fields_id(struct fields *f, const struct scan_text *value, const char *what, char **out);

#endif
