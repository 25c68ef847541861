/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the files of the control socket. Must not touch what somebody else may have put there: what
 * a killed pilot left is removed only if all of it looks like ours.
 *
 * The socket is on the node's own file system (TMPDIR or /tmp): shared ones do not all know
 * sockets, and the names there are too long for an address. */
#include "agent/control_place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/note.h"
#include "common/error.h"
#include "common/log.h"

#define SOCKET_NAME "control"
#define BACKLOG                                                                                    \
    4096 /* the kernel takes less if it must; who waits there waits, and is not refused */

/* ---- What a killed pilot left ---------------------------------------------------------------- */

/* .../pilot-mpi.XXXXXX/control, cut to the directory. */
static bool cut_to_dir(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL || strcmp(slash + 1, SOCKET_NAME) != 0)
        return false;
    *slash = '\0';
    return note_is_ours(path);
}

/* Nothing in it but (perhaps) the socket. */
static bool only_ours(int dir)
{
    struct dirent *entry;
    struct stat st;
    bool ours = true;
    int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;

    if (d == NULL) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    while (ours && (entry = readdir(d)) != NULL)
        ours = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
               (strcmp(entry->d_name, SOCKET_NAME) == 0 &&
                fstatat(dir, SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode) &&
                st.st_uid == geteuid());
    closedir(d);
    return ours;
}

static void address_of(struct sockaddr_un *address, const char *path)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, strlen(path) + 1);
}

/* Whether somebody listens there. A full queue refuses too, but with another error. */
static bool is_dead(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_un address;
    bool dead = false;

    address_of(&address, path);
    if (fd < 0)
        return false;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        dead = errno == ECONNREFUSED || errno == ENOENT;
    close(fd);
    return dead;
}

static void remove_left(const char *note)
{
    char path[CONTROL_PATH_MAX], dir[CONTROL_PATH_MAX];
    struct stat st;
    int fd;

    if (!note_read(note, path, sizeof(path)))
        return;
    memcpy(dir, path, sizeof(dir));
    if (!cut_to_dir(dir))
        return;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 077) == 0 && only_ours(fd) &&
        is_dead(path)) {
        unlinkat(fd, SOCKET_NAME, 0);
        rmdir(dir);
    }
    close(fd);
}

/* ---- Making ---------------------------------------------------------------------------------- */

/* The directory, below base, which may turn out to be no place for it. */
static int make_dir(struct control_place *place, const char *base, struct pilot_error *err)
{
    char *path = place->socket;
    size_t len;
    int rc;

    if (!note_draw(path, CONTROL_PATH_MAX - sizeof(SOCKET_NAME), base))
        return err_set(err, PILOT_EINVAL,
                       "'%s' is too long a path for a socket; set TMPDIR to a shorter one", base);
    len = strlen(path);
    strcpy(path + len, "/" SOCKET_NAME);
    rc = note_write(place->note, path, err);
    path[len] = '\0';
    if (rc == 0 && mkdir(path, 0700) < 0)
        rc = err_set_errno(err, PILOT_EIO, errno,
                           "cannot make a directory for the control socket below '%s'", base);
    path[len] = '/';
    return rc;
}

static int make_below(struct control_place *place, const char *base, int *listener,
                      struct pilot_error *err)
{
    const char *socket_path = place->socket;
    struct sockaddr_un address;
    int rc = make_dir(place, base, err), fd;

    if (rc < 0) {
        place->socket[0] = '\0';
        return rc;
    }
    address_of(&address, socket_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        chmod(socket_path, 0600) == 0 && listen(fd, BACKLOG) == 0) {
        *listener = fd;
        return 0;
    }
    err_set_errno(err, PILOT_EIO, errno, "cannot make the control socket '%s'", socket_path);
    if (fd >= 0)
        close(fd);
    return PILOT_EIO;
}

static void remove_socket(struct control_place *place)
{
    if (place->socket[0] == '\0')
        return;
    unlink(place->socket);
    *strrchr(place->socket, '/') = '\0';
    rmdir(place->socket);
    place->socket[0] = '\0';
}

int control_place_make(struct control_place *place, const char *node_dir, int *listener,
                       struct pilot_error *err)
{
    const char *base = getenv("TMPDIR");
    int rc = PILOT_EIO;

    if (asprintf(&place->note, "%s/socket", node_dir) < 0) {
        place->note = NULL;
        return err_set(err, PILOT_ENOMEM, "out of memory for the control socket");
    }
    remove_left(place->note);
    if (base != NULL && base[0] == '/')
        rc = make_below(place, base, listener, err);
    if (rc < 0) {
        remove_socket(place);
        rc = make_below(place, "/tmp", listener, err);
    }
    if (rc < 0)
        unlink(place->note); /* of what could not be made */
    return rc;
}

void control_place_remove(struct control_place *place)
{
    char path[CONTROL_PATH_MAX];
    bool noted = place->note != NULL && place->socket[0] != '\0' &&
                 note_read(place->note, path, sizeof(path)) && strcmp(path, place->socket) == 0;

    remove_socket(place);
    if (noted)
        unlink(place->note); /* last: killed here, the next start finds the rest by it */
    free(place->note);
    place->note = NULL;
}
