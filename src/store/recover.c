/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the files of a recovery. Works on a copy; the damaged file gets another name only when the
 * new one is complete and on the disk. Reading is salvage.c's. */
#include "store/salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

#define COPY_BYTES ((size_t)64 * 1024)
#define SECTOR_BYTES ((size_t)512)

struct recovery {
    struct place place; /* of the damaged file; locked */
    char made[PATH_MAX - 32], work[PATH_MAX], work_log[PATH_MAX];
    bool with_log;
};

static void path_of(char path[PATH_MAX], const char *file, const char *tail)
{
    snprintf(path, PATH_MAX, "%.4000s%s", file, tail);
}

/* What cannot be read is left as zeros: a damaged page like others. */
static ssize_t read_around(int fd, unsigned char *buf, size_t size, off_t at)
{
    ssize_t n = pread(fd, buf, size, at);

    if (n >= 0 || errno != EIO)
        return n;
    memset(buf, 0, size);
    for (size_t i = 0; i < size; i += SECTOR_BYTES)
        if (pread(fd, buf + i, SECTOR_BYTES, at + (off_t)i) == 0)
            return (ssize_t)i;
    return (ssize_t)size;
}

/* 1: copied; 0: there is none; negative: errno. */
static int copy_file(const char *from, const char *to)
{
    unsigned char *buf = malloc(COPY_BYTES);
    int in = open(from, O_RDONLY | O_CLOEXEC), out = -1, errnum = 0;
    ssize_t n = 0;

    if (in < 0 && errno == ENOENT) {
        free(buf);
        return 0;
    }
    if (in >= 0 && buf != NULL)
        out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        errnum = buf == NULL ? ENOMEM : errno;
    for (off_t at = 0; errnum == 0; at += n) {
        n = read_around(in, buf, COPY_BYTES, at);
        if (n <= 0)
            errnum = n < 0 ? errno : 0;
        if (n <= 0)
            break;
        if (pwrite(out, buf, (size_t)n, at) != n)
            errnum = errno ? errno : ENOSPC;
    }
    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) != 0 && errnum == 0)
        errnum = errno;
    free(buf);
    return errnum == 0 ? 1 : -errnum;
}

static int copy(struct recovery *r, struct pilot_error *err)
{
    char log[PATH_MAX];
    int rc = copy_file(r->place.file, r->work);

    path_of(log, r->place.file, "-wal");
    if (rc >= 0) {
        rc = copy_file(log, r->work_log);
        r->with_log = rc > 0;
    }
    if (rc < 0)
        return err_set(err, PILOT_ESTORE,
                       "cannot copy %s to %s to work on it: %s; choose a place with room with -o",
                       r->place.given, r->work, strerror(-rc));
    return 0;
}

static int fill(struct recovery *r, sqlite3 *from, const struct store_owner *owner,
                const struct store_recover_hooks *hooks, struct store_recovered *result,
                struct pilot_error *err)
{
    const struct store_setup setup = {0};
    struct store *to = NULL;
    int rc = store_open_with(&to, r->made, STORE_NEW, owner, &setup, err), closed;

    if (rc < 0)
        return rc;
    rc = salvage_all(from, r->work, to, hooks, result, err);
    if (rc == 0 && result->tasks == 0)
        rc = err_set(err, PILOT_ESTORE,
                     "no task can be read from %s; if it was the state of a pilot, start anew with "
                     "--fresh",
                     r->place.given);
    closed = store_close(to, rc == 0 ? err : NULL);
    if (rc == 0)
        rc = closed;
    if (rc < 0)
        unlink(r->made);
    return rc;
}

/* The first of FILE.damaged, FILE.damaged.1, ... that is free. */
static void name_aside(const char *file, char path[PATH_MAX])
{
    struct stat st;

    snprintf(path, PATH_MAX, "%s.damaged", file);
    for (int i = 1; lstat(path, &st) == 0 && i < 10000; i++)
        snprintf(path, PATH_MAX, "%s.damaged.%d", file, i);
}

/* The old log first: beside the new file it would be taken for its own. */
static int change_places(struct recovery *r, struct store_recovered *result,
                         struct pilot_error *err)
{
    static const char *const tails[] = {"-wal", "-journal", ""};
    char from[PATH_MAX], aside[PATH_MAX], to[PATH_MAX];

    name_aside(r->place.file, aside);
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        snprintf(from, sizeof(from), "%s%s", r->place.file, tails[i]);
        if (snprintf(to, sizeof(to), "%s%s", aside, tails[i]) >= (int)sizeof(to) ||
            (rename(from, to) != 0 && errno != ENOENT))
            return err_set(err, PILOT_ESTORE, "cannot rename %s to %s: %s; the new database is %s",
                           from, to, strerror(errno), r->made);
    }
    snprintf(from, sizeof(from), "%s-shm", r->place.file);
    unlink(from);
    place_sync(&r->place);
    if (rename(r->made, r->place.file) != 0)
        return err_set(err, PILOT_ESTORE, "cannot rename %s to %s: %s", r->made, r->place.file,
                       strerror(errno));
    place_sync(&r->place);
    r->place.keep_note = false;
    snprintf(result->old, sizeof(result->old), "%.4000s", aside);
    snprintf(result->made, sizeof(result->made), "%.4000s", r->place.given);
    return 0;
}

static int recover(struct recovery *r, const char *out, const struct store_owner *owner,
                   const struct store_recover_hooks *hooks, struct store_recovered *result,
                   struct pilot_error *err)
{
    sqlite3 *from = NULL;
    struct stat st;
    int rc;

    if (snprintf(r->made, sizeof(r->made), "%s%s", out ? out : r->place.file,
                 out ? "" : ".recovered") >= (int)sizeof(r->made))
        return err_set(err, PILOT_EINVAL, "the name of the new database is too long");
    path_of(r->work, r->made, ".work");
    path_of(r->work_log, r->work, "-wal");
    if (out == NULL)
        unlink(r->made); /* of a recovery that was killed */
    else if (lstat(out, &st) == 0)
        return err_set(err, PILOT_EEXIST, "%s exists; give the new database another name", out);
    rc = copy(r, err);
    if (rc == 0 && (from = salvage_open(r->work, r->with_log, err)) == NULL)
        rc = PILOT_ESTORE;
    if (rc == 0)
        rc = fill(r, from, owner, hooks, result, err);
    sqlite3_close(from);
    unlink(r->work);
    unlink(r->work_log);
    if (rc < 0)
        return rc;
    result->newest_lost = r->place.noted_ms > 0 && r->place.noted_ms > result->heartbeat_ms;
    snprintf(result->old, sizeof(result->old), "%.4000s", r->place.given);
    snprintf(result->made, sizeof(result->made), "%.4000s", r->made);
    return out == NULL ? change_places(r, result, err) : 0;
}

int store_recover(const char *path, const char *out, const struct store_owner *owner,
                  const struct store_recover_hooks *hooks, struct store_recovered *result,
                  struct pilot_error *err)
{
    struct recovery *r = calloc(1, sizeof(*r));
    char holder[HOLDER_MAX + PATH_MAX];
    int rc;

    memset(result, 0, sizeof(*result));
    if (r == NULL)
        return err_set(err, PILOT_ENOMEM, "memory is short");
    place_init(&r->place);
    rc = place_find(&r->place, path, true, err);
    if (rc == PILOT_ENOENT)
        rc = err_set(err, PILOT_ENOENT,
                     "nothing to recover: there is no %s; name the database with --db, or the work "
                     "directory of its run with --workdir",
                     path);
    if (rc == 0) {
        store_describe_holder(owner, clock_wall_ms(), holder, sizeof(holder));
        rc = place_lock(&r->place, holder, err);
    }
    if (rc == 0) {
        r->place.keep_note = r->place.noted_ms > 0;
        rc = recover(r, out, owner, hooks, result, err);
    }
    place_fini(&r->place);
    free(r);
    return rc;
}
