/* SPDX-License-Identifier: BSD-3-Clause */
/* What reads tasks out of a text that has been told apart (split.h), shared by those who have the
 * text as a whole and those to whom it comes piece by piece. */
#ifndef PILOT_INPUT_READER_H
#define PILOT_INPUT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/strmap.h"
#include "input/complaints.h"
#include "input/fields.h"
#include "input/graph.h"
#include "input/parked.h"
#include "input/split.h"

struct reader {
    const struct taskfile_config *config;
    const struct taskfile_ops *ops;
    struct pilot_error *err;
    struct split split;
    struct complaints complaints;
    struct fields fields;
    struct graph graph;    /* of all tasks; in a stream, of those that are or were parked */
    struct parked *parked; /* a stream: tasks that wait for later ones; NULL: the text is whole */
    uint64_t number;       /* tasks so far, those that are wrong included */
    uint64_t foresee_at;   /* at this number it is guessed how many there will be */
    uint64_t size, before; /* of a file in portions: bytes in all, and before those of the split */
    /* Of a file in portions: all its text, to be freed. NULL: the split has it. */
    int (*again)(void *arg, char **text, size_t *len);
    void *again_arg;
    bool incomplete;     /* the id of some task could not be read */
    bool callback_rc;    /* an error is the callback's, worded by it */
    bool given_known;    /* given holds ... */
    struct strmap given; /* ... the ids of the file that a generated one could be equal to */
    char **given_list;   /* owns its keys */
    size_t given_count, given_cap;
};

/* All is borrowed. err and the split are the caller's to set; reader_fini ends the split. */
void reader_init(struct reader *r, const char *name, const struct taskfile_config *config,
                 const struct taskfile_ops *ops);
void reader_fini(struct reader *r);

/* All of these return 0, perhaps with complaints, or PILOT_ENOMEM or what a callback returned. */

/* Whatever the split has found, to its end. Dependencies are not checked yet. */
int reader_whole(struct reader *r);
/* The members of the object form as far as the split has them: warnings, "defaults". */
int reader_begin_object(struct reader *r);
/* The elements of the split: objects; commands. */
int reader_tasks(struct reader *r);
int reader_commands(struct reader *r);
/* Hands a task to the caller, unless there were complaints. */
int reader_hand_out(struct reader *r, const struct task_spec *spec, unsigned line);

/* A list of commands begins, though it may be called otherwise; it has ended, and may be empty. */
void reader_warn_of_name(struct reader *r);
void reader_want_commands(struct reader *r);

void reader_complain_syntax(struct reader *r, const struct scan_fail *fail, uint64_t number);
void reader_complain_twice(struct reader *r, const char *id, unsigned line, unsigned first_line);
/* 0, or PILOT_EINVAL and err: the text cannot be read at all. */
int reader_refuse_utf16(const char *name, const char *text, size_t len, struct pilot_error *err);
/* At the end: warnings, and rc or the complaints as an error in r->err. */
int reader_result(struct reader *r, int rc);

#endif
