/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the output files of a task. The common case is three system calls: one mkdirat and two
 * openat below the work directory, which stays open. Everything else happens only after one of them
 * has said that it is needed. */
#include "launch/taskdir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"
#include "launch/tree.h"

#define MESSAGE_PATH_BYTES 80

void taskdir_init(struct taskdir *d)
{
    memset(d, 0, sizeof(*d));
    d->workdir_fd = d->out_fd = d->err_fd = -1;
}

const char *path_tail(const char *path, size_t room, char *dst, size_t size)
{
    size_t len = strlen(path);

    if (len <= room)
        return path;
    snprintf(dst, size, "...%s", path + len - (room - 3));
    return dst;
}

static int failed(const struct taskdir *d, int errnum, const char *what, char *message, size_t size)
{
    char tail[MESSAGE_PATH_BYTES + 1];

    snprintf(message, size, "cannot %s '%s': %s", what,
             path_tail(d->path, MESSAGE_PATH_BYTES, tail, sizeof(tail)), strerror(errnum));
    return errnum;
}

/* Appends to the path at offset at; ENAMETOOLONG when it does not fit. */
static int put(struct taskdir *d, size_t at, const char *text)
{
    size_t len = strlen(text);

    if (at + len >= sizeof(d->path))
        return ENAMETOOLONG;
    memcpy(d->path + at, text, len + 1);
    return 0;
}

static bool is_dir(const char *path)
{
    int errnum = errno;
    struct stat st;
    bool yes = stat(path, &st) == 0 && S_ISDIR(st.st_mode);

    errno = errnum;
    return yes;
}

/* Whatever mkdir says of a directory that is there (EEXIST, EROFS, EACCES), it is there.
 */
int taskdir_make_workdir(const char *path, struct pilot_error *err)
{
    char *copy = strdup(path);
    int rc = 0;

    if (copy == NULL)
        return err_set(err, PILOT_ENOMEM, "work directory: out of memory");
    for (char *p = copy + 1; rc == 0; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(copy, 0777) < 0 && !is_dir(copy))
            rc = err_set_errno(err, PILOT_EIO, errno, "cannot make the directory '%s'", copy);
        *p = c;
        if (c == '\0')
            break;
    }
    free(copy);
    return rc;
}

/* The path below the work directory, for the ...at calls. */
static const char *below(const struct taskdir *d)
{
    return d->path + d->workdir_len + 1;
}

/* Makes every directory of the path below the work directory. */
static int make_parents(struct taskdir *d)
{
    for (char *p = d->path + d->workdir_len + 1; *p != '\0'; p++) {
        int rc;

        if (*p != '/')
            continue;
        *p = '\0';
        rc = mkdirat(d->workdir_fd, below(d), 0777);
        *p = '/';
        if (rc < 0 && errno != EEXIST)
            return errno;
    }
    return 0;
}

static int make_dir(struct taskdir *d)
{
    int errnum;

    if (mkdirat(d->workdir_fd, below(d), 0777) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT)
        return errno;
    errnum = make_parents(d);
    if (errnum != 0)
        return errnum;
    return mkdirat(d->workdir_fd, below(d), 0777) == 0 || errno == EEXIST ? 0 : errno;
}

/* stdout.txt becomes stdout.(attempt-1).txt, if it is there. */
static int keep_old(struct taskdir *d, const char *name, unsigned attempt)
{
    char file[40];
    char old[PATH_MAX];

    snprintf(file, sizeof(file), "/%s.txt", name);
    if (put(d, d->len, file) != 0)
        return ENAMETOOLONG;
    memcpy(old, d->path, sizeof(old));
    snprintf(file, sizeof(file), "/%s.%u.txt", name, attempt - 1);
    if (put(d, d->len, file) != 0)
        return ENAMETOOLONG;
    if (renameat(d->workdir_fd, old + d->workdir_len + 1, d->workdir_fd, below(d)) == 0 ||
        errno == ENOENT)
        return 0;
    return errno;
}

/* O_APPEND: a task may open its own output a second time, or several processes may write to it. */
static int open_output(struct taskdir *d, const char *file, int *fd)
{
    if (put(d, d->len, file) != 0)
        return ENAMETOOLONG;
    *fd = openat(d->workdir_fd, below(d),
                 O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
    return *fd < 0 ? errno : 0;
}

static int remove_old(struct taskdir *d, const char *file)
{
    if (put(d, d->len, file) != 0)
        return ENAMETOOLONG;
    return unlinkat(d->workdir_fd, below(d), 0) == 0 || errno == ENOENT ? 0 : errno;
}

void taskdir_undo(struct taskdir *d)
{
    taskdir_close(d);
    (void)remove_old(d, "/stderr.txt");
    (void)remove_old(d, "/stdout.txt");
    d->path[d->len] = '\0';
    (void)unlinkat(d->workdir_fd, below(d), AT_REMOVEDIR);
}

static int open_workdir(struct taskdir *d, const char *workdir)
{
    int errnum = put(d, 0, workdir);

    if (errnum != 0)
        return errnum;
    d->workdir_len = strlen(workdir);
    d->workdir_fd = open(workdir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return d->workdir_fd < 0 ? errno : 0;
}

static int open_files(struct taskdir *d, unsigned attempt, bool merged, char *message, size_t size)
{
    int errnum = make_dir(d);

    if (errnum != 0)
        return failed(d, errnum, "make the directory", message, size);
    if (attempt >= 2) {
        errnum = keep_old(d, "stdout", attempt);
        if (errnum == 0)
            errnum = keep_old(d, "stderr", attempt);
        if (errnum != 0)
            return failed(d, errnum, "rename the last attempt's output to", message, size);
    }
    errnum = merged ? remove_old(d, "/stderr.txt") : open_output(d, "/stderr.txt", &d->err_fd);
    if (errnum == 0)
        errnum = open_output(d, "/stdout.txt", &d->out_fd);
    if (errnum != 0)
        return failed(d, errnum, "write", message, size);
    if (merged)
        d->err_fd = d->out_fd;
    d->path[d->len] = '\0';
    return 0;
}

int taskdir_open_none(struct taskdir *d, const char *workdir, char *message, size_t message_size)
{
    int errnum = d->workdir_fd < 0 ? open_workdir(d, workdir) : 0;

    if (errnum != 0)
        return failed(d, errnum, "open the work directory", message, message_size);
    d->path[d->workdir_len] = '\0';
    return 0;
}

int taskdir_open(struct taskdir *d, const char *workdir, const char *id, unsigned attempt,
                 bool merged, char *message, size_t message_size)
{
    int errnum = taskdir_open_none(d, workdir, message, message_size);

    if (errnum != 0)
        return errnum;
    d->path[d->workdir_len] = '/';
    errnum = put(d, d->workdir_len + 1, id);
    if (errnum != 0) {
        d->path[d->workdir_len] = '\0';
        return failed(d, errnum, "make the task's directory in", message, message_size);
    }
    d->len = d->workdir_len + 1 + strlen(id);
    return open_files(d, attempt, merged, message, message_size);
}

const char *taskdir_path(const struct taskdir *d)
{
    return d->path;
}

void taskdir_note(const struct taskdir *d, const char *text)
{
    if (d->err_fd >= 0)
        dprintf(d->err_fd, "pilot-mpi: %s\n", text); /* a full disk loses the note, not the task */
}

bool taskdir_is_held_by(const struct taskdir *d, pid_t pid)
{
    struct stat files[2];

    if (fstat(d->out_fd, &files[0]) < 0 || fstat(d->err_fd, &files[1]) < 0)
        return false;
    return tree_holds_file(pid, files, 2);
}

void taskdir_close(struct taskdir *d)
{
    if (d->out_fd >= 0)
        close(d->out_fd);
    if (d->err_fd >= 0 && d->err_fd != d->out_fd)
        close(d->err_fd);
    d->out_fd = d->err_fd = -1;
}
