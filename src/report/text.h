/* SPDX-License-Identifier: BSD-3-Clause */
/* Words and numbers as people read them: durations, counts, causes, and text from outside made
 * safe to show. Pure; independent of the locale's decimal point. */
#ifndef PILOT_REPORT_TEXT_H
#define PILOT_REPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/task.h"
#include "pilot.h"

#define TEXT_NUM 48 /* bytes of a number in words, its NUL included */

/* printf at the end of b. */
void text_add(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* These write into dst and return it, to be used as arguments. */
const char *text_count(char dst[TEXT_NUM], uint64_t n);        /* 9999, 12,345 */
const char *text_tenths(char dst[TEXT_NUM], double value);     /* 3.3; never negative */
const char *text_fixed(char dst[TEXT_NUM], double value);      /* 3.250, for JSON */
const char *text_duration(char dst[TEXT_NUM], double seconds); /* 8.3s, 12m05s, 3h04m */
const char *text_left(char dst[TEXT_NUM], int64_t ms);         /* 0:17, 1:02:03, 2d 03h */
const char *text_rate(char dst[TEXT_NUM], double per_second);  /* 212.3/s, 4.5/min, 2.0/h */

/* Does the locale (its charset, or else the words of LC_ALL, LC_CTYPE, LANG) speak UTF-8? */
bool text_locale_utf8(void);

/* s as it may be shown: control characters become ^X or \x9b, tabs four spaces, colour sequences
 * (which move nothing and mean nothing here) go, and so does what is no UTF-8, or not ASCII when
 * utf8 is false: it becomes \xNN. Newlines are kept only with lines. At most max bytes are added
 * ("..." behind a cut); 0: no limit. */
void text_safe(struct buf *b, const char *s, size_t len, bool utf8, bool lines, size_t max);

/* s as a fresh string of valid UTF-8 (what is none becomes U+FFFD); NULL: no memory. */
char *text_utf8(const char *s);

/* "exit 3", "killed by SIGSEGV (11)", "timed out after 3.5s", "could not start: ...",
 * "lost with node vc2". */
/* Where the errors of a task are: the path of a file, or the command that shows them. */
void text_errors_place(struct buf *b, enum pilot_output output, const char *workdir, const char *id,
                       bool utf8);
void text_cause(struct buf *b, const struct attempt_result *result, bool utf8);

#endif
