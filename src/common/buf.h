/* SPDX-License-Identifier: BSD-3-Clause */
/* A growing byte buffer to encode into, and a bounded reader to decode from.
 * Numbers are little-endian; a string is a 32-bit length and its bytes, no NUL. What is kept by the
 * million has shorter forms: a "var" is a number in groups of 7 bits, the lowest first, the highest
 * bit of a byte saying that more follow; a "text" is its bytes and a NUL.
 * Writing never fails visibly: after a failed allocation (or a length over 4 GiB) `failed` stays
 * set and buf_ok() says so once at the end. Reading past the end, or a length that points past it,
 * sets `failed` too and yields zeros: check rd_ok() (or rd_done()) once at the end. */
#ifndef PILOT_COMMON_BUF_H
#define PILOT_COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    unsigned char *data; /* owned; NULL while empty */
    size_t len;          /* bytes used */
    size_t cap;          /* bytes allocated */
    bool failed;
};

void buf_init(struct buf *b);
void buf_fini(struct buf *b);  /* frees; the buffer is as after buf_init */
void buf_clear(struct buf *b); /* len = 0, keeps the memory, clears `failed` */
bool buf_ok(const struct buf *b);
void buf_put(struct buf *b, const void *data, size_t len);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_i64(struct buf *b, int64_t v);
void buf_put_str(struct buf *b, const char *s); /* NULL is written as "" */
/* A NULL-terminated list of strings (NULL: an empty list). */
void buf_put_strv(struct buf *b, char *const *v);
void buf_put_var(struct buf *b, uint64_t v);
void buf_put_text(struct buf *b, const char *s); /* not NULL */
void buf_put_texts(struct buf *b, char *const *v);
/* Overwrites 4 bytes at offset at, which must have been written before. */
void buf_set_u32(struct buf *b, size_t at, uint32_t v);

struct rd {
    const unsigned char *p;
    const unsigned char *end;
    bool failed;
};

void rd_init(struct rd *r, const void *data, size_t len);
bool rd_ok(const struct rd *r);   /* nothing was cut so far */
bool rd_done(const struct rd *r); /* rd_ok and every byte was read */
size_t rd_left(const struct rd *r);
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
int64_t rd_i64(struct rd *r);
/* Bytes in place; NULL (and failed) when fewer are left. */
const void *rd_bytes(struct rd *r, size_t len);
/* A fresh NUL-terminated copy, owned by the caller; NULL on failure. A NUL inside is a failure. */
char *rd_str(struct rd *r);
/* Copies into dst (always terminated); longer than size-1 bytes is a failure. */
void rd_str_into(struct rd *r, char *dst, size_t size);
/* A fresh NULL-terminated list, to be freed with strv_free; NULL for an empty list or on failure.
 */
char **rd_strv(struct rd *r);
uint64_t rd_var(struct rd *r);
/* As rd_str and rd_strv. */
char *rd_text(struct rd *r);
void rd_skip_text(struct rd *r);
char **rd_texts(struct rd *r);

/* Frees a NULL-terminated list of heap strings; NULL does nothing. */
void strv_free(char **v);
/* A deep copy; NULL for NULL or when memory is short. */
char **strv_dup(char *const *v);
size_t strv_len(char *const *v);
/* The value of name in a list of "NAME=value", the first one; NULL: it is not there. */
const char *strv_value(char *const *v, const char *name);

#endif
