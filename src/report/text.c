/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: wording. Must not write anywhere but into the caller's buffers. Numbers with a point are
 * put together from integers, since printf would use the comma of the user's locale. */
#include "report/text.h"

#include <inttypes.h>
#include <langinfo.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void text_add(struct buf *b, const char *fmt, ...)
{
    char small[512];
    char *big = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    if ((size_t)n < sizeof(small)) {
        buf_put(b, small, (size_t)n);
        return;
    }
    va_start(ap, fmt);
    n = vasprintf(&big, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return;
    }
    buf_put(b, big, (size_t)n);
    free(big);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

const char *text_count(char dst[TEXT_NUM], uint64_t n)
{
    char digits[24];
    size_t len, at = 0;

    len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n);
    for (size_t i = 0; i < len; i++) {
        if (n > 9999 && i > 0 && (len - i) % 3 == 0)
            dst[at++] = ',';
        dst[at++] = digits[i];
    }
    dst[at] = '\0';
    return dst;
}

/* value in units of 1/scale, rounded; nonsense (negative, not a number) is 0, and what no screen
 * has room for is cut. */
static uint64_t scaled(double value, unsigned scale)
{
    if (!(value > 0))
        return 0;
    value = value * scale + 0.5;
    return value > 1e15 ? (uint64_t)1e15 : (uint64_t)value;
}

static const char *tenths(char dst[TEXT_NUM], double value, const char *unit)
{
    uint64_t n = scaled(value, 10);

    snprintf(dst, TEXT_NUM, "%" PRIu64 ".%u%s", n / 10, (unsigned)(n % 10), unit);
    return dst;
}

const char *text_tenths(char dst[TEXT_NUM], double value)
{
    return tenths(dst, value, "");
}

const char *text_fixed(char dst[TEXT_NUM], double value)
{
    uint64_t n = scaled(value, 1000);

    snprintf(dst, TEXT_NUM, "%" PRIu64 ".%03u", n / 1000, (unsigned)(n % 1000));
    return dst;
}

const char *text_duration(char dst[TEXT_NUM], double seconds)
{
    uint64_t s = scaled(seconds, 1);

    if (scaled(seconds, 10) < 600)
        return tenths(dst, seconds, "s");
    if (s < 3600)
        snprintf(dst, TEXT_NUM, "%um%02us", (unsigned)(s / 60), (unsigned)(s % 60));
    else
        snprintf(dst, TEXT_NUM, "%" PRIu64 "h%02um", s / 3600, (unsigned)(s / 60 % 60));
    return dst;
}

const char *text_left(char dst[TEXT_NUM], int64_t ms)
{
    uint64_t s = ms > 0 ? ((uint64_t)ms + 500) / 1000 : 0;

    if (s < 3600)
        snprintf(dst, TEXT_NUM, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
    else if (s < 86400)
        snprintf(dst, TEXT_NUM, "%u:%02u:%02u", (unsigned)(s / 3600), (unsigned)(s / 60 % 60),
                 (unsigned)(s % 60));
    else
        snprintf(dst, TEXT_NUM, "%" PRIu64 "d %02uh", s / 86400, (unsigned)(s / 3600 % 24));
    return dst;
}

const char *text_rate(char dst[TEXT_NUM], double per_second)
{
    if (per_second >= 0.95)
        return tenths(dst, per_second, "/s");
    if (per_second * 60 >= 0.95)
        return tenths(dst, per_second * 60, "/min");
    return tenths(dst, per_second * 3600, "/h");
}

/* ---- Text from outside ----------------------------------------------------------------------- */

static bool names_utf8(const char *s)
{
    return strcasestr(s, "utf-8") != NULL || strcasestr(s, "utf8") != NULL;
}

bool text_locale_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    /* The charset is that of "C" when nobody called setlocale, or when this node lacks the locale
     * that the user's terminal speaks: then the variables know more. */
    if (names_utf8(nl_langinfo(CODESET)))
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && *value != '\0')
            return names_utf8(value);
    }
    return false;
}

/* Length of the valid UTF-8 character at s and its number; 0: none. */
static size_t utf8_char(const unsigned char *s, size_t len, uint32_t *cp)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n;

    if (s[0] < 0x80) {
        *cp = s[0];
        return 1;
    }
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        n = 2;
    else if ((s[0] & 0xf0) == 0xe0)
        n = 3;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (n > len)
        return 0;
    *cp = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *cp = *cp << 6 | (s[i] & 0x3f);
    }
    if (*cp < least[n] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
        return 0;
    return n;
}

/* Characters that steer: C1 controls, line separators, and what turns the direction of writing. */
static bool steers(uint32_t cp)
{
    return (cp >= 0x80 && cp <= 0x9f) || cp == 0x2028 || cp == 0x2029 || cp == 0x200e ||
           cp == 0x200f || (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) ||
           cp == 0xfeff;
}

/* Length of the colour sequence (ESC [ digits ; ... m) at s; 0: it is none. */
static size_t colour_sequence(const unsigned char *s, size_t len)
{
    size_t i = 2;

    if (len < 3 || s[0] != 0x1b || s[1] != '[')
        return 0;
    while (i < len && ((s[i] >= '0' && s[i] <= '9') || s[i] == ';' || s[i] == ':'))
        i++;
    return i < len && s[i] == 'm' ? i + 1 : 0;
}

/* One character of s in shown form into dst; returns how many bytes of s it stands for. */
static size_t safe_char(const unsigned char *s, size_t len, bool utf8, bool lines, char dst[8])
{
    uint32_t cp = 0;
    size_t n = utf8_char(s, len, &cp);

    dst[0] = '\0';
    if (n == 1 && cp == 0x1b) {
        size_t skip = colour_sequence(s, len);

        if (skip > 0)
            return skip;
    }
    if (n == 1 && cp == '\t')
        snprintf(dst, 8, "    ");
    else if (n == 1 && (cp < 0x20 || cp == 0x7f) && !(lines && cp == '\n'))
        snprintf(dst, 8, "^%c", (int)(cp ^ 0x40));
    else if (n == 1 || (n > 1 && utf8 && !steers(cp)))
        snprintf(dst, 8, "%.*s", (int)n, (const char *)s);
    else
        snprintf(dst, 8, "\\x%02x", s[0]);
    return n == 0 || dst[0] == '\\' ? 1 : n;
}

void text_safe(struct buf *b, const char *s, size_t len, bool utf8, bool lines, size_t max)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t added = 0;
    char shown[8];

    while (len > 0) {
        /* Most text is plain: copied as it is, run by run. */
        size_t n = 0, room = max > 0 ? max - added : SIZE_MAX;

        while (n < len && n < room && p[n] >= 0x20 && p[n] < 0x7f)
            n++;
        buf_put(b, p, n);
        added += n;
        p += n;
        len -= n;
        if (len == 0)
            return;
        n = safe_char(p, len, utf8, lines, shown);
        if (max > 0 && added + strlen(shown) > max) {
            buf_put(b, "...", 3);
            return;
        }
        buf_put(b, shown, strlen(shown));
        added += strlen(shown);
        p += n;
        len -= n;
    }
}

char *text_utf8(const char *s)
{
    size_t len = strlen(s), at = 0;
    char *out = malloc(len * 3 + 1);

    if (out == NULL)
        return NULL;
    while (len > 0) {
        uint32_t cp;
        size_t n = utf8_char((const unsigned char *)s, len, &cp);

        memcpy(out + at, n > 0 ? s : "\xef\xbf\xbd", n > 0 ? n : 3);
        at += n > 0 ? n : 3;
        s += n > 0 ? n : 1;
        len -= n > 0 ? n : 1;
    }
    out[at] = '\0';
    return out;
}

/* ---- Causes ---------------------------------------------------------------------------------- */

/* sigabbrev_np came with glibc 2.32, later than many clusters. */
static const char *signal_name(int number)
{
#define SIGNAL(name)                                                                               \
    {                                                                                              \
        name, #name                                                                                \
    }
    static const struct {
        int number;
        const char *name;
    } names[] = {
        SIGNAL(SIGHUP),  SIGNAL(SIGINT),    SIGNAL(SIGQUIT), SIGNAL(SIGILL),  SIGNAL(SIGTRAP),
        SIGNAL(SIGABRT), SIGNAL(SIGBUS),    SIGNAL(SIGFPE),  SIGNAL(SIGKILL), SIGNAL(SIGUSR1),
        SIGNAL(SIGSEGV), SIGNAL(SIGUSR2),   SIGNAL(SIGPIPE), SIGNAL(SIGALRM), SIGNAL(SIGTERM),
        SIGNAL(SIGXCPU), SIGNAL(SIGXFSZ),   SIGNAL(SIGSYS),  SIGNAL(SIGIO),   SIGNAL(SIGPWR),
        SIGNAL(SIGPROF), SIGNAL(SIGVTALRM),
    };
#undef SIGNAL

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].number == number)
            return names[i].name;
    return NULL;
}

static void add_message(struct buf *b, const char *before, const char *message, bool utf8)
{
    if (message[0] == '\0')
        return;
    text_add(b, "%s", before);
    text_safe(b, message, strnlen(message, TASK_MESSAGE_MAX), utf8, false, 0);
}

void text_cause(struct buf *b, const struct attempt_result *result, bool utf8)
{
    const char *name = signal_name(result->signal);
    double seconds = (double)(result->end_wall_ms - result->start_wall_ms) / 1000;
    char t[TEXT_NUM];

    switch (result->reason) {
    case REASON_EXIT:
        text_add(b, "exit %d", result->exit_code);
        return;
    case REASON_SIGNAL:
        if (name != NULL)
            text_add(b, "killed by %s (%d)", name, result->signal);
        else
            text_add(b, "killed by signal %d", result->signal);
        return;
    case REASON_TIMEOUT:
        text_add(b, "timed out after %s", text_duration(t, seconds));
        return;
    case REASON_SPAWN:
        text_add(b, "could not start");
        add_message(b, ": ", result->message, utf8);
        return;
    case REASON_LOST:
        text_add(b, "lost");
        add_message(b, " with ", result->message, utf8);
        return;
    case REASON_CANCEL:
        text_add(b, "cancelled");
        return;
    case REASON_STOP:
        text_add(b, "stopped with the pilot");
        return;
    case REASON_MEMORY:
        text_add(b, "out of memory");
        add_message(b, ": ", result->message, utf8);
        return;
    case REASON_DISK:
        text_add(b, "no room for its output");
        add_message(b, ": ", result->message, utf8);
        return;
    }
}

void text_errors_place(struct buf *b, enum pilot_output output, const char *workdir, const char *id,
                       bool utf8)
{
    if (output == PILOT_OUTPUT_PACKED) {
        text_add(b, "pilot-mpi logs --stderr ");
        if (strcmp(workdir, "pilot_runs") != 0) {
            text_add(b, "--workdir ");
            text_safe(b, workdir, strlen(workdir), utf8, false, 0);
            text_add(b, " ");
        }
        text_safe(b, id, strlen(id), utf8, false, 0);
        return;
    }
    text_safe(b, workdir, strlen(workdir), utf8, false, 0);
    text_add(b, "/");
    text_safe(b, id, strlen(id), utf8, false, 0);
    text_add(b, output == PILOT_OUTPUT_MERGED ? "/stdout.txt" : "/stderr.txt");
}
