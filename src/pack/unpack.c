/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: making of files what a slot would have made without packing. A file gets its name when it
 * is complete, so that who sees one does not see a part of it. */
#include "pack/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"

#define PATIENCE_MS 2000 /* for a record that another host has written a moment ago */

static const char *const names[PACK_STREAMS] = {"stdout", "stderr"};

int pack_make_dirs(const char *root, const char *id, struct pilot_error *err)
{
    char path[PATH_MAX];
    size_t root_len = strlen(root);

    if (snprintf(path, sizeof(path), "%s/%s", root, id) >= (int)sizeof(path))
        return err_set(err, PILOT_EIO, "the path %.200s/%.200s is too long", root, id);
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return 0;
    for (char *p = path + (root_len > 0 ? 1 : 0);; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(path, 0777) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            return err_set_errno(err, PILOT_EIO, errno, "cannot make the directory %.2000s", path);
        *p = c;
        if (c == '\0')
            return 0;
    }
}

struct files {
    int fd[PACK_STREAMS];
    int errnum;
};

static int write_piece(void *arg, enum pack_stream stream, const void *data, size_t len)
{
    struct files *f = arg;
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(f->fd[stream], p, len);

        if (n < 0 && errno != EINTR) {
            f->errnum = errno;
            return PILOT_EIO;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int file_path(char *out, size_t size, const char *root, const char *id, int stream,
                     unsigned number, const char *end)
{
    char between[16] = "";

    if (number > 0)
        snprintf(between, sizeof(between), ".%u", number);
    return snprintf(out, size, "%s/%s/%s%s.txt%s", root, id, names[stream], between, end) <
                   (int)size
               ? 0
               : PILOT_EIO;
}

static int open_files(struct files *f, const char *root, const char *id, unsigned number,
                      const char *end, struct pilot_error *err)
{
    for (int i = 0; i < PACK_STREAMS; i++) {
        char path[PATH_MAX];

        if (file_path(path, sizeof(path), root, id, i, number, end) < 0)
            return err_set(err, PILOT_EIO, "the path %.200s/%.200s is too long", root, id);
        f->fd[i] = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
        if (f->fd[i] < 0)
            return err_set_errno(err, PILOT_EIO, errno, "cannot write %.2000s", path);
    }
    return 0;
}

/* Closes them all, and gives them their names when all is well. */
static int name_files(struct files *f, int rc, const char *root, const char *id, unsigned number,
                      const char *end, struct pilot_error *err)
{
    for (int i = 0; i < PACK_STREAMS; i++) {
        char from[PATH_MAX], to[PATH_MAX];

        if (f->fd[i] < 0)
            continue;
        if (close(f->fd[i]) < 0 && f->errnum == 0)
            f->errnum = errno;
        if (file_path(from, sizeof(from), root, id, i, number, end) < 0 ||
            file_path(to, sizeof(to), root, id, i, number, "") < 0)
            continue;
        if (rc == 0 && f->errnum == 0 && rename(from, to) < 0)
            f->errnum = errno;
        if (rc < 0 || f->errnum != 0)
            unlink(from);
    }
    if (f->errnum != 0)
        return err_set_errno(err, PILOT_EIO, f->errnum,
                             "cannot write the output of '%.200s' in %.2000s", id, root);
    return rc;
}

int pack_unpack(struct pack_reader *r, const struct pack_key *key, uint64_t last, const char *root,
                unsigned number, bool *torn, struct pilot_error *err)
{
    struct files f = {.fd = {-1, -1}};
    struct pack_chain chain = {0};
    char end[32];
    int rc = pack_make_dirs(root, key->id, err);

    *torn = false;
    snprintf(end, sizeof(end), ".%d.tmp", (int)getpid());
    if (rc == 0)
        rc = open_files(&f, root, key->id, number, end, err);
    if (rc == 0 && (pack_chain_read(r, key, 0, last, PATIENCE_MS, &chain) < 0 ||
                    pack_chain_copy(r, &chain, 0, 3, write_piece, &f, torn) == PILOT_ENOMEM))
        rc = err_set(err, PILOT_ENOMEM, "out of memory for the output of '%.200s'", key->id);
    *torn = *torn || chain.torn;
    pack_chain_fini(&chain);
    return name_files(&f, rc, root, key->id, number, end, err);
}
