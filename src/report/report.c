/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: which lines there are and when. Must not wait for anything, ask for the time (but for time
 * stamps), or keep anything about a single task.
 *
 * Task lines come without a time: it is that of the turn, given by report_start and
 * report_progress. */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "report/hold.h"
#include "report/live.h"
#include "report/nodes.h"
#include "report/screen.h"
#include "report/summary.h"
#include "report/text.h"

#define REDRAW_MS 100         /* the live line, when counts have changed */
#define REDRAW_IDLE_MS 1000   /* when they have not, for the time left */
#define PROGRESS_MS 10000     /* progress in a file, at first */
#define PROGRESS_MAX_MS 60000 /* and at last */

struct report {
    struct screen screen;
    struct hold hold;
    struct live_pace pace;
    struct report_progress progress; /* latest */
    bool progress_known;
    bool live_stale; /* progress has changed since the live line was drawn */
    bool ended;
    bool quiet, verbose;
    int64_t now_ms;      /* of this turn */
    int64_t drawn_ms;    /* the live line */
    int64_t line_due_ms; /* the next line of progress in a file */
    int64_t line_every_ms;
    enum pilot_output output;
    char *workdir;
    const char *workdir_shown; /* points into workdir */
};

/* What people read is short: a directory below this one is named from here. */
static const char *shown_path(const char *path)
{
    char *cwd = getcwd(NULL, 0);
    size_t len = cwd != NULL ? strlen(cwd) : 0;

    if (len > 1 && strncmp(path, cwd, len) == 0 && path[len] == '/' && path[len + 1] != '\0')
        path += len + 1;
    free(cwd);
    return path;
}

int report_create(struct report **out, const struct report_config *config, struct pilot_error *err)
{
    struct report *r = calloc(1, sizeof(*r));

    if (r == NULL || (r->workdir = strdup(config->workdir)) == NULL) {
        free(r);
        return err_set(err, PILOT_ENOMEM, "no memory for the report");
    }
    r->workdir_shown = shown_path(r->workdir);
    r->output = config->output;
    r->quiet = config->quiet;
    r->verbose = config->verbose;
    r->drawn_ms = INT64_MIN;
    r->line_due_ms = INT64_MAX;
    r->line_every_ms = PROGRESS_MS;
    screen_init(&r->screen, config->fd);
    hold_init(&r->hold, 0);
    *out = r;
    return 0;
}

void report_destroy(struct report *r)
{
    if (r == NULL)
        return;
    screen_fini(&r->screen);
    free(r->workdir);
    free(r);
}

/* ---- Start ----------------------------------------------------------------------------------- */

static void start_lines(struct report *r, const struct report_start *s)
{
    char nodes[TEXT_NUM], cores[TEXT_NUM], tasks[TEXT_NUM], done[TEXT_NUM];
    struct buf *b = screen_begin(&r->screen);

    if (b == NULL)
        return;
    text_add(b, "pilot-mpi %s: %s node%s, %s core%s, %s task%s", pilot_version(),
             text_count(nodes, s->node_count), s->node_count == 1 ? "" : "s",
             text_count(cores, s->cores), s->cores == 1 ? "" : "s", text_count(tasks, s->tasks),
             s->tasks == 1 ? "" : "s");
    if (s->tasks_done > 0)
        text_add(b, " (%s done earlier)", text_count(done, s->tasks_done));
    if (s->more_from != NULL) {
        text_add(b, "; more from ");
        text_safe(b, s->more_from, strlen(s->more_from), r->screen.utf8, false, 0);
    }
    screen_end(&r->screen);
    nodes_write(&r->screen, s->nodes, s->node_count);
    if ((b = screen_begin_bare(&r->screen)) == NULL)
        return;
    if (s->pinned) {
        text_add(b, "  pinned: each task to cores of its own");
    } else {
        const char *why = s->why_not_pinned != NULL ? s->why_not_pinned : "";

        text_add(b, "  not pinned%s", *why != '\0' ? ": " : "");
        text_safe(b, why, strlen(why), r->screen.utf8, false, 0);
    }
    screen_end(&r->screen);
    if ((b = screen_begin_bare(&r->screen)) == NULL)
        return;
    text_add(b, "  state: ");
    text_safe(b, s->db, strlen(s->db), r->screen.utf8, false, 0);
    text_add(b, "  output: ");
    if (r->output == PILOT_OUTPUT_NONE)
        text_add(b, "dropped, ");
    else if (r->output == PILOT_OUTPUT_PACKED)
        text_add(b, "pilot-mpi logs ID, of ");
    text_safe(b, r->workdir, strlen(r->workdir), r->screen.utf8, false, 0);
    if (r->output == PILOT_OUTPUT_FILES || r->output == PILOT_OUTPUT_MERGED)
        text_add(b, "/ID/stdout.txt");
    screen_end(&r->screen);
}

void report_start(struct report *r, const struct report_start *s, int64_t now_ms)
{
    r->now_ms = now_ms;
    hold_init(&r->hold, now_ms);
    live_pace_init(&r->pace, s->tasks_done, now_ms);
    r->line_due_ms = now_ms + r->line_every_ms;
    if (r->quiet)
        return;
    start_lines(r, s);
    screen_flush(&r->screen, now_ms);
}

/* ---- Task lines ------------------------------------------------------------------------------ */

/* The begun line of a task, its sign and id written; NULL: it is not to be written. */
static struct buf *task_line(struct report *r, enum hold_kind kind, bool urgent,
                             enum screen_mark mark, const char *id)
{
    struct buf *b;

    if (r->quiet)
        return NULL;
    if (!r->verbose && !hold_pass(&r->hold, kind, urgent, r->now_ms))
        return NULL;
    b = screen_begin_mark(&r->screen, mark);
    if (b != NULL)
        text_safe(b, id, strlen(id), r->screen.utf8, false, 0);
    return b;
}

void report_task_started(struct report *r, const char *id, unsigned cores, const char *node)
{
    struct buf *b = task_line(r, HOLD_STARTED, false, SCREEN_STARTED, id);

    if (b == NULL)
        return;
    text_add(b, " (%uc) ", cores);
    text_safe(b, node, strlen(node), r->screen.utf8, false, 0);
    screen_end(&r->screen);
}

static void task_completed(struct report *r, const char *id, const struct attempt_result *result)
{
    struct buf *b = task_line(r, HOLD_COMPLETED, false, SCREEN_DONE, id);
    char t[TEXT_NUM];

    if (b == NULL)
        return;
    text_add(b, " (%s)",
             text_duration(t, (double)(result->end_wall_ms - result->start_wall_ms) / 1000));
    screen_end(&r->screen);
}

static void task_failed(struct report *r, const char *id, const struct attempt_result *result)
{
    struct buf *b = task_line(r, HOLD_FAILED, true, SCREEN_FAILED, id);

    if (b == NULL)
        return;
    text_add(b, " ");
    text_cause(b, result, r->screen.utf8);
    if (r->output != PILOT_OUTPUT_NONE &&
        (result->reason == REASON_EXIT || result->reason == REASON_SIGNAL ||
         result->reason == REASON_TIMEOUT)) {
        text_add(b, ", see ");
        text_errors_place(b, r->output, r->workdir_shown, id, r->screen.utf8);
    }
    screen_end(&r->screen);
}

static void task_again(struct report *r, const char *id, const struct attempt_result *result,
                       unsigned retries_used, unsigned max_retries)
{
    /* Losses, stops and full disks use up no retry. */
    bool counts = result->reason != REASON_LOST && result->reason != REASON_CANCEL &&
                  result->reason != REASON_STOP && result->reason != REASON_DISK;
    struct buf *b =
        task_line(r, HOLD_RETRIED, counts && retries_used >= max_retries, SCREEN_RETRY, id);

    if (b == NULL)
        return;
    if (counts)
        text_add(b, " retry %u/%u: ", retries_used, max_retries);
    else
        text_add(b, " waits again: ");
    text_cause(b, result, r->screen.utf8);
    screen_end(&r->screen);
}

static void task_cancelled(struct report *r, const char *id)
{
    struct buf *b = task_line(r, HOLD_CANCELLED, false, SCREEN_CANCELLED, id);

    if (b == NULL)
        return;
    text_add(b, " cancelled");
    screen_end(&r->screen);
}

void report_task_ended(struct report *r, const char *id, unsigned attempt, enum task_status status,
                       const struct attempt_result *result, unsigned retries_used,
                       unsigned max_retries)
{
    (void)attempt; /* the newest attempt's output is always stderr.txt */
    switch (status) {
    case TASK_COMPLETED:
        task_completed(r, id, result);
        return;
    case TASK_FAILED:
        task_failed(r, id, result);
        return;
    case TASK_PENDING:
        task_again(r, id, result, retries_used, max_retries);
        return;
    case TASK_CANCELLED:
        task_cancelled(r, id);
        return;
    case TASK_SKIPPED:
        report_task_skipped(r, id, NULL);
        return;
    case TASK_RUNNING:
        BUG("task '%s' was reported as ended and running", id);
    }
}

void report_task_skipped(struct report *r, const char *id, const char *cause_id)
{
    struct buf *b = task_line(r, HOLD_SKIPPED, false, SCREEN_SKIPPED, id);

    if (b == NULL)
        return;
    text_add(b, " skipped");
    if (cause_id != NULL) {
        text_add(b, ": ");
        text_safe(b, cause_id, strlen(cause_id), r->screen.utf8, false, 0);
        text_add(b, " failed");
    }
    screen_end(&r->screen);
}

/* ---- Progress -------------------------------------------------------------------------------- */

static bool live_line(const struct report *r)
{
    return r->screen.terminal && !r->quiet && !r->ended;
}

/* On a terminal the live line has the counts; only failures that nobody saw are worth a line. */
static void write_held(struct report *r)
{
    struct screen *s = &r->screen;
    struct buf words;

    buf_init(&words);
    if (hold_count(&r->hold, s->terminal, r->now_ms, &words) && screen_begin(s) != NULL) {
        buf_put(&s->lines, words.data, words.len);
        screen_end(s);
    }
    buf_fini(&words);
}

static void write_progress(struct report *r)
{
    struct buf *b;

    r->line_every_ms *= 2;
    if (r->line_every_ms > PROGRESS_MAX_MS)
        r->line_every_ms = PROGRESS_MAX_MS;
    r->line_due_ms = r->now_ms + r->line_every_ms;
    if (r->progress.running == 0 || (b = screen_begin(&r->screen)) == NULL)
        return;
    live_text(b, &r->pace, &r->progress, 0);
    screen_end(&r->screen);
}

static int64_t redraw_due_ms(const struct report *r)
{
    if (!live_line(r) || !r->progress_known)
        return INT64_MAX;
    if (r->drawn_ms == INT64_MIN)
        return r->now_ms;
    if (r->live_stale)
        return r->drawn_ms + REDRAW_MS;
    return r->progress.running > 0 || r->progress.note != NULL ? r->drawn_ms + REDRAW_IDLE_MS
                                                               : INT64_MAX;
}

static void redraw(struct report *r)
{
    unsigned width = screen_width(&r->screen);
    struct buf *b = screen_live(&r->screen);

    if (width > 0)
        live_text(b, &r->pace, &r->progress, width);
    r->drawn_ms = r->now_ms;
    r->live_stale = false;
}

void report_progress(struct report *r, const struct report_progress *p, int64_t now_ms)
{
    bool draw;

    r->now_ms = now_ms;
    if (!r->progress_known || memcmp(&r->progress, p, sizeof(*p)) != 0)
        r->live_stale = true;
    r->progress = *p;
    r->progress_known = true;
    live_pace_update(&r->pace, p, now_ms);
    if (!r->quiet && now_ms >= hold_due_ms(&r->hold))
        write_held(r);
    if (!r->quiet && !r->screen.terminal && now_ms >= r->line_due_ms)
        write_progress(r);
    draw = now_ms >= redraw_due_ms(r);
    /* Lines are written together with the live line below them, whose turn it then is. */
    if (draw || now_ms >= screen_due_ms(&r->screen)) {
        if (live_line(r))
            redraw(r);
        screen_flush(&r->screen, now_ms);
    }
}

void report_notice(struct report *r, const char *text)
{
    struct buf *b = r->quiet ? NULL : screen_begin(&r->screen);

    if (b == NULL)
        return;
    text_safe(b, text, strlen(text), r->screen.utf8, false, 0);
    screen_end(&r->screen);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t report_next_ms(const struct report *r)
{
    int64_t next = earlier(screen_due_ms(&r->screen), redraw_due_ms(r));

    if (!r->quiet && !r->screen.terminal && r->progress.running > 0)
        next = earlier(next, r->line_due_ms);
    return earlier(next, hold_due_ms(&r->hold));
}

/* ---- End ------------------------------------------------------------------------------------- */

int report_end(struct report *r, const struct report_end *e, struct pilot_error *err)
{
    struct summary_paths paths = {
        .workdir = r->workdir, .shown = r->workdir_shown, .output = r->output};
    int rc = summary_write_json(e, &paths, err);

    if (!r->quiet && hold_due_ms(&r->hold) != INT64_MAX)
        write_held(r);
    r->ended = true;
    if (!r->quiet)
        summary_lines(&r->screen, e, &paths);
    summary_last_line(&r->screen, e);
    screen_drain(&r->screen);
    return rc;
}

void report_log(void *arg, enum log_level level, const char *text)
{
    struct report *r = arg;

    if (r->quiet && level != LOG_ERROR)
        return;
    screen_log(&r->screen, level, text);
}
