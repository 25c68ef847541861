/* SPDX-License-Identifier: BSD-3-Clause */
/* The limits on one task, each tried below, at and above. */
#include "taskfile_fixture.h"

#include "input/limits.h"
#include "input/scan.h"

struct text {
    struct buf b;
};

static void put(struct text *t, const char *s)
{
    buf_put(&t->b, s, strlen(s));
}

static void put_many(struct text *t, char c, size_t n)
{
    char block[4096];

    memset(block, c, sizeof(block));
    for (; n > 0; n -= n < sizeof(block) ? n : sizeof(block))
        buf_put(&t->b, block, n < sizeof(block) ? n : sizeof(block));
}

/* Reads it as one task, and frees it. words: in the error; NULL: it must be good. */
static void expect_one(struct text *t, const char *words)
{
    assert_true(buf_ok(&t->b));
    read_text((const char *)t->b.data, t->b.len);
    if (words == NULL)
        check(result.rc == 1, "limit", "refused");
    else
        check(result.rc == PILOT_EINVAL && strstr(result.err.text, words) != NULL, "limit", words);
    check(strncmp(result.err.text, "f:1", words != NULL ? 3 : 0) == 0, "limit", "no line");
    buf_fini(&t->b);
}

static void a_task_may_have_16_mib_of_text(void **state)
{
    static const char *const starts[] = {"{\"command\":\"x\",\"tags\":\"", "true #"};
    static const char *const ends[] = {"\"}", ""};

    (void)state;
    for (int form = 0; form < 2; form++) {
        size_t rest = TASK_TEXT_MAX - strlen(starts[form]) - strlen(ends[form]);

        for (int over = -1; over <= 1; over++) {
            struct text t = {0};

            put(&t, starts[form]);
            put_many(&t, 'x', rest + (size_t)over);
            put(&t, ends[form]);
            put(&t, "\n");
            /* As a command it is more than any kernel executes. */
            expect_one(&t, over > 0    ? "16 MiB that one task may have"
                           : form == 1 ? "the kernel takes"
                                       : NULL);
        }
    }
}

static void put_env(struct text *t, int first, int count)
{
    char entry[32];

    put(t, "\"env\":{");
    for (int i = first; i < first + count; i++) {
        snprintf(entry, sizeof(entry), "%s\"V%d\":\"%d\"", i > first ? "," : "", i, i);
        put(t, entry);
    }
    put(t, "}");
}

static void a_task_may_have_10000_variables(void **state)
{
    (void)state;
    for (int n = ENV_ENTRIES_MAX - 1; n <= ENV_ENTRIES_MAX + 1; n++) {
        struct text t = {0};

        put(&t, "[{\"command\":\"x\",");
        put_env(&t, 0, n);
        put(&t, "}]");
        expect_one(&t, n > ENV_ENTRIES_MAX ? "env has 10001 variables" : NULL);
    }
    for (int n = 0; n <= 1; n++) { /* those of the defaults count; those set anew count once */
        struct text t = {0};

        put(&t, "{\"defaults\":{");
        put_env(&t, 0, ENV_ENTRIES_MAX);
        put(&t, "},\"tasks\":[{\"command\":\"x\",");
        put_env(&t, n, ENV_ENTRIES_MAX);
        put(&t, "}]}");
        expect_one(&t, n > 0 ? "env has 10001 variables" : NULL);
    }
}

static void one_string_may_be_as_long_as_the_kernel_takes(void **state)
{
    (void)state;
    for (int over = -1; over <= 1; over++) {
        struct text argument = {0}, variable = {0};

        put(&argument, "[{\"command\":[\"x\",\"");
        put_many(&argument, 'a', limits_string_max() + (size_t)over);
        put(&argument, "\"]}]");
        expect_one(&argument, over > 0 ? "an argument in command has" : NULL);
        put(&variable, "[{\"command\":\"x\",\"env\":{\"N\":\"");
        put_many(&variable, 'a', limits_string_max() - 2 + (size_t)over);
        put(&variable, "\"}}]");
        expect_one(&variable, over > 0 ? "a variable in env has" : NULL);
    }
}

static void arguments_and_environment_may_have_6_mib(void **state)
{
    (void)state;
    for (int over = -1; over <= 1; over++) {
        const size_t overhead = 1 + sizeof(char *); /* of each string, for execve */
        size_t left = EXEC_BYTES_MAX - (1 + overhead);
        struct text t = {0};

        put(&t, "[{\"command\":[\"x\"");
        for (size_t n; left > 0; left -= n + overhead) {
            n = (left > 200000 ? 100000 : left > 110000 ? 50000 : left) - overhead;
            put(&t, ",\"");
            put_many(&t, 'a', n + (n + overhead == left ? (size_t)over : 0));
            put(&t, "\"");
        }
        put(&t, "]}]");
        expect_one(&t, over > 0 ? "the kernel takes at most 6291456" : NULL);
    }
}

/* All forms count the brackets around the task; with room for 1000 levels in tags. */
static void tags_may_be_nested_a_thousand_deep(void **state)
{
    static const char *const forms[][2] = {
        {"[{\"command\":\"x\",\"tags\":", "}]"},
        {"{\"command\":\"x\",\"tags\":", "}\n{\"command\":\"y\"}\n"},
        {"{\"tasks\":[{\"command\":\"x\",\"tags\":", "}]}"},
        {"{\"tasks\":[{\"command\":\"x\"}],\"defaults\":{\"tags\":", "}}"},
    };
    static const size_t depths[] = {999, 1000, 1025, 100000, 2000000};

    (void)state;
    for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
        for (size_t d = 0; d < sizeof(depths) / sizeof(depths[0]); d++) {
            for (int object = 0; object < 2; object++) {
                struct text t = {0};

                put(&t, forms[f][0]);
                for (size_t i = 0; i < depths[d]; i++)
                    put(&t, object ? "{\"a\":" : "[");
                put(&t, "1");
                put_many(&t, object ? '}' : ']', depths[d]);
                put(&t, forms[f][1]);
                read_text((const char *)t.b.data, t.b.len);
                check((result.rc > 0) == (depths[d] <= 1000), "nesting", "accepted or refused");
                check(result.rc > 0 || strstr(result.err.text, "nested deeper than 1024") != NULL,
                      "nesting", "words");
                buf_fini(&t.b);
            }
        }
    }
}

static void an_id_may_have_255_bytes_of_any_utf8(void **state)
{
    /* One, two, three and four bytes a character. */
    static const char *const characters[] = {"i", "\u00e9", "\u20ac", "\U0001f680"};

    (void)state;
    for (size_t c = 0; c < 4; c++) {
        for (size_t len = 250; len < 262; len++) {
            struct text t = {0};
            size_t used = len % strlen(characters[c]);

            put(&t, "[{\"command\":\"x\",\"id\":\"");
            put_many(&t, 'i', used);
            for (; used < len; used += strlen(characters[c]))
                put(&t, characters[c]);
            put(&t, "\"}]");
            expect_one(&t, len > 255 ? "longer than 255 bytes" : NULL);
        }
    }
}

/* Cut characters, overlong forms, halves of surrogates, numbers beyond Unicode, lone bytes. */
static void bytes_that_are_not_utf8_are_shown(void **state)
{
    static const char *const broken[] = {
        "\xff",         "\x80",         "\xc3",     "\xc0\xaf",
        "\xe2\x82",     "\xed\xa0\x80", "\xf0\x9f", "\xf4\x90\x80\x80",
        "\xe0\x80\x80", "\xf8"};
    static const struct {
        const char *start, *end, *place;
    } where[] = {
        {"[\n{\"command\":\"x\",\"id\":\"ab", "\"}]", "f:2:24: "},
        {"[\n{\"command\":\"\u20acab", "\"}]", "f:2:16: "},
        {"[\n{\"command\":\"x\",\"tags\":{\"ab", "\":1}}]", "f:2:27: "},
        {"true\n\u20acab", "\n", "f:2:4: "},
        {"true\nab", "", "f:2:3: "},
    };

    (void)state;
    for (size_t b = 0; b < sizeof(broken) / sizeof(broken[0]); b++) {
        for (size_t w = 0; w < sizeof(where) / sizeof(where[0]); w++) {
            struct text t = {0};
            char byte[16];

            put(&t, where[w].start);
            put(&t, broken[b]);
            put(&t, where[w].end);
            read_text((const char *)t.b.data, t.b.len);
            snprintf(byte, sizeof(byte), "0x%02x", (unsigned char)broken[b][0]);
            check(result.rc == PILOT_EINVAL, where[w].start, "accepted");
            check(strncmp(result.err.text, where[w].place, strlen(where[w].place) - 2) == 0,
                  where[w].start, where[w].place);
            check(strstr(result.err.text, byte) != NULL, where[w].start, byte);
            check(strstr(result.err.text, "UTF-8") != NULL, where[w].start, "words");
            buf_fini(&t.b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_may_have_16_mib_of_text),
        cmocka_unit_test(a_task_may_have_10000_variables),
        cmocka_unit_test(one_string_may_be_as_long_as_the_kernel_takes),
        cmocka_unit_test(arguments_and_environment_may_have_6_mib),
        cmocka_unit_test(tags_may_be_nested_a_thousand_deep),
        cmocka_unit_test(an_id_may_have_255_bytes_of_any_utf8),
        cmocka_unit_test(bytes_that_are_not_utf8_are_shown),
    };

    return cmocka_run_group_tests(tests, NULL, finish);
}
