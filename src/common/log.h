/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages to the person, on standard error as "pilot-mpi: ...". Results and progress are not log
 * messages: they belong to report/. */
#ifndef PILOT_COMMON_LOG_H
#define PILOT_COMMON_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Only messages up to this level are written (default LOG_INFO). */
void log_set_level(enum log_level level);

/* Everything then goes through sink (without the newline) instead of to standard error: the report
 * uses it to keep its live line whole. NULL restores the default. Not thread-safe: set it while
 * there is one thread. */
typedef void log_sink_f(void *arg, enum log_level level, const char *text);
void log_set_sink(log_sink_f *sink, void *arg);

/* Put in front of each message: "node vc2" on an agent, NULL for nothing. Copied. */
void log_set_origin(const char *origin);

void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...) log_msg(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_msg(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)

#endif
