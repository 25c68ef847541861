/* SPDX-License-Identifier: BSD-3-Clause */
/* What a person sees while a pilot runs and at its end: lines, the live line, the summary, and
 * summary.json. Knows no scheduler, no store, no messages: it is told. On a terminal: short lines
 * and one live line at the bottom; in a file or a pipe: plain lines with time stamps. */
#ifndef PILOT_REPORT_REPORT_H
#define PILOT_REPORT_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/log.h"
#include "common/task.h"
#include "pilot.h"

struct report;

struct report_config {
    int fd; /* where progress goes: 1 */
    bool quiet, verbose;
    const char *workdir; /* absolute; for the paths of stderr files */
    enum pilot_output output;
};

int report_create(struct report **out, const struct report_config *config, struct pilot_error *err);
void report_destroy(struct report *r);

struct report_node {
    const char *name;
    unsigned cores;
    const char *map; /* a line for people about its cores */
    int64_t memory;  /* bytes for tasks; 0: not known */
};
struct report_start {
    const struct report_node *nodes;
    unsigned node_count;
    unsigned cores;
    bool pinned;
    const char *why_not_pinned; /* NULL when pinned */
    const char *db;
    uint64_t tasks, tasks_done; /* in all; ended in earlier runs */
    const char *more_from;      /* a file that is read while the tasks run; NULL: none */
};
void report_start(struct report *r, const struct report_start *s, int64_t now_ms);

/* Task lines. They are written after the change they tell of has been committed. Their time is that
 * of the latest report_start or report_progress. When too many are wanted, starts, successes and
 * other ordinary ones are held back and counted. Of a lost attempt result->message may say with
 * what ("node vc2"). */
void report_task_started(struct report *r, const char *id, unsigned cores, const char *node);
void report_task_ended(struct report *r, const char *id, unsigned attempt, enum task_status status,
                       const struct attempt_result *result, unsigned retries_used,
                       unsigned max_retries); /* PENDING: will be retried */
void report_task_skipped(struct report *r, const char *id, const char *cause_id); /* or NULL */

struct report_progress {
    uint64_t completed, failed, skipped, running, waiting, total;
    unsigned cores_busy, cores;
    const char *note; /* what everything waits for, a few words; NULL: nothing */
};
/* Call it once a turn; it redraws at most ten times a second, writes out held-back ("throttled")
 * counts, and is cheap otherwise. */
void report_progress(struct report *r, const struct report_progress *p, int64_t now_ms);
/* A line of its own, about the run and not about a task: never held back. */
void report_notice(struct report *r, const char *text);
/* When it next wants to be called although nothing happens; INT64_MAX: no need. */
int64_t report_next_ms(const struct report *r);

struct report_failure {
    const char *id;
    unsigned attempt;
    struct attempt_result result;
    const char *node; /* where its packed output is */
};
struct report_end {
    struct pilot_summary summary;
    const struct report_failure *failures; /* up to 5 are shown with the last lines of stderr */
    unsigned failure_count;
    const char *stopped_why; /* NULL: it ran to its end */
    const char *resume_hint; /* the command that goes on, NULL: none */
    const char *db;
    int exit_status;
};
/* Ends the live line, prints the summary and writes WORKDIR/summary.json (atomic rename). */
int report_end(struct report *r, const struct report_end *e, struct pilot_error *err);

/* A log sink (common/log.h) that keeps the live line whole. arg is the report. */
void report_log(void *arg, enum log_level level, const char *text);

#endif
