/* SPDX-License-Identifier: BSD-3-Clause */
/* The map of ids, and the arena in which they lie: what went in comes out, across growth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/strmap.h"

/* Keys of every length around the eight bytes that are hashed at a time. */
static const char *key_of(struct arena *a, unsigned i)
{
    char text[80];
    int len = snprintf(text, sizeof(text), "%.*s%u", (int)(i % 20), "a/long/directory/...", i);
    char *key = arena_take(a, (size_t)len + 1);

    assert_non_null(key);
    return memcpy(key, text, (size_t)len + 1);
}

static void test_what_went_in_comes_out(void **state)
{
    enum { COUNT = 100000 };
    struct arena a = {0};
    struct strmap m;
    uint32_t value;

    (void)state;
    strmap_init(&m);
    assert_false(strmap_get(&m, "1", NULL));
    strmap_expect(&m, "1");
    for (unsigned i = 0; i < COUNT; i++) {
        if (i == COUNT / 2)
            assert_int_equal(strmap_reserve(&m, COUNT / 2), 0);
        assert_int_equal(strmap_put(&m, key_of(&a, i), i, &value), 1);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        struct arena_mark mark = arena_mark(&a);
        const char *key = key_of(&a, i);

        assert_true(strmap_get(&m, key, &value));
        assert_int_equal(value, i);
        assert_int_equal(strmap_put(&m, key, 7, &value), 0);
        assert_int_equal(value, i);
        arena_release(&a, mark);
    }
    assert_int_equal(m.used, COUNT);
    assert_false(strmap_get(&m, "", NULL));
    assert_int_equal(strmap_put(&m, "", 1, &value), 1);
    assert_true(strmap_get(&m, "", NULL));
    strmap_fini(&m);
    arena_fini(&a);
}

static void test_reserved_room_is_there(void **state)
{
    struct arena a = {0};
    struct strmap m;
    const struct strmap_slot *slots;

    (void)state;
    strmap_init(&m);
    assert_int_equal(strmap_reserve(&m, 1000), 0);
    slots = m.slots;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(strmap_add(&m, key_of(&a, i), i), 0);
    assert_ptr_equal(m.slots, slots);
    assert_true(strmap_reserve(&m, SIZE_MAX / 2) < 0);
    strmap_fini(&m);
    arena_fini(&a);
}

/* Small, larger than a chunk, and enough of them for large pages. */
static void test_pieces_do_not_meet(void **state)
{
    enum { PIECES = 400, BYTES = 60000 };
    struct arena a = {0};
    struct arena_mark mark;
    unsigned char *pieces[PIECES];

    (void)state;
    for (unsigned i = 0; i < PIECES; i++) {
        pieces[i] = arena_take(&a, i == 7 ? 5 * BYTES : BYTES);
        assert_non_null(pieces[i]);
        memset(pieces[i], (int)(i % 251), BYTES);
    }
    mark = arena_mark(&a);
    memset(arena_take(&a, 3 << 20), 0xff, 3 << 20);
    arena_release(&a, mark);
    memset(arena_take(&a, 10), 0xff, 10);
    for (unsigned i = 0; i < PIECES; i++)
        assert_true(pieces[i][0] == i % 251 && pieces[i][BYTES - 1] == i % 251);
    arena_fini(&a);
    assert_int_equal(a.bytes, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_went_in_comes_out),
        cmocka_unit_test(test_reserved_room_is_there),
        cmocka_unit_test(test_pieces_do_not_meet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
