/* SPDX-License-Identifier: BSD-3-Clause */
/* The canonical JSON of a task: there and back for random tasks, and equal for equal ones. */
#include "taskfile_fixture.h"

/* ---- Canonical JSON -------------------------------------------------------------------------- */

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % n;
}

static char *random_text(bool any)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    static const char *const odd[] = {"\"",         "\\", "\n", "\t", "\x01", "\x7f",   "\u00e9",
                                      "\U0001f680", "=",  "/",  " ",  "{",    "\u20ac", "\\u0000"};
    size_t len = 1 + random_below(12);
    char *s = calloc(len * 8 + 1, 1);

    assert_non_null(s);
    for (size_t i = 0; i < len; i++) {
        if (any && random_below(3) == 0)
            strcat(s, odd[random_below(sizeof(odd) / sizeof(odd[0]))]);
        else
            strncat(s, &plain[random_below(sizeof(plain) - 1)], 1);
    }
    if (strspn(s, " \t\r\n") == strlen(s))
        strcat(s, "x");
    return s;
}

/* Different strings with a random end; "NAME=text" for env. */
static char **random_list(bool env, bool any)
{
    size_t count = random_below(5);
    char **list = count > 0 ? calloc(count + 1, sizeof(*list)) : NULL;

    for (size_t i = 0; i < count; i++) {
        char *end = random_text(any);

        assert_true(asprintf(&list[i], env ? "N%zu=%s" : "n%zu%s", 9 - i, end) > 0);
        free(end);
    }
    return list;
}

static void random_spec(struct task_spec *spec)
{
    static const char *const tags[] = {"{}", "[1.50,{\"a\":null}]", "\"x\"",
                                       "12345678901234567890"};

    task_spec_init(spec);
    spec->id = random_text(false);
    spec->argv = random_below(2) ? random_list(false, true) : NULL;
    if (spec->argv == NULL)
        spec->command = random_text(true);
    spec->cores = 1 + (random_below(2) ? random_below(1000000) : 0);
    spec->timeout_ms =
        random_below(3) == 0 ? random_below(1000000) * 1000000ll : random_below(99999);
    spec->priority = (int32_t)(random_below(2) * (random_below(INT32_MAX) * 2u + 1u));
    spec->max_retries = random_below(2) * random_below(1000001);
    spec->env = random_list(true, true);
    spec->tags = random_below(2) ? strdup(tags[random_below(4)]) : NULL;
    spec->workdir = random_below(2) ? random_text(true) : NULL;
    spec->stdin_path = random_below(2) ? random_text(true) : NULL;
    spec->depends_on = random_list(false, false);
}

static void test_canonical_json_comes_back(void **state)
{
    const uint64_t seed = 20240607;

    (void)state;
    random_state = seed;
    for (int i = 0; i < 5000; i++) {
        struct task_spec spec;
        struct task_spec back;
        struct pilot_error err = {0};
        char *json;
        char *again;

        random_spec(&spec);
        json = task_spec_to_json(&spec);
        assert_non_null(json);
        if (task_spec_from_json(json, &back, &err) != 0)
            fail_msg("seed %llu, turn %d: %s\n%s", (unsigned long long)seed, i, json, err.text);
        again = task_spec_to_json(&back);
        assert_string_equal(json, again);
        assert_int_equal(back.timeout_ms, spec.timeout_ms);
        assert_int_equal(back.priority, spec.priority);
        free(json);
        free(again);
        task_spec_fini(&spec);
        task_spec_fini(&back);
    }
}

static void test_order_without_meaning_is_not_kept(void **state)
{
    static const char *const texts[] = {
        "[{\"id\":\"a\",\"command\":\"x\",\"env\":{\"AB\":\"1\",\"A\":\"2\"},"
        "\"depends_on\":[\"before\",\"a b\"]},{\"id\":\"a b\",\"command\":\"x\"}]",
        "[{\"depends_on\":[\"a b\",\"before\"],\"env\":{\"A\":\"2\",\"AB\":\"1\"},\"id\":\"a\","
        "\"command\":\"x\"},{\"id\":\"a b\",\"command\":\"x\"}]",
    };
    char first[512];

    (void)state;
    read_text(texts[0], strlen(texts[0]));
    check(result.rc == 2, texts[0], "count");
    snprintf(first, sizeof(first), "%s", text_of(&result.tasks));
    read_text(texts[1], strlen(texts[1]));
    assert_string_equal(first, text_of(&result.tasks));
}

static void test_bad_canonical_json(void **state)
{
    static const char *const table[] = {"",
                                        "{",
                                        "[]",
                                        "{\"id\":\"a\",\"command\":\"x\"} x",
                                        "{\"command\":\"x\"}",
                                        "{\"id\":\"a\"}",
                                        "{\"id\":\"../a\",\"command\":\"x\"}",
                                        "{\"id\":\"a\",\"command\":\"x\",\"cores\":0}"};

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct task_spec spec;
        struct pilot_error err = {0};

        assert_true(task_spec_from_json(table[i], &spec, &err) < 0);
        assert_true(strncmp(err.text, "stored task", 11) == 0);
        assert_null(spec.id);
        assert_null(spec.command);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical_json_comes_back),
        cmocka_unit_test(test_order_without_meaning_is_not_kept),
        cmocka_unit_test(test_bad_canonical_json),
    };

    return cmocka_run_group_tests(tests, NULL, finish);
}
