/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes on their way to a descriptor that may be slow, full or gone, none of which may ever hold up
 * the run: nothing here waits (but outq_drain, at the end), and after an error everything is
 * dropped. Whole lines go out in as few writes as can be without being torn apart. */
#ifndef PILOT_REPORT_OUTQ_H
#define PILOT_REPORT_OUTQ_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

enum outq_kind {
    OUTQ_FILE,   /* always writable: one write for all */
    OUTQ_PIPE,   /* non-blocking, whole lines in pieces that a pipe takes as one */
    OUTQ_TTY,    /* non-blocking */
    OUTQ_SOCKET, /* non-blocking by the call */
    OUTQ_OTHER,  /* blocking; asked first, small pieces */
};

struct outq {
    int fd;
    bool own; /* fd was opened here */
    enum outq_kind kind;
    struct buf data;
    size_t sent; /* bytes of data that are out */
    int failed;  /* errno of the error that ended it; 0: none */
};

/* fd stays the caller's and its flags stay as they are. */
void outq_init(struct outq *q, int fd);
void outq_fini(struct outq *q);

void outq_put(struct outq *q, const void *data, size_t len);
bool outq_idle(const struct outq *q); /* nothing is left to write */
void outq_push(struct outq *q);       /* writes what goes out without waiting */
/* Waits until everything is out, or ms have passed in which nothing moved. */
void outq_drain(struct outq *q, int ms);

#endif
