/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: asking through files on the shared file system, from hosts where no agent is. The other
 * side, and the names of the files, are in head/inbox.h. */
#include "cli/client_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

/* The head gives a sign of life every second, but it may have to read a million tasks first. */
#ifndef CLIENT_SILENCE_MS
#define CLIENT_SILENCE_MS 15000
#endif
/* As long, a network file system may show neither the old name of a file nor its new one. */
#ifndef CLIENT_VANISHED_MS
#define CLIENT_VANISHED_MS 5000
#endif
#define SAY_SO_MS 3000
#define POLL_FIRST_MS 20
#define POLL_LAST_MS 250

struct asking {
    char path[PATH_MAX]; /* of the inbox */
    int dir;
    char temporary[256], request[256], taken[256], reply[256]; /* names in it */
    struct timespec alive;                                     /* time of the last sign of life */
    int64_t alive_ms, present_ms; /* when that was seen; when our request was */
    bool gone;                    /* the pilot has said that it leaves */
};

static int open_inbox(struct asking *a, const char *workdir, struct pilot_error *err)
{
    struct stat st;

    if (snprintf(a->path, sizeof(a->path), "%s/.pilot/inbox", workdir) >= (int)sizeof(a->path))
        return err_set(err, PILOT_ENOENT, "%s: longer than a path may be", workdir);
    a->dir = open(a->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (a->dir < 0 && errno == ENOENT)
        return err_set(err, PILOT_ENOENT, "%s: not there, so no pilot uses this work directory",
                       a->path);
    if (a->dir < 0 || fstat(a->dir, &st) < 0)
        return err_set_errno(err, PILOT_ENOENT, errno, "%s", a->path);
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return err_set(err, PILOT_ENOENT,
                       "%s: not a directory that only you can enter, so it is not trusted",
                       a->path);
    return 0;
}

/* Looks for a sign of life. Opened anew each time: that is when a network file system asks its
 * server. */
static void look_alive(struct asking *a, int64_t now_ms)
{
    int fd = openat(a->dir, "alive", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    a->gone = fd < 0 && errno == ENOENT;
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 &&
        (st.st_mtim.tv_sec != a->alive.tv_sec || st.st_mtim.tv_nsec != a->alive.tv_nsec)) {
        a->alive = st.st_mtim;
        a->alive_ms = now_ms;
    }
    close(fd);
}

static bool write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return true;
}

/* A name that no other client has: the host may give out a process number again. */
static int choose_names(struct asking *a, struct pilot_error *err)
{
    char host[65] = "";
    uint64_t random;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return err_set_errno(err, PILOT_ESYS, errno, "no random number to be had");
    gethostname(host, sizeof(host) - 1);
    for (char *c = host; *c != '\0'; c++)
        if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') && !(*c >= '0' && *c <= '9'))
            *c = '-';
    snprintf(a->temporary, sizeof(a->temporary), "h%s-%ld-%016" PRIx64 ".tmp", host, (long)getpid(),
             random);
    snprintf(a->request, sizeof(a->request), "%.*sreq", (int)strlen(a->temporary) - 3,
             a->temporary);
    snprintf(a->taken, sizeof(a->taken), "%.*staken", (int)strlen(a->temporary) - 3, a->temporary);
    snprintf(a->reply, sizeof(a->reply), "%.*sreply", (int)strlen(a->temporary) - 3, a->temporary);
    return 0;
}

static int put_request(struct asking *a, const char *request, size_t len, struct pilot_error *err)
{
    int fd, errnum;
    bool ok;

    fd = openat(a->dir, a->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    ok = fd >= 0 && write_all(fd, request, len) && write_all(fd, "\n", 1);
    errnum = errno;
    if (fd >= 0 && close(fd) < 0 && ok) { /* where a full file system shows itself */
        errnum = errno;
        ok = false;
    }
    if (ok && renameat(a->dir, a->temporary, a->dir, a->request) < 0) {
        errnum = errno;
        ok = false;
    }
    if (ok)
        return 0;
    unlinkat(a->dir, a->temporary, 0);
    return err_set_errno(err, PILOT_ENOENT, errnum, "%s: cannot write a request there", a->path);
}

/* True: the answer is there and was taken, or memory is short (*reply NULL). */
static bool fetch(struct asking *a, char **reply)
{
    int fd = openat(a->dir, a->reply, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    char block[65536];
    struct buf b;
    ssize_t n;

    if (fd < 0)
        return false;
    buf_init(&b);
    while ((n = read(fd, block, sizeof(block))) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            buf_put(&b, block, (size_t)n);
    close(fd);
    if (n < 0 || !buf_ok(&b) || b.len == 0 || b.data[b.len - 1] != '\n') {
        bool retry = buf_ok(&b); /* a stale handle, say */

        buf_fini(&b);
        return !retry;
    }
    unlinkat(a->dir, a->reply, 0);
    *reply = client_take_line(&b);
    return true;
}

static bool is_there(const struct asking *a, const char *name)
{
    return faccessat(a->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool withdraw(struct asking *a)
{
    if (renameat(a->dir, a->request, a->dir, a->temporary) < 0)
        return false;
    unlinkat(a->dir, a->temporary, 0);
    return true;
}

static void pause_ms(int64_t ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

    nanosleep(&ts, NULL);
}

/* One look; 1: go on waiting. */
static int wait_turn(struct asking *a, int64_t now_ms, char **reply, struct pilot_error *err)
{
    bool silent;

    futimens(a->dir, NULL); /* see head/inbox.c */
    look_alive(a, now_ms);
    if (is_there(a, a->request) || is_there(a, a->taken))
        a->present_ms = now_ms;
    if (fetch(a, reply))
        return *reply != NULL ? 0 : err_set(err, PILOT_ENOMEM, "out of memory for the answer");
    silent = now_ms - a->alive_ms > CLIENT_SILENCE_MS;
    if ((a->gone || silent) && withdraw(a))
        return err_set(err, PILOT_ENOENT, "%s: %s", a->path,
                       a->gone ? "the pilot of this work directory has ended"
                               : "nobody reads there any more; was the pilot killed?");
    if (silent || now_ms - a->present_ms > CLIENT_VANISHED_MS)
        return err_set(err, PILOT_ELOST,
                       "the pilot took the request from %s and did not answer; %s", a->path,
                       CLIENT_LOST);
    return 1;
}

static int wait_for_reply(struct asking *a, char **reply, struct pilot_error *err)
{
    int64_t start_ms = clock_mono_ms(), now_ms = start_ms, nap_ms = POLL_FIRST_MS;
    bool said = false;
    int rc;

    a->alive_ms = a->present_ms = start_ms;
    while ((rc = wait_turn(a, now_ms, reply, err)) == 1) {
        if (!said && now_ms - start_ms > SAY_SO_MS) {
            log_info("waiting for the pilot to answer through %s", a->path);
            said = true;
        }
        pause_ms(nap_ms);
        if (nap_ms < POLL_LAST_MS)
            nap_ms += nap_ms / 4;
        now_ms = clock_mono_ms();
    }
    return rc;
}

int client_by_inbox(const char *workdir, const char *request, size_t len, char **reply,
                    struct pilot_error *err)
{
    struct asking a = {.dir = -1};
    int rc = open_inbox(&a, workdir, err);

    *reply = NULL;
    if (rc == 0) {
        look_alive(&a, clock_mono_ms());
        if (a.gone)
            rc = err_set(err, PILOT_ENOENT, "%s: the pilot of this work directory has ended",
                         a.path);
    }
    if (rc == 0)
        rc = choose_names(&a, err);
    if (rc == 0)
        rc = put_request(&a, request, len, err);
    if (rc == 0)
        rc = wait_for_reply(&a, reply, err);
    if (a.dir >= 0)
        close(a.dir);
    return rc;
}
