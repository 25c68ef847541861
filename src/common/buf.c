/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: encoding and decoding of plain values. Lengths are checked before any allocation. */
#include "common/buf.h"

#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b)
{
    memset(b, 0, sizeof(*b));
}

void buf_fini(struct buf *b)
{
    free(b->data);
    buf_init(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

bool buf_ok(const struct buf *b)
{
    return !b->failed;
}

static bool reserve(struct buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : 256;
    unsigned char *data;

    if (b->failed || more > SIZE_MAX / 2 - b->len) {
        b->failed = true;
        return false;
    }
    if (b->len + more <= b->cap)
        return true;
    while (cap < b->len + more)
        cap *= 2;
    data = realloc(b->data, cap);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_put(struct buf *b, const void *data, size_t len)
{
    if (len == 0 || !reserve(b, len))
        return;
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

static void put_le(struct buf *b, uint64_t v, size_t bytes)
{
    unsigned char le[8];

    for (size_t i = 0; i < bytes; i++)
        le[i] = (unsigned char)(v >> (8 * i));
    buf_put(b, le, bytes);
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    put_le(b, v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
    put_le(b, v, 2);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    put_le(b, v, 4);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    put_le(b, v, 8);
}

void buf_put_i64(struct buf *b, int64_t v)
{
    put_le(b, (uint64_t)v, 8);
}

void buf_put_str(struct buf *b, const char *s)
{
    size_t len = s ? strlen(s) : 0;

    if (len > UINT32_MAX) {
        b->failed = true;
        return;
    }
    buf_put_u32(b, (uint32_t)len);
    buf_put(b, s, len);
}

void buf_put_strv(struct buf *b, char *const *v)
{
    size_t n = strv_len(v);

    buf_put_u32(b, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        buf_put_str(b, v[i]);
}

void buf_put_var(struct buf *b, uint64_t v)
{
    unsigned char bytes[10];
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (unsigned char)(v | 0x80);
    bytes[n++] = (unsigned char)v;
    buf_put(b, bytes, n);
}

void buf_put_text(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s) + 1);
}

void buf_put_texts(struct buf *b, char *const *v)
{
    size_t n = strv_len(v);

    buf_put_var(b, n);
    for (size_t i = 0; i < n; i++)
        buf_put_text(b, v[i]);
}

void buf_set_u32(struct buf *b, size_t at, uint32_t v)
{
    if (b->failed || at + 4 > b->len)
        return;
    for (size_t i = 0; i < 4; i++)
        b->data[at + i] = (unsigned char)(v >> (8 * i));
}

void rd_init(struct rd *r, const void *data, size_t len)
{
    r->p = data;
    r->end = r->p + len;
    r->failed = false;
}

bool rd_ok(const struct rd *r)
{
    return !r->failed;
}

bool rd_done(const struct rd *r)
{
    return !r->failed && r->p == r->end;
}

size_t rd_left(const struct rd *r)
{
    return (size_t)(r->end - r->p);
}

const void *rd_bytes(struct rd *r, size_t len)
{
    const void *p = r->p;

    if (r->failed || rd_left(r) < len) {
        r->failed = true;
        return NULL;
    }
    r->p += len;
    return p;
}

static uint64_t get_le(struct rd *r, size_t bytes)
{
    const unsigned char *p = rd_bytes(r, bytes);
    uint64_t v = 0;

    for (size_t i = 0; p != NULL && i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t rd_u8(struct rd *r)
{
    return (uint8_t)get_le(r, 1);
}

uint16_t rd_u16(struct rd *r)
{
    return (uint16_t)get_le(r, 2);
}

uint32_t rd_u32(struct rd *r)
{
    return (uint32_t)get_le(r, 4);
}

uint64_t rd_u64(struct rd *r)
{
    return get_le(r, 8);
}

int64_t rd_i64(struct rd *r)
{
    return (int64_t)get_le(r, 8);
}

char *rd_str(struct rd *r)
{
    size_t len = rd_u32(r);
    const void *p = rd_bytes(r, len);
    char *s;

    if (p == NULL || memchr(p, '\0', len) != NULL || (s = malloc(len + 1)) == NULL) {
        r->failed = true;
        return NULL;
    }
    memcpy(s, p, len);
    s[len] = '\0';
    return s;
}

void rd_str_into(struct rd *r, char *dst, size_t size)
{
    size_t len = rd_u32(r);
    const void *p = rd_bytes(r, len);

    dst[0] = '\0';
    if (p == NULL || len >= size || memchr(p, '\0', len) != NULL) {
        r->failed = true;
        return;
    }
    memcpy(dst, p, len);
    dst[len] = '\0';
}

/* n strings, each of which takes at least min bytes. */
static char **read_list(struct rd *r, uint64_t n, size_t min, char *(*read_one)(struct rd *))
{
    char **v;

    if (n > rd_left(r) / min) {
        r->failed = true;
        return NULL;
    }
    if (n == 0)
        return NULL;
    v = calloc(n + 1, sizeof(*v));
    for (size_t i = 0; v != NULL && i < n; i++) {
        v[i] = read_one(r);
        if (v[i] == NULL)
            break;
    }
    if (v == NULL || r->failed) {
        r->failed = true;
        strv_free(v);
        return NULL;
    }
    return v;
}

char **rd_strv(struct rd *r)
{
    return read_list(r, rd_u32(r), 4, rd_str);
}

uint64_t rd_var(struct rd *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = rd_u8(r);

        if (shift == 63 && byte > 1)
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return r->failed ? 0 : v;
    }
    r->failed = true;
    return 0;
}

char *rd_text(struct rd *r)
{
    const unsigned char *nul = r->failed ? NULL : memchr(r->p, '\0', rd_left(r));
    char *s = nul != NULL ? malloc((size_t)(nul - r->p) + 1) : NULL;

    if (s == NULL) {
        r->failed = true;
        return NULL;
    }
    memcpy(s, r->p, (size_t)(nul - r->p) + 1);
    r->p = nul + 1;
    return s;
}

void rd_skip_text(struct rd *r)
{
    const unsigned char *nul = r->failed ? NULL : memchr(r->p, '\0', rd_left(r));

    r->failed = nul == NULL;
    if (nul != NULL)
        r->p = nul + 1;
}

char **rd_texts(struct rd *r)
{
    return read_list(r, rd_var(r), 1, rd_text);
}

void strv_free(char **v)
{
    for (size_t i = 0; v != NULL && v[i] != NULL; i++)
        free(v[i]);
    free(v);
}

char **strv_dup(char *const *v)
{
    size_t n = strv_len(v);
    char **copy;

    if (v == NULL || (copy = calloc(n + 1, sizeof(*copy))) == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        copy[i] = strdup(v[i]);
        if (copy[i] == NULL) {
            strv_free(copy);
            return NULL;
        }
    }
    return copy;
}

size_t strv_len(char *const *v)
{
    size_t n = 0;

    while (v != NULL && v[n] != NULL)
        n++;
    return n;
}

const char *strv_value(char *const *v, const char *name)
{
    size_t len = strlen(name);

    for (; v != NULL && *v != NULL; v++)
        if (strncmp(*v, name, len) == 0 && (*v)[len] == '=')
            return *v + len + 1;
    return NULL;
}
