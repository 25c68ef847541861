/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: taking a place in a segment and filling it. Must not know of tasks beyond their ids.
 *
 * One write for all records that are in the buffer, which for a task that says little is one record
 * (or two, if it used both streams) at its end; what is written is never touched again. A record
 * gets its last fields when its place is known. */
#include "pack/write.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BUFFER_BYTES (PACK_DATA_MAX + 16384) /* before a write; with room for some headers */
#define XFS_MAGIC 0x58465342
#define ZFS_MAGIC 0x2fc12fc1
#define BCACHEFS_MAGIC 0xca451a4e

/* A file system that only this host writes to, as far as is known. */
static bool is_local(const char *dir)
{
    struct statfs fs;

    if (statfs(dir, &fs) < 0)
        return false;
    switch ((unsigned long)fs.f_type & 0xffffffffu) {
    case EXT4_SUPER_MAGIC:
    case XFS_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case ZFS_MAGIC:
    case BCACHEFS_MAGIC:
        return true;
    default:
        return false;
    }
}

/* Two behind the newest: what an earlier pilot left may still be ending and go on to the next. */
struct pack_place *pack_place_create(const char *dir, uint64_t run, uint32_t segment_bytes)
{
    struct pack_place *place;
    uint32_t newest = pack_newest(dir);

    if (strlen(dir) >= sizeof(place->dir))
        return NULL;
    place = mmap(NULL, sizeof(*place), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        return NULL;
    atomic_init(&place->next, pack_position(newest > 0 ? newest + 2 : 1, 0));
    place->run = run;
    place->segment_bytes = segment_bytes;
    place->reopen = !is_local(dir);
    strcpy(place->dir, dir);
    return place;
}

void pack_place_destroy(struct pack_place *place)
{
    if (place != NULL)
        munmap(place, sizeof(*place));
}

uint64_t pack_place_take(struct pack_place *place, size_t bytes)
{
    uint64_t at, next = atomic_load(&place->next);

    do {
        at = next;
        if (pack_offset(at) + bytes > place->segment_bytes && pack_offset(at) > 0)
            at = pack_position(pack_segment(at) + 1, 0);
    } while (!atomic_compare_exchange_weak(&place->next, &next, at + bytes));
    return at;
}

int pack_out_begin(struct pack_out *o, struct pack_place *place, const char *id, uint32_t attempt)
{
    if (o->buffer == NULL)
        o->buffer = malloc(BUFFER_BYTES);
    if (o->buffer == NULL)
        return ENOMEM;
    o->id_len = (uint32_t)strlen(id);
    if (o->id_len > sizeof(o->id))
        return ENAMETOOLONG;
    memcpy(o->id, id, o->id_len);
    o->place = place;
    o->attempt = attempt;
    o->last = 0;
    o->bytes[PACK_STDOUT] = o->bytes[PACK_STDERR] = 0;
    o->errnum = 0;
    o->used = o->record = 0;
    return 0;
}

static void close_segment(struct pack_out *o)
{
    int rc = o->segment != 0 ? close(o->fd) : 0;

    o->segment = 0;
    if (rc < 0 && o->errnum == 0)
        o->errnum = errno; /* some file systems say only here that there is no room */
}

static int open_segment(struct pack_out *o, uint32_t segment)
{
    char path[PATH_MAX + 32];

    if (o->segment == segment)
        return 0;
    close_segment(o);
    if (!pack_path(path, sizeof(path), o->place->dir, segment))
        return ENAMETOOLONG;
    o->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (o->fd < 0)
        return errno;
    o->segment = segment;
    return 0;
}

static int write_at(int fd, const unsigned char *data, size_t len, uint32_t offset)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);

        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
            offset += (uint32_t)n;
        }
    }
    return 0;
}

/* The record that begins at `at` in the buffer as it was begun. */
static void read_begun(const struct pack_out *o, size_t at, struct pack_record *r)
{
    memcpy(r, o->buffer + at, sizeof(*r));
}

static void keep_begun(struct pack_out *o, size_t at, const struct pack_record *r)
{
    _Static_assert(sizeof(*r) <= PACK_HEADER_BYTES, "a record that is begun fits its header");
    memcpy(o->buffer + at, r, sizeof(*r));
}

/* Gives the records in the buffer their headers, now that the place of the first is known. */
static void finish_headers(struct pack_out *o, uint64_t position)
{
    for (size_t at = 0; at < o->used;) {
        unsigned char *body = o->buffer + at + PACK_HEADER_BYTES;
        struct pack_record r;
        size_t bytes;

        read_begun(o, at, &r);
        bytes = pack_record_bytes(r.id_len, r.data_len);
        r.prev = o->last;
        r.body_crc = pack_crc(0, body, r.id_len + r.data_len);
        memset(body + r.id_len + r.data_len, 0, bytes - PACK_HEADER_BYTES - r.id_len - r.data_len);
        pack_header_encode(o->buffer + at, &r);
        o->last = position + at;
        at += bytes;
    }
}

/* The end of the last record, padded. */
static size_t record_end(const struct pack_out *o)
{
    struct pack_record r;

    if (o->used == 0)
        return 0;
    read_begun(o, o->record, &r);
    return o->record + pack_record_bytes(r.id_len, r.data_len);
}

void pack_out_flush(struct pack_out *o)
{
    uint64_t position, before = o->last;

    if (o->used == 0 || o->errnum != 0)
        return;
    o->used = record_end(o);
    position = pack_place_take(o->place, o->used);
    o->errnum = open_segment(o, pack_segment(position));
    if (o->errnum == 0) {
        finish_headers(o, position);
        o->errnum = write_at(o->fd, o->buffer, o->used, pack_offset(position));
    }
    if (o->place->reopen)
        close_segment(o);
    if (o->errnum != 0)
        o->last = before;
    o->used = o->record = 0;
}

/* Begins a record of this stream, unless the last one is. Returns how much more fits into it. */
static size_t begin_record(struct pack_out *o, enum pack_stream stream)
{
    struct pack_record r;
    size_t at = record_end(o);

    if (o->used > 0) {
        read_begun(o, o->record, &r);
        if (r.stream == stream && r.data_len < PACK_DATA_MAX &&
            o->record + pack_record_bytes(r.id_len, r.data_len) < BUFFER_BYTES)
            goto room;
    }
    if (at + pack_record_bytes(o->id_len, 1) > BUFFER_BYTES) {
        pack_out_flush(o);
        at = 0;
    }
    r = (struct pack_record){
        .stream = stream, .attempt = o->attempt, .run = o->place->run, .id_len = o->id_len};
    keep_begun(o, at, &r);
    memcpy(o->buffer + at + PACK_HEADER_BYTES, o->id, o->id_len);
    o->record = at;
    o->used = at + PACK_HEADER_BYTES + o->id_len;
room:
    at = BUFFER_BYTES / PACK_ALIGN * PACK_ALIGN - o->record - PACK_HEADER_BYTES - r.id_len;
    return (at < PACK_DATA_MAX ? at : PACK_DATA_MAX) - r.data_len;
}

void pack_out_put(struct pack_out *o, enum pack_stream stream, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0 && o->errnum == 0) {
        size_t n = begin_record(o, stream);
        struct pack_record r;

        n = n < len ? n : len;
        memcpy(o->buffer + o->used, p, n);
        o->used += n;
        o->bytes[stream] += (int64_t)n;
        read_begun(o, o->record, &r);
        r.data_len += (uint32_t)n;
        keep_begun(o, o->record, &r);
        p += n;
        len -= n;
        if (o->used >= PACK_DATA_MAX)
            pack_out_flush(o);
    }
}

int pack_out_end(struct pack_out *o)
{
    pack_out_flush(o);
    o->place = NULL;
    return o->errnum;
}
