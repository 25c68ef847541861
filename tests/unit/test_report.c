/* SPDX-License-Identifier: BSD-3-Clause */
/* The report while tasks run, against pseudo-terminals, pipes and sockets. Time is an argument of
 * the report, so every expectation about when is exact. */
#include "report/report.h"

#include <signal.h>
#include <termios.h>

#include "common/clock.h"
#include "report/hold.h"

#include "report_fixture.h"

/* ---- On a terminal --------------------------------------------------------------------------- */

/* The live line is the last row, whole and not wrapped; above it are whole lines. */
static void assert_live_last(const struct fix *f, const char *begins)
{
    const char *row = model_row(f->screen, f->screen->last_row);

    assert_false(f->screen->strange);
    assert_false(f->screen->coloured);
    assert_int_equal(f->screen->row, f->screen->last_row);
    if (strncmp(row, begins, strlen(begins)) != 0 && strstr(row, begins) == NULL)
        fail_msg("last row is '%s', expected '%s'", row, begins);
}

static void lines_stay_whole_above_the_live_line(void **state)
{
    static const unsigned widths[] = {20, 80, 110, 200};

    for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++) {
        void *own = NULL;
        struct fix *f;
        char id[32], line[64];

        assert_int_equal(set_up(&own), 0);
        f = own;
        open_report(f, &(struct how){.where = TERMINAL, .width = widths[w]});
        for (unsigned i = 1; i <= 30; i++) {
            struct report_progress p = progress_of(i, 0, 4000);

            snprintf(id, sizeof(id), "T%u", i);
            report_task_started(f->r, id, 2, "n1");
            completed(f->r, id, 8300);
            report_progress(f->r, &p, i * 200);
            read_out(f);
            snprintf(line, sizeof(line), "%u/4000 done", i);
            assert_live_last(f, line);
            assert_false(f->screen->wrapped);
            /* The last column stays free: there the cursor of some terminals wraps early. */
            assert_false(f->screen->full);
            assert_int_equal(f->screen->last_row, 2 * i);
        }
        for (unsigned i = 1; i <= 30; i++) {
            snprintf(line, sizeof(line), "▶ T%u (2c) n1", i);
            assert_string_equal(model_row(f->screen, 2 * i - 2), line);
            snprintf(line, sizeof(line), "✓ T%u (8.3s)", i);
            assert_string_equal(model_row(f->screen, 2 * i - 1), line);
        }
        assert_true(f->screen->coloured_ever);
        report_destroy(f->r);
        assert_int_equal(tear_down(&own), 0);
    }
    (void)state;
}

static void every_end_has_its_line(void **state)
{
    struct fix *f = *state;
    struct attempt_result exit3 = result_of(REASON_EXIT, 3, 0, 100);
    struct attempt_result lost = result_of(REASON_LOST, -1, 0, 100);
    struct attempt_result spawn = result_of(REASON_SPAWN, -1, 0, 0);
    struct report_progress p = progress_of(0, 0, 9);
    char line[200];

    strcpy(lost.message, "node vc2");
    strcpy(spawn.message, "no such file: ./x");
    open_report(f, &(struct how){.where = TERMINAL, .width = 200});
    report_task_ended(f->r, "A", 1, TASK_PENDING, &exit3, 1, 2);
    report_task_ended(f->r, "A", 2, TASK_PENDING, &lost, 1, 2);
    report_task_ended(f->r, "A", 3, TASK_FAILED, &exit3, 2, 2);
    report_task_ended(f->r, "B", 1, TASK_FAILED, &spawn, 0, 0);
    report_task_ended(f->r, "C", 1, TASK_CANCELLED, &exit3, 0, 0);
    report_task_skipped(f->r, "D", "A");
    report_task_started(f->r, "evil\x1b[2J\r", 1, "n\n1");
    report_progress(f->r, &p, 0);
    read_out(f);
    assert_string_equal(model_row(f->screen, 0), "⟳ A retry 1/2: exit 3");
    assert_string_equal(model_row(f->screen, 1), "⟳ A waits again: lost with node vc2");
    snprintf(line, sizeof(line), "✗ A exit 3, see %s/A/stderr.txt", f->dir);
    assert_string_equal(model_row(f->screen, 2), line);
    assert_string_equal(model_row(f->screen, 3), "✗ B could not start: no such file: ./x");
    assert_string_equal(model_row(f->screen, 4), "⊘ C cancelled");
    assert_string_equal(model_row(f->screen, 5), "↷ D skipped: A failed");
    assert_string_equal(model_row(f->screen, 6), "▶ evil^[[2J^M (1c) n^J1");
    assert_live_last(f, "0/9 done");
    report_destroy(f->r);
}

static void paths_below_here_are_short(void **state)
{
    struct fix *f = *state;
    char cwd[1024];
    struct report_progress p = progress_of(0, 0, 9);

    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_int_equal(chdir("/tmp"), 0);
    open_report(f, &(struct how){.where = TERMINAL, .width = 200});
    assert_int_equal(chdir(cwd), 0);
    failed(f->r, "A");
    report_progress(f->r, &p, 0);
    read_out(f);
    snprintf(cwd, sizeof(cwd), "✗ A exit 3, see %s/A/stderr.txt", f->dir + strlen("/tmp/"));
    assert_string_equal(model_row(f->screen, 0), cwd);
    report_destroy(f->r);
}

static void live_line_is_drawn_ten_times_a_second_at_most(void **state)
{
    struct fix *f = *state;

    open_report(f, &(struct how){.where = TERMINAL, .width = 80});
    for (unsigned i = 0; i < 3000; i++) {
        struct report_progress p = progress_of(i, 0, 5000);

        if (i % 100 == 0)
            completed(f->r, "x", 1);
        report_progress(f->r, &p, i);
        assert_true(report_next_ms(f->r) > i);
        if (i % 50 == 0)
            read_out(f);
    }
    read_out(f);
    assert_in_range(count(f->out, "/5000 done"), 25, 31);
    report_destroy(f->r);
}

static void nothing_is_drawn_when_nothing_happens(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);

    open_report(f, &(struct how){.where = TERMINAL, .width = 80});
    report_progress(f->r, &p, 0);
    /* The time left changes once a second while something runs. */
    assert_int_equal(report_next_ms(f->r), 1000);
    for (int i = 1; i < 1000; i++)
        report_progress(f->r, &p, i);
    read_out(f);
    assert_int_equal(count(f->out, "1/2 done"), 1);
    report_progress(f->r, &p, 1000);
    read_out(f);
    assert_int_equal(count(f->out, "1/2 done"), 2);
    p = progress_of(2, 0, 2);
    report_progress(f->r, &p, 2000);
    assert_true(report_next_ms(f->r) == INT64_MAX);
    report_destroy(f->r);
}

static void log_lines_keep_the_live_line_whole(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);

    open_report(f, &(struct how){.where = TERMINAL, .width = 80, .err_there = true});
    report_progress(f->r, &p, 0);
    report_task_started(f->r, "before", 1, "n1");
    report_log(f->r, LOG_WARN, "pilot-mpi: warning: one\x1b[2J\nand two");
    read_out(f);
    restore_stderr(f);
    assert_string_equal(model_row(f->screen, 0), "▶ before (1c) n1");
    assert_string_equal(model_row(f->screen, 1), "pilot-mpi: warning: one^[[2J");
    assert_string_equal(model_row(f->screen, 2), "and two");
    assert_live_last(f, "1/2 done");
    end_plainly(f);
}

static void log_goes_to_standard_error_where_that_is_elsewhere(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);
    char text[100];
    ssize_t n;

    open_report(f, &(struct how){.where = TERMINAL, .width = 80, .err_apart = true});
    report_progress(f->r, &p, 0);
    report_log(f->r, LOG_INFO, "pilot-mpi: hello");
    restore_stderr(f);
    read_out(f);
    assert_null(strstr(f->out, "hello"));
    n = read(f->err_rd, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_string_equal(text, "pilot-mpi: hello\n");
    report_destroy(f->r);
}

static void end_leaves_a_clean_terminal(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(4, 0, 5);
    const char *last;

    open_report(f, &(struct how){.where = TERMINAL, .width = 100});
    start_with(f->r, 5);
    report_task_started(f->r, "T", 1, "n1");
    report_progress(f->r, &p, 100);
    end_plainly(f);
    assert_false(f->screen->strange);
    assert_false(f->screen->coloured);
    assert_int_equal(f->screen->column, 0);
    assert_int_equal(f->screen->row, f->screen->last_row);
    assert_string_equal(model_row(f->screen, f->screen->row), "");
    assert_string_equal(model_row(f->screen, f->screen->row - 1), LAST_LINE);
    assert_string_equal(model_row(f->screen, f->screen->row - 2),
                        "Core utilisation: 87% of 4 cores");
    assert_string_equal(model_row(f->screen, f->screen->row - 3), "▶ T (1c) n1");
    last = strrchr(f->out, '\x1b');
    assert_non_null(last); /* nothing but text after the live line has gone */
    assert_null(strstr(last, "done"));
}

static void destroying_without_an_end_takes_the_live_line_away(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(4, 0, 5);

    open_report(f, &(struct how){.where = TERMINAL, .width = 100});
    report_progress(f->r, &p, 100);
    report_destroy(f->r);
    read_out(f);
    assert_string_equal(model_row(f->screen, 0), "");
    assert_int_equal(f->screen->row, 0);
}

static void live_line_fits_after_every_resize(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1234, 3, 5000);

    open_report(f, &(struct how){.where = TERMINAL, .width = 200});
    report_progress(f->r, &p, 0);
    read_out(f);
    for (unsigned width = 199; width > 20; width--) {
        struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)width};

        assert_int_equal(ioctl(f->wr, TIOCSWINSZ, &size), 0);
        f->width = width;
        p.completed++;
        report_progress(f->r, &p, 100000 - width * 100);
        f->len = 0;
        read_out(f);
        assert_live_last(f, "/5000 done");
        assert_int_equal(f->screen->row, 0);
        /* The last column stays free: there the cursor of some terminals wraps early. */
        assert_false(f->screen->full);
        assert_int_equal(f->screen->erases, 1); /* what was longer before */
    }
    report_destroy(f->r);
}

static void colours_can_be_refused(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);

    setenv("NO_COLOR", "1", 1);
    open_report(f, &(struct how){.where = TERMINAL, .width = 80});
    failed(f->r, "A");
    report_progress(f->r, &p, 0);
    read_out(f);
    assert_false(f->screen->coloured_ever);
    assert_live_last(f, "1/2 done");
    report_destroy(f->r);
}

static void simple_terminals_get_plain_lines(void **state)
{
    static const struct {
        const char *term;
        unsigned width;
    } cases[] = {{"dumb", 80}, {"", 80}, {"xterm", 0}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        void *own = NULL;
        struct fix *f;
        struct report_progress p = progress_of(1, 0, 2);

        assert_int_equal(set_up(&own), 0);
        f = own;
        setenv("TERM", cases[i].term, 1);
        open_report(f, &(struct how){.where = TERMINAL, .width = cases[i].width});
        failed(f->r, "A");
        report_progress(f->r, &p, 0);
        end_plainly(f);
        assert_null(strchr(f->out, '\x1b'));
        assert_non_null(strstr(f->out, " ✗ A exit 3, see "));
        assert_int_equal(tear_down(&own), 0);
    }
}

static void other_charsets_get_ascii(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);

    setenv("LC_ALL", "C", 1);
    open_report(f, &(struct how){.where = TERMINAL, .width = 80});
    report_task_started(f->r, "caf\xc3\xa9", 1, "n1");
    completed(f->r, "B", 1);
    report_task_skipped(f->r, "C", NULL);
    report_progress(f->r, &p, 0);
    end_plainly(f);
    for (size_t i = 0; i < f->len; i++)
        assert_true((unsigned char)f->out[i] < 0x80);
    assert_string_equal(model_row(f->screen, 0), "> caf\\xc3\\xa9 (1c) n1");
    assert_string_equal(model_row(f->screen, 1), "ok B (0.0s)");
    assert_string_equal(model_row(f->screen, 2), "- C skipped");
}

static void floods_on_a_terminal_show_failures(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);

    open_report(f, &(struct how){.where = TERMINAL, .width = 80});
    start_with(f->r, 9);
    for (int i = 0; i < 200; i++)
        report_task_started(f->r, "s", 1, "n1");
    for (int i = 0; i < 25; i++)
        failed(f->r, "f");
    for (int i = 0; i < 3; i++) {
        report_progress(f->r, &p, i * 600);
        read_out(f);
    }
    assert_int_equal(model_count(f->screen, "▶ s (1c) n1"), HOLD_LINES);
    assert_int_equal(count(f->out, "f exit 3"), HOLD_FAILURES);
    assert_int_equal(model_count(f->screen, "... 5 more failed"), 1);
    assert_null(strstr(f->out, "more started"));
    report_destroy(f->r);
}

/* ---- In a file or a pipe --------------------------------------------------------------------- */

/* A note is news of its own, and counts down though nothing runs. */
static void notes_are_redrawn_each_second(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);

    p.running = 0;
    open_report(f, &(struct how){.where = TERMINAL, .width = 80});
    report_progress(f->r, &p, 0);
    assert_true(report_next_ms(f->r) == INT64_MAX);
    p.note = "NO ROOM, 9 s left";
    report_notice(f->r, "no room: why\x1b");
    report_progress(f->r, &p, 100);
    read_out(f);
    assert_string_equal(model_row(f->screen, 0), "no room: why^[");
    assert_live_last(f, "NO ROOM, 9 s left | ");
    assert_int_equal(report_next_ms(f->r), 1100);
    p.note = NULL;
    report_progress(f->r, &p, 1100);
    read_out(f);
    assert_null(strstr(model_row(f->screen, 1), "NO ROOM"));
    report_destroy(f->r);
}

static void plain_lines_have_the_time_of_day(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);
    time_t before = (time_t)(clock_wall_ms() / 1000), after, then;
    struct tm tm;
    char *rest;

    open_report(f, &(struct how){.where = PIPE});
    report_notice(f->r, "no room");
    report_progress(f->r, &p, 0);
    read_out(f);
    after = (time_t)(clock_wall_ms() / 1000);
    memset(&tm, 0, sizeof(tm));
    rest = strptime(f->out, "%Y-%m-%d %H:%M:%S", &tm);
    assert_non_null(rest);
    then = timegm(&tm);
    assert_true(then >= before && then <= after);
    assert_string_equal(rest, " no room\n");
    end_plainly(f);
    assert_null(strpbrk(f->out, "\x1b\r"));
    assert_non_null(strstr(f->out, "\n" LAST_LINE "\n"));
    assert_string_equal(f->out + f->len - strlen(LAST_LINE "\n"), LAST_LINE "\n");
}

static void progress_lines_become_rarer(void **state)
{
    static const int64_t expected[] = {10, 30, 70, 130, 190, 250};
    struct fix *f = *state;
    unsigned lines = 0;

    open_report(f, &(struct how){.where = PIPE});
    start_with(f->r, 1000);
    for (int64_t s = 0; s < 300; s++) {
        struct report_progress p = progress_of((uint64_t)s, 0, 1000);

        report_progress(f->r, &p, s * 1000);
        read_out(f);
        if (count(f->out, " done, ") == lines)
            continue;
        assert_true(lines < 6);
        assert_int_equal(s, expected[lines]);
        lines++;
    }
    assert_int_equal(lines, 6);
    assert_non_null(strstr(f->out, " 250/1000 done, 1 running, 749 waiting | 1/8 cores | "));
    report_destroy(f->r);
}

static void no_progress_lines_while_nothing_runs(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(2, 0, 2);

    open_report(f, &(struct how){.where = PIPE});
    start_with(f->r, 2);
    report_progress(f->r, &p, 1);
    assert_true(report_next_ms(f->r) == INT64_MAX);
    for (int i = 1; i < 100; i++)
        report_progress(f->r, &p, i * 1000);
    read_out(f);
    assert_null(strstr(f->out, "done"));
    report_destroy(f->r);
}

/* The number before words in "... 2,345 more started, 2,301 completed", summed over all lines. */
static uint64_t counted(const char *text, const char *words)
{
    uint64_t sum = 0;

    for (const char *p = text; (p = strstr(p, words)) != NULL; p += strlen(words)) {
        const char *q = p;
        uint64_t n = 0;

        while (q > text && strchr("0123456789,", q[-1]) != NULL)
            q--;
        for (; q < p; q++)
            if (*q != ',')
                n = n * 10 + (uint64_t)(*q - '0');
        sum += n;
    }
    return sum;
}

static void floods_in_a_file_are_counted_without_loss(void **state)
{
    struct fix *f = *state;

    open_report(f, &(struct how){.where = PIPE});
    start_with(f->r, 15000);
    for (unsigned ms = 0; ms < 5000; ms++) {
        struct report_progress p = progress_of(ms * 3, 0, 15000);

        for (int i = 0; i < 3; i++) {
            report_task_started(f->r, "s", 1, "n1");
            completed(f->r, "c", 1);
        }
        report_progress(f->r, &p, ms);
        read_out(f);
    }
    end_plainly(f);
    assert_true(count(f->out, "\n") < 80);
    assert_in_range(count(f->out, " ... "), 2, 5);
    assert_int_equal(counted(f->out, " more started") + count(f->out, "▶ s"), 15000);
    assert_int_equal(counted(f->out, " completed") + count(f->out, "✓ c"), 15000);
}

static void last_retries_count_as_failures(void **state)
{
    struct fix *f = *state;
    struct attempt_result r = result_of(REASON_EXIT, 3, 0, 100);
    struct report_progress p = progress_of(1, 0, 2);

    open_report(f, &(struct how){.where = PIPE});
    start_with(f->r, 9);
    for (int i = 0; i < 100; i++)
        report_task_started(f->r, "s", 1, "n1");
    report_task_ended(f->r, "R", 1, TASK_PENDING, &r, 1, 2);
    report_task_ended(f->r, "R", 2, TASK_PENDING, &r, 2, 2);
    report_progress(f->r, &p, 500);
    read_out(f);
    assert_null(strstr(f->out, "R retry 1/2"));
    assert_non_null(strstr(f->out, "R retry 2/2: exit 3"));
    report_destroy(f->r);
}

static void verbose_shows_all_in_few_writes(void **state)
{
    struct fix *f = *state;
    unsigned writes = 0;
    char data[65536];
    ssize_t n;

    open_report(f, &(struct how){.where = SOCKET, .verbose = true});
    for (unsigned ms = 0; ms < 1000; ms++) {
        struct report_progress p = progress_of(ms, 0, 15000);

        for (int i = 0; i < 3; i++)
            completed(f->r, "c", 1);
        report_progress(f->r, &p, ms);
        /* One message of this socket is one write. */
        while ((n = read(f->rd, data, sizeof(data))) > 0) {
            take(f, data, (size_t)n);
            writes++;
        }
    }
    assert_in_range(writes, 5, 11);
    end_plainly(f);
    assert_int_equal(count(f->out, "✓ c"), 3000);
}

static void single_lines_are_written_at_once(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);

    open_report(f, &(struct how){.where = PIPE});
    start_with(f->r, 2);
    report_task_started(f->r, "a", 1, "n1");
    report_progress(f->r, &p, 1000);
    read_out(f);
    assert_non_null(strstr(f->out, "▶ a"));
    /* A second one within a tenth of a second waits, and says until when. */
    report_task_started(f->r, "b", 1, "n1");
    report_progress(f->r, &p, 1010);
    read_out(f);
    assert_null(strstr(f->out, "▶ b"));
    assert_int_equal(report_next_ms(f->r), 1100);
    report_progress(f->r, &p, 1100);
    read_out(f);
    assert_non_null(strstr(f->out, "▶ b"));
    report_destroy(f->r);
}

static void quiet_is_errors_and_the_last_line(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 1, 9);

    open_report(f, &(struct how){.where = PIPE, .quiet = true, .err_there = true});
    start_with(f->r, 2);
    report_task_started(f->r, "a", 1, "n1");
    failed(f->r, "b");
    report_task_skipped(f->r, "c", "b");
    report_log(f->r, LOG_WARN, "pilot-mpi: warning: w");
    report_log(f->r, LOG_ERROR, "pilot-mpi: error: e");
    for (int i = 0; i < 100; i++)
        report_progress(f->r, &p, i * 1000);
    restore_stderr(f);
    end_plainly(f);
    assert_string_equal(f->out, "pilot-mpi: error: e\n" LAST_LINE "\n");
}

/* ---- When writing fails ---------------------------------------------------------------------- */

static void assert_told_once(struct fix *f, const char *reason)
{
    char text[2000];
    ssize_t n = read(f->err_rd, text, sizeof(text) - 1);

    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(count(text, "progress can no longer be written"), 1);
    assert_int_equal(count(text, "\n"), 1);
    assert_non_null(strstr(text, reason));
}

static void run_on(struct fix *f)
{
    struct report_end e = {.db = "d"};
    struct pilot_error err;

    for (int i = 0; i < 100; i++) {
        struct report_progress p = progress_of((uint64_t)i, 0, 200);

        completed(f->r, "T", 1);
        report_progress(f->r, &p, i * 500);
    }
    assert_int_equal(report_end(f->r, &e, &err), 0);
    restore_stderr(f);
    report_destroy(f->r);
}

static void a_closed_pipe_does_not_hurt(void **state)
{
    struct fix *f = *state;
    sigset_t pending;

    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    open_report(f, &(struct how){.where = PIPE, .err_apart = true});
    close(f->rd);
    f->rd = -1;
    run_on(f);
    assert_told_once(f, "Broken pipe");
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
}

static void a_full_disk_does_not_hurt(void **state)
{
    struct fix *f = *state;
    struct report_config config = {.workdir = f->dir};
    struct pilot_error err;
    int p[2];

    f->wr = open("/dev/full", O_WRONLY);
    assert_true(f->wr >= 0);
    assert_int_equal(pipe2(p, O_NONBLOCK), 0);
    f->err_rd = p[0];
    redirect_stderr(f, p[1]);
    close(p[1]);
    config.fd = f->wr;
    assert_int_equal(report_create(&f->r, &config, &err), 0);
    run_on(f);
    assert_told_once(f, "No space left");
}

static void a_reader_that_does_not_read_holds_nothing_up(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);
    int flags;
    size_t stuck;
    unsigned lines;

    open_report(f, &(struct how){.where = PIPE, .verbose = true});
    flags = fcntl(f->wr, F_GETFL);
    assert_int_equal(flags & O_NONBLOCK, 0);
    /* Far more than a pipe and the report's own memory hold. */
    for (int i = 0; i < 100000; i++) {
        completed(f->r, "a-name-of-some-length", 1);
        if (i % 100 == 0)
            report_progress(f->r, &p, i * 2);
    }
    report_progress(f->r, &p, 300000);
    read_out(f);
    stuck = f->len;
    assert_true(stuck > 4096);
    assert_int_equal(f->out[stuck - 1], '\n'); /* no line was cut */
    for (int i = 1; i < 500; i++) {
        report_progress(f->r, &p, 300000 + i * 200);
        read_out(f);
    }
    end_plainly(f);
    assert_int_equal(fcntl(f->wr, F_GETFL), flags);
    lines = count(f->out, " ✓ a-name-of-some-length (0.0s)\n");
    assert_int_equal(count(f->out, "a-name"), lines);
    assert_int_equal(counted(f->out, " lines were dropped here") + lines, 100000);
    assert_true(f->len > stuck && f->len < 1000000);
}

/* Ctrl-S: the terminal takes nothing more. */
static void a_stopped_terminal_holds_nothing_up(void **state)
{
    struct fix *f = *state;
    struct report_progress p = progress_of(1, 0, 2);

    open_report(f, &(struct how){.where = TERMINAL, .width = 80});
    report_progress(f->r, &p, 0);
    read_out(f);
    assert_int_equal(tcflow(f->wr, TCOOFF), 0);
    for (int i = 1; i < 2000; i++) {
        completed(f->r, "T", 1);
        p.completed++;
        report_progress(f->r, &p, i * 300);
        assert_int_equal(report_next_ms(f->r), i * 300 + 100);
    }
    assert_int_equal(poll(&(struct pollfd){.fd = f->rd, .events = POLLIN}, 1, 0), 0);
    assert_int_equal(tcflow(f->wr, TCOON), 0);
    for (int i = 2000; i < 2100; i++) {
        report_progress(f->r, &p, i * 300);
        read_out(f);
    }
    assert_live_last(f, "2000/2 done");
    assert_int_equal(model_count(f->screen, "✓ T (0.0s)"), 1999);
    report_destroy(f->r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(lines_stay_whole_above_the_live_line),
        REPORT_TEST(every_end_has_its_line),
        REPORT_TEST(paths_below_here_are_short),
        REPORT_TEST(live_line_is_drawn_ten_times_a_second_at_most),
        REPORT_TEST(nothing_is_drawn_when_nothing_happens),
        REPORT_TEST(log_lines_keep_the_live_line_whole),
        REPORT_TEST(log_goes_to_standard_error_where_that_is_elsewhere),
        REPORT_TEST(end_leaves_a_clean_terminal),
        REPORT_TEST(destroying_without_an_end_takes_the_live_line_away),
        REPORT_TEST(live_line_fits_after_every_resize),
        REPORT_TEST(colours_can_be_refused),
        REPORT_TEST(simple_terminals_get_plain_lines),
        REPORT_TEST(other_charsets_get_ascii),
        REPORT_TEST(floods_on_a_terminal_show_failures),
        REPORT_TEST(notes_are_redrawn_each_second),
        REPORT_TEST(plain_lines_have_the_time_of_day),
        REPORT_TEST(progress_lines_become_rarer),
        REPORT_TEST(no_progress_lines_while_nothing_runs),
        REPORT_TEST(floods_in_a_file_are_counted_without_loss),
        REPORT_TEST(last_retries_count_as_failures),
        REPORT_TEST(verbose_shows_all_in_few_writes),
        REPORT_TEST(single_lines_are_written_at_once),
        REPORT_TEST(quiet_is_errors_and_the_last_line),
        REPORT_TEST(a_closed_pipe_does_not_hurt),
        REPORT_TEST(a_full_disk_does_not_hurt),
        REPORT_TEST(a_reader_that_does_not_read_holds_nothing_up),
        REPORT_TEST(a_stopped_terminal_holds_nothing_up),
    };

    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
