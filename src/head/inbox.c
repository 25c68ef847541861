/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the files of the inbox, on the head's side. Must not understand what is asked.
 *
 * Works on the directory that it has checked, by descriptor: somebody who may write in the
 * directories above can move it away, but cannot put another in its place unseen.
 *
 * Network file systems keep what they know of a directory for up to a minute. To change the times
 * of the directory makes the client of the file system ask its server again, so both sides do that
 * before they look. And the file "alive" gets a new time at every look: by it clients know that
 * somebody reads here. */
#include "head/inbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/control.h"
#include "common/error.h"
#include "common/log.h"

#define LOOK_MS 1000
#define NAMES_AT_ONCE 1024 /* the others with the next look */
#define NAME_LEN_MAX 200   /* without its suffix */
#define LEFTOVER_S 3600    /* an answer that nobody fetched in an hour is not waited for */
#define ALIVE "alive"

#define UNREADABLE                                                                                 \
    "{\"ok\": false, \"code\": \"refused\", \"message\": \"the request is no file of yours, not "  \
    "text, or too long; nothing was added\"}"
#define OVER                                                                                       \
    "{\"ok\": false, \"code\": \"over\", \"message\": \"the run has ended; nothing was added\"}"
#define OLD                                                                                        \
    "{\"ok\": false, \"code\": \"over\", \"message\": \"the pilot that was asked has ended, and "  \
    "a new "                                                                                       \
    "run has begun; nothing was added\"}"

struct inbox {
    char *path; /* owned; for messages and for the end */
    int dir, alive;
    int64_t next_ms;
    char **names; /* owned: requests of the last look, without suffix */
    size_t count, used;
    char *name, *text; /* owned: handed out last */
};

/* ---- Names ----------------------------------------------------------------------------------- */

/* Names are chosen by clients: nothing may be in them that means something to somebody else. */
static bool good_name(const char *name, size_t len)
{
    if (len == 0 || len > NAME_LEN_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= 'A' && name[i] <= 'Z') &&
            !(name[i] >= '0' && name[i] <= '9') && strchr("._-", name[i]) == NULL)
            return false;
    return true;
}

/* The length of name before suffix, 0 when it does not end so or is not one of ours. */
static size_t stem(const char *name, const char *suffix)
{
    size_t len = strlen(name), end = strlen(suffix);

    return len > end && strcmp(name + len - end, suffix) == 0 && good_name(name, len - end)
               ? len - end
               : 0;
}

struct file_name {
    char text[NAME_LEN_MAX + 16];
};

static struct file_name with(const char *name, const char *suffix)
{
    struct file_name f;

    snprintf(f.text, sizeof(f.text), "%s%s", name, suffix);
    return f;
}

static int move(const struct inbox *b, const char *name, const char *from, const char *to)
{
    return renameat(b->dir, with(name, from).text, b->dir, with(name, to).text);
}

/* ---- Looking --------------------------------------------------------------------------------- */

static DIR *open_list(const struct inbox *b)
{
    int fd = openat(b->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

    if (d == NULL && fd >= 0)
        close(fd);
    return d;
}

static void remove_if_old(const struct inbox *b, const char *file)
{
    struct stat st;

    if (fstatat(b->dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_mtime + LEFTOVER_S < time(NULL))
        unlinkat(b->dir, file, 0);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void forget_names(struct inbox *b)
{
    for (size_t i = b->used; i < b->count; i++)
        free(b->names[i]);
    b->count = b->used = 0;
}

/* Fills names, which are all used up. */
static void look(struct inbox *b)
{
    struct dirent *entry;
    size_t len;
    DIR *d;

    futimens(b->alive, NULL);
    futimens(b->dir, NULL);
    forget_names(b);
    d = open_list(b);
    if (d == NULL)
        return;
    while (b->count < NAMES_AT_ONCE && (entry = readdir(d)) != NULL) {
        if ((len = stem(entry->d_name, ".req")) > 0) {
            b->names[b->count] = strndup(entry->d_name, len);
            b->count += b->names[b->count] != NULL;
        } else if (stem(entry->d_name, ".reply") > 0 || stem(entry->d_name, ".tmp") > 0) {
            remove_if_old(b, entry->d_name);
        }
    }
    closedir(d);
    qsort(b->names, b->count, sizeof(*b->names), by_name);
}

/* The text of NAME.taken, fresh, without a final newline; NULL: not to be had. */
static char *read_request(const struct inbox *b, const char *name)
{
    int fd =
        openat(b->dir, with(name, ".taken").text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    size_t len = 0, size;
    char *text = NULL;
    struct stat st;
    ssize_t n = 1;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        st.st_size <= CONTROL_LINE_MAX + 1) {
        size = (size_t)st.st_size;
        text = malloc(size + 1);
        while (text != NULL && len < size && n != 0) {
            n = read(fd, text + len, size - len);
            if (n < 0 && errno != EINTR)
                break;
            len += n > 0 ? (size_t)n : 0;
        }
    }
    close(fd);
    if (text == NULL || len < (size_t)st.st_size || memchr(text, '\0', len) != NULL) {
        free(text);
        return NULL;
    }
    if (len > 0 && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    return text;
}

int inbox_next(struct inbox *b, int64_t now_ms, const char **name, const char **text)
{
    if (b->used == b->count) {
        if (now_ms < b->next_ms)
            return 0;
        look(b);
        b->next_ms = now_ms + LOOK_MS;
    }
    while (b->used < b->count) {
        free(b->name);
        free(b->text);
        b->text = NULL;
        b->name = b->names[b->used++];
        if (move(b, b->name, ".req", ".taken") < 0)
            continue; /* withdrawn */
        b->text = read_request(b, b->name);
        if (b->text != NULL) {
            *name = b->name;
            *text = b->text;
            return 1;
        }
        inbox_reply(b, b->name, UNREADABLE);
    }
    return 0;
}

int64_t inbox_next_ms(const struct inbox *b)
{
    return b->next_ms;
}

/* ---- Answering ------------------------------------------------------------------------------- */

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

void inbox_reply(struct inbox *b, const char *name, const char *text)
{
    struct file_name temporary = with(name, ".tmp");
    bool ok;
    int fd;

    unlinkat(b->dir, temporary.text, 0);
    fd = openat(b->dir, temporary.text, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    ok = fd >= 0 && write_all(fd, text, strlen(text)) && write_all(fd, "\n", 1);
    if (fd >= 0 && close(fd) < 0) /* where a full file system shows itself */
        ok = false;
    if (!ok || move(b, name, ".tmp", ".reply") < 0) {
        log_warn("cannot write the answer to a request, '%s/%s.reply': %s", b->path, name,
                 strerror(errno));
        unlinkat(b->dir, temporary.text, 0);
    }
    unlinkat(b->dir, with(name, ".taken").text, 0);
}

/* ---- Coming and going ------------------------------------------------------------------------ */

/* What an earlier pilot took: answered (and not yet removed), or to be taken again. */
static void take_back(struct inbox *b)
{
    DIR *d = open_list(b);
    struct dirent *entry;
    struct stat st;
    size_t len;

    while (d != NULL && (entry = readdir(d)) != NULL) {
        char name[NAME_LEN_MAX + 1];

        if ((len = stem(entry->d_name, ".taken")) == 0)
            continue;
        memcpy(name, entry->d_name, len);
        name[len] = '\0';
        if (fstatat(b->dir, with(name, ".reply").text, &st, AT_SYMLINK_NOFOLLOW) == 0)
            unlinkat(b->dir, entry->d_name, 0);
        else
            move(b, name, ".taken", ".req");
    }
    if (d != NULL)
        closedir(d);
}

static int make_directory(struct inbox *b, const char *workdir, struct pilot_error *err)
{
    struct stat st;
    char *above;

    if (asprintf(&above, "%s/.pilot", workdir) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for the inbox");
    if (asprintf(&b->path, "%s/inbox", above) < 0)
        b->path = NULL;
    mkdir(above, 0700);
    free(above);
    if (b->path == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for the inbox");
    if (mkdir(b->path, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, PILOT_EIO, errno, "cannot make the directory '%s'", b->path);
    b->dir = open(b->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (b->dir < 0 || fstat(b->dir, &st) < 0)
        return err_set_errno(err, PILOT_EIO, errno, "cannot open the directory '%s'", b->path);
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return err_set(err, PILOT_EIO,
                       "'%s' is not a directory that only you can enter, as it must be; remove it",
                       b->path);
    return 0;
}

int inbox_create(struct inbox **out, const char *workdir, struct pilot_error *err)
{
    struct inbox *b = calloc(1, sizeof(*b));
    int rc;

    if (b == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for the inbox");
    b->dir = b->alive = -1;
    b->names = calloc(NAMES_AT_ONCE, sizeof(*b->names));
    rc = b->names != NULL ? make_directory(b, workdir, err)
                          : err_set(err, PILOT_ENOMEM, "out of memory for the inbox");
    if (rc == 0) {
        take_back(b);
        unlinkat(b->dir, ALIVE, 0);
        b->alive =
            openat(b->dir, ALIVE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (b->alive < 0)
            rc = err_set_errno(err, PILOT_EIO, errno, "cannot write in '%s'", b->path);
    }
    if (rc < 0) {
        inbox_destroy(b);
        return rc;
    }
    *out = b;
    return 0;
}

static void refuse_waiting(struct inbox *b, const char *text)
{
    look(b);
    for (size_t i = 0; i < b->count; i++)
        if (move(b, b->names[i], ".req", ".taken") == 0)
            inbox_reply(b, b->names[i], text);
    forget_names(b);
}

void inbox_refuse_old(struct inbox *b)
{
    refuse_waiting(b, OLD);
}

/* Who asks now is told that it is over; answers stay until they are fetched, and with them the
 * directory. */
void inbox_destroy(struct inbox *b)
{
    if (b == NULL)
        return;
    if (b->alive >= 0) {
        unlinkat(b->dir, ALIVE, 0); /* first: who comes after the last look finds nobody there */
        refuse_waiting(b, OVER);
        close(b->alive);
        if (rmdir(b->path) < 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
            log_warn("cannot remove the directory '%s': %s", b->path, strerror(errno));
    }
    if (b->dir >= 0)
        close(b->dir);
    forget_names(b);
    free(b->names);
    free(b->name);
    free(b->text);
    free(b->path);
    free(b);
}
