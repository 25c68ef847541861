/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: logs --unpack: the files that --output=files would have made, in a directory of the user's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/logs.h"
#include "common/error.h"
#include "common/log.h"
#include "pack/unpack.h"

#define COPY_BYTES 65536

static int copy(const char *from, const char *to, struct pilot_error *err)
{
    char block[COPY_BYTES];
    int in = open(from, O_RDONLY | O_NONBLOCK | O_CLOEXEC), out, errnum = 0;
    ssize_t n;

    if (in < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, PILOT_EIO, errno, "cannot read %s", from);
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0)
        errnum = errno;
    while (errnum == 0 && (n = read(in, block, sizeof(block))) != 0)
        if (n < 0 || write(out, block, (size_t)n) != n)
            errnum = errno != 0 ? errno : EIO;
    if (out >= 0 && close(out) < 0 && errnum == 0)
        errnum = errno;
    close(in);
    return errnum == 0 ? 0
                       : err_set_errno(err, PILOT_EIO, errnum, "cannot copy %s to %s", from, to);
}

/* Of an attempt that was not packed. */
static int copy_files(const struct logs_place *p, const char *dir, const struct logs_attempt *a,
                      struct pilot_error *err)
{
    struct logs_place there = {.workdir = (char *)dir};
    char from[PATH_MAX], to[PATH_MAX];
    int rc = 0;

    for (int i = 0; rc == 0 && i < PACK_STREAMS; i++) {
        if (!logs_file(from, sizeof(from), p, a, (enum pack_stream)i) ||
            !logs_file(to, sizeof(to), &there, a, (enum pack_stream)i) || access(from, F_OK) < 0)
            continue;
        rc = pack_make_dirs(dir, a->id, err);
        if (rc == 0)
            rc = copy(from, to, err);
    }
    return rc;
}

static int unpack_one(const struct logs_place *p, const char *dir, const struct logs_attempt *a,
                      struct pack_reader *r, struct pilot_error *err)
{
    struct pack_key key = {.id = a->id, .attempt = a->attempt, .run = a->known ? 0 : p->run};
    char packs[PATH_MAX];
    bool torn = false;
    int rc;

    if (!a->known && !a->found)
        return copy_files(p, dir, a, err);
    if (!logs_pack_dir(packs, sizeof(packs), p, a->node))
        return 0;
    if (strcmp(r->dir, packs) != 0) {
        pack_reader_fini(r);
        pack_reader_init(r, packs);
    }
    rc = pack_unpack(r, &key, a->at, dir, a->last ? 0 : a->attempt, &torn, err);
    if (rc == 0 && torn)
        log_warn("not all of the output of task '%s' (attempt %u) can be read in %s: what is left "
                 "is in %s/%s",
                 a->id, a->attempt, packs, dir, a->id);
    return rc;
}

static int unpack_list(const struct logs_place *p, const char *dir, const struct logs_list *l,
                       struct pilot_error *err)
{
    struct pack_reader *r = malloc(sizeof(*r));
    int rc = 0;

    if (r == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    pack_reader_init(r, "");
    for (size_t i = 0; rc == 0 && i < l->len; i++)
        rc = unpack_one(p, dir, &l->v[i], r, err);
    pack_reader_fini(r);
    free(r);
    return rc;
}

int logs_unpack(struct logs_place *p, const char *dir, const char *const *ids,
                struct pilot_error *err)
{
    int rc = 0;

    if (!p->state)
        log_warn("%s; what is in the packed output is taken", p->why_not);
    do {
        struct logs_list l = {0};

        rc = logs_find(p, ids != NULL ? *ids : NULL, &l, err);
        if (rc == 0)
            rc = unpack_list(p, dir, &l, err);
        logs_list_fini(&l);
    } while (rc == 0 && ids != NULL && *++ids != NULL);
    return rc;
}
