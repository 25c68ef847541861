/* SPDX-License-Identifier: BSD-3-Clause */
/* Writing packed output: many processes of a node write into the same segments at the same time,
 * without a lock. They share one number in memory, where the next record goes; whoever moves it on
 * has the place in between to himself. */
#ifndef PILOT_PACK_WRITE_H
#define PILOT_PACK_WRITE_H

#include <stdint.h>

#include "pack/record.h"

/* What the writers of a node share: memory that is MAP_SHARED. */
struct pack_place {
    _Atomic uint64_t next;
    uint64_t run;
    uint32_t segment_bytes;
    bool reopen; /* a file system of many hosts: others see what was written after a close */
    char dir[PATH_MAX];
};

/* The place behind all that is in dir. NULL: no memory, or the path is too long. segment_bytes: of
 * a segment, PACK_SEGMENT_BYTES but in tests. */
struct pack_place *pack_place_create(const char *dir, uint64_t run, uint32_t segment_bytes);
/* The position of so many bytes that are the caller's alone now, all in one segment. */
uint64_t pack_place_take(struct pack_place *place, size_t bytes);
void pack_place_destroy(struct pack_place *place); /* NULL does nothing */

/* The output of one attempt after the other, as one process writes it. Zero it before first use. */
struct pack_out {
    struct pack_place *place; /* NULL: closed */
    char id[PACK_ID_MAX];
    uint32_t id_len, attempt;
    uint64_t last;               /* position of the last record written, 0: none */
    int64_t bytes[PACK_STREAMS]; /* put so far */
    int errnum;                  /* what could not be written; the rest is dropped */
    int fd;                      /* of segment; meaningful when that is not 0 */
    uint32_t segment;
    size_t used, record; /* bytes in the buffer; where its last record begins */
    unsigned char *buffer;
};

/* 0, or an errno value. */
int pack_out_begin(struct pack_out *o, struct pack_place *place, const char *id, uint32_t attempt);
/* Kept in memory until there is enough for a record. */
void pack_out_put(struct pack_out *o, enum pack_stream stream, const void *data, size_t len);
/* Writes what is kept; others can read it afterwards. */
void pack_out_flush(struct pack_out *o);
/* The same, for the last time. 0, or an errno value: not all that was put has been written. */
int pack_out_end(struct pack_out *o);

#endif
