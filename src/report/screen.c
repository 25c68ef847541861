/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: standard output and standard error while a pilot runs. Must not wait, but in screen_drain.
 *
 * Log messages belong on standard error, but where that is the same file they take the way of all
 * lines, so that their order is right and the live line stays whole. */
#include "report/screen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "report/text.h"

#define LINES_MAX ((size_t)256 * 1024) /* held for a reader that does not read */
#define LINES_FULL ((size_t)32 * 1024) /* written at once, whatever the time */
#define DRAIN_MS 3000

#define CLEAR "\x1b[K" /* from the cursor to the end of the line */
#define ERASE "\r" CLEAR

static bool same_file(int a, int b)
{
    struct stat sa, sb;

    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

static unsigned columns(int fd)
{
    struct winsize size;

    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static bool smart_terminal(int fd)
{
    const char *term = getenv("TERM");

    return isatty(fd) && term != NULL && *term != '\0' && strcmp(term, "dumb") != 0;
}

void screen_init(struct screen *s, int fd)
{
    const char *no_colour = getenv("NO_COLOR");
    bool colours_wanted = no_colour == NULL || *no_colour == '\0';

    memset(s, 0, sizeof(*s));
    buf_init(&s->lines);
    buf_init(&s->live);
    /* mpirun gives its ranks a terminal of width 0 when it has none itself. */
    s->terminal = smart_terminal(fd) && columns(fd) > 0;
    s->utf8 = text_locale_utf8();
    s->colour = s->terminal && colours_wanted;
    s->err_same = same_file(fd, STDERR_FILENO);
    s->err_colour = colours_wanted && smart_terminal(STDERR_FILENO);
    s->flushed_ms = INT64_MIN;
    s->stamp_second = -1;
    outq_init(&s->out, fd);
    outq_init(&s->err, STDERR_FILENO);
}

void screen_fini(struct screen *s)
{
    screen_drain(s);
    outq_fini(&s->out);
    outq_fini(&s->err);
    buf_fini(&s->lines);
    buf_fini(&s->live);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static const char *stamp(struct screen *s)
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;

    if (now != s->stamp_second && localtime_r(&now, &tm) != NULL) {
        strftime(s->stamp, sizeof(s->stamp), "%Y-%m-%d %H:%M:%S ", &tm);
        s->stamp_second = now;
    }
    return s->stamp;
}

struct buf *screen_begin_bare(struct screen *s)
{
    if (s->out.failed != 0)
        return NULL;
    if (s->lines.len >= LINES_MAX || !buf_ok(&s->lines)) {
        s->dropped++;
        return NULL;
    }
    return &s->lines;
}

struct buf *screen_begin(struct screen *s)
{
    struct buf *b = screen_begin_bare(s);

    if (b != NULL && !s->terminal)
        text_add(b, "%s", stamp(s));
    return b;
}

void screen_mark(struct screen *s, enum screen_mark mark)
{
    static const struct {
        const char *utf8, *ascii, *colour;
    } marks[] = {
        [SCREEN_STARTED] = {"▶", ">", "2"},    [SCREEN_DONE] = {"✓", "ok", "32"},
        [SCREEN_FAILED] = {"✗", "FAIL", "31"}, [SCREEN_RETRY] = {"⟳", "~", "33"},
        [SCREEN_SKIPPED] = {"↷", "-", "33"},   [SCREEN_CANCELLED] = {"⊘", "x", "33"},
    };
    const char *sign = s->utf8 ? marks[mark].utf8 : marks[mark].ascii;

    if (s->colour)
        text_add(&s->lines, "\x1b[%sm%s\x1b[0m ", marks[mark].colour, sign);
    else
        text_add(&s->lines, "%s ", sign);
}

struct buf *screen_begin_mark(struct screen *s, enum screen_mark mark)
{
    struct buf *b = screen_begin(s);

    if (b != NULL)
        screen_mark(s, mark);
    return b;
}

void screen_end(struct screen *s)
{
    buf_put(&s->lines, "\n", 1);
    /* While the reader does not read, trying again for each line would only cost. */
    if (s->lines.len >= LINES_FULL && outq_idle(&s->out))
        screen_flush(s, s->flushed_ms);
}

/* ---- The live line --------------------------------------------------------------------------- */

unsigned screen_width(const struct screen *s)
{
    unsigned width = s->terminal ? columns(s->out.fd) : 0;

    /* One column less: after a character in the last one, terminals differ about the cursor. */
    return width > 1 ? width - 1 : 0;
}

struct buf *screen_live(struct screen *s)
{
    buf_clear(&s->live);
    return &s->live;
}

static void compose(struct screen *s)
{
    if (s->live_shown > 0 && (s->lines.len > 0 || s->live.len == 0))
        outq_put(&s->out, ERASE, sizeof(ERASE) - 1);
    else if (s->live_shown > 0)
        outq_put(&s->out, "\r", 1);
    outq_put(&s->out, s->lines.data, s->lines.len);
    if (s->live.len > 0) {
        outq_put(&s->out, s->live.data, s->live.len);
        outq_put(&s->out, CLEAR, sizeof(CLEAR) - 1);
    }
    s->live_shown = (unsigned)s->live.len;
    buf_clear(&s->lines);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void tell_failed(struct screen *s)
{
    char text[200], reason[100];
    int n;

    if (s->out.failed == 0 || s->told_failed)
        return;
    s->told_failed = true;
    if (s->err_same)
        return;
    n = snprintf(text, sizeof(text),
                 "pilot-mpi: warning: progress can no longer be written to standard output (%s); "
                 "the run goes on without it\n",
                 strerror_r(s->out.failed, reason, sizeof(reason)));
    outq_put(&s->err, text, (size_t)n);
    outq_push(&s->err);
}

static void note_dropped(struct screen *s)
{
    char n[TEXT_NUM];
    struct buf *b;

    if (s->dropped == 0 || (b = screen_begin(s)) == NULL)
        return;
    text_add(b, "... %s lines were dropped here: nobody was reading\n", text_count(n, s->dropped));
    s->dropped = 0;
}

void screen_flush(struct screen *s, int64_t now_ms)
{
    if (!buf_ok(&s->lines))
        buf_clear(&s->lines);
    outq_push(&s->out);
    /* What was composed earlier must be out first: only then is it known what the screen shows. */
    if (outq_idle(&s->out) && s->out.failed == 0) {
        compose(s);
        outq_push(&s->out);
        if (outq_idle(&s->out))
            note_dropped(s);
    }
    s->flushed_ms = now_ms;
    outq_push(&s->err);
    tell_failed(s);
}

int64_t screen_due_ms(const struct screen *s)
{
    if (s->lines.len == 0 && outq_idle(&s->out) && outq_idle(&s->err))
        return INT64_MAX;
    return s->flushed_ms == INT64_MIN ? 0 : s->flushed_ms + SCREEN_FLUSH_MS;
}

void screen_drain(struct screen *s)
{
    buf_clear(&s->live);
    /* Two turns: the first may still be busy with what was composed earlier. */
    for (int turn = 0; turn < 2; turn++) {
        screen_flush(s, s->flushed_ms);
        outq_drain(&s->out, DRAIN_MS);
    }
    screen_flush(s, s->flushed_ms);
    outq_drain(&s->err, DRAIN_MS);
}

void screen_log(struct screen *s, enum log_level level, const char *text)
{
    const char *colour = level == LOG_ERROR ? "31" : level == LOG_WARN ? "33" : NULL;
    struct buf alone, *b = &alone;

    buf_init(&alone);
    if (s->err_same && s->out.failed == 0)
        b = &s->lines;
    /* Messages matter most: they have room of their own beyond that of all other lines. */
    if (b->len >= 2 * LINES_MAX)
        return;
    if (s->err_colour && colour != NULL)
        text_add(b, "\x1b[%sm", colour);
    text_safe(b, text, strlen(text), s->utf8, true, 0);
    text_add(b, s->err_colour && colour != NULL ? "\x1b[0m\n" : "\n");
    screen_flush(s, s->flushed_ms);
    if (b == &alone) {
        if (s->err.data.len < LINES_MAX)
            outq_put(&s->err, alone.data, alone.len);
        outq_push(&s->err);
    }
    buf_fini(&alone);
}
