/* SPDX-License-Identifier: BSD-3-Clause */
/* The output of many tasks in a few large files: what is in them.
 *
 * Each node has segments, DIR/output-0001.pack and so on, of at most 1 GiB. A segment is a sequence
 * of records, each at a multiple of 8 bytes, with holes of zeros where a writer was killed between
 * taking the place and filling it. A record is a header, the id of its task, and the bytes that the
 * task wrote to one of its streams. The records of an attempt are a chain, each names the one
 * before it, and their positions rise; the state has the position of the last one.
 *
 *     offset  bytes  (little-endian)
 *          0      4  magic
 *          4      1  version
 *          5      1  stream: 0 stdout, 1 stderr
 *          6      2  length of the id
 *          8      4  length of the data
 *         12      4  attempt
 *         16      8  position of the record before; 0: this is the first
 *         24      8  run: a number that a state keeps for itself, so that what another state left
 *                    in the same directory is not taken for its own
 *         32      4  CRC-32 of id and data
 *         36      4  CRC-32 of the 36 bytes before
 *
 * A position is segment << 32 | offset; segments are counted from 1, so 0 is none. */
#ifndef PILOT_PACK_RECORD_H
#define PILOT_PACK_RECORD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACK_HEADER_BYTES 40
#define PACK_ALIGN 8
#define PACK_DATA_MAX 65536 /* bytes of data in a record */
#define PACK_ID_MAX 4096    /* of the id */
#define PACK_SEGMENT_BYTES (1u << 30)

#define PACK_STREAMS 2
enum pack_stream { PACK_STDOUT, PACK_STDERR };

struct pack_record {
    enum pack_stream stream;
    uint32_t attempt;
    uint64_t prev;
    uint64_t run;
    uint32_t id_len;
    uint32_t data_len;
    uint32_t body_crc; /* of id and data */
};

static inline uint64_t pack_position(uint32_t segment, uint32_t offset)
{
    return (uint64_t)segment << 32 | offset;
}

static inline uint32_t pack_segment(uint64_t position)
{
    return (uint32_t)(position >> 32);
}

static inline uint32_t pack_offset(uint64_t position)
{
    return (uint32_t)position;
}

/* All bytes of a record with its padding. */
static inline size_t pack_record_bytes(size_t id_len, size_t data_len)
{
    return (PACK_HEADER_BYTES + id_len + data_len + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
}

/* Continues crc (0 at the beginning). */
uint32_t pack_crc(uint32_t crc, const void *data, size_t len);

void pack_header_encode(unsigned char out[PACK_HEADER_BYTES], const struct pack_record *r);
/* False: these bytes are no header. */
bool pack_header_decode(const unsigned char in[PACK_HEADER_BYTES], struct pack_record *r);

/* DIR/output-0001.pack; false when the path does not fit. */
bool pack_path(char *out, size_t size, const char *dir, uint32_t segment);
/* The number of the newest segment in dir, 0: there is none (or no dir). */
uint32_t pack_newest(const char *dir);

#endif
