/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the task file of --stream, read while its tasks run. What can be read without waiting is
 * read once a turn, and every task that it completes is taken in like one that a client adds: to
 * the store, then to the core, so that its row is committed with or before its end.
 *
 *   READING -> READ    to its end
 *           -> CUT     the run stops, or the file has an error: what was read stays
 *
 * Until READ the state has a mark (in the table meta) that more is to be read, so that no later run
 * can take what it has for all. The mark and the last tasks change in one transaction.
 *
 * Reading holds while very many tasks wait, or the store is behind: then the writer of a pipe
 * waits, and memory is not what the file is long. */
#include "head/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"
#include "common/log.h"
#include "input/stream.h"

#define READ_BYTES (256 << 10) /* a turn; some thousand tasks */
#define WAITING_MAX 100000     /* tasks that are read ahead of those that run */
/* Of text, twice: read while the text before it is committed. */
#define UNCOMMITTED_BYTES (4 << 20)

enum stream_state { STREAM_READING, STREAM_READ, STREAM_CUT };

struct stream {
    enum stream_state state;
    char *path;       /* as it was given */
    const char *name; /* in messages */
    int fd;
    struct task_stream *reader;
    struct intake_limits limits;
    struct taskfile_ops ops;
    struct head *h;
    struct buf scratch;
    uint64_t tasks, known;   /* read; of them, those that the state had */
    size_t bytes;            /* since before_barrier was set */
    uint64_t before_barrier; /* of the text before that */
    char block[READ_BYTES];
};

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Its id is in the table. */
static int meet_known(struct stream *s, struct head_task *known, const struct task_spec *spec,
                      unsigned line, struct pilot_error *err)
{
    if (known->line > 0)
        return err_set(err, PILOT_EINVAL,
                       "%s:%u: task '%.200s': duplicate id, first used on line %u; give each task "
                       "an id of its own",
                       s->name, line, spec->id, known->line);
    if (!intake_same_content(known, spec))
        return err_set(err, PILOT_EEXIST,
                       "%s:%u: task '%.200s' is there already with other content; give it another "
                       "id, or run it again as it is now with --rerun-changed, without --stream",
                       s->name, line, spec->id);
    known->line = line;
    s->known++;
    return 0;
}

static int on_task(void *arg, const struct task_spec *spec, unsigned line, struct pilot_error *err)
{
    struct stream *s = arg;
    struct task_table *table = &s->h->tasks;
    struct head_task task;
    task_id_t known;
    int rc;

    s->tasks++;
    if (strmap_get(&table->ids, spec->id, &known))
        return meet_known(s, &table->v[known], spec, line, err);
    rc = intake_check_room(s->h, s->name, spec, line, err);
    if (rc == 0 && tasks_reserve(table, 1) < 0)
        rc = err_set(err, PILOT_ENOMEM, "out of memory for %u tasks", table->len);
    if (rc == 0)
        rc = tasks_make(table, &task, spec, &s->scratch, err);
    if (rc < 0)
        return rc;
    task.line = line;
    intake_append(s->h, &task);
    return 0;
}

static bool on_known(void *arg, const char *id)
{
    const struct stream *s = arg;

    return strmap_get(&s->h->tasks.ids, id, NULL);
}

static void on_warning(void *arg, const char *text)
{
    (void)arg;
    log_warn("%s", text);
}

/* ---- The file -------------------------------------------------------------------------------- */

/* Not to wait for somebody who writes: a pipe with a name is opened at once, and read when poll
 * says so. Standard input may be shared: nothing of it is changed. */
static int open_file(struct stream *s, struct pilot_error *err)
{
    struct stat st;

    if (strcmp(s->path, "-") == 0) {
        s->name = "standard input";
        s->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    } else {
        s->fd = open(s->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    }
    if (s->fd < 0 && errno == ENOENT)
        return err_set(err, PILOT_ENOENT, "%s: there is no such file; name the file with the tasks",
                       s->name);
    if (s->fd < 0)
        return err_set_errno(err, PILOT_EIO, errno, "%s: cannot be opened", s->name);
    if (fstat(s->fd, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(err, PILOT_EIO, "%s: is a directory; name the task file in it", s->name);
    return 0;
}

int stream_open(struct head *h, const char *path, struct pilot_error *err)
{
    struct stream *s;
    int rc;

    if (h->stream != NULL)
        return err_set(err, PILOT_ESTATE, "only one file can be read while the tasks run");
    s = calloc(1, sizeof(*s));
    if (s == NULL || (s->path = strdup(path)) == NULL) {
        free(s);
        return err_set(err, PILOT_ENOMEM, "out of memory");
    }
    h->stream = s;
    s->h = h;
    s->name = s->path;
    s->ops =
        (struct taskfile_ops){.task = on_task, .known = on_known, .warn = on_warning, .arg = s};
    rc = open_file(s, err);
    if (rc < 0)
        return rc;
    intake_limits_init(&s->limits, h);
    s->reader = task_stream_create(s->name, &s->limits.config, &s->ops);
    if (s->reader == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    free(h->unread);
    h->unread = NULL;
    return 0;
}

void stream_close(struct head *h)
{
    struct stream *s = h->stream;

    free(h->unread);
    h->unread = NULL;
    if (s == NULL)
        return;
    task_stream_destroy(s->reader);
    if (s->fd >= 0)
        close(s->fd);
    buf_fini(&s->scratch);
    free(s->path);
    free(s);
    h->stream = NULL;
}

const char *stream_unread(const struct head *h)
{
    if (h->stream != NULL)
        return h->stream->state != STREAM_READ ? h->stream->path : NULL;
    return h->unread;
}

const char *stream_name(const struct head *h)
{
    return h->stream != NULL ? h->stream->name : NULL;
}

void stream_begin(struct head *h)
{
    const char *unread = stream_unread(h);

    store_put_meta(h->store, STREAM_UNREAD_KEY, unread != NULL ? unread : "");
    h->changed = true;
    if (h->stream == NULL && unread != NULL)
        log_warn("an earlier run did not read '%.200s' to its end: these are not all tasks; "
                 "--resume with that file goes on with it",
                 unread);
}

/* ---- Reading --------------------------------------------------------------------------------- */

bool stream_holds(const struct head *h)
{
    return h->stream != NULL && h->stream->state == STREAM_READING;
}

/* The text before the last UNCOMMITTED_BYTES is not committed. */
static bool store_is_behind(const struct stream *s)
{
    return s->bytes >= UNCOMMITTED_BYTES && store_committed(s->h->store) < s->before_barrier;
}

static bool waits(const struct stream *s)
{
    struct sched_counts c;

    sched_get_counts(s->h->sched, &c);
    return c.by_status[TASK_PENDING] - c.late >= WAITING_MAX || disk_holds_state(s->h) ||
           store_is_behind(s);
}

int stream_fds(const struct head *h, struct pollfd *fds)
{
    if (!stream_holds(h) || waits(h->stream))
        return 0;
    fds[0] = (struct pollfd){.fd = h->stream->fd, .events = POLLIN};
    return 1;
}

/* Nothing more is read: whoever writes into a pipe learns it now. */
static void end_reading(struct stream *s, enum stream_state state)
{
    s->state = state;
    close(s->fd);
    s->fd = -1;
}

static void on_error(struct stream *s, const struct pilot_error *err)
{
    log_error("%s", err->text);
    end_reading(s, STREAM_CUT);
    head_stop(s->h, STOP_DRAIN, "%.60s cannot be read on; mend it, and --resume with it", s->name);
}

static void on_end(struct stream *s)
{
    end_reading(s, STREAM_READ);
    store_put_meta(s->h->store, STREAM_UNREAD_KEY, "");
    if (s->known > 0)
        log_info("%s: %llu new tasks, %llu were already there", s->name,
                 (unsigned long long)(s->tasks - s->known), (unsigned long long)s->known);
}

/* What can be read without waiting. 0 at the end of the file, or so many bytes; negative: errno is
 * EAGAIN, or says what is wrong. */
static ssize_t read_some(struct stream *s)
{
    struct pollfd fd = {.fd = s->fd, .events = POLLIN};

    if (poll(&fd, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
    }
    return read(s->fd, s->block, sizeof(s->block));
}

static void take(struct stream *s, ssize_t got)
{
    task_id_t first = s->h->tasks.len;
    struct pilot_error err;
    int rc = 0;

    if (got > 0)
        rc = task_stream_put(s->reader, s->block, (size_t)got, &err);
    else if (got == 0)
        rc = task_stream_end(s->reader, &err);
    else
        rc = err_set_errno(&err, PILOT_EIO, errno, "%s: cannot be read", s->name);
    intake_start(s->h, first); /* those before an error stay */
    s->h->changed = true;
    if (rc < 0)
        on_error(s, &err);
    else if (got == 0)
        on_end(s);
}

void stream_turn(struct head *h, int64_t now_ms)
{
    struct stream *s = h->stream;
    ssize_t got;

    (void)now_ms;
    if (!stream_holds(h))
        return;
    if (h->stop != STOP_NOT) {
        end_reading(s, STREAM_CUT);
        return;
    }
    if (waits(s))
        return;
    if (s->bytes >= UNCOMMITTED_BYTES) {
        s->before_barrier = h->last_barrier;
        s->bytes = 0;
    }
    got = read_some(s);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    s->bytes += got > 0 ? (size_t)got : 0;
    take(s, got);
}
