/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the grammar of JSON (RFC 8259), strictly. Must not decode or allocate anything but the list
 * of members. cJSON alone would not do: it needs the whole tree in memory, tells an error only by a
 * pointer, and takes control characters, 01 and cut numbers for good. Levels are kept as one bit
 * each, not by recursion, so that no input can exhaust the stack. */
#include "input/scan.h"

#include <ctype.h>
#include <endian.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input/text.h"

enum expect {
    EXPECT_VALUE,        /* after ':' or at the start */
    EXPECT_FIRST_VALUE,  /* after '[': a value or ']' */
    EXPECT_NEXT_VALUE,   /* after ',' in an array */
    EXPECT_FIRST_KEY,    /* after '{': a name or '}' */
    EXPECT_NEXT_KEY,     /* after ',' in an object */
    EXPECT_COMMA_OR_END, /* after a value */
    EXPECT_NOTHING,      /* the value is complete */
    EXPECT_FAILED,
};

struct scanner {
    const char *p;
    const char *end;
    struct scan_members *members; /* of level 1; NULL: not wanted */
    struct scan_fail *fail;
    struct scan_text key; /* of the value that comes next */
    bool plain;           /* the last string had no escapes */
    unsigned depth;
    unsigned char objects[SCAN_DEPTH_MAX / 8]; /* bit n: level n+1 is an object */
};

const char *scan_blank(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p <= ' ' &&
           (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

void scan_members_fini(struct scan_members *members)
{
    free(members->list);
    memset(members, 0, sizeof(*members));
}

__attribute__((format(printf, 3, 4))) static bool fail_at(struct scanner *s, const char *at,
                                                          const char *fmt, ...)
{
    va_list ap;

    s->fail->at = at;
    va_start(ap, fmt);
    vsnprintf(s->fail->text, sizeof(s->fail->text), fmt, ap);
    va_end(ap);
    return false;
}

static void add_hint(struct scanner *s, const char *hint)
{
    size_t used = strlen(s->fail->text);

    snprintf(s->fail->text + used, sizeof(s->fail->text) - used, "%s", hint);
}

static bool fail_memory(struct scanner *s)
{
    s->fail->no_memory = true;
    return fail_at(s, s->p, "out of memory");
}

static bool starts_with(const struct scanner *s, const char *word)
{
    size_t len = strlen(word);

    return (size_t)(s->end - s->p) >= len && memcmp(s->p, word, len) == 0;
}

/* What stands at s->p, with a hint where the habit of another language shows. */
static bool fail_expected(struct scanner *s, const char *expected)
{
    static const struct {
        const char *start;
        const char *hint;
    } habits[] = {
        {"'", "a single quote (JSON strings have double quotes)"},
        {"//", "a comment (JSON has none)"},
        {"/*", "a comment (JSON has none)"},
        {"#", "a comment (JSON has none)"},
        {"True", "True (JSON writes true)"},
        {"False", "False (JSON writes false)"},
        {"None", "None (JSON writes null)"},
        {"NaN", "NaN (JSON has no such number)"},
        {"Infinity", "Infinity (JSON has no such number)"},
        {"-Infinity", "-Infinity (JSON has no such number)"},
        {"\"", "a string (is a ',' or ':' missing before it?)"},
    };
    unsigned char c;

    if (s->p == s->end)
        return fail_at(s, s->p, "expected %s, found %s", expected,
                       s->fail->end_word ? s->fail->end_word : "the end");
    for (size_t i = 0; i < sizeof(habits) / sizeof(habits[0]); i++)
        if (starts_with(s, habits[i].start))
            return fail_at(s, s->p, "expected %s, found %s", expected, habits[i].hint);
    c = (unsigned char)*s->p;
    if (c < 0x20 || c >= 0x7f)
        return fail_at(s, s->p, "expected %s, found the byte 0x%02x%s", expected, c,
                       c == 0 ? " (NUL)" : "");
    return fail_at(s, s->p, "expected %s, found '%c'", expected, c);
}

/* The four digits of \uXXXX at p, or -1. */
static int hex4(const char *p, const char *end)
{
    int v = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)p[i];

        if (c >= '0' && c <= '9')
            v = v * 16 + c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v * 16 + (c | 0x20) - 'a' + 10;
        else
            return -1;
    }
    return v;
}

static bool scan_unicode(struct scanner *s)
{
    int unit = hex4(s->p + 2, s->end);
    int low;

    if (unit < 0)
        return fail_at(s, s->p, "\\u needs four hexadecimal digits");
    if (unit < 0xd800 || unit > 0xdfff) {
        s->p += 6;
        return true;
    }
    low = s->end - s->p >= 12 && s->p[6] == '\\' && s->p[7] == 'u' ? hex4(s->p + 8, s->end) : -1;
    if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return fail_at(s, s->p, "\\u%.4s is half of a surrogate pair", s->p + 2);
    s->p += 12;
    return true;
}

static bool scan_escape(struct scanner *s)
{
    if (s->end - s->p < 2)
        return fail_at(s, s->p, "a string ends within an escape");
    if (s->p[1] == 'u')
        return scan_unicode(s);
    if (s->p[1] == '\0' || strchr("\"\\/bfnrt", s->p[1]) == NULL)
        return fail_at(s, s->p,
                       "a backslash in a string must be doubled (\\\\) unless it starts an "
                       "escape such as \\n or \\\"");
    s->p += 2;
    return true;
}

/* Is c a character that may stand in a string as it is, and one byte long? */
static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Behind the plain characters at p. Eight bytes are looked at at a time: the highest bit of each
 * says that it is not plain. The first that says so is right; of a later one a borrow may say it.
 */
static const char *skip_plain(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, high = ones * 0x80;

    for (; end - p >= 8; p += 8) {
        uint64_t w, wrong;

        memcpy(&w, p, sizeof(w));
        w = le64toh(w);
        wrong =
            (w | (w - ones * 0x20) | ((w ^ ones * '"') - ones) | ((w ^ ones * '\\') - ones)) & high;
        if (wrong != 0)
            return p + __builtin_ctzll(wrong) / 8;
    }
    while (p < end && is_plain((unsigned char)*p))
        p++;
    return p;
}

static bool scan_string(struct scanner *s)
{
    const char *start = s->p++;

    s->plain = true;
    while (s->p < s->end) {
        unsigned char c;

        s->p = skip_plain(s->p, s->end);
        if (s->p == s->end)
            break;
        c = (unsigned char)*s->p;
        if (c == '"') {
            s->p++;
            return true;
        } else if (c == '\\') {
            s->plain = false;
            if (!scan_escape(s))
                return false;
        } else if (c == '\n' || c == '\r') {
            break;
        } else if (c < 0x20) {
            return fail_at(s, s->p, "a %s in a string; write \\u%04x",
                           c == 0      ? "NUL byte"
                           : c == '\t' ? "tab (better written \\t)"
                                       : "control character",
                           c);
        } else {
            size_t n = text_char(s->p, (size_t)(s->end - s->p), NULL);

            if (n == 0)
                return fail_at(
                    s, s->p, "the byte 0x%02x in a string is not UTF-8; save the file as UTF-8", c);
            s->p += n;
        }
    }
    return fail_at(s, start,
                   "the string that starts here is not closed on its line: missing '\"' "
                   "(a line break within a string is written \\n)");
}

static bool is_digit(const struct scanner *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static bool skip_digits(struct scanner *s)
{
    const char *start = s->p;

    while (is_digit(s))
        s->p++;
    return s->p > start;
}

static bool scan_number(struct scanner *s)
{
    const char *start = s->p;
    const char *digits;
    bool good;

    s->p += *s->p == '-';
    digits = s->p;
    good = skip_digits(s) && (digits[0] != '0' || s->p - digits == 1);
    if (good && s->p < s->end && *s->p == '.') {
        s->p++;
        good = skip_digits(s);
    }
    if (good && s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        s->p += s->p < s->end && (*s->p == '+' || *s->p == '-');
        good = skip_digits(s);
    }
    if (good && (s->p == s->end || *s->p == ',' || *s->p == '}' || *s->p == '\0' ||
                 strchr("+-._", *s->p) == NULL))
        return true;
    s->p = start;
    if (starts_with(s, "-Infinity"))
        return fail_expected(s, "a value");
    return fail_at(s, start, "not a number as JSON writes it (2, -2, 0.5, 1e6)");
}

static bool scan_scalar(struct scanner *s)
{
    static const char *const words[] = {"true", "false", "null"};

    if (s->p < s->end && *s->p == '"')
        return scan_string(s);
    if (s->p < s->end && (*s->p == '-' || is_digit(s)))
        return scan_number(s);
    for (size_t i = 0; i < 3; i++) {
        if (starts_with(s, words[i])) {
            s->p += strlen(words[i]);
            return true;
        }
    }
    return fail_expected(s, "a value");
}

static bool add_member(struct scanner *s)
{
    struct scan_members *m = s->members;

    if (m->count == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 16;
        struct scan_member *list = reallocarray(m->list, cap, sizeof(*list));

        if (list == NULL)
            return fail_memory(s);
        m->list = list;
        m->cap = cap;
    }
    m->list[m->count].key = s->key;
    m->list[m->count].value = (struct scan_text){.p = s->p, .len = 0};
    m->count++;
    return true;
}

static bool in_object(const struct scanner *s)
{
    unsigned level = s->depth - 1;

    return s->objects[level / 8] & (1u << (level % 8));
}

/* A value (with its brackets, if it has any) has ended before s->p. */
static enum expect value_ended(struct scanner *s)
{
    if (s->depth == 0)
        return EXPECT_NOTHING;
    if (s->depth == 1 && s->members != NULL) {
        struct scan_text *value = &s->members->list[s->members->count - 1].value;

        value->len = (size_t)(s->p - value->p);
        value->plain = s->plain;
    }
    return EXPECT_COMMA_OR_END;
}

static enum expect close_level(struct scanner *s)
{
    s->p++;
    s->depth--;
    return value_ended(s);
}

static enum expect open_level(struct scanner *s)
{
    bool object = *s->p == '{';

    if (s->depth == SCAN_DEPTH_MAX) {
        fail_at(s, s->p, "nested deeper than %d levels", SCAN_DEPTH_MAX);
        return EXPECT_FAILED;
    }
    if (object)
        s->objects[s->depth / 8] |= (unsigned char)(1u << (s->depth % 8));
    else
        s->objects[s->depth / 8] &= (unsigned char)~(1u << (s->depth % 8));
    s->depth++;
    s->p++;
    s->key = (struct scan_text){.p = s->p, .len = 0};
    return object ? EXPECT_FIRST_KEY : EXPECT_FIRST_VALUE;
}

static enum expect take_value(struct scanner *s)
{
    if (s->depth == 1 && s->members != NULL && !add_member(s))
        return EXPECT_FAILED;
    if (s->p < s->end && (*s->p == '{' || *s->p == '['))
        return open_level(s);
    return scan_scalar(s) ? value_ended(s) : EXPECT_FAILED;
}

static enum expect take_key(struct scanner *s)
{
    const char *start = s->p;

    if (s->p == s->end || *s->p != '"') {
        fail_expected(s, "a name in double quotes");
        return EXPECT_FAILED;
    }
    if (!scan_string(s))
        return EXPECT_FAILED;
    s->key =
        (struct scan_text){.p = start + 1, .len = (size_t)(s->p - start) - 2, .plain = s->plain};
    s->p = scan_blank(s->p, s->end);
    if (s->p == s->end || *s->p != ':') {
        fail_expected(s, "':' after a name");
        return EXPECT_FAILED;
    }
    s->p++;
    return EXPECT_VALUE;
}

static enum expect take_comma(struct scanner *s)
{
    bool object = in_object(s);
    char closing = object ? '}' : ']';
    const char *comma = s->p;

    if (s->p < s->end && *s->p == closing)
        return close_level(s);
    if (s->p == s->end || *s->p != ',') {
        fail_expected(s, object ? "',' or '}'" : "',' or ']'");
        if (s->p < s->end && isalpha((unsigned char)*s->p))
            add_hint(s, " (is a quote missing before it?)");
        return EXPECT_FAILED;
    }
    s->p = scan_blank(s->p + 1, s->end);
    if (s->p < s->end && *s->p == closing) {
        fail_at(s, comma, "a trailing comma before '%c'; remove it", closing);
        return EXPECT_FAILED;
    }
    return object ? EXPECT_NEXT_KEY : EXPECT_NEXT_VALUE;
}

static enum expect step(struct scanner *s, enum expect expect)
{
    char c;

    s->p = scan_blank(s->p, s->end);
    c = '\0';
    if (s->p < s->end)
        c = *s->p;
    switch (expect) {
    case EXPECT_FIRST_VALUE:
        return c == ']' ? close_level(s) : take_value(s);
    case EXPECT_VALUE:
    case EXPECT_NEXT_VALUE:
        return take_value(s);
    case EXPECT_FIRST_KEY:
        return c == '}' ? close_level(s) : take_key(s);
    case EXPECT_NEXT_KEY:
        return take_key(s);
    case EXPECT_COMMA_OR_END:
        return take_comma(s);
    case EXPECT_NOTHING:
    case EXPECT_FAILED:
        break;
    }
    return EXPECT_FAILED;
}

const char *scan_value(const char *p, const char *end, struct scan_members *members,
                       struct scan_fail *fail)
{
    struct scanner s = {.p = p, .end = end, .members = members, .fail = fail};
    enum expect expect = EXPECT_VALUE;

    if (members != NULL)
        members->count = 0;
    fail->no_memory = false;
    while (expect != EXPECT_NOTHING && expect != EXPECT_FAILED)
        expect = step(&s, expect);
    return expect == EXPECT_NOTHING ? s.p : NULL;
}

const char *scan_balanced(const char *p, const char *end)
{
    size_t depth = 0;

    while (p < end) {
        char c = *p++;

        if (c == '"') {
            while (p < end && *p != '"' && *p != '\n')
                p += *p == '\\' && end - p > 1 && p[1] != '\n' ? 2 : 1;
            if (p < end)
                p++;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return NULL;
            if (--depth == 0)
                return p;
        }
    }
    return NULL;
}
