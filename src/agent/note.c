/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the names of directories on a node, and the notes of them. Must not remove anything:
 * whether the one who made it still lives is for its owner to find out. */
#include "agent/note.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"

#define DIR_PREFIX "pilot-mpi."
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define LETTER_COUNT 6

bool note_draw(char *path, size_t size, const char *base)
{
    unsigned char bytes[LETTER_COUNT];
    int n = snprintf(path, size, "%s/%sXXXXXX", base, DIR_PREFIX);

    if (n < 0 || (size_t)n >= size)
        return false;
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        BUG("getrandom: %s", strerror(errno));
    for (int i = 0; i < LETTER_COUNT; i++)
        path[n - LETTER_COUNT + i] = LETTERS[bytes[i] % (sizeof(LETTERS) - 1)];
    return true;
}

bool note_is_ours(const char *path)
{
    const char *name = strrchr(path, '/');
    size_t prefix = strlen(DIR_PREFIX);

    return path[0] == '/' && name != NULL && strncmp(name + 1, DIR_PREFIX, prefix) == 0 &&
           strspn(name + 1 + prefix, LETTERS) == LETTER_COUNT &&
           strlen(name + 1) == prefix + LETTER_COUNT;
}

int note_write(const char *note, const char *line, struct pilot_error *err)
{
    size_t len = strlen(line);
    char *temporary;
    int fd, rc = 0;

    if (asprintf(&temporary, "%s.%ld.tmp", note, (long)getpid()) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for '%s'", note);
    unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, len) != (ssize_t)len || write(fd, "\n", 1) != 1 ||
        rename(temporary, note) < 0) {
        rc = err_set_errno(err, PILOT_EIO, errno, "cannot write '%s'", note);
        unlink(temporary);
    }
    if (fd >= 0)
        close(fd);
    free(temporary);
    return rc;
}

bool note_read(const char *note, char *line, size_t size)
{
    int fd = open(note, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    ssize_t n = -1;

    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid())
        n = pread(fd, line, size - 1, 0);
    close(fd);
    if (n <= 0)
        return false;
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return true;
}
