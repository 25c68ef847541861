/* SPDX-License-Identifier: BSD-3-Clause */
/* What a JSON value means, decoded by cJSON, one value at a time. The texts come from scan_value:
 * they are valid JSON. */
#ifndef PILOT_INPUT_VALUE_H
#define PILOT_INPUT_VALUE_H

#include <stdbool.h>

#include "input/scan.h"

enum value_kind {
    VALUE_NULL,
    VALUE_BOOLEAN,
    VALUE_NUMBER,
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_OBJECT,
};

/* By its first character: the text was scanned before. */
static inline enum value_kind value_kind(const struct scan_text *value)
{
    switch (value->p[0]) {
    case '{':
        return VALUE_OBJECT;
    case '[':
        return VALUE_ARRAY;
    case '"':
        return VALUE_STRING;
    case 't':
    case 'f':
        return VALUE_BOOLEAN;
    case 'n':
        return VALUE_NULL;
    default:
        return VALUE_NUMBER;
    }
}

/* "a number", "an object", ... */
const char *value_kind_words(enum value_kind kind);

/* The content of a string, fresh. PILOT_EINVAL: it has a \u0000 in it, which no C string can hold.
 */
int value_string(const struct scan_text *value, char **out);

/* PILOT_EINVAL: too large for a double, or of more digits than any sensible number. */
int value_number(const struct scan_text *value, double *out);

/* Is it a number without fraction or exponent? Then its text is its exact value. */
bool value_is_integer(const struct scan_text *value);

/* The text as it is written, fresh, without the blanks between its parts. NULL: no memory. */
char *value_compact(const struct scan_text *value);

/* Is this name, as written in the file, equal to the plain name? */
bool value_key_is(const struct scan_text *key, const char *name);

/* The same in a fresh string, as value_string. */
int value_key(const struct scan_text *key, char **out);

#endif
