/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: decoding, and with spec_json.c the use of cJSON. Values are parsed one by one, so that what
 * the pilot only hands on (tags, unknown fields) keeps the digits it was written with. Strings
 * without escapes and short whole numbers, which nearly all are, mean what they look like (their
 * grammar was checked before) and need no cJSON: with it a task took twice the time. */
#include "input/value.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pilot.h"

#define SHORT_DIGITS 15
#define NUMBER_TEXT_MAX 60 /* cJSON reads only the first 63 bytes of a number, without a word */

const char *value_kind_words(enum value_kind kind)
{
    static const char *const words[] = {"null",     "true or false", "a number",
                                        "a string", "an array",      "an object"};

    return words[kind];
}

/* Does the text of a string hold the escape of a NUL? cJSON would cut the string there. */
static bool has_nul(const char *p, size_t len)
{
    const char *end = p + len;

    while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        if (end - p >= 6 && memcmp(p, "\\u0000", 6) == 0)
            return true;
        p += end - p >= 2 ? 2 : 1;
    }
    return false;
}

int value_string(const struct scan_text *value, char **out)
{
    cJSON *item;

    if (value->plain || memchr(value->p, '\\', value->len) == NULL) {
        *out = strndup(value->p + 1, value->len - 2);
        return *out != NULL ? 0 : PILOT_ENOMEM;
    }
    *out = NULL;
    if (has_nul(value->p, value->len))
        return PILOT_EINVAL;
    item = cJSON_ParseWithLength(value->p, value->len);
    if (cJSON_GetStringValue(item) != NULL)
        *out = strdup(cJSON_GetStringValue(item));
    cJSON_Delete(item);
    return *out != NULL ? 0 : PILOT_ENOMEM;
}

/* Few enough digits for a double to be exact, and nothing else. */
static bool short_integer(const struct scan_text *value, double *out)
{
    bool negative = value->p[0] == '-';
    int64_t number = 0;

    if (value->len > SHORT_DIGITS)
        return false;
    for (size_t i = negative; i < value->len; i++) {
        if (value->p[i] < '0' || value->p[i] > '9')
            return false;
        number = number * 10 + value->p[i] - '0';
    }
    *out = negative ? -(double)number : (double)number;
    return true;
}

int value_number(const struct scan_text *value, double *out)
{
    cJSON *item;

    if (short_integer(value, out))
        return 0;
    if (value->len > NUMBER_TEXT_MAX)
        return PILOT_EINVAL;
    item = cJSON_ParseWithLength(value->p, value->len);
    if (item == NULL)
        return PILOT_ENOMEM;
    *out = cJSON_GetNumberValue(item);
    cJSON_Delete(item);
    return isfinite(*out) ? 0 : PILOT_EINVAL;
}

bool value_is_integer(const struct scan_text *value)
{
    if (value_kind(value) != VALUE_NUMBER)
        return false;
    for (size_t i = 0; i < value->len; i++)
        if (value->p[i] == '.' || value->p[i] == 'e' || value->p[i] == 'E')
            return false;
    return true;
}

char *value_compact(const struct scan_text *value)
{
    char *text = strndup(value->p, value->len);

    if (text != NULL)
        cJSON_Minify(text);
    return text;
}

int value_key(const struct scan_text *key, char **out)
{
    struct scan_text quoted = {.p = key->p - 1, .len = key->len + 2, .plain = key->plain};

    return value_string(&quoted, out);
}

/* Decodes by itself instead of by cJSON: it is asked for every member of every task, and a lack of
 * memory could not be told from another name. */
bool value_key_is(const struct scan_text *key, const char *name)
{
    const char *p = key->p;
    const char *end = key->p + key->len;

    for (; p < end && *name != '\0'; name++) {
        char code[5] = "";

        if (*p != '\\' && *p == *name) {
            p++;
            continue;
        }
        if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
            return false; /* no name has a character that needs another escape */
        memcpy(code, p + 2, 4);
        if (strtoul(code, NULL, 16) != (unsigned char)*name)
            return false;
        p += 6;
    }
    return p == end && *name == '\0';
}
