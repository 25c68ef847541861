/* SPDX-License-Identifier: BSD-3-Clause */
/* What is wrong with a task file, collected until the whole file has been read: errors in the order
 * of the file, the first few worded and the others counted; unknown fields once a name. */
#ifndef PILOT_INPUT_COMPLAINTS_H
#define PILOT_INPUT_COMPLAINTS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "input/taskfile.h"

#define COMPLAINT_LINE_MAX 400 /* bytes of one error or warning, NUL included */
#define COMPLAINT_NAMES_MAX 20 /* different unknown fields told apart */

/* What a complaint is about. */
struct place {
    unsigned line;    /* 0: the whole file */
    unsigned column;  /* 0: left out */
    const char *id;   /* of the task; NULL: not known (yet) */
    uint64_t number;  /* of the task in the file, from 1; 0: not about a task */
    const char *part; /* "defaults"; NULL: a task, or the whole */
};

struct complaint {
    unsigned line;
    char text[COMPLAINT_LINE_MAX];
};

struct unknown_name {
    char name[64];
    char where[224]; /* "tasks.json:3: task 'a'" */
    uint64_t count;
};

struct complaints {
    const char *file;
    uint64_t total; /* errors, those not kept included */
    unsigned kept;
    struct complaint list[TASKFILE_ERRORS_SHOWN]; /* by line */
    unsigned names;
    struct unknown_name unknown[COMPLAINT_NAMES_MAX];
    uint64_t names_left_out; /* unknown fields beyond those */
};

/* file: its name in messages; borrowed. */
void complaints_init(struct complaints *c, const char *file);

void complain(struct complaints *c, const struct place *place, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void complain_v(struct complaints *c, const struct place *place, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* A field of this name is not known; warned about by complaints_warn. */
void complain_unknown(struct complaints *c, const struct place *place, const char *name);

/* One warning for each unknown name, with the nearest of known (NULL-terminated). */
void complaints_warn(const struct complaints *c, const char *const *known,
                     const struct taskfile_ops *ops);

/* 0 without errors, or PILOT_EINVAL and all of them in err. */
int complaints_result(const struct complaints *c, struct pilot_error *err);

#endif
