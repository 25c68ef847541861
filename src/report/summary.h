/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said when a run has ended: in lines, and in WORKDIR/summary.json. */
#ifndef PILOT_REPORT_SUMMARY_H
#define PILOT_REPORT_SUMMARY_H

#include "report/report.h"
#include "report/screen.h"

struct summary_paths {
    const char *workdir; /* absolute */
    enum pilot_output output;
    const char *shown; /* the same as people see it: relative when it is below here */
};

/* Failures with the last lines of their stderr, why it stopped, utilisation and counts. */
void summary_lines(struct screen *s, const struct report_end *e, const struct summary_paths *paths);
/* "Completed: 5 | Failed: 0 | Wall time: 12.7s | CPU time: 41.7s (3.3x speedup)", and when
 * something is left " | Unfinished: 3 | To go on: pilot-mpi --resume". */
void summary_last_line(struct screen *s, const struct report_end *e);
/* Errors: PILOT_EIO, PILOT_ENOMEM; the file is then as it was. */
int summary_write_json(const struct report_end *e, const struct summary_paths *paths,
                       struct pilot_error *err);

#endif
