/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts made without printf are those that printf makes. */
#include "common/quick.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void numbers_are_as_printf_has_them(void **state)
{
    static const uint64_t numbers[] = {0, 1, 9, 10, 99, 100, 4096, UINT32_MAX, UINT64_MAX};
    char text[QUICK_DIGITS], expected[32];

    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        snprintf(expected, sizeof(expected), "%" PRIu64, numbers[i]);
        assert_string_equal(quick_number(numbers[i], text), expected);
    }
}

static void parts_are_joined_as_far_as_there_is_room(void **state)
{
    static const char *const parts[] = {"/w", "", "/", "task", NULL};
    static const char whole[] = "/w/task";

    (void)state;
    for (size_t size = 1; size < 12; size++) {
        char text[16], expected[16];

        memset(text, '#', sizeof(text));
        assert_int_equal(quick_concat(text, size, parts), size > strlen(whole));
        snprintf(expected, size, "%s", whole);
        assert_string_equal(text, expected);
        assert_int_equal(text[size], '#');
    }
    assert_true(quick_concat((char[4]){"abc"}, 4, (const char *const[]){NULL}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_as_printf_has_them),
        cmocka_unit_test(parts_are_joined_as_far_as_there_is_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
