/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/quick.h"

#include <string.h>

bool quick_concat(char *text, size_t size, const char *const *parts)
{
    text[0] = '\0';
    for (; *parts != NULL; parts++) {
        size_t len = strlen(*parts);
        bool fits = len < size;

        if (!fits)
            len = size - 1;
        memcpy(text, *parts, len);
        text[len] = '\0';
        if (!fits)
            return false;
        text += len;
        size -= len;
    }
    return true;
}

const char *quick_number(uint64_t value, char text[QUICK_DIGITS])
{
    char *at = text + QUICK_DIGITS - 1;

    *at = '\0';
    do
        *--at = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    return at;
}
