/* SPDX-License-Identifier: BSD-3-Clause */
/* What a report says before the first task and after the last one, in lines and in summary.json. */
#include "report/nodes.h"

#include <cjson/cJSON.h>

#include "report_fixture.h"

/* ---- Start ----------------------------------------------------------------------------------- */

static void start_block_names_nodes_and_places(void **state)
{
    struct fix *f = *state;
    struct report_node nodes[] = {{"vc1", 4, "4 cores: 0-3", INT64_C(3) << 29}, {"vc2", 1, NULL}};
    struct report_start s = {.nodes = nodes,
                             .node_count = 2,
                             .cores = 5,
                             .pinned = false,
                             .why_not_pinned = "--no-pin",
                             .db = "/d/state.db",
                             .tasks = 20000,
                             .tasks_done = 150};
    char expected[512];

    open_report(f, &(struct how){.where = TERMINAL, .width = 200});
    report_start(f->r, &s, 0);
    read_out(f);
    assert_string_equal(model_row(f->screen, 0),
                        "pilot-mpi 0.1.0: 2 nodes, 5 cores, 20,000 tasks (150 done earlier)");
    assert_string_equal(model_row(f->screen, 1), "  vc1: 4 cores: 0-3; memory: 1.5G");
    assert_string_equal(model_row(f->screen, 2), "  vc2: 1 core");
    assert_string_equal(model_row(f->screen, 3), "  not pinned: --no-pin");
    snprintf(expected, sizeof(expected), "  state: /d/state.db  output: %s/ID/stdout.txt", f->dir);
    assert_string_equal(model_row(f->screen, 4), expected);
    report_destroy(f->r);
}

static void start_with_nodes(struct fix *f, char (*names)[32], unsigned n, unsigned odd)
{
    struct report_node *nodes = calloc(n, sizeof(*nodes));
    struct report_start s = {
        .nodes = nodes, .node_count = n, .cores = n, .pinned = true, .db = "d", .tasks = 1};

    assert_non_null(nodes);
    for (unsigned i = 0; i < n; i++)
        nodes[i] = (struct report_node){names[i], 1, i < odd ? "odd" : "even",
                                        ((INT64_C(64) << 30) + i)}; /* alike to people */
    report_start(f->r, &s, 0);
    read_out(f);
    free(nodes);
}

static void many_alike_nodes_share_a_line(void **state)
{
    struct fix *f = *state;
    static char names[70][32];

    open_report(f, &(struct how){.where = PIPE});
    for (unsigned i = 0; i < 62; i++)
        snprintf(names[61 - i], sizeof(names[0]), "vc%u", i + 3);
    start_with_nodes(f, names, 62, 0);
    assert_non_null(strstr(f->out, "\n  vc[3-64] (62 nodes): even; memory: 64G\n"));
    assert_int_equal(count(f->out, "\n"), 4);
    /* Leading zeros, gaps, domains, a name without a number, two maps. */
    for (unsigned i = 0; i < 20; i++)
        snprintf(names[i], sizeof(names[0]), "n%03u.hpc1", i + (i > 10 ? 90 : 1));
    strcpy(names[20], "login");
    strcpy(names[0], "gpu7");
    start_with_nodes(f, names, 21, 1);
    assert_non_null(strstr(f->out, "\n  gpu7: odd; memory: 64G\n"));
    assert_non_null(
        strstr(f->out, "\n  login,n[002-011,101-109].hpc1 (20 nodes): even; memory: 64G\n"));
    for (unsigned i = 0; i < 20; i++)
        snprintf(names[i], sizeof(names[0]), "n%u.%s", i / 2, i % 2 == 0 ? "a" : "b");
    start_with_nodes(f, names, 20, 0);
    assert_non_null(strstr(f->out, "\n  n[0-9].a,n[0-9].b (20 nodes): even; memory: 64G\n"));
    report_destroy(f->r);
}

static void long_node_lists_are_bounded(void **state)
{
    struct fix *f = *state;
    static char names[2000][32];

    open_report(f, &(struct how){.where = PIPE});
    for (unsigned i = 0; i < 2000; i++)
        snprintf(names[i], sizeof(names[0]), "n%u", i * 2);
    start_with_nodes(f, names, 2000, 0);
    assert_non_null(strstr(f->out, ",...] (2000 nodes): even; memory: 64G\n"));
    assert_true(f->len < 600);
    report_destroy(f->r);
}

static void few_nodes_have_a_line_each(void **state)
{
    struct fix *f = *state;
    static char names[16][32];

    open_report(f, &(struct how){.where = PIPE});
    for (unsigned i = 0; i < 16; i++)
        snprintf(names[i], sizeof(names[0]), "n%u", i);
    start_with_nodes(f, names, 16, 0);
    assert_int_equal(count(f->out, ": even; memory: 64G\n"), 16);
    report_destroy(f->r);
}

static void nodes_that_all_differ_are_cut(void **state)
{
    struct fix *f = *state;
    struct report_node nodes[40];
    char names[40][8];
    struct report_start s = {
        .nodes = nodes, .node_count = 40, .cores = 40, .pinned = true, .db = "d", .tasks = 1};

    open_report(f, &(struct how){.where = PIPE});
    for (unsigned i = 0; i < 40; i++) {
        snprintf(names[i], sizeof(names[i]), "n%u", i);
        nodes[i] = (struct report_node){names[i], i + 1, NULL};
    }
    report_start(f->r, &s, 0);
    read_out(f);
    assert_non_null(strstr(f->out, "\n  n15: 16 cores\n  ... and 24 more nodes\n"));
    report_destroy(f->r);
}

/* ---- End ------------------------------------------------------------------------------------- */

static void put_file(const struct fix *f, const char *id, const char *name, const char *data,
                     size_t len)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", f->dir, id);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/%s", f->dir, id, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void put_text(const struct fix *f, const char *id, const char *name, const char *text)
{
    put_file(f, id, name, text, strlen(text));
}

static void end_shows_failures_reason_and_hint(void **state)
{
    struct fix *f = *state;
    struct report_failure failures[6];
    struct report_end e = {.summary = {.completed = 12345,
                                       .failed = 12,
                                       .skipped = 2,
                                       .unfinished = 30000,
                                       .lost = 6,
                                       .wall_s = 10,
                                       .cpu_s = 5,
                                       .core_s = 75,
                                       .cores = 8},
                           .failures = failures,
                           .failure_count = 6,
                           .stopped_why = "SIGTERM\n\x1b[2J",
                           .resume_hint = "pilot-mpi --resume",
                           .db = "d"};
    struct pilot_error err;
    char big[6000], path[256], expected[2048];

    for (unsigned i = 0; i < 6; i++)
        failures[i] = (struct report_failure){(const char *[]){"a", "b", "c", "d", "e", "f"}[i], 1,
                                              result_of(REASON_EXIT, 3, 0, 1)};
    failures[1].attempt = 3;
    put_text(f, "a", "stderr.txt", "1\n2\n3\n4\n5\n\n7 \x1b[2J\x1b[31mred\x1b[0m\n\n");
    put_text(f, "b", "stderr.txt", "10 %\r20 %\r30 %\r\nlast\xff");
    put_text(f, "c", "stderr.txt", "");
    put_text(f, "c", "stdout.txt", "said here\n");
    memset(big, 'x', sizeof(big)); /* one line, longer than what is read */
    put_file(f, "d", "stderr.txt", big, sizeof(big));
    snprintf(path, sizeof(path), "%s/e", f->dir);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof(path), "%s/e/stderr.txt", f->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    open_report(f, &(struct how){.where = PIPE});
    assert_int_equal(report_end(f->r, &e, &err), 0);
    read_out(f);
    report_destroy(f->r);
    snprintf(expected, sizeof(expected),
             "Failed tasks (5 of 12):\n"
             "✗ a exit 3, %s/a/stderr.txt:\n"
             "    | 3\n    | 4\n    | 5\n    | \n    | 7 ^[[2Jred\n"
             "✗ b exit 3, attempt 3, %s/b/stderr.txt:\n"
             "    | 30 %%\n    | last\\xff\n"
             "✗ c exit 3, %s/c/stderr.txt:\n"
             "    (it is empty; the end of stdout.txt:)\n"
             "    | said here\n"
             "✗ d exit 3, %s/d/stderr.txt:\n"
             "    | %.300s...\n"
             "✗ e exit 3, %s/e/stderr.txt:\n"
             "Stopped: SIGTERM\n^[[2J\n"
             "Core utilisation: 94%% of 8 cores | Skipped: 2 | Attempts lost: 6\n"
             "Completed: 12345 | Failed: 12 | Wall time: 10.0s | CPU time: 5.0s (0.5x speedup)"
             " | Unfinished: 30000 | To go on: pilot-mpi --resume\n",
             f->dir, f->dir, f->dir, f->dir, big, f->dir);
    assert_string_equal(f->out, expected);
}

static void long_output_shows_whole_lines(void **state)
{
    struct fix *f = *state;
    struct report_failure failure = {"a", 1, result_of(REASON_EXIT, 3, 0, 1)};
    struct report_end e = {.summary = {.failed = 1, .wall_s = 1, .core_s = 3, .cores = 2},
                           .failures = &failure,
                           .failure_count = 1,
                           .db = "d"};
    struct pilot_error err;
    char text[8192];

    /* The 4 KiB that are read begin within the long line: only what is behind it is shown. */
    memset(text, 'x', 6000);
    strcpy(text + 6000, "\nbehind\nlast\n");
    put_text(f, "a", "stderr.txt", text);
    open_report(f, &(struct how){.where = PIPE});
    assert_int_equal(report_end(f->r, &e, &err), 0);
    read_out(f);
    report_destroy(f->r);
    assert_non_null(strstr(f->out, "Failed tasks:\n"));
    assert_non_null(strstr(f->out, "/a/stderr.txt:\n    | behind\n    | last\nCore"));
    assert_non_null(strstr(f->out, "Core utilisation: 100% of 2 cores\n"));
    assert_non_null(strstr(f->out, "Wall time: 1.0s | CPU time: 0.0s (0.0x speedup)\n"));
}

static cJSON *read_summary(const struct fix *f)
{
    char path[256], text[8192];
    FILE *file;
    size_t n;
    cJSON *o;

    snprintf(path, sizeof(path), "%s/summary.json", f->dir);
    file = fopen(path, "r");
    assert_non_null(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    text[n] = '\0';
    fclose(file);
    o = cJSON_Parse(text);
    assert_non_null(o);
    return o;
}

static double number(const cJSON *o, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);

    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static const char *string(const cJSON *o, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);

    if (item == NULL)
        fail_msg("no '%s'", name);
    return cJSON_IsNull(item) ? "null" : cJSON_GetStringValue(item);
}

static void assert_summary(const struct fix *f)
{
    cJSON *o = read_summary(f);
    const cJSON *list = cJSON_GetObjectItem(o, "failures"), *item = cJSON_GetArrayItem(list, 0);
    char path[256];

    assert_string_equal(string(o, "version"), "0.1.0");
    assert_true(number(o, "completed") == 1000000 && number(o, "failed") == 2);
    assert_true(number(o, "skipped") == 3 && number(o, "cancelled") == 4);
    assert_true(number(o, "unfinished") == 5 && number(o, "attempts") == 6);
    assert_true(number(o, "lost") == 7);
    assert_true(number(o, "wall_time") == 12.5 && number(o, "cpu_time") == 40.125);
    assert_true(number(o, "speedup") == 3.21 && number(o, "core_seconds") == 43.75);
    assert_true(number(o, "core_utilisation") == 0.875 && number(o, "cores") == 4);
    assert_true(number(o, "nodes") == 2 && number(o, "exit_status") == 3);
    assert_string_equal(string(o, "stopped"), "the walltime is near");
    assert_string_equal(string(o, "db"), "/d/state.db");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_string_equal(string(item, "id"), "a\xef\xbf\xbd\"");
    assert_true(number(item, "attempt") == 2 && number(item, "exit_code") == 3);
    assert_string_equal(string(item, "reason"), "exit");
    assert_string_equal(string(item, "signal"), "null");
    snprintf(path, sizeof(path), "%s/a\xef\xbf\xbd\"/stderr.txt", f->dir);
    assert_string_equal(string(item, "stderr_file"), path);
    item = cJSON_GetArrayItem(list, 1);
    assert_string_equal(string(item, "reason"), "signal");
    assert_string_equal(string(item, "exit_code"), "null");
    assert_true(number(item, "signal") == 9);
    cJSON_Delete(o);
}

static void summary_file_has_everything(void **state)
{
    struct fix *f = *state;
    struct report_failure failures[] = {{"a\xff\"", 2, result_of(REASON_EXIT, 3, 0, 1)},
                                        {"b", 1, result_of(REASON_SIGNAL, -1, 9, 1)}};
    struct report_end e = {.summary = {.completed = 1000000,
                                       .failed = 2,
                                       .skipped = 3,
                                       .cancelled = 4,
                                       .unfinished = 5,
                                       .attempts = 6,
                                       .lost = 7,
                                       .wall_s = 12.5,
                                       .cpu_s = 40.125,
                                       .core_s = 43.75,
                                       .cores = 4,
                                       .nodes = 2},
                           .failures = failures,
                           .failure_count = 2,
                           .stopped_why = "the walltime is near",
                           .db = "/d/state.db",
                           .exit_status = 3};
    struct pilot_error err;
    char path[256];

    snprintf(path, sizeof(path), "%s/summary.json", f->dir);
    open_report(f, &(struct how){.where = PIPE, .quiet = true});
    assert_int_equal(report_end(f->r, &e, &err), 0);
    assert_summary(f);
    /* Over an older one, and without a reason for a stop. */
    e.stopped_why = NULL;
    assert_int_equal(report_end(f->r, &e, &err), 0);
    {
        cJSON *o = read_summary(f);

        assert_string_equal(string(o, "stopped"), "null");
        cJSON_Delete(o);
    }
    strcat(path, ".tmp");
    assert_int_equal(access(path, F_OK), -1);
    report_destroy(f->r);
}

static void a_summary_that_cannot_be_written_is_an_error(void **state)
{
    struct fix *f = *state;
    struct report_end e = {.summary = {.completed = 5, .wall_s = 12.7, .cpu_s = 41.7}, .db = "d"};
    struct pilot_error err;
    char path[256];

    /* A directory has its name: the rename fails after everything else has worked. */
    snprintf(path, sizeof(path), "%s/summary.json", f->dir);
    assert_int_equal(mkdir(path, 0777), 0);
    open_report(f, &(struct how){.where = PIPE});
    assert_int_equal(report_end(f->r, &e, &err), PILOT_EIO);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "Is a directory"));
    strcat(path, ".tmp");
    assert_int_equal(access(path, F_OK), -1);
    read_out(f);
    assert_non_null(strstr(f->out, LAST_LINE "\n"));
    report_destroy(f->r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(start_block_names_nodes_and_places),
        REPORT_TEST(many_alike_nodes_share_a_line),
        REPORT_TEST(long_node_lists_are_bounded),
        REPORT_TEST(few_nodes_have_a_line_each),
        REPORT_TEST(nodes_that_all_differ_are_cut),
        REPORT_TEST(end_shows_failures_reason_and_hint),
        REPORT_TEST(long_output_shows_whole_lines),
        REPORT_TEST(summary_file_has_everything),
        REPORT_TEST(a_summary_that_cannot_be_written_is_an_error),
    };

    return cmocka_run_group_tests_name("report blocks", tests, NULL, NULL);
}
