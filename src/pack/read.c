/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: finding records and following chains. Must not believe what it reads: every length is
 * checked by the header's checksum, every piece of data by its own, and chains only ever go back.
 *
 * A scan goes from header to header. Where there is none it looks for the next one, 8 bytes after
 * the other: a hole of a writer that was killed, or the padding of one that is torn. */
#include "pack/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"

#define WINDOW_BYTES (256u << 10) /* of a scan; a header and an id fit many times */
#define RETRY_MS 50

void pack_reader_init(struct pack_reader *r, const char *dir)
{
    size_t len = strlen(dir);

    memset(r, 0, sizeof(*r));
    if (len < sizeof(r->dir))
        memcpy(r->dir, dir, len + 1);
}

void pack_reader_fini(struct pack_reader *r)
{
    if (r->segment != 0)
        close(r->fd);
    r->segment = 0;
}

void pack_chain_fini(struct pack_chain *c)
{
    free(c->v);
    memset(c, 0, sizeof(*c));
}

static bool open_segment(struct pack_reader *r, uint32_t segment)
{
    char path[PATH_MAX + 32];

    if (segment != 0 && r->segment == segment)
        return true;
    pack_reader_fini(r);
    if (segment == 0 || !pack_path(path, sizeof(path), r->dir, segment))
        return false;
    r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (r->fd < 0)
        return false;
    r->segment = segment;
    return true;
}

/* As much as there is. */
static size_t read_at(int fd, void *data, size_t len, uint64_t offset)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

/* ---- Chains ---------------------------------------------------------------------------------- */

/* The header at a position, when it is one of that attempt. */
static bool read_header(struct pack_reader *r, const struct pack_key *key, uint64_t at,
                        struct pack_record *rec)
{
    unsigned char bytes[PACK_HEADER_BYTES + PACK_ID_MAX];
    size_t id_len = strlen(key->id), n;

    if (id_len > PACK_ID_MAX || !open_segment(r, pack_segment(at)))
        return false;
    n = read_at(r->fd, bytes, PACK_HEADER_BYTES + id_len, pack_offset(at));
    return n == PACK_HEADER_BYTES + id_len && pack_header_decode(bytes, rec) &&
           rec->attempt == key->attempt && rec->id_len == id_len &&
           memcmp(bytes + PACK_HEADER_BYTES, key->id, id_len) == 0 &&
           (key->run == 0 || rec->run == key->run);
}

static bool wait_for_header(struct pack_reader *r, const struct pack_key *key, uint64_t at,
                            int64_t patience_ms, struct pack_record *rec)
{
    struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
    int64_t until_ms = patience_ms > 0 ? clock_mono_ms() + patience_ms : 0;

    while (!read_header(r, key, at, rec)) {
        if (patience_ms <= 0 || clock_mono_ms() >= until_ms)
            return false;
        pack_reader_fini(r); /* what a file looks like is asked anew when it is opened */
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static int add_piece(struct pack_chain *c, uint64_t at, const struct pack_record *rec)
{
    if (c->len == c->cap) {
        size_t cap = c->cap > 0 ? 2 * c->cap : 16;
        struct pack_piece *v = realloc(c->v, cap * sizeof(*v));

        if (v == NULL)
            return PILOT_ENOMEM;
        c->v = v;
        c->cap = cap;
    }
    c->v[c->len++] = (struct pack_piece){.at = at,
                                         .id_len = rec->id_len,
                                         .data_len = rec->data_len,
                                         .body_crc = rec->body_crc,
                                         .stream = rec->stream};
    return 0;
}

static void turn_round(struct pack_chain *c)
{
    for (size_t i = 0, j = c->len; i + 1 < j; i++) {
        struct pack_piece piece = c->v[i];

        c->v[i] = c->v[--j];
        c->v[j] = piece;
    }
}

int pack_chain_read(struct pack_reader *r, const struct pack_key *key, uint64_t after,
                    uint64_t last, int64_t patience_ms, struct pack_chain *c)
{
    struct pack_record rec;
    int rc = 0;

    c->len = 0;
    c->torn = false;
    if (last <= after)
        return 0;
    if (!wait_for_header(r, key, last, patience_ms, &rec)) {
        c->torn = true;
        return 0;
    }
    for (uint64_t at = last; (rc = add_piece(c, at, &rec)) == 0 && rec.prev > after;) {
        uint64_t prev = rec.prev;

        if (prev >= at || !read_header(r, key, prev, &rec)) {
            c->torn = true;
            break;
        }
        at = prev;
    }
    turn_round(c);
    return rc;
}

/* The data of a piece, in memory that is reused. NULL: damaged. */
static const char *read_piece(struct pack_reader *r, const struct pack_piece *p, char *block)
{
    size_t len = p->id_len + p->data_len;

    if (!open_segment(r, pack_segment(p->at)) ||
        read_at(r->fd, block, len, (uint64_t)pack_offset(p->at) + PACK_HEADER_BYTES) != len ||
        pack_crc(0, block, len) != p->body_crc)
        return NULL;
    return block + p->id_len;
}

int pack_chain_copy(struct pack_reader *r, const struct pack_chain *c, size_t first,
                    unsigned streams, pack_sink_f *f, void *arg, bool *torn)
{
    char *block = malloc(PACK_ID_MAX + PACK_DATA_MAX);
    int rc = 0;

    if (block == NULL)
        return PILOT_ENOMEM;
    for (size_t i = first; rc >= 0 && i < c->len; i++) {
        const struct pack_piece *p = &c->v[i];
        const char *data;

        if ((streams >> p->stream & 1) == 0)
            continue;
        data = read_piece(r, p, block);
        if (data != NULL)
            rc = f(arg, p->stream, data, p->data_len);
        else if (torn != NULL)
            *torn = true;
    }
    free(block);
    return rc < 0 ? rc : 0;
}

size_t pack_tail(struct pack_reader *r, const struct pack_key *key, uint64_t last,
                 enum pack_stream stream, char *data, size_t size, bool *cut)
{
    char *block = malloc(PACK_ID_MAX + PACK_DATA_MAX);
    struct pack_record rec;
    size_t have = 0; /* at the end of data */

    *cut = false;
    for (uint64_t at = last; block != NULL && at != 0 && have < size;) {
        struct pack_piece p;
        const char *bytes;

        if (!read_header(r, key, at, &rec))
            break;
        p = (struct pack_piece){at, rec.id_len, rec.data_len, rec.body_crc, rec.stream};
        if (rec.stream == stream && (bytes = read_piece(r, &p, block)) != NULL) {
            size_t n = rec.data_len < size - have ? rec.data_len : size - have;

            memcpy(data + size - have - n, bytes + rec.data_len - n, n);
            have += n;
            *cut = n < rec.data_len;
        }
        if (rec.prev >= at)
            break;
        at = rec.prev;
        *cut = *cut || (have == size && at != 0);
    }
    memmove(data, data + size - have, have);
    free(block);
    return have;
}

/* ---- Scanning -------------------------------------------------------------------------------- */

struct scan {
    struct pack_reader *r;
    unsigned char *window;
    uint64_t start; /* offset of the window in the segment */
    size_t len;     /* bytes in it */
};

/* `need` bytes at an offset; NULL: the segment ends before. */
static const unsigned char *look(struct scan *s, uint64_t offset, size_t need)
{
    if (offset < s->start || offset + need > s->start + s->len) {
        s->start = offset;
        s->len = read_at(s->r->fd, s->window, WINDOW_BYTES, offset);
    }
    return s->len - (offset - s->start) >= need ? s->window + (offset - s->start) : NULL;
}

/* From an offset of the open segment to its end. *hole is set at the first place without a record.
 */
static int scan_segment(struct scan *s, uint64_t offset, uint64_t *hole, pack_found_f *f, void *arg)
{
    const unsigned char *p;
    struct pack_found found;
    int rc = 0;

    s->len = 0;
    while (rc == 0 && (p = look(s, offset, PACK_HEADER_BYTES)) != NULL) {
        found.at = pack_position(s->r->segment, (uint32_t)offset);
        if (!pack_header_decode(p, &found.record)) {
            if (*hole == 0)
                *hole = found.at;
            offset += PACK_ALIGN;
            continue;
        }
        p = look(s, offset, PACK_HEADER_BYTES + found.record.id_len);
        if (p == NULL)
            break;
        found.id = (const char *)p + PACK_HEADER_BYTES;
        rc = f(arg, &found);
        offset += pack_record_bytes(found.record.id_len, found.record.data_len);
    }
    if (*hole == 0)
        *hole = pack_position(s->r->segment, (uint32_t)offset);
    return rc;
}

int pack_scan(struct pack_reader *r, uint64_t from, uint64_t *hole, pack_found_f *f, void *arg)
{
    struct scan s = {.r = r, .window = malloc(WINDOW_BYTES)};
    uint32_t first = from != 0 ? pack_segment(from) : 1, newest = pack_newest(r->dir);
    int rc = 0;

    if (hole != NULL)
        *hole = from;
    if (s.window == NULL)
        return PILOT_ENOMEM;
    for (uint32_t n = first; rc == 0 && n <= newest; n++) {
        uint64_t here = 0;

        pack_reader_fini(r); /* it may have grown */
        if (!open_segment(r, n))
            continue;
        rc = scan_segment(&s, n == first ? pack_offset(from) : 0, &here, f, arg);
        if (hole != NULL)
            *hole = here;
    }
    free(s.window);
    return rc;
}
