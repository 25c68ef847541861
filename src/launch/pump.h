/* SPDX-License-Identifier: BSD-3-Clause */
/* The output of a task that does not go straight into files, because only so much of it may be kept
 * or because it is packed: two pipes that the slot reads. */
#ifndef PILOT_LAUNCH_PUMP_H
#define PILOT_LAUNCH_PUMP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pack/write.h"

#define PUMP_STREAMS PACK_STREAMS

struct pump_stream {
    int pipe;     /* our end; -1: not used, or at its end */
    int task_end; /* -1: closed */
    int file;     /* borrowed from the task's directory; -1: packed, or not used */
    const char *name;
    bool used;             /* from pump_open to pump_end */
    bool nonblocking;      /* our end is, by now */
    int64_t kept, dropped; /* bytes */
    int errnum;            /* why the file could not be written; 0: it could */
    char last;             /* byte that was kept */
};

/* All zero is not valid: pump_init. */
struct pump {
    int64_t limit;         /* bytes kept of each stream; 0: all */
    struct pack_out *pack; /* borrowed; NULL: into files */
    bool filled;           /* something was put into pack since this was set to false */
    struct pump_stream streams[PUMP_STREAMS];
};

void pump_init(struct pump *p);

/* Makes the pipes in front of two open files, or a single one if both are the same. 0, or an errno
 * value; then nothing is open. */
int pump_open(struct pump *p, int64_t limit, int out_file, int err_file);
/* The same in front of packed output, which is the caller's to begin and to end. */
int pump_open_packed(struct pump *p, int64_t limit, struct pack_out *pack);
/* What the task gets as descriptors 1 and 2. */
int pump_out_fd(const struct pump *p);
int pump_err_fd(const struct pump *p);
/* Closes our copies of these, so that the end of the output can be seen from now on. While the main
 * process runs nobody asks for that, and to be woken by it would only cost time. */
void pump_expect_end(struct pump *p);

/* Whether somebody may still write; after pump_expect_end. */
bool pump_is_open(const struct pump *p);
/* Descriptors to wait for: fills up to PUMP_STREAMS, returns how many. */
int pump_fds(const struct pump *p, struct pollfd *fds);
/* After poll: takes what is there, a bounded part of it. */
void pump_turn(struct pump *p, const struct pollfd *fds);

/* When no process of the task is left: takes what is in the pipes, says at the end of each file
 * that was cut that it was, and closes the pipes, also if somebody else holds them. Does nothing
 * when it is not open. */
void pump_end(struct pump *p);
/* Afterwards, until the next pump_open. */
int64_t pump_dropped(const struct pump *p);
/* False, and why in message: a file could not be written. */
bool pump_has_kept(const struct pump *p, char *message, size_t size);

#endif
