/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: telling characters from bytes. */
#include "input/text.h"

#include <string.h>

size_t text_char(const char *p, size_t len, uint32_t *code)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *u = (const unsigned char *)p;
    size_t n = u[0] < 0x80 ? 1 : u[0] < 0xc0 ? 0 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
    uint32_t c;

    if (n == 0 || n > len || u[0] > 0xf4)
        return 0;
    c = n == 1 ? u[0] : u[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (u[i] & 0x3f);
    }
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    if (code != NULL)
        *code = c;
    return n;
}

const char *text_not_utf8(const char *p, size_t len)
{
    while (len > 0) {
        size_t n = (unsigned char)*p < 0x80 ? 1 : text_char(p, len, NULL);

        if (n == 0)
            return p;
        p += n;
        len -= n;
    }
    return NULL;
}

void text_make_printable(char *s)
{
    size_t len = strlen(s);

    while (len > 0) {
        uint32_t code;
        size_t n = text_char(s, len, &code);

        /* 0x80 to 0x9f are control characters too: 0x9b alone starts a terminal's escapes. */
        if (n == 0 || code < 0x20 || (code >= 0x7f && code <= 0x9f)) {
            n = n == 0 ? 1 : n;
            memset(s, '?', n);
        }
        s += n;
        len -= n;
    }
}
