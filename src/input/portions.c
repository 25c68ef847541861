/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the window through which a file of lines is read. What is found, and every message, is as
 * if the file were read as a whole. Must not be used for other forms, whose tasks can end anywhere,
 * nor for pipes: ids of later tasks are looked for when a task has none, by reading the file twice.
 */
#include "input/portions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"
#include "input/reader.h"

struct portions {
    int fd;
    struct stat before; /* of the file, when it was opened */
    struct reader *reader;
    char *window;
    size_t len, cap;
    bool ended; /* the file has */
};

static int fail_read(struct reader *r)
{
    int errnum = errno;

    r->callback_rc = true; /* it is worded */
    return err_set_errno(r->err, PILOT_EIO, errnum, "%s: cannot be read", r->complaints.file);
}

/* A file that somebody writes to meanwhile would be taken for a mixture of two; one that is cut
 * short, for one that ends within a line. */
static int check_unchanged(const struct portions *p)
{
    const struct stat *old = &p->before;
    struct stat st;

    if (fstat(p->fd, &st) < 0)
        return fail_read(p->reader);
    if (st.st_size == old->st_size && st.st_mtim.tv_sec == old->st_mtim.tv_sec &&
        st.st_mtim.tv_nsec == old->st_mtim.tv_nsec)
        return 0;
    p->reader->callback_rc = true;
    return err_set(p->reader->err, PILOT_EIO,
                   "%s: was changed while it was read; start again when it is complete (for tasks "
                   "that are still being written there is --stream, from a pipe)",
                   p->reader->complaints.file);
}

/* Reads until the window is full or the file ends. */
static int fill(struct portions *p)
{
    while (!p->ended && p->len < p->cap) {
        ssize_t n = read(p->fd, p->window + p->len, p->cap - p->len);

        if (n < 0 && errno != EINTR)
            return fail_read(p->reader);
        p->len += n > 0 ? (size_t)n : 0;
        p->ended = n == 0;
    }
    return 0;
}

/* The window has no room for a whole line. */
static int widen(struct portions *p)
{
    char *window = realloc(p->window, 2 * p->cap);

    if (window == NULL)
        return PILOT_ENOMEM;
    p->window = window;
    p->cap *= 2;
    return fill(p);
}

/* All of the file, for those who look for something in it; to be freed. */
static int read_again(void *arg, char **text, size_t *len)
{
    struct portions *p = arg;
    struct stat st;
    size_t used = 0;
    char *all;

    if (fstat(p->fd, &st) < 0)
        return fail_read(p->reader);
    all = malloc((size_t)st.st_size + 1);
    if (all == NULL)
        return PILOT_ENOMEM;
    while (used < (size_t)st.st_size) {
        ssize_t n = pread(p->fd, all + used, (size_t)st.st_size - used, (off_t)used);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(all);
            return fail_read(p->reader);
        }
        if (n == 0)
            break;
        used += (size_t)n;
    }
    *text = all;
    *len = used;
    return 0;
}

/* Is it certain from the first portion that this is a file of lines? The first of them must be
 * there, and of an object also that no more than this line belongs to it. */
static bool shows_lines(const struct portions *p)
{
    const struct split *s = &p->reader->split;
    const char *first = scan_blank(s->begin, s->end);

    if (!p->ended && memchr(first, '\n', (size_t)(s->end - first)) == NULL)
        return false;
    return s->form == SPLIT_COMMANDS || (s->form == SPLIT_LINES && s->whole_end != NULL);
}

/* The whole lines from window + used on; the end of the last of them. 0: there is none yet. */
static size_t whole_lines(const struct portions *p, size_t used)
{
    const char *newline;

    if (p->ended)
        return p->len;
    newline = memrchr(p->window + used, '\n', p->len - used);
    return newline != NULL ? (size_t)(newline + 1 - p->window) : 0;
}

static int read_lines(struct portions *p)
{
    struct reader *r = p->reader;
    size_t used = (size_t)(r->split.p - p->window), end;
    int rc = 0;

    split_consume(&r->split, r->split.p);
    while (rc == 0 && (used < p->len || !p->ended)) {
        end = whole_lines(p, used);
        if (end == 0) {
            rc = widen(p);
            continue;
        }
        split_piece(&r->split, p->window + used, end - used, p->ended);
        r->before += used;
        rc = r->split.form == SPLIT_COMMANDS ? reader_commands(r) : reader_tasks(r);
        r->before += end - used;
        split_consume(&r->split, p->window + end);
        memmove(p->window, p->window + end, p->len - end);
        p->len -= end;
        used = 0;
        if (rc == 0)
            rc = fill(p);
    }
    return rc;
}

static int read_all(struct portions *p)
{
    struct reader *r = p->reader;
    int rc;

    if (r->split.form == SPLIT_COMMANDS)
        reader_warn_of_name(r);
    rc = read_lines(p);
    if (rc == 0 && r->split.form == SPLIT_COMMANDS)
        reader_want_commands(r);
    return rc == 0 ? graph_check(&r->graph, r->ops, !r->incomplete, &r->complaints) : rc;
}

int64_t portions_read(int fd, const char *name, size_t size, size_t portion,
                      const struct taskfile_config *config, const struct taskfile_ops *ops,
                      struct pilot_error *err)
{
    struct reader r;
    struct portions p = {.fd = fd, .reader = &r, .window = malloc(portion), .cap = portion};
    bool lines = false;
    int rc;

    reader_init(&r, name, config, ops);
    r.err = err;
    r.size = size;
    r.again = read_again;
    r.again_arg = &p;
    rc = p.window == NULL ? PILOT_ENOMEM : fstat(fd, &p.before) < 0 ? fail_read(&r) : fill(&p);
    if (rc == 0 && (rc = reader_refuse_utf16(name, p.window, p.len, err)) < 0)
        r.callback_rc = true;
    if (rc == 0)
        rc = split_init(&r.split, p.window, p.len);
    if (rc == 0 && (lines = shows_lines(&p)))
        rc = read_all(&p);
    if (lines && rc != PILOT_ENOMEM)
        rc = check_unchanged(&p) < 0 ? PILOT_EIO : rc;
    if (rc < 0 || lines)
        rc = reader_result(&r, rc);
    reader_fini(&r);
    free(p.window);
    if (rc < 0)
        return rc;
    return lines ? (int64_t)r.number : PORTIONS_NOT_LINES;
}
