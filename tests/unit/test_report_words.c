/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of the report that only compute: words and numbers, what text from outside becomes, the
 * rate and the time left, what is held back in a flood. */
#include "report/hold.h"
#include "report/live.h"
#include "report/text.h"

#include <signal.h>

#include "report_fixture.h"

/* ---- Words ----------------------------------------------------------------------------------- */

static void numbers_are_worded_for_people(void **state)
{
    char t[TEXT_NUM];

    (void)state;
    assert_string_equal(text_count(t, 0), "0");
    assert_string_equal(text_count(t, 9999), "9999");
    assert_string_equal(text_count(t, 10000), "10,000");
    assert_string_equal(text_count(t, 1234567), "1,234,567");
    assert_string_equal(text_count(t, UINT64_MAX), "18,446,744,073,709,551,615");
    assert_string_equal(text_duration(t, 0), "0.0s");
    assert_string_equal(text_duration(t, -3), "0.0s");
    assert_string_equal(text_duration(t, 8.34), "8.3s");
    assert_string_equal(text_duration(t, 59.94), "59.9s");
    assert_string_equal(text_duration(t, 59.96), "1m00s");
    assert_string_equal(text_duration(t, 725), "12m05s");
    assert_string_equal(text_duration(t, 3599.4), "59m59s");
    assert_string_equal(text_duration(t, 3599.6), "1h00m");
    assert_string_equal(text_duration(t, 11040), "3h04m");
    assert_string_equal(text_left(t, 17000), "0:17");
    assert_string_equal(text_left(t, 3723000), "1:02:03");
    assert_string_equal(text_left(t, 2 * 86400000LL + 3 * 3600000), "2d 03h");
    assert_string_equal(text_rate(t, 212.34), "212.3/s");
    assert_string_equal(text_rate(t, 0.5), "30.0/min");
    assert_string_equal(text_rate(t, 0.01), "36.0/h");
    assert_string_equal(text_fixed(t, 3.25), "3.250");
}

static void foreign_text_cannot_steer_a_terminal(void **state)
{
    static const struct {
        const char *in;
        bool utf8, lines;
        size_t max;
        const char *out;
    } cases[] = {
        {"plain", true, false, 0, "plain"},
        {"a\x1b[2Jb", true, false, 0, "a^[[2Jb"},
        {"\x1b[1;31mred\x1b[0m", true, false, 0, "red"},
        {"\x1b[31", true, false, 0, "^[[31"},
        {"a\rb\nc\x7f\b", true, false, 0, "a^Mb^Jc^?^H"},
        {"a\nb", true, true, 0, "a\nb"},
        {"a\tb", true, false, 0, "a    b"},
        {"\xc3\xa9\xe2\x96\xb6\xf0\x9f\x98\x80", true, false, 0,
         "\xc3\xa9\xe2\x96\xb6\xf0\x9f\x98\x80"},
        {"\xc3\xa9", false, false, 0, "\\xc3\\xa9"},
        {"\xc2\x9b"
         "2J",
         true, false, 0, "\\xc2\\x9b2J"},
        {"\x9b"
         "2J",
         true, false, 0, "\\x9b2J"},
        {"\xe2\x80\xae"
         "x",
         true, false, 0, "\\xe2\\x80\\xaex"},
        {"\xed\xa0\x80", true, false, 0, "\\xed\\xa0\\x80"},
        {"\xc0\x80\xf5", true, false, 0, "\\xc0\\x80\\xf5"},
        {"\xe0\x80\x80", true, false, 0, "\\xe0\\x80\\x80"},
        {"\xe2\x96", true, false, 0, "\\xe2\\x96"},
        {"abcdef", true, false, 3, "abc..."},
        {"abc", true, false, 3, "abc"},
        {"ab\x01", true, false, 3, "ab..."},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b;

        buf_init(&b);
        text_safe(&b, cases[i].in, strlen(cases[i].in), cases[i].utf8, cases[i].lines,
                  cases[i].max);
        buf_put(&b, "", 1);
        assert_string_equal((char *)b.data, cases[i].out);
        buf_fini(&b);
    }
}

static void text_is_not_read_beyond_its_length(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b);
    text_safe(&b, "\xe2\x96\xb6", 2, true, false, 0);
    buf_put(&b, "", 1);
    assert_string_equal((char *)b.data, "\\xe2\\x96");
    buf_fini(&b);
}

static void causes_are_worded(void **state)
{
    static const struct {
        enum attempt_reason reason;
        int code, sig;
        const char *message, *words;
    } cases[] = {
        {REASON_EXIT, 3, 0, "", "exit 3"},
        {REASON_SIGNAL, -1, SIGSEGV, "", "killed by SIGSEGV (11)"},
        {REASON_SIGNAL, -1, 40, "", "killed by signal 40"},
        {REASON_TIMEOUT, -1, SIGTERM, "", "timed out after 3.5s"},
        {REASON_SPAWN, -1, 0, "no\x1bsuch", "could not start: no^[such"},
        {REASON_LOST, -1, 0, "node vc2", "lost with node vc2"},
        {REASON_LOST, -1, 0, "", "lost"},
        {REASON_CANCEL, -1, 0, "", "cancelled"},
        {REASON_MEMORY, -1, SIGKILL, "used 2.1G of 2G", "out of memory: used 2.1G of 2G"},
        {REASON_DISK, -1, 0, "cannot write", "no room for its output: cannot write"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct attempt_result r = result_of(cases[i].reason, cases[i].code, cases[i].sig, 3500);
        struct buf b;

        strcpy(r.message, cases[i].message);
        buf_init(&b);
        text_cause(&b, &r, true);
        buf_put(&b, "", 1);
        assert_string_equal((char *)b.data, cases[i].words);
        buf_fini(&b);
    }
}

static void the_locale_decides_about_utf8(void **state)
{
    (void)state;
    setenv("LC_ALL", "de_DE.utf8", 1);
    assert_true(text_locale_utf8());
    setenv("LC_ALL", "C", 1);
    setenv("LANG", "de_DE.UTF-8", 1);
    assert_false(text_locale_utf8());
    unsetenv("LC_ALL");
    unsetenv("LC_CTYPE");
    assert_true(text_locale_utf8());
}

/* ---- Rate and time left ---------------------------------------------------------------------- */

static void rate_follows_what_happens_lately(void **state)
{
    struct report_progress p = {.running = 8, .waiting = 1000};
    struct live_pace pace;
    int64_t now = 0;

    (void)state;
    live_pace_init(&pace, 0, 0);
    assert_true(live_rate(&pace) == 0);
    assert_int_equal(live_left_ms(&pace, &p), -1);
    for (; now < 600000; now += 100, p.completed += 20)
        live_pace_update(&pace, &p, now);
    assert_true(live_rate(&pace) > 195 && live_rate(&pace) < 205);
    assert_in_range(live_left_ms(&pace, &p), 4900, 5200);
    for (; now < 615000; now += 100, p.completed += 5)
        live_pace_update(&pace, &p, now);
    assert_true(live_rate(&pace) > 48 && live_rate(&pace) < 55);
}

static void tasks_that_end_together_do_not_fool_the_rate(void **state)
{
    static const unsigned at_once[] = {8, 100};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct report_progress p = {.running = at_once[i], .waiting = at_once[i] * 10};
        double rate = at_once[i] / 60.0;
        struct live_pace pace;

        live_pace_init(&pace, 0, 0);
        /* So many at a time, a minute each. */
        for (int64_t now = 0; now <= 600000; now += 500) {
            if (now > 0 && now % 60000 == 0)
                p.completed += at_once[i];
            live_pace_update(&pace, &p, now);
            if (now > 180000)
                assert_true(live_rate(&pace) > 0.6 * rate && live_rate(&pace) < 1.5 * rate);
        }
        /* What waits takes 10 minutes; the last of those that run has nearly one left. */
        assert_in_range(live_left_ms(&pace, &p), 500000, 780000);
        p.waiting = 0;
        p.running = 1;
        assert_in_range(live_left_ms(&pace, &p), 20000, 40000);
    }
}

static void history_reaches_back_for_hours(void **state)
{
    struct report_progress p = {.running = 1, .waiting = 10};
    struct live_pace pace;
    int64_t now;

    (void)state;
    live_pace_init(&pace, 7, 0);
    /* 100 quick ones first, then one an hour. */
    p.completed = 107;
    for (now = 1000; now < 40 * 3600000LL; now += 60000) {
        if (now > 3600000)
            p.completed = 107 + (uint64_t)(now / 3600000);
        live_pace_update(&pace, &p, now);
    }
    assert_true(live_rate(&pace) * 3600 > 0.8 && live_rate(&pace) * 3600 < 1.3);
}

static const char *line_of(const struct report_progress *p, unsigned width)
{
    static char text[512];
    struct live_pace pace;
    struct buf b;

    live_pace_init(&pace, 0, 0);
    for (int i = 0; i <= 100; i++) {
        struct report_progress then = *p;

        then.completed = (uint64_t)i * 21;
        live_pace_update(&pace, &then, i * 100);
    }
    buf_init(&b);
    live_text(&b, &pace, p, width);
    assert_true(b.len < sizeof(text));
    memcpy(text, b.data, b.len);
    text[b.len] = '\0';
    buf_fini(&b);
    return text;
}

static void live_line_keeps_what_matters_most(void **state)
{
    struct report_progress p = {.completed = 1234,
                                .failed = 3,
                                .running = 8,
                                .waiting = 3755,
                                .total = 5000,
                                .cores_busy = 8,
                                .cores = 8};

    (void)state;
    assert_string_equal(line_of(&p, 0),
                        "1234/5000 done, 3 failed, 8 running, 3755 waiting | 8/8 cores | 210.0/s | "
                        "0:18 left");
    assert_string_equal(line_of(&p, 96),
                        "[##........] 1234/5000 done, 3 failed, 8 running, 3755 waiting | 8/8 "
                        "cores | 210.0/s | 0:18 left");
    assert_non_null(strstr(line_of(&p, 105), "[##........] "));
    assert_non_null(strstr(line_of(&p, 106), "[####................] "));
    assert_string_equal(line_of(&p, 79),
                        "1234/5000 done, 3 failed, 8 running, 3755 waiting | 210.0/s | 0:18 left");
    assert_string_equal(line_of(&p, 40), "1234/5000 done, 3 failed | 0:18 left");
    assert_string_equal(line_of(&p, 19), "1234/5000 done");
    assert_string_equal(line_of(&p, 6), "1234/5");
    for (unsigned width = 1; width < 250; width++)
        assert_in_range(strlen(line_of(&p, width)), 1, width);
    p.note = "NO ROOM for output";
    assert_string_equal(line_of(&p, 40), "NO ROOM for output | 1234/5000 done");
    assert_string_equal(line_of(&p, 10), "NO ROOM fo");
    p.note = NULL;
    p.completed = 4997;
    p.total = 5000;
    assert_non_null(strstr(line_of(&p, 250), "[########################################] "));
    p.skipped = 1234567;
    assert_non_null(strstr(line_of(&p, 0), ", 1,234,567 skipped, "));
    p.total = 0;
    assert_non_null(strstr(line_of(&p, 250), "[........................................] "));
}

/* ---- Throttling ------------------------------------------------------------------------------ */

static void floods_are_counted_and_trickles_shown(void **state)
{
    unsigned shown = 0;
    struct hold h;
    struct buf b;

    (void)state;
    buf_init(&b);
    hold_init(&h, 5000);
    assert_true(hold_due_ms(&h) == INT64_MAX);
    for (int i = 0; i < 60; i++)
        shown += hold_pass(&h, HOLD_STARTED, false, 5100);
    assert_int_equal(shown, HOLD_LINES);
    assert_int_equal(hold_due_ms(&h), 6100);
    /* The next second begins closed; failures have a bound of their own. */
    assert_false(hold_pass(&h, HOLD_COMPLETED, false, 6050));
    for (int i = shown = 0; i < 30; i++)
        shown += hold_pass(&h, HOLD_FAILED, true, 6060);
    assert_int_equal(shown, HOLD_FAILURES);
    assert_true(hold_count(&h, false, 6100, &b));
    buf_put(&b, "", 1);
    assert_string_equal((char *)b.data, "... 10 more started, 1 completed, 10 failed");
    assert_true(hold_due_ms(&h) == INT64_MAX);
    /* A calm second opens again. */
    assert_true(hold_pass(&h, HOLD_STARTED, false, 7000));
    assert_false(hold_count(&h, false, 7000, &b));
    buf_fini(&b);
}

static void counts_come_more_rarely_in_a_long_flood(void **state)
{
    static const int64_t expected[] = {1000, 3000, 7000, 15000, 25000, 35000};
    size_t counts = 0;
    struct hold h;
    struct buf b;

    (void)state;
    buf_init(&b);
    hold_init(&h, 0);
    for (int64_t now = 0; now < 40000; now += 10) {
        if (now >= hold_due_ms(&h)) {
            assert_true(counts < sizeof(expected) / sizeof(expected[0]));
            /* The first line of a count is held a moment after the count before it. */
            assert_in_range(now, expected[counts], expected[counts] + 600);
            counts++;
            assert_true(hold_count(&h, false, now, &b));
        }
        for (int i = 0; i < 5; i++)
            hold_pass(&h, HOLD_COMPLETED, false, now);
    }
    assert_int_equal(counts, sizeof(expected) / sizeof(expected[0]));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(numbers_are_worded_for_people),
        REPORT_TEST(foreign_text_cannot_steer_a_terminal),
        REPORT_TEST(text_is_not_read_beyond_its_length),
        REPORT_TEST(causes_are_worded),
        REPORT_TEST(the_locale_decides_about_utf8),
        REPORT_TEST(rate_follows_what_happens_lately),
        REPORT_TEST(tasks_that_end_together_do_not_fool_the_rate),
        REPORT_TEST(history_reaches_back_for_hours),
        REPORT_TEST(live_line_keeps_what_matters_most),
        REPORT_TEST(floods_are_counted_and_trickles_shown),
        REPORT_TEST(counts_come_more_rarely_in_a_long_flood),
    };

    return cmocka_run_group_tests_name("report words", tests, NULL, NULL);
}
