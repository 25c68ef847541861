/* SPDX-License-Identifier: BSD-3-Clause */
/* The rows of tasks in the product's own tables, written as its store would write them and with
 * nothing around: what SQLite alone takes of a pilot. Every error ends the program with a message.
 */
#ifndef BENCH_KEEP_H
#define BENCH_KEEP_H

#include <stdint.h>

struct keep;

/* A new database. command: that of all tasks. Owned by the caller: keep_close. */
struct keep *keep_open(const char *path, const char *command);
/* A transaction of so many new tasks, which are numbered from 0 on. */
void keep_add(struct keep *k, long tasks);
/* A transaction. */
void keep_begin(struct keep *k);
void keep_commit(struct keep *k);
/* In it: the task has completed. Times in ms since 1970, CPU time in us. */
void keep_end(struct keep *k, long task, int64_t start_ms, int64_t end_ms, int64_t cpu_us);
void keep_close(struct keep *k);

#endif
