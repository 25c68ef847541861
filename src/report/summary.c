/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the end of a run in words and in summary.json. Must not trust what tasks wrote: of their
 * stderr at most the last 4 KiB are read, and no byte of it reaches the terminal unchecked. */
#include "report/summary.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"
#include "pack/read.h"
#include "report/text.h"

#define FAILURES_SHOWN 5
#define TAIL_LINES 5
#define TAIL_BYTES 4096
#define TAIL_COLUMNS 300 /* of one line */

static double ratio(double a, double b)
{
    return a > 0 && b > 0 ? a / b : 0;
}

static double utilisation(const struct pilot_summary *sum)
{
    double u = ratio(sum->core_s, sum->wall_s * sum->cores);

    return u > 1 ? 1 : u;
}

/* ---- The last lines of a task's output ------------------------------------------------------- */

/* Reads up to the last TAIL_BYTES of WORKDIR/ID/NAME into data; how many, 0 when there is nothing
 * to show. *cut: it does not begin at a line's start. */
static size_t read_tail(const char *workdir, const char *id, const char *name,
                        char data[TAIL_BYTES], bool *cut)
{
    char *path;
    struct stat st;
    ssize_t n = 0;
    int fd;

    *cut = false;
    if (asprintf(&path, "%s/%s/%s", workdir, id, name) < 0)
        return 0;
    /* A task can put anything in the place of its file: a FIFO must not hold us up. */
    fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    free(path);
    if (fd < 0)
        return 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        off_t at = st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0;

        do
            n = pread(fd, data, TAIL_BYTES, at);
        while (n < 0 && errno == EINTR);
        *cut = at > 0;
    }
    close(fd);
    return n > 0 ? (size_t)n : 0;
}

static const char *const stream_names[] = {"stdout.txt", "stderr.txt"};

/* The same of packed output. */
static size_t read_packed_tail(const struct summary_paths *paths, const struct report_failure *f,
                               enum pack_stream stream, char data[TAIL_BYTES], bool *cut)
{
    struct pack_key key = {.id = f->id, .attempt = f->attempt};
    struct pack_reader *r = malloc(sizeof(*r));
    char dir[PATH_MAX];
    size_t len;

    *cut = false;
    if (r == NULL ||
        snprintf(dir, sizeof(dir), "%s/.pilot/%s", paths->workdir, f->node) >= (int)sizeof(dir)) {
        free(r);
        return 0;
    }
    pack_reader_init(r, dir);
    len = pack_tail(r, &key, f->result.pack_at, stream, data, TAIL_BYTES, cut);
    pack_reader_fini(r);
    free(r);
    return len;
}

/* One line of output as a terminal would show it in the end: of "10 %\r20 %\r" the last. */
static void tail_line(struct screen *s, const char *line, size_t len)
{
    struct buf *b;
    const char *cr;

    while (len > 0 && line[len - 1] == '\r')
        len--;
    cr = len > 0 ? memrchr(line, '\r', len) : NULL;
    if (cr != NULL) {
        len -= (size_t)(cr + 1 - line);
        line = cr + 1;
    }
    b = screen_begin_bare(s);
    if (b == NULL)
        return;
    text_add(b, "    | ");
    text_safe(b, line, len, s->utf8, false, TAIL_COLUMNS);
    screen_end(s);
}

/* heading: a line before them, or NULL. False: there are none. */
static bool tail_lines(struct screen *s, const struct summary_paths *paths,
                       const struct report_failure *f, enum pack_stream stream, const char *heading)
{
    char data[TAIL_BYTES];
    bool cut;
    size_t len = f->result.packed
                     ? read_packed_tail(paths, f, stream, data, &cut)
                     : read_tail(paths->workdir, f->id, stream_names[stream], data, &cut);
    size_t start, lines = 1;
    const char *newline;

    while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r' || data[len - 1] == ' '))
        len--;
    if (len == 0)
        return false;
    if (heading != NULL && screen_begin_bare(s) != NULL) {
        text_add(&s->lines, "    %s", heading);
        screen_end(s);
    }
    for (start = len; start > 0; start--)
        if (data[start - 1] == '\n' && lines++ == TAIL_LINES)
            break;
    /* The first line of a cut piece is shown only when there is no whole one. */
    if (start == 0 && cut && (newline = memchr(data, '\n', len)) != NULL)
        start = (size_t)(newline - data) + 1;
    for (const char *p = data + start, *end = data + len; p < end; p = newline + 1) {
        newline = memchr(p, '\n', (size_t)(end - p));
        if (newline == NULL)
            newline = end;
        tail_line(s, p, (size_t)(newline - p));
    }
    return true;
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static void failure_lines(struct screen *s, const struct report_failure *f,
                          const struct summary_paths *paths)
{
    struct buf *b = screen_begin_bare(s);
    bool shows = f->result.reason != REASON_SPAWN && paths->output != PILOT_OUTPUT_NONE;
    bool merged = paths->output == PILOT_OUTPUT_MERGED;

    if (b == NULL)
        return;
    screen_mark(s, SCREEN_FAILED);
    text_safe(b, f->id, strlen(f->id), s->utf8, false, 0);
    text_add(b, " ");
    text_cause(b, &f->result, s->utf8);
    if (f->attempt > 1)
        text_add(b, ", attempt %u", f->attempt);
    if (shows) {
        text_add(b, ", ");
        text_errors_place(b, paths->output, paths->shown, f->id, s->utf8);
        text_add(b, ":");
    }
    screen_end(s);
    if (!shows)
        return;
    if (merged)
        tail_lines(s, paths, f, PACK_STDOUT, NULL);
    else if (!tail_lines(s, paths, f, PACK_STDERR, NULL))
        tail_lines(s, paths, f, PACK_STDOUT,
                   f->result.packed ? "(it is empty; the end of its standard output:)"
                                    : "(it is empty; the end of stdout.txt:)");
}

static void text_line(struct screen *s, const char *before, const char *text)
{
    struct buf *b = screen_begin_bare(s);

    if (b == NULL)
        return;
    text_add(b, "%s", before);
    text_safe(b, text, strlen(text), s->utf8, true, 0); /* errors may have several lines */
    screen_end(s);
}

static void count_part(struct buf *b, const char *name, uint64_t n)
{
    char a[TEXT_NUM];

    if (n > 0)
        text_add(b, " | %s: %s", name, text_count(a, n));
}

static void usage_line(struct screen *s, const struct pilot_summary *sum)
{
    struct buf *b = screen_begin_bare(s);
    char n[TEXT_NUM];

    if (b == NULL)
        return;
    text_add(b, "Core utilisation: %u%% of %s core%s", (unsigned)(utilisation(sum) * 100 + 0.5),
             text_count(n, sum->cores), sum->cores == 1 ? "" : "s");
    count_part(b, "Skipped", sum->skipped);
    count_part(b, "Cancelled", sum->cancelled);
    count_part(b, "Attempts lost", sum->lost);
    screen_end(s);
}

void summary_lines(struct screen *s, const struct report_end *e, const struct summary_paths *paths)
{
    unsigned shown = e->failure_count < FAILURES_SHOWN ? e->failure_count : FAILURES_SHOWN;
    uint64_t failed = e->summary.failed > shown ? e->summary.failed : shown;
    char n[TEXT_NUM];

    if (shown > 0 && screen_begin_bare(s) != NULL) {
        if (failed > shown)
            text_add(&s->lines, "Failed tasks (%u of %s):", shown, text_count(n, failed));
        else
            text_add(&s->lines, "Failed tasks:");
        screen_end(s);
    }
    for (unsigned i = 0; i < shown; i++)
        failure_lines(s, &e->failures[i], paths);
    if (e->stopped_why != NULL)
        text_line(s, "Stopped: ", e->stopped_why);
    usage_line(s, &e->summary);
}

void summary_last_line(struct screen *s, const struct report_end *e)
{
    const struct pilot_summary *sum = &e->summary;
    struct buf *b = screen_begin_bare(s);
    char wall[TEXT_NUM], cpu[TEXT_NUM], speedup[TEXT_NUM];

    if (b == NULL)
        return;
    /* Plain numbers: scripts read this line. */
    text_add(b,
             "Completed: %" PRIu64 " | Failed: %" PRIu64
             " | Wall time: %s | CPU time: %s (%sx speedup)",
             sum->completed, sum->failed, text_duration(wall, sum->wall_s),
             text_duration(cpu, sum->cpu_s), text_tenths(speedup, ratio(sum->cpu_s, sum->wall_s)));
    if (e->resume_hint != NULL) {
        text_add(b, " | Unfinished: %" PRIu64 " | To go on: ", sum->unfinished);
        text_safe(b, e->resume_hint, strlen(e->resume_hint), s->utf8, false, 0);
    }
    screen_end(s);
}

/* ---- summary.json ---------------------------------------------------------------------------- */

static bool add_number(cJSON *o, const char *name, double value)
{
    return cJSON_AddNumberToObject(o, name, value) != NULL;
}

static bool add_fixed(cJSON *o, const char *name, double value)
{
    char text[TEXT_NUM];

    return cJSON_AddRawToObject(o, name, text_fixed(text, value)) != NULL;
}

/* NULL: null. What is no UTF-8 would make the whole file unreadable. */
static bool add_text(cJSON *o, const char *name, const char *value)
{
    char *clean;
    bool ok;

    if (value == NULL)
        return cJSON_AddNullToObject(o, name) != NULL;
    clean = text_utf8(value);
    ok = clean != NULL && cJSON_AddStringToObject(o, name, clean) != NULL;
    free(clean);
    return ok;
}

/* A number, or null where there is none. */
static bool add_known(cJSON *o, const char *name, int value, bool known)
{
    return known ? add_number(o, name, value) : cJSON_AddNullToObject(o, name) != NULL;
}

static bool add_failure(cJSON *list, const struct report_failure *f,
                        const struct summary_paths *paths)
{
    cJSON *o = cJSON_CreateObject();
    const struct attempt_result *r = &f->result;
    char *path = NULL;
    bool ok = false;
    bool file = paths->output == PILOT_OUTPUT_FILES || paths->output == PILOT_OUTPUT_MERGED;
    const char *name =
        stream_names[paths->output == PILOT_OUTPUT_MERGED ? PACK_STDOUT : PACK_STDERR];

    if (!cJSON_AddItemToArray(list, o)) {
        cJSON_Delete(o);
        return false;
    }
    if (asprintf(&path, "%s/%s/%s", paths->workdir, f->id, name) >= 0) {
        ok = add_text(o, "id", f->id) && add_number(o, "attempt", f->attempt) &&
             add_text(o, "reason", attempt_reason_name(r->reason)) &&
             add_known(o, "exit_code", r->exit_code, r->reason == REASON_EXIT) &&
             add_known(o, "signal", r->signal, r->signal != 0) &&
             add_text(o, "message", r->message[0] != '\0' ? r->message : NULL) &&
             add_text(o, "stderr_file", file ? path : NULL);
        free(path);
    }
    return ok;
}

static bool fill_json(cJSON *o, const struct report_end *e, const struct summary_paths *paths)
{
    const struct pilot_summary *sum = &e->summary;
    cJSON *failures;
    bool ok;

    ok = add_text(o, "version", pilot_version()) &&
         add_number(o, "completed", (double)sum->completed) &&
         add_number(o, "failed", (double)sum->failed) &&
         add_number(o, "skipped", (double)sum->skipped) &&
         add_number(o, "cancelled", (double)sum->cancelled) &&
         add_number(o, "unfinished", (double)sum->unfinished) &&
         add_number(o, "attempts", (double)sum->attempts) &&
         add_number(o, "lost", (double)sum->lost) && add_fixed(o, "wall_time", sum->wall_s) &&
         add_fixed(o, "cpu_time", sum->cpu_s) &&
         add_fixed(o, "speedup", ratio(sum->cpu_s, sum->wall_s)) &&
         add_fixed(o, "core_seconds", sum->core_s) &&
         add_fixed(o, "core_utilisation", utilisation(sum)) && add_number(o, "cores", sum->cores) &&
         add_number(o, "nodes", sum->nodes) && add_number(o, "exit_status", e->exit_status) &&
         add_text(o, "stopped", e->stopped_why) && add_text(o, "db", e->db);
    failures = ok ? cJSON_AddArrayToObject(o, "failures") : NULL;
    ok = failures != NULL;
    for (unsigned i = 0; ok && i < e->failure_count; i++)
        ok = add_failure(failures, &e->failures[i], paths);
    return ok;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Writes path by way of temporary, which is gone afterwards whatever happens. Returns an errno. */
static int write_file(const char *path, const char *temporary, const char *text)
{
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), failed;

    if (fd < 0)
        return errno;
    failed = write_all(fd, text, strlen(text));
    if (failed == 0)
        failed = write_all(fd, "\n", 1);
    if (failed == 0 && fsync(fd) != 0 && errno != EINVAL)
        failed = errno;
    if (close(fd) != 0 && failed == 0)
        failed = errno;
    if (failed == 0 && rename(temporary, path) != 0)
        failed = errno;
    if (failed != 0) {
        unlink(temporary);
        unlink(path); /* one of an earlier run would be taken for that of this one */
    }
    return failed;
}

int summary_write_json(const struct report_end *e, const struct summary_paths *paths,
                       struct pilot_error *err)
{
    cJSON *o = cJSON_CreateObject();
    char *text = NULL, *path = NULL, *temporary = NULL;
    int rc = PILOT_ENOMEM, failed;

    if (o == NULL || !fill_json(o, e, paths) || (text = cJSON_Print(o)) == NULL)
        goto out;
    if (asprintf(&path, "%s/summary.json", paths->workdir) < 0) {
        path = NULL;
        goto out;
    }
    if (asprintf(&temporary, "%s.tmp", path) < 0) {
        temporary = NULL;
        goto out;
    }
    rc = 0;
    failed = write_file(path, temporary, text);
    if (failed != 0)
        rc = err_set_errno(err, PILOT_EIO, failed,
                           "the summary '%s' cannot be written (the state of the tasks is in the "
                           "database all the same)",
                           path);
out:
    if (rc == PILOT_ENOMEM)
        err_set(err, rc, "no memory for the summary '%s/summary.json'", paths->workdir);
    cJSON_Delete(o);
    cJSON_free(text);
    free(path);
    free(temporary);
    return rc;
}
