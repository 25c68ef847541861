/* SPDX-License-Identifier: BSD-3-Clause */
/* Preloaded into a program, makes its file locks fail as on a file system that has none (Lustre
 * without flock, NFS whose lock daemon is down). NOLOCK_ERRNO: the errno, ENOSYS by default.
 * NOLOCK_AFTER=N: only when a lock for writing is asked for, and the first N of those succeed.
 * NOLOCK_PROCESS=1: only those that belong to a process, as SQLite takes them. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef int fcntl_f(int, int, ...);

static int number(const char *name, int otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? atoi(text) : otherwise;
}

static int refuses(int cmd, const struct flock *lock)
{
    static atomic_int granted;
    int after = number("NOLOCK_AFTER", -1);

    if (cmd != F_SETLK && cmd != F_SETLKW && cmd != F_OFD_SETLK && cmd != F_OFD_SETLKW)
        return 0;
    if (getenv("NOLOCK_PROCESS") != NULL && (cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW))
        return 0;
    return after < 0 || (lock->l_type == F_WRLCK && atomic_fetch_add(&granted, 1) >= after);
}

static int call(const char *name, int fd, int cmd, void *arg)
{
    fcntl_f *real = (fcntl_f *)dlsym(RTLD_NEXT, name);

    if (refuses(cmd, arg)) {
        errno = number("NOLOCK_ERRNO", ENOSYS);
        return -1;
    }
    return real(fd, cmd, arg);
}

#define WRAP(name)                                                                                 \
    __attribute__((visibility("default"))) int name(int fd, int cmd, ...)                          \
    {                                                                                              \
        va_list ap;                                                                                \
        void *arg;                                                                                 \
                                                                                                   \
        va_start(ap, cmd);                                                                         \
        arg = va_arg(ap, void *);                                                                  \
        va_end(ap);                                                                                \
        return call(#name, fd, cmd, arg);                                                          \
    }

WRAP(fcntl)
WRAP(fcntl64)
