/* SPDX-License-Identifier: BSD-3-Clause */
#include "agent/outroom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/room.h"

#define LOOK_BYTES 65536
#define LOOK_PAUSE_MS 20 /* at least, between two looks after failures */

void outroom_init(struct outroom *o, const char *workdir, const char *node)
{
    snprintf(o->dir, sizeof(o->dir), "%s/.pilot/%s", workdir, node);
    o->not_before_ms = INT64_MIN;
}

/* 0 or errno. A network file system may say it no sooner than at the close. */
static int write_some(const char *path)
{
    static const char zeros[LOOK_BYTES];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    size_t done = 0;
    int errnum = 0;

    if (fd < 0)
        return errno;
    while (errnum == 0 && done < sizeof(zeros)) {
        ssize_t n = write(fd, zeros + done, sizeof(zeros) - done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            errnum = n == 0 ? ENOSPC : errno;
    }
    if (close(fd) < 0 && errnum == 0)
        errnum = errno;
    unlink(path);
    return errnum;
}

int outroom_look(const struct outroom *o)
{
    char dir[PATH_MAX + 16], file[PATH_MAX + 32];
    int errnum = 0;

    snprintf(dir, sizeof(dir), "%s/room", o->dir);
    snprintf(file, sizeof(file), "%s/probe", dir);
    if (mkdir(dir, 0777) < 0 && errno != EEXIST)
        errnum = errno;
    else
        errnum = write_some(file);
    rmdir(dir);
    return room_is_errno(errnum) ? errnum : 0;
}

int outroom_suspect(struct outroom *o, int64_t now_ms)
{
    int64_t took_ms;
    int errnum;

    if (now_ms < o->not_before_ms)
        return 0;
    errnum = outroom_look(o);
    took_ms = clock_mono_ms() - now_ms;
    o->not_before_ms = now_ms + took_ms * 10 + LOOK_PAUSE_MS;
    return errnum;
}
