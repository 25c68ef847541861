/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char prefixes[] = "KMGTP";

/* A plain decimal number at *text, which moves behind it; no sign, no exponent, no hexadecimal. */
static bool number(const char **text, double *out)
{
    size_t len = strspn(*text, "0123456789.");
    char *end;

    if (len == 0 || len > 60)
        return false;
    errno = 0;
    *out = strtod(*text, &end);
    if (end != *text + len || errno != 0)
        return false;
    *text = end;
    return true;
}

bool units_parse_size(const char *text, int64_t *out)
{
    const char *prefix;
    double value;

    if (!number(&text, &value))
        return false;
    text += strspn(text, " ");
    if (*text != '\0' && (prefix = strchr(prefixes, *text & ~0x20)) != NULL) {
        value = ldexp(value, 10 * (int)(prefix - prefixes + 1));
        text++;
        if (*text == 'i' && text[1] == 'B')
            text++;
    }
    if (*text == 'B')
        text++;
    if (*text != '\0' || !(value <= (double)UNITS_SIZE_MAX))
        return false;
    *out = (int64_t)ceil(value);
    return true;
}

bool units_parse_time(const char *text, int64_t *out_ms)
{
    static const double weights[] = {1, 60, 3600};
    double parts[3], days = 0, total;
    int count = 0, last; /* last: index into weights of the last part */
    bool has_days;

    if (!number(&text, &parts[count++]))
        return false;
    has_days = *text == '-';
    if (has_days) {
        days = parts[0];
        text++;
        if (!number(&text, &parts[0]))
            return false;
    }
    while (*text == ':' && count < 3) {
        text++;
        if (!number(&text, &parts[count++]))
            return false;
    }
    /* Behind days the parts are hours, minutes, seconds from the left; else they end in seconds. */
    last = has_days ? 3 - count : 0;
    total = days * 86400;
    for (int i = 0; i < count; i++)
        total += parts[i] * weights[last + count - 1 - i];
    if (*text != '\0' || !(total <= UNITS_TIME_MAX_S))
        return false;
    *out_ms = (int64_t)ceil(total * 1000);
    return true;
}

const char *units_size_text(int64_t bytes, char *buf, size_t size)
{
    double value = (double)bytes;
    int prefix = -1;

    while (value >= 1024 && prefix < (int)sizeof(prefixes) - 2) {
        value /= 1024;
        prefix++;
    }
    if (prefix < 0)
        snprintf(buf, size, "%lld", (long long)bytes);
    else
        snprintf(buf, size, "%.*f%c", value < 10 && value != floor(value) ? 1 : 0, value,
                 prefixes[prefix]);
    return buf;
}

const char *units_size_below(int64_t bytes, char *buf, size_t size)
{
    int prefix = 0;

    while (bytes >= 1 << 20 && prefix < (int)sizeof(prefixes) - 2) {
        bytes >>= 10;
        prefix++;
    }
    if (prefix == 0)
        snprintf(buf, size, "%lld", (long long)bytes);
    else
        snprintf(buf, size, "%lld%c", (long long)bytes, prefixes[prefix - 1]);
    return buf;
}
