/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of pilot-mpi logs share. Who owns what:
 *
 *   cmd_logs.c     the command: options, showing one attempt, following it
 *   logs_find.c    which attempts there are and where the output of each is
 *   logs_unpack.c  making files of all of them */
#ifndef PILOT_CLI_LOGS_H
#define PILOT_CLI_LOGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/strmap.h"
#include "pack/read.h"
#include "pilot.h"

/* Where a run was. */
struct logs_place {
    char *workdir, *db; /* owned */
    uint64_t run;       /* 0: not known */
    bool state;         /* the state can be read */
    char why_not[600];  /* it cannot */
};

struct logs_attempt {
    char *id, *node; /* owned; node "": not known */
    unsigned attempt;
    bool last;   /* of its task */
    bool ended;  /* says the state */
    bool known;  /* at is what the state says */
    bool found;  /* at was found in a pack */
    uint64_t at; /* last record, 0: none */
};

struct logs_list {
    struct logs_attempt *v; /* owned */
    size_t len, cap;
    bool task_known; /* the state knows that task */
    bool task_over;  /* and it has ended for good */
};
void logs_list_fini(struct logs_list *l);

/* workdir, db: as given, NULL: not given. */
int logs_place_init(struct logs_place *p, const char *workdir, const char *db,
                    struct pilot_error *err);
void logs_place_fini(struct logs_place *p);

/* The attempts of one task (NULL: of all) with where their output is: out of the state, else, for
 * those that it does not say that of, out of the packs. Without a state all is looked for there. */
int logs_find(struct logs_place *p, const char *id, struct logs_list *l, struct pilot_error *err);

/* WORKDIR/.pilot/NODE. */
bool logs_pack_dir(char *out, size_t size, const struct logs_place *p, const char *node);
/* WORKDIR/ID/stdout.txt, or stdout.N.txt of an older attempt. */
bool logs_file(char *out, size_t size, const struct logs_place *p, const struct logs_attempt *a,
               enum pack_stream stream);

/* Files below dir for the tasks named in ids (NULL: all). */
int logs_unpack(struct logs_place *p, const char *dir, const char *const *ids,
                struct pilot_error *err);

#endif
