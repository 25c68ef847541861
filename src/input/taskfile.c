/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the reading of one task file as a whole, from its bytes to the caller's tasks.
 *
 * Unless it is a large file of lines (portions.h), the text is read into memory as a whole, though
 * not its JSON tree: a mapped file that somebody shortens meanwhile would end the pilot with
 * SIGBUS, and a pipe cannot be mapped. */
#include "input/taskfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"
#include "common/large.h"
#include "input/portions.h"
#include "input/reader.h"

#define READ_BYTES 1048576

int64_t taskfile_read_text(const char *name, const char *text, size_t len,
                           const struct taskfile_config *config, const struct taskfile_ops *ops,
                           struct pilot_error *err)
{
    struct reader r;
    int rc = reader_refuse_utf16(name, text, len, err);

    if (rc < 0)
        return rc;
    reader_init(&r, name, config, ops);
    r.err = err;
    rc = split_init(&r.split, text, len);
    if (rc == 0)
        rc = reader_whole(&r);
    if (rc == 0)
        rc = graph_check(&r.graph, ops, !r.incomplete, &r.complaints);
    rc = reader_result(&r, rc);
    reader_fini(&r);
    return rc < 0 ? rc : (int64_t)r.number;
}

/* Reads fd to its end into fresh memory; hint: how much is likely to come. */
static int read_fd(int fd, const char *name, size_t hint, char **text, size_t *len,
                   struct pilot_error *err)
{
    size_t cap = hint + READ_BYTES;
    char *data = malloc(cap);
    size_t used = 0;
    ssize_t n = 1;

    large_pages(data, cap);
    while (data != NULL && n != 0) {
        n = read(fd, data + used, cap - used);
        if (n < 0 && errno != EINTR) {
            int errnum = errno;

            free(data);
            return err_set_errno(err, PILOT_EIO, errnum, "%s: cannot be read", name);
        }
        used += n > 0 ? (size_t)n : 0;
        if (used == cap) {
            char *more = realloc(data, cap * 2);

            if (more == NULL)
                free(data);
            data = more;
            cap *= 2;
        }
    }
    if (data == NULL)
        return err_set(err, PILOT_ENOMEM, "%s: out of memory", name);
    *text = data;
    *len = used;
    return 0;
}

static int open_file(const char *path, struct stat *st, struct pilot_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return err_set(err, PILOT_ENOENT, "%s: there is no such file; name the file with the tasks",
                       path);
    if (fd < 0)
        return err_set_errno(err, PILOT_EIO, errno, "%s: cannot be opened", path);
    if (fstat(fd, st) < 0) {
        memset(st, 0, sizeof(*st));
    } else if (S_ISDIR(st->st_mode)) {
        close(fd);
        return err_set(err, PILOT_EIO, "%s: is a directory; name the task file in it", path);
    }
    return fd;
}

static int64_t read_whole(int fd, const char *name, size_t hint,
                          const struct taskfile_config *config, const struct taskfile_ops *ops,
                          struct pilot_error *err)
{
    char *text = NULL;
    size_t len = 0;
    int64_t rc = read_fd(fd, name, hint, &text, &len, err);

    if (rc < 0)
        return rc;
    rc = taskfile_read_text(name, text, len, config, ops, err);
    free(text);
    return rc;
}

int64_t taskfile_read(const char *path, const struct taskfile_config *config,
                      const struct taskfile_ops *ops, struct pilot_error *err)
{
    int64_t rc = PORTIONS_NOT_LINES;
    struct stat st;
    size_t size;
    int fd;

    if (strcmp(path, "-") == 0)
        return read_whole(STDIN_FILENO, "standard input", 0, config, ops, err);
    fd = open_file(path, &st, err);
    if (fd < 0)
        return fd;
    size = st.st_size > 0 ? (size_t)st.st_size : 0;
    if (S_ISREG(st.st_mode) && size > PORTION_BYTES) {
        rc = portions_read(fd, path, size, PORTION_BYTES, config, ops, err);
        if (rc == PORTIONS_NOT_LINES && lseek(fd, 0, SEEK_SET) < 0)
            rc = err_set_errno(err, PILOT_EIO, errno, "%s: cannot be read", path);
    }
    if (rc == PORTIONS_NOT_LINES)
        rc = read_whole(fd, path, size, config, ops, err);
    close(fd);
    return rc;
}
