/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the files that MPI libraries make on a node for tasks. An mpirun that is killed leaves its
 * session directory in /tmp and, for each rank, megabytes of shared memory in /dev/shm; nobody else
 * removes those, and no name in them tells whose they were. Here they lie in a directory of their
 * attempt.
 *
 * Must cost nothing to tasks that have no such files: Open MPI makes the directory itself, and at
 * the end of any other task one look at the count of links of the directory above finds that there
 * is none, for any task; to look for one by its name costs three times that. Only tmpfs is
 * believed: other file systems do not count, or count late.
 *
 * A directory is alive as long as somebody has a lock on the file "lock" in it; that ends with the
 * process, however it ends. What is not alive goes when a pilot with the same node directory
 * starts.
 */
#include "agent/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/note.h"
#include "common/error.h"

#define OPEN_DIRS 16 /* descriptors that removing a tree may use */

struct scratch {
    char *note;     /* NODE_DIR/scratch */
    char path[256]; /* absolute; "": not made */
    int lock_fd;
    int count_fd; /* of path, if its count of links is that of its directories; else -1 */
};

/* ---- Removing -------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path); /* what cannot go stays; its directory then stays too */
    return 0;
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* The lock file of a directory, locked; -1: somebody has the lock, or it is not a directory that
 * only we can write to. */
static int lock_dir(const char *path, int flags)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd = -1;
    struct stat st;

    if (dir >= 0 && fstat(dir, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 077) == 0)
        fd = openat(dir, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
    if (dir >= 0)
        close(dir);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void remove_left(const char *note)
{
    char path[sizeof(((struct scratch *)0)->path)];
    int fd;

    if (!note_read(note, path, sizeof(path)) || !note_is_ours(path))
        return;
    fd = lock_dir(path, 0);
    if (fd < 0) {
        (void)rmdir(path); /* killed before it had a lock; any other is not empty */
        return;
    }
    remove_tree(path);
    close(fd);
}

/* A descriptor for counting the directories in it; -1: those cannot be counted. */
static int open_counted(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct statfs fs;

    if (fd >= 0 && (fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- Making ---------------------------------------------------------------------------------- */

static int make_below(struct scratch *s, const char *base, struct pilot_error *err)
{
    int rc;

    if (!note_draw(s->path, sizeof(s->path), base))
        rc = err_set(err, PILOT_EIO, "'%s' is too long a path", base);
    else if ((rc = note_write(s->note, s->path, err)) == 0 && mkdir(s->path, 0700) < 0)
        rc = err_set_errno(err, PILOT_EIO, errno, "cannot make the directory '%s'", s->path);
    if (rc < 0) {
        s->path[0] = '\0';
        return rc;
    }
    s->lock_fd = lock_dir(s->path, O_CREAT | O_EXCL);
    if (s->lock_fd < 0)
        return err_set_errno(err, PILOT_EIO, errno, "cannot lock '%s/lock'", s->path);
    s->count_fd = open_counted(s->path);
    return 0;
}

int scratch_create(struct scratch **out, const char *node_dir, struct pilot_error *err)
{
    struct scratch *s = calloc(1, sizeof(*s));
    const char *tmp = getenv("TMPDIR");
    int rc;

    if (s == NULL || asprintf(&s->note, "%s/scratch", node_dir) < 0) {
        free(s);
        return err_set(err, PILOT_ENOMEM, "out of memory");
    }
    s->lock_fd = s->count_fd = -1;
    remove_left(s->note);
    /* Shared memory is what most of it is: on a disk it would be slow. */
    rc = make_below(s, "/dev/shm", err);
    if (rc < 0 && s->path[0] == '\0')
        rc = make_below(s, tmp != NULL && tmp[0] == '/' ? tmp : "/tmp", err);
    if (rc < 0) {
        unlink(s->note); /* of what could not be made */
        scratch_destroy(s);
        return rc;
    }
    *out = s;
    return 0;
}

/* ---- Using ----------------------------------------------------------------------------------- */

const char *scratch_path(const struct scratch *s, uint64_t key, char *path, size_t size)
{
    if (s == NULL || snprintf(path, size, "%s/%llu", s->path, (unsigned long long)key) >= (int)size)
        return NULL;
    return path;
}

/* Its own two links, and one more for each directory in it. */
static bool is_empty(const struct scratch *s)
{
    struct stat st;

    return s->count_fd >= 0 && fstat(s->count_fd, &st) == 0 && st.st_nlink == 2;
}

void scratch_clear(const struct scratch *s, uint64_t key)
{
    char path[sizeof(s->path) + 32];

    if (s == NULL || is_empty(s))
        return;
    if (scratch_path(s, key, path, sizeof(path)) != NULL && rmdir(path) < 0 && errno != ENOENT)
        remove_tree(path);
}

void scratch_destroy(struct scratch *s)
{
    if (s == NULL)
        return;
    if (s->path[0] != '\0') {
        remove_tree(s->path);
        unlink(s->note);
    }
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    if (s->count_fd >= 0)
        close(s->count_fd);
    free(s->note);
    free(s);
}
