/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: talking to the control socket of a node. Must not trust a path that somebody else may have
 * written, nor a listener that is somebody else. */
#include "cli/client_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/error.h"

#define ANSWER_MAX (512u << 20) /* bytes; more is no answer of a pilot */

/* A connected socket, or PILOT_ENOENT. */
static int connect_to(const char *path, struct pilot_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t path_len = strlen(path);
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int fd, rc;

    if (path_len >= sizeof(address.sun_path))
        return err_set(err, PILOT_ENOENT, "socket %s: longer than such a path can be", path);
    memcpy(address.sun_path, path, path_len + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, PILOT_ESYS, errno, "cannot make a socket");
    do
        rc = connect(fd, (struct sockaddr *)&address, sizeof(address));
    while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        err_set_errno(err, PILOT_ENOENT, errno, "socket %s", path);
    } else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
               (peer.uid != geteuid() && geteuid() != 0)) {
        rc = err_set(err, PILOT_ENOENT, "socket %s: the one who listens there is another user",
                     path);
    }
    if (rc == 0)
        return fd;
    close(fd);
    return PILOT_ENOENT;
}

/* Sends all of it. False: nobody takes it any more. */
static bool send_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return true;
}

/* Reads until a newline has come. */
static bool receive_line(int fd, struct buf *b)
{
    char block[65536];
    ssize_t n;

    while (b->len < ANSWER_MAX) {
        n = recv(fd, block, sizeof(block), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        buf_put(b, block, (size_t)n);
        if (!buf_ok(b))
            return false;
        if (memchr(block, '\n', (size_t)n) != NULL)
            return true;
    }
    return false;
}

int client_by_socket(const char *path, const char *request, size_t len, char **reply,
                     struct pilot_error *err)
{
    int fd = connect_to(path, err), rc = 0;
    struct buf answer;

    if (fd < 0)
        return fd;
    buf_init(&answer);
    if (!send_all(fd, request, len))
        rc = err_set(err, PILOT_ENOENT,
                     "socket %s: the pilot closed the connection before it had all of the request",
                     path);
    else if (!send_all(fd, "\n", 1) || !receive_line(fd, &answer))
        rc = err_set(
            err, PILOT_ELOST,
            "the pilot closed the connection before it answered (has it ended?); " CLIENT_LOST);
    else
        *reply = client_take_line(&answer);
    buf_fini(&answer);
    close(fd);
    return rc;
}

int client_by_note(const char *workdir, const char *request, size_t len, char **reply,
                   struct pilot_error *err)
{
    char host[HOST_NAME_MAX + 1] = "", note[PATH_MAX], path[PATH_MAX];
    struct stat st;
    ssize_t n;
    int fd;

    if (gethostname(host, sizeof(host) - 1) < 0)
        return err_set_errno(err, PILOT_ENOENT, errno, "cannot learn the name of this host");
    if (snprintf(note, sizeof(note), "%s/.pilot/%s/socket", workdir, host) >= (int)sizeof(note))
        return err_set(err, PILOT_ENOENT, "%s: longer than a path may be", workdir);
    fd = open(note, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, PILOT_ENOENT, "%s: not there, so no pilot runs tasks on this host",
                       note);
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_set_errno(err, PILOT_ENOENT, errno, "%s", note);
        n = -1;
    } else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        n = err_set(err, PILOT_ENOENT,
                    "%s: not a file that only you can write and read, so it is not trusted", note);
    } else if ((n = pread(fd, path, sizeof(path) - 1, 0)) <= 0) {
        n = err_set(err, PILOT_ENOENT, "%s: nothing to be read in it", note);
    }
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return PILOT_ENOENT;
    path[n] = '\0';
    path[strcspn(path, "\n")] = '\0';
    return client_by_socket(path, request, len, reply, err);
}
