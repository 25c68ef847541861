/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the pipes between a task and its output files, and the cut. Must not know of processes: who
 * is left and when all is over is the slot's business.
 *
 * The task is never held up by the cut: what is beyond it is read and forgotten, in the same block
 * of memory. A file that cannot be written is another matter: without the pump the task itself
 * would see that, so our end of its pipe is closed, and the attempt does not count as a success.
 * (Not splice: it refuses a file that is opened for appending, and to forget costs next to
 * nothing.) */
#include "launch/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BLOCK 65536 /* bytes; as much as a pipe holds */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void pump_init(struct pump *p)
{
    memset(p, 0, sizeof(*p));
    for (int i = 0; i < PUMP_STREAMS; i++)
        p->streams[i].pipe = p->streams[i].task_end = p->streams[i].file = -1;
}

static int open_stream(struct pump_stream *s, int file, const char *name)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return errno;
    s->pipe = ends[0];
    s->task_end = ends[1];
    s->file = file;
    s->name = name;
    s->used = true;
    return 0;
}

static void close_all(struct pump *p)
{
    for (int i = 0; i < PUMP_STREAMS; i++) {
        close_fd(&p->streams[i].pipe);
        close_fd(&p->streams[i].task_end);
        p->streams[i].file = -1;
        p->streams[i].used = false;
    }
}

int pump_open(struct pump *p, int64_t limit, int out_file, int err_file)
{
    int errnum;

    pump_init(p);
    p->limit = limit;
    errnum = open_stream(&p->streams[0], out_file, "stdout.txt");
    if (errnum == 0 && err_file != out_file)
        errnum = open_stream(&p->streams[1], err_file, "stderr.txt");
    if (errnum != 0)
        close_all(p);
    return errnum;
}

int pump_open_packed(struct pump *p, int64_t limit, struct pack_out *pack)
{
    int errnum;

    pump_init(p);
    p->limit = limit;
    p->pack = pack;
    errnum = open_stream(&p->streams[0], -1, "stdout");
    if (errnum == 0)
        errnum = open_stream(&p->streams[1], -1, "stderr");
    if (errnum != 0)
        close_all(p);
    return errnum;
}

int pump_out_fd(const struct pump *p)
{
    return p->streams[0].task_end;
}

int pump_err_fd(const struct pump *p)
{
    return p->streams[1].task_end >= 0 ? p->streams[1].task_end : p->streams[0].task_end;
}

void pump_expect_end(struct pump *p)
{
    for (int i = 0; i < PUMP_STREAMS; i++)
        close_fd(&p->streams[i].task_end);
}

bool pump_is_open(const struct pump *p)
{
    return p->streams[0].pipe >= 0 || p->streams[1].pipe >= 0;
}

int pump_fds(const struct pump *p, struct pollfd *fds)
{
    int n = 0;

    for (int i = 0; i < PUMP_STREAMS; i++)
        if (p->streams[i].pipe >= 0)
            fds[n++] = (struct pollfd){.fd = p->streams[i].pipe, .events = POLLIN};
    return n;
}

/* 0, or an errno value. */
static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int put(struct pump *p, struct pump_stream *s, const char *data, size_t len)
{
    if (p->pack == NULL)
        return write_all(s->file, data, len);
    pack_out_put(p->pack, (enum pack_stream)(s - p->streams), data, len);
    p->filled = true;
    return p->pack->errnum;
}

/* Keeps what may be kept of a block, and counts the rest. */
static void keep(struct pump *p, struct pump_stream *s, const char *block, size_t len)
{
    int64_t room = s->errnum != 0 ? 0 : p->limit > 0 ? p->limit - s->kept : INT64_MAX;
    size_t n = room < (int64_t)len ? (size_t)room : len;

    if (n > 0)
        s->errnum = put(p, s, block, n);
    if (s->errnum != 0) {
        s->dropped += (int64_t)len; /* or a little less: what was written of it is not known */
        close_fd(&s->pipe);
        return;
    }
    if (n > 0)
        s->last = block[n - 1];
    s->kept += (int64_t)n;
    s->dropped += (int64_t)(len - n);
}

/* Somebody else may read from our end what poll has seen (cat /dev/stdout), so it must not wait.
 * Only our end: programs do not expect an output that refuses to wait. Most tasks say nothing, so
 * it is done when the first has come; on a pipe it does not fail. */
static void do_not_wait(struct pump_stream *s)
{
    if (!s->nonblocking)
        (void)fcntl(s->pipe, F_SETFL, O_NONBLOCK);
    s->nonblocking = true;
}

/* Reads at most max bytes of what is there. */
static void take(struct pump *p, struct pump_stream *s, size_t max)
{
    static char block[BLOCK]; /* one task a process at a time */
    ssize_t n;

    do_not_wait(s);
    n = read(s->pipe, block, max < sizeof(block) ? max : sizeof(block));
    if (n == 0)
        close_fd(&s->pipe); /* nobody can write any more */
    else if (n > 0)
        keep(p, s, block, (size_t)n);
}

void pump_turn(struct pump *p, const struct pollfd *fds)
{
    for (int i = 0; i < PUMP_STREAMS; i++) {
        if (p->streams[i].pipe < 0)
            continue;
        if (fds->revents != 0)
            take(p, &p->streams[i], BLOCK);
        fds++;
    }
}

/* What the pipe holds now, and no more: whoever writes into it now is no process of the task. */
static void take_rest(struct pump *p, struct pump_stream *s)
{
    int left = 0;

    if (s->pipe < 0 || ioctl(s->pipe, FIONREAD, &left) < 0)
        return;
    while (left > 0 && s->pipe >= 0) {
        int64_t before = s->kept + s->dropped;

        take(p, s, (size_t)left);
        if (s->kept + s->dropped == before)
            break;
        left -= (int)(s->kept + s->dropped - before);
    }
}

static void mark_cut(struct pump *p, struct pump_stream *s)
{
    char text[96];
    int len = snprintf(text, sizeof(text),
                       "%s[pilot-mpi: cut here: %" PRId64 " bytes more were not kept]\n",
                       s->kept > 0 && s->last != '\n' ? "\n" : "", s->dropped);
    int errnum = put(p, s, text, (size_t)len);

    if (s->errnum == 0)
        s->errnum = errnum;
}

void pump_end(struct pump *p)
{
    for (int i = 0; i < PUMP_STREAMS; i++) {
        struct pump_stream *s = &p->streams[i];

        if (!s->used)
            continue;
        take_rest(p, s);
        if (s->dropped > 0)
            mark_cut(p, s);
    }
    close_all(p);
}

int64_t pump_dropped(const struct pump *p)
{
    return p->streams[0].dropped + p->streams[1].dropped;
}

bool pump_has_kept(const struct pump *p, char *message, size_t size)
{
    for (int i = 0; i < PUMP_STREAMS; i++) {
        const struct pump_stream *s = &p->streams[i];

        if (s->errnum != 0) {
            snprintf(message, size, "cannot write '%s': %s", s->name, strerror(s->errnum));
            return false;
        }
    }
    return true;
}
