/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading packed output, also while others write it: an attempt whose last record is known, and one
 * that has to be found. */
#ifndef PILOT_PACK_READ_H
#define PILOT_PACK_READ_H

#include "pack/record.h"
#include "pilot.h"

/* One directory of segments. */
struct pack_reader {
    char dir[PATH_MAX];
    int fd; /* of segment; meaningful when that is not 0 */
    uint32_t segment;
};
void pack_reader_init(struct pack_reader *r, const char *dir);
void pack_reader_fini(struct pack_reader *r);

/* The records of one attempt, in order. */
struct pack_piece {
    uint64_t at;
    uint32_t id_len, data_len, body_crc;
    enum pack_stream stream;
};
struct pack_chain {
    struct pack_piece *v; /* owned */
    size_t len, cap;
    bool torn; /* what comes before cannot be read */
};
void pack_chain_fini(struct pack_chain *c); /* and empties it */

/* Whose output is meant. */
struct pack_key {
    const char *id;
    uint32_t attempt;
    uint64_t run; /* 0: whichever */
};

/* The attempt whose last record is at `last`, of its pieces those behind position `after` (0: all).
 * What cannot be read is left out: c->torn. Waits up to patience_ms for a last record that is not
 * there yet, which on a file system of many hosts may take a second. Zero c before first use; its
 * memory is used again. PILOT_ENOMEM. */
int pack_chain_read(struct pack_reader *r, const struct pack_key *key, uint64_t after,
                    uint64_t last, int64_t patience_ms, struct pack_chain *c);

/* Takes pieces of output; a negative value ends the reading with it. */
typedef int pack_sink_f(void *arg, enum pack_stream stream, const void *data, size_t len);

/* Gives the pieces from `first` on, of the streams in the set (bits 1 << enum pack_stream), to f.
 * A piece whose bytes are damaged is left out; *torn (may be NULL) is set then. PILOT_ENOMEM. */
int pack_chain_copy(struct pack_reader *r, const struct pack_chain *c, size_t first,
                    unsigned streams, pack_sink_f *f, void *arg, bool *torn);

/* The end of a stream: up to `size` bytes into data; *cut: there is more before. Returns how many.
 */
size_t pack_tail(struct pack_reader *r, const struct pack_key *key, uint64_t last,
                 enum pack_stream stream, char *data, size_t size, bool *cut);

/* A record that was found. */
struct pack_found {
    uint64_t at;
    struct pack_record record;
    const char *id; /* not terminated: record.id_len bytes, of which up to PACK_ID_MAX */
};
typedef int pack_found_f(void *arg, const struct pack_found *found);

/* Calls f for the headers of all records from position `from` (0: the beginning) on, in order. The
 * bytes of their data are not looked at. *hole (may be NULL): the first place of the newest segment
 * that may still be filled, or its end: where to look again later. 0, what f returned, or
 * PILOT_ENOMEM. */
int pack_scan(struct pack_reader *r, uint64_t from, uint64_t *hole, pack_found_f *f, void *arg);

#endif
