/* SPDX-License-Identifier: BSD-3-Clause */
/* pilot-mpi logs: what tasks wrote, during the run and after it, wherever it is kept. */
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/complain.h"
#include "cli/logs.h"
#include "cli/options.h"
#include "common/error.h"
#include "common/log.h"
#include "store/outputs.h"

#define FOLLOW_MS 200
#define COPY_BYTES 65536
#define PATIENCE_MS 2000 /* for what another host has written a moment ago */

struct logs_options {
    const char *workdir, *db, *unpack;
    unsigned attempt;
    bool errors, all, follow, help;
};

#define AT(member) offsetof(struct logs_options, member)

static const struct option_spec specs[] = {
    {"stderr", OPTION_FLAG, AT(errors), NULL, "standard error instead of standard output"},
    {"all", OPTION_FLAG, AT(all), NULL, "both (packed output: in the order in which they came)"},
    {"follow", OPTION_FLAG, AT(follow), NULL, "(-f) go on until the attempt has ended"},
    {"attempt", OPTION_COUNT, AT(attempt), "N", "of this attempt (default: the newest)"},
    {"unpack", OPTION_STRING, AT(unpack), "DIR",
     "make DIR/ID/stdout.txt and stderr.txt of the tasks named, or of all"},
    {"workdir", OPTION_STRING, AT(workdir), "DIR", "of the run (default: ./pilot_runs)"},
    {"db", OPTION_STRING, AT(db), "FILE", "state of the run (default: WORKDIR/state.db)"},
    {"help", OPTION_FLAG, AT(help), NULL, "print this"},
    {NULL, OPTION_FLAG, 0, NULL, NULL},
};

static void print_help(void)
{
    printf("pilot-mpi logs: what tasks wrote, also of a run that goes on or was killed\n\n"
           "  pilot-mpi logs ID [--stderr|--all] [-f] [--attempt N]\n"
           "  pilot-mpi logs --unpack DIR [ID...]\n\nOptions:\n");
    options_print(specs);
    printf("\nExit status: 0, or 2 when there is no such output or it cannot be read\n");
}

static int check(const struct logs_options *o, const struct option_list *ids,
                 struct pilot_error *err)
{
    if (o->unpack != NULL && (o->errors || o->all || o->follow || o->attempt > 0))
        return err_set(
            err, PILOT_EINVAL,
            "--unpack makes files of all that a task wrote; leave out the other options");
    if (o->unpack == NULL && ids->len != 1)
        return err_set(err, PILOT_EINVAL,
                       "write pilot-mpi logs ID with the id of one task, or --unpack DIR for "
                       "several");
    if (o->errors && o->all)
        return err_set(err, PILOT_EINVAL, "--all shows standard error too; leave out --stderr");
    return 0;
}

/* ---- Showing --------------------------------------------------------------------------------- */

/* What has been shown of an attempt. */
struct shown {
    uint64_t at;                /* packed: up to this record */
    off_t offset[PACK_STREAMS]; /* files: so many bytes */
    unsigned streams;           /* bits: which are wanted */
    bool torn;
};

static int put(void *arg, enum pack_stream stream, const void *data, size_t len)
{
    (void)arg, (void)stream;
    return fwrite(data, 1, len, stdout) == len ? 0 : PILOT_EIO;
}

static int cannot_write(struct pilot_error *err)
{
    return err_set_errno(err, PILOT_EIO, errno, "cannot write to standard output");
}

static int show_packed(const struct logs_place *p, const struct logs_attempt *a,
                       struct shown *shown, struct pilot_error *err)
{
    struct pack_key key = {.id = a->id, .attempt = a->attempt, .run = a->known ? 0 : p->run};
    struct pack_reader *r = malloc(sizeof(*r));
    struct pack_chain chain = {0};
    char dir[PATH_MAX];
    int rc = r == NULL ? PILOT_ENOMEM : 0;

    if (rc == 0 && logs_pack_dir(dir, sizeof(dir), p, a->node)) {
        pack_reader_init(r, dir);
        rc = pack_chain_read(r, &key, shown->at, a->at, PATIENCE_MS, &chain);
        if (rc == 0)
            rc = pack_chain_copy(r, &chain, 0, shown->streams, put, NULL, &shown->torn);
        shown->torn = shown->torn || chain.torn;
        shown->at = a->at > shown->at ? a->at : shown->at;
        pack_reader_fini(r);
    }
    pack_chain_fini(&chain);
    free(r);
    if (rc == PILOT_EIO)
        return cannot_write(err);
    return rc == 0 ? 0 : err_set(err, rc, "out of memory for the output of '%.200s'", a->id);
}

/* False: there is no such file. */
static bool show_file(const char *path, off_t *offset, int *rc, struct pilot_error *err)
{
    char block[COPY_BYTES];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    while (*rc == 0 && (n = pread(fd, block, sizeof(block), *offset)) > 0) {
        *offset += n;
        if (fwrite(block, 1, (size_t)n, stdout) != (size_t)n)
            *rc = cannot_write(err);
    }
    close(fd);
    return true;
}

static int show(const struct logs_place *p, const struct logs_attempt *a, struct shown *shown,
                bool *any, struct pilot_error *err)
{
    int rc = 0;

    *any = a->known || a->found;
    if (*any) {
        rc = show_packed(p, a, shown, err);
    } else {
        for (int i = 0; i < PACK_STREAMS; i++) {
            char path[PATH_MAX];

            if (shown->streams >> i & 1 && logs_file(path, sizeof(path), p, a, (enum pack_stream)i))
                *any = show_file(path, &shown->offset[i], &rc, err) || *any;
        }
    }
    if (rc == 0 && fflush(stdout) != 0)
        rc = cannot_write(err);
    return rc;
}

/* The attempt that is meant; NULL: there is none (yet). */
static const struct logs_attempt *choose(const struct logs_list *l, unsigned attempt)
{
    const struct logs_attempt *best = NULL;

    for (size_t i = 0; i < l->len; i++)
        if (attempt == 0 ? best == NULL || l->v[i].attempt > best->attempt
                         : l->v[i].attempt == attempt)
            best = &l->v[i];
    return best;
}

static int missing(const struct logs_place *p, const char *id, unsigned attempt,
                   const struct logs_list *l, struct pilot_error *err)
{
    if (!p->state)
        return err_set(err, PILOT_ENOENT, "no output of task '%.200s' is in %.200s/.pilot; and %s",
                       id, p->workdir, p->why_not);
    if (attempt > 0)
        return err_set(err, PILOT_ENOENT, "task '%.200s' has no attempt %u", id, attempt);
    return err_set(err, PILOT_ENOENT,
                   l->task_over ? "task '%.200s' never ran" : "task '%.200s' has not started yet",
                   id);
}

/* One look. *over: nothing more will come. */
static int look(struct logs_place *p, const char *id, unsigned *attempt, bool follow,
                struct shown *shown, bool *over, struct pilot_error *err)
{
    struct logs_list l = {0};
    bool in_use =
        store_in_use(p->db); /* before the look: what it writes later is its successor's */
    int rc = logs_find(p, id, &l, err);
    const struct logs_attempt *a = rc == 0 ? choose(&l, *attempt) : NULL;
    bool any = false;

    *over = !in_use;
    if (rc == 0 && a == NULL) {
        if (!follow || *over || l.task_over)
            rc = missing(p, id, *attempt, &l, err);
    } else if (rc == 0) {
        *attempt = a->attempt; /* a retry is not what was followed */
        *over = *over || a->ended;
        rc = show(p, a, shown, &any, err);
        if (rc == 0 && !any && a->ended)
            rc = err_set(err, PILOT_ENOENT,
                         "nothing was kept of the output of task '%.200s', attempt %u", id,
                         a->attempt);
    }
    logs_list_fini(&l);
    return rc;
}

static int show_one(struct logs_place *p, const struct logs_options *o, const char *id,
                    struct pilot_error *err)
{
    const struct timespec pause = {.tv_nsec = FOLLOW_MS * 1000000L};
    struct shown shown = {.streams = o->all      ? 1u << PACK_STDOUT | 1u << PACK_STDERR
                                     : o->errors ? 1u << PACK_STDERR
                                                 : 1u << PACK_STDOUT};
    unsigned attempt = o->attempt;
    bool over = false;
    int rc;

    while ((rc = look(p, id, &attempt, o->follow, &shown, &over, err)) == 0 && o->follow && !over)
        (void)nanosleep(&pause, NULL);
    if (rc == 0 && shown.torn)
        rc = err_set(err, PILOT_EPROTO,
                     "not all of the output of task '%.200s' can be read in %.200s/.pilot: records "
                     "are missing or damaged (a node or a disk failed while they were written?); "
                     "the rest is above",
                     id, p->workdir);
    return rc;
}

/* ---- The command ----------------------------------------------------------------------------- */

static int run(int argc, char **argv)
{
    struct logs_options o = {0};
    struct option_list ids = {0};
    struct logs_place place = {0};
    struct pilot_error err = {0};
    int rc = options_parse_many(specs, argc, argv, &o, &ids, &err);

    if (rc == 0 && o.help) {
        print_help();
        free(ids.v);
        return fflush(stdout) == 0 ? 0 : PILOT_EXIT_USAGE;
    }
    if (rc == 0)
        rc = check(&o, &ids, &err);
    if (rc == 0)
        rc = logs_place_init(&place, o.workdir, o.db, &err);
    if (rc == 0)
        rc = o.unpack != NULL ? logs_unpack(&place, o.unpack, ids.v, &err)
                              : show_one(&place, &o, ids.v[0], &err);
    if (rc < 0)
        cli_complain(err.text);
    logs_place_fini(&place);
    free(ids.v);
    return rc < 0 ? PILOT_EXIT_USAGE : 0;
}

const struct command cmd_logs = {"logs", run};
