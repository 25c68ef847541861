/* SPDX-License-Identifier: BSD-3-Clause */
/* Task files that are good: every form, every field, defaults, generated ids, files and callbacks;
 * and files that are cut anywhere. */
#include "taskfile_fixture.h"

#include "input/suggest.h"

/* ---- What is good ---------------------------------------------------------------------------- */

struct good {
    const char *text;
    const char *tasks;
};

static void check_good(const struct good *g)
{
    size_t count = 0;

    for (const char *p = g->tasks; *p != '\0'; p++)
        count += *p == '\n';
    read_text(g->text, strlen(g->text));
    check(result.rc == (int64_t)count, g->text, "wrong count");
    check(strcmp(text_of(&result.tasks), g->tasks) == 0, g->text, "other tasks than expected");
    check(result.warnings.len == 0, g->text, "a warning");
}

static void test_forms(void **state)
{
    static const struct good table[] = {
        {"[]", ""},
        {" \n[\n]\n", ""},
        {"[ ]", ""},
        {"{\"tasks\": []}", ""},
        {"{\"defaults\": {\"cores\": 3}, \"tasks\": []}", ""},
        {"[{\"command\":\"x\"}]", "{\"id\":\"task-1\",\"command\":\"x\"}\n"},
        {"\xef\xbb\xbf[{\"id\":\"a\",\"command\":\"x\"}]", "{\"id\":\"a\",\"command\":\"x\"}\n"},
        {"{\"id\":\"a\",\"command\":\"x\"}", "{\"id\":\"a\",\"command\":\"x\"}\n"},
        {"{ \"id\":\"a\",\"command\":\"x\"}\r\n\r\n{\"command\":\"y\"}\r\n",
         "{\"id\":\"a\",\"command\":\"x\"}\n{\"id\":\"task-2\",\"command\":\"y\"}\n"},
        {"{\n\"id\":\"a\",\"command\":\"x\"}\n{\"id\":\"b\",\n\"command\":\"y\"}",
         "{\"id\":\"a\",\"command\":\"x\"}\n{\"id\":\"b\",\"command\":\"y\"}\n"},
        {"{\"tasks\":[{\"id\":\"a\"}],\"defaults\":{\"command\":\"x\"}}",
         "{\"id\":\"a\",\"command\":\"x\"}\n"},
        {"{\"tasks\":[{\"id\":\"a\",\"command\":\"x\"}],\"defaults\":null}",
         "{\"id\":\"a\",\"command\":\"x\"}\n"},
        {"\xef\xbb\xbf"
         "echo a\n  # no\n\n\techo b  \r\n",
         "{\"id\":\"1\",\"command\":\"echo a\"}\n"
         "{\"id\":\"2\",\"command\":\"echo b  \"}\n"},
        {"[ -f x ] && y", "{\"id\":\"1\",\"command\":\"[ -f x ] && y\"}\n"},
        {"[ \"$A\" = b ] && y", "{\"id\":\"1\",\"command\":\"[ \\\"$A\\\" = b ] && y\"}\n"},
        {"[[ -f x ]] && y", "{\"id\":\"1\",\"command\":\"[[ -f x ]] && y\"}\n"},
        {"{ echo a; }", "{\"id\":\"1\",\"command\":\"{ echo a; }\"}\n"},
        {"a \\\\\n", "{\"id\":\"1\",\"command\":\"a \\\\\\\\\"}\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        check_good(&table[i]);
}

#define OUT(fields) "{\"id\":\"a\",\"command\":\"x\"" fields "}\n"

static void test_fields(void **state)
{
    static const struct good table[] = {
        {ONE("\"cores\":2.0"), OUT(",\"cores\":2")},
        {ONE("\"cores\":64"), OUT(",\"cores\":64")},
        {ONE("\"cores\":1"), OUT("")},
        {ONE("\"timeout\":0.0701"), OUT(",\"timeout\":0.071")},
        {ONE("\"timeout\":0.07"), OUT(",\"timeout\":0.07")},
        {ONE("\"timeout\":1e-9"), OUT(",\"timeout\":0.001")},
        {ONE("\"timeout\":1e9"), OUT(",\"timeout\":1000000000")},
        {ONE("\"timeout\":999999999.999"), OUT(",\"timeout\":999999999.999")},
        {ONE("\"timeout\":0"), OUT("")},
        {ONE("\"priority\":-2147483648"), OUT(",\"priority\":-2147483648")},
        {ONE("\"priority\":2147483647.0"), OUT(",\"priority\":2147483647")},
        {ONE("\"max_retries\":1000000"), OUT(",\"max_retries\":1000000")},
        {ONE("\"env\":{\"B\":\"=x\",\"A\":1.50,\"C\":false,\"D\":\"\"}"),
         OUT(",\"env\":{\"A\":\"1.50\",\"B\":\"=x\",\"C\":\"false\",\"D\":\"\"}")},
        {ONE("\"env\":{}"), OUT("")},
        {ONE("\"tags\": { \"a b\" : [ 1.10, 123456789012345678901234567890 ] }"),
         OUT(",\"tags\":{\"a b\":[1.10,123456789012345678901234567890]}")},
        {ONE("\"tags\": \"x \\\" y\""), OUT(",\"tags\":\"x \\\" y\"")},
        {ONE("\"tags\": false"), OUT(",\"tags\":false")},
        {ONE("\"workdir\":\"/d\",\"stdin\":\"i\""), OUT(",\"workdir\":\"/d\",\"stdin\":\"i\"")},
        {ONE("\"depends_on\":\"before\""), OUT(",\"depends_on\":[\"before\"]")},
        {ONE("\"depends_on\":[\"before\",\"before\"]"), OUT(",\"depends_on\":[\"before\"]")},
        {ONE("\"depends_on\":[]"), OUT("")},
        {ONE("\"retries\":3"), OUT("")},
        {ONE("\"c\\u006fres\":3"), OUT(",\"cores\":3")},
        {ONE("\"cores\":null,\"timeout\":null,\"priority\":null,\"max_retries\":null,\"env\":null,"
             "\"tags\":null,\"workdir\":null,\"stdin\":null,\"depends_on\":null"),
         OUT("")},
        {"[{\"command\":[\"p\",\"\",\" \"],\"id\":12345678901234567890}]",
         "{\"id\":\"12345678901234567890\",\"command\":[\"p\",\"\",\" \"]}\n"},
        {"[{\"command\":\"x\",\"id\":\"1\"},{\"command\":\"y\",\"id\":null,\"depends_on\":[1]}]",
         "{\"id\":\"1\",\"command\":\"x\"}\n"
         "{\"id\":\"task-2\",\"command\":\"y\",\"depends_on\":[\"1\"]}\n"},
        {"[{\"command\":\"tab\\tnl\\nbs\\\\ \\u00e9 \\ud83d\\ude80\",\"id\":\"\\u00e9/..x/.y/a "
         "b\"}]",
         "{\"id\":\"\u00e9/..x/.y/a b\",\"command\":\"tab\\tnl\\nbs\\\\ \u00e9 \U0001f680\"}\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        check_good(&table[i]);
}

static void test_generated_ids_avoid_given_ones(void **state)
{
    static const struct good table[] = {
        {"[{\"command\":\"x\"},{\"command\":\"y\",\"id\" : \"task-1\"}]",
         "{\"id\":\"task-1-2\",\"command\":\"x\"}\n{\"id\":\"task-1\",\"command\":\"y\"}\n"},
        {"[{\"command\":\"x\"},{\"command\":\"y\",\"id\":\"task-1\"},"
         "{\"command\":\"z\",\"id\":\"task-1-2\"}]",
         "{\"id\":\"task-1-3\",\"command\":\"x\"}\n{\"id\":\"task-1\",\"command\":\"y\"}\n"
         "{\"id\":\"task-1-2\",\"command\":\"z\"}\n"},
        {"[{\"command\":\"x\"},{\"command\":\"y\",\"depends_on\":\"task-1\"}]",
         "{\"id\":\"task-1\",\"command\":\"x\"}\n"
         "{\"id\":\"task-2\",\"command\":\"y\",\"depends_on\":[\"task-1\"]}\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        check_good(&table[i]);
}

static void test_defaults(void **state)
{
    static const struct good table[] = {
        {"{\"defaults\":{\"command\":[\"p\",\"q\"],\"cores\":2,\"timeout\":5,\"priority\":6,"
         "\"max_retries\":7,\"env\":{\"A\":\"1\",\"B\":\"1\"},\"tags\":[1],\"workdir\":\"/w\","
         "\"stdin\":\"s\",\"depends_on\":\"a\"},\"tasks\":[{\"id\":\"a\"},{\"id\":\"b\","
         "\"command\":\"c\",\"cores\":1,\"timeout\":0,\"priority\":0,\"max_retries\":0,"
         "\"env\":{\"B\":\"2\",\"C\":\"2\"},\"tags\":{},\"workdir\":\"/v\",\"stdin\":\"r\","
         "\"depends_on\":[]},{\"id\":\"c\",\"cores\":null}]}",
         "{\"id\":\"a\",\"command\":[\"p\",\"q\"],\"cores\":2,\"timeout\":5,\"priority\":6,"
         "\"max_retries\":7,\"env\":{\"A\":\"1\",\"B\":\"1\"},\"tags\":[1],\"workdir\":\"/w\","
         "\"stdin\":\"s\"}\n"
         "{\"id\":\"b\",\"command\":\"c\",\"env\":{\"A\":\"1\",\"B\":\"2\",\"C\":\"2\"},"
         "\"tags\":{},\"workdir\":\"/v\",\"stdin\":\"r\"}\n"
         "{\"id\":\"c\",\"command\":[\"p\",\"q\"],\"cores\":2,\"timeout\":5,\"priority\":6,"
         "\"max_retries\":7,\"env\":{\"A\":\"1\",\"B\":\"1\"},\"tags\":[1],\"workdir\":\"/w\","
         "\"stdin\":\"s\",\"depends_on\":[\"a\"]}\n"},
    };

    (void)state;
    check_good(&table[0]);
}

static void test_files(void **state)
{
    static const struct {
        const char *path;
        int64_t count;
        const char *lines; /* of the tasks */
        const char *part;  /* of the tasks */
    } table[] = {
        {DATA "array.json", 4, "2 3 15 16 ", "\"tags\":{\"T\":80.0,\"list\":[1,2.50,1234567890123"},
        {DATA "object.json", 3, "3 4 5 ", "\"env\":{\"A\":\"all\",\"B\":\"own\"}"},
        {DATA "lines.jsonl", 3, "1 2 4 ", "task-3"},
        {DATA "stream.json", 2, "1 5 ", "echo b"},
        {DATA "commands.txt", 3, "3 5 6 ", "{ echo three; echo 3; }"},
        {DATA "crlf.txt", 2, "1 4 ", "\"echo two\""},
        {DATA "bom.json", 1, "1 ", "true"},
        {DATA "pilot_py.json", 3, "2 15 28 ", "\"timeout\":3600,\"priority\":10,\"max_retries\":2"},
        {DATA "empty_array.json", 0, "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        clear_result();
        result.rc = taskfile_read(table[i].path, &config, &ops, &result.err);
        check(result.rc == table[i].count, table[i].path, "wrong count");
        check(strcmp(result.lines, table[i].lines) == 0, table[i].path, result.lines);
        check(strstr(text_of(&result.tasks), table[i].part) != NULL, table[i].path, table[i].part);
        check(result.warnings.len == 0, table[i].path, "a warning");
    }
}

/* ---- Files and callbacks --------------------------------------------------------------------- */

static void test_files_that_cannot_be_read(void **state)
{
    struct pilot_error err;

    (void)state;
    assert_int_equal(taskfile_read(DATA "none.json", &config, &ops, &err), PILOT_ENOENT);
    assert_non_null(strstr(err.text, "none.json: there is no such file"));
    assert_int_equal(taskfile_read(TEST_DATA, &config, &ops, &err), PILOT_EIO);
    assert_non_null(strstr(err.text, "is a directory"));
    assert_int_equal(taskfile_read(DATA "array.json/x", &config, &ops, &err), PILOT_EIO);
    assert_non_null(strstr(err.text, "cannot be opened"));
    assert_int_equal(taskfile_read(DATA "none.json", &config, &ops, NULL), PILOT_ENOENT);
}

static void read_stdin(const char *text)
{
    int saved = dup(STDIN_FILENO);
    int ends[2];

    assert_true(saved >= 0);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(ends[1]), 0);
    assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
    clear_result();
    result.rc = taskfile_read("-", &config, &ops, &result.err);
    assert_true(dup2(saved, STDIN_FILENO) >= 0);
    close(saved);
    close(ends[0]);
}

static void test_standard_input(void **state)
{
    (void)state;
    read_stdin("echo a\necho b\n");
    check(result.rc == 2, "-", "count");
    read_stdin("[{}]");
    check(result.rc == PILOT_EINVAL, "-", "code");
    check(strncmp(result.err.text, "standard input:1: ", 18) == 0, "-", "name");
}

static void test_large_standard_input(void **state)
{
    const int64_t count = 200000; /* several times what is read at once */
    FILE *file = tmpfile();
    int saved = dup(STDIN_FILENO);

    (void)state;
    assert_non_null(file);
    assert_true(saved >= 0);
    for (int64_t i = 0; i < count; i++)
        assert_true(fprintf(file, "echo number %lld\n", (long long)i) > 0);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    assert_true(dup2(fileno(file), STDIN_FILENO) >= 0);
    clear_result();
    result.rc = taskfile_read("-", &config, &ops, &result.err);
    assert_true(dup2(saved, STDIN_FILENO) >= 0);
    close(saved);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(result.rc, count);
    assert_non_null(strstr(text_of(&result.tasks), "\"echo number 199999\""));
}

/* A file of lines that is many times the window: words on its last lines, a line that is larger
 * than the window, and an id in it that one far before it would have been given. */
static void test_a_large_file_of_lines_is_read_through_a_window(void **state)
{
    const int count = 20000;
    char *text, *at, *blanks = calloc(1, PORTION_BYTES + 1);
    char path[] = "/tmp/pilot-lines-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    text = at = malloc((size_t)count * 64 + 2 * PORTION_BYTES);
    assert_true(text != NULL && blanks != NULL && fd >= 0);
    memset(blanks, ' ', PORTION_BYTES);
    at += sprintf(at, "{\"id\":\"first\",\"command\":\"x\"}\n{\"command\":\"second\"}\n");
    for (int i = 2; i < count; i++)
        at += sprintf(at, "{\"id\":\"t%d\",\"command\":\"echo number %d\"}\n", i, i);
    at += sprintf(at, "{\"id\":\"task-2\",%s\"command\":\"last\"}\n", blanks);
    assert_int_equal(write(fd, text, (size_t)(at - text)), at - text);
    clear_result();
    result.rc = taskfile_read(path, &config, &ops, &result.err);
    assert_int_equal(result.rc, count + 1);
    assert_non_null(strstr(text_of(&result.tasks), "{\"id\":\"task-2-2\",\"command\":\"second\"}"));
    assert_non_null(strstr(text_of(&result.tasks), "{\"id\":\"task-2\",\"command\":\"last\"}"));
    at = stpcpy(text, "{\"id\":\"t2\",\"command\":\"y\"}\n {\"id\":\"z\",\"comand\":\"y\", ]");
    assert_int_equal(write(fd, text, (size_t)(at - text)), at - text);
    close(fd);
    clear_result();
    result.rc = taskfile_read(path, &config, &ops, &result.err);
    assert_int_equal(result.rc, PILOT_EINVAL);
    check(strstr(result.err.text, ":20002: task 't2': duplicate id, first used on line 3;") != NULL,
          path, "duplicate");
    check(strstr(result.err.text, ":20003:26: task number 20003: not valid JSON") != NULL, path,
          "JSON");
    remove(path);
    free(blanks);
    free(text);
}

static int cut_short(void *arg, const struct task_spec *spec, unsigned line,
                     struct pilot_error *err)
{
    (void)line;
    (void)err;
    if (strcmp(spec->id, "t100") == 0)
        assert_int_equal(truncate(arg, PORTION_BYTES + 20), 0);
    return 0;
}

static void test_a_file_that_changes_while_it_is_read_is_refused(void **state)
{
    char path[] = "/tmp/pilot-lines-XXXXXX";
    const struct taskfile_ops cutting = {.task = cut_short, .arg = path};
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");

    (void)state;
    assert_non_null(f);
    for (int i = 0; i < 20000; i++)
        fprintf(f, "{\"id\":\"t%d\",\"command\":\"echo number %d\"}\n", i, i);
    fclose(f);
    clear_result();
    result.rc = taskfile_read(path, &config, &cutting, &result.err);
    assert_int_equal(result.rc, PILOT_EIO);
    check(strstr(result.err.text, "was changed while it was read") != NULL, path, "cut short");
    remove(path);
}

static void test_texts_were_read_in_portions_too(void **state)
{
    (void)state;
    assert_true(in_portions > 20);
}

static int refuse_second(void *arg, const struct task_spec *spec, unsigned line,
                         struct pilot_error *err)
{
    unsigned *calls = arg;

    if (++*calls == 2)
        return err_set(err, PILOT_EEXIST, "%s on line %u is known", spec->id, line);
    return 7; /* positive is as good as 0 */
}

static void test_callback_ends_the_reading(void **state)
{
    static const char *const texts[] = {
        "[{\"id\":\"a\",\"command\":\"x\"},\n{\"id\":\"b\",\"command\":\"x\"},{\"id\":5.5}]",
        "a\nb\nc"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        unsigned calls = 0;
        struct taskfile_ops refusing = {.task = refuse_second, .arg = &calls};
        struct pilot_error err;

        assert_int_equal(
            taskfile_read_text("f", texts[i], strlen(texts[i]), &config, &refusing, &err),
            PILOT_EEXIST);
        assert_string_equal(err.text, i == 0 ? "b on line 2 is known" : "2 on line 2 is known");
        assert_int_equal(calls, 2);
    }
}

static void test_optional_callbacks_and_limits(void **state)
{
    static const char text[] =
        "[{\"id\":\"state.db\",\"command\":\"x\",\"cores\":1000000,\"y\":1}]";
    static const char unknown[] = "[{\"command\":\"x\",\"depends_on\":\"before\"}]";
    struct taskfile_config none = {0};
    struct taskfile_ops few = {.task = take_task, .arg = &result};

    (void)state;
    clear_result();
    assert_int_equal(taskfile_read_text("f", text, strlen(text), &none, &few, &result.err), 1);
    assert_int_equal(taskfile_read_text("f", unknown, strlen(unknown), &none, &few, &result.err),
                     PILOT_EINVAL);
    assert_null(strstr(result.err.text, "earlier"));
}

/* ---- Cut and broken texts -------------------------------------------------------------------- */

static size_t load(const char *path, char *text, size_t size)
{
    FILE *f = fopen(path, "r");
    size_t len;

    assert_non_null(f);
    len = fread(text, 1, size, f);
    assert_int_equal(fclose(f), 0);
    return len;
}

static void test_cut_at_every_byte(void **state)
{
    static const char *const paths[] = {DATA "array.json",    DATA "object.json",
                                        DATA "lines.jsonl",   DATA "stream.json",
                                        DATA "pilot_py.json", DATA "bom.json"};
    static char text[4096];

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        size_t len = load(paths[i], text, sizeof(text));
        bool lines = strstr(paths[i], "lines") != NULL || strstr(paths[i], "stream") != NULL;

        for (size_t cut = text[0] == '\xef' ? 3 : 0; cut < len; cut++) {
            bool only_blanks_are_lost = strspn(text + cut, "\r\n") == len - cut;

            read_text(text, cut);
            check(result.rc >= 0 || (result.rc == PILOT_EINVAL && result.err.text[0] != '\0'),
                  paths[i], "neither good nor refused");
            if (!lines)
                check((result.rc >= 0) == only_blanks_are_lost, paths[i],
                      "a cut file was accepted");
        }
    }
}

static void test_depth_is_limited(void **state)
{
    char text[2200] = "[{\"command\":\"x\",\"tags\":";
    size_t start = strlen(text);

    (void)state;
    for (size_t depth = 995; depth < 1035; depth++) {
        memset(text + start, '[', depth);
        memset(text + start + depth, ']', depth);
        memcpy(text + start + 2 * depth, "}]", 3);
        read_text(text, strlen(text));
        check((result.rc == 1) == (depth <= 1023), text, "depth");
        if (result.rc != 1)
            check(strstr(result.err.text, "nested deeper") != NULL, text, "words");
    }
}

/* ---- Suggestions ----------------------------------------------------------------------------- */

static void test_suggestions(void **state)
{
    static const char *const names[] = {"id", "env", "tags", "cores", "priority", "--resume", NULL};
    static const struct {
        const char *given;
        const char *want;
    } table[] = {
        {"prioirty", "priority"},
        {"PRIORITY", "priority"},
        {"prority", "priority"},
        {"priorities", NULL},
        {"pirority", "priority"},
        {"prty", NULL},
        {"core", "cores"},
        {"scores", "cores"},
        {"tgas", "tags"},
        {"tag", "tags"},
        {"x", NULL},
        {"xd", "id"},
        {"evn", "env"},
        {"abc", NULL},
        {"", NULL},
        {"--resmue", "--resume"},
        {"--resum", "--resume"},
        {"cores", "cores"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *got = suggest_name(table[i].given, names);

        if (got != table[i].want &&
            (got == NULL || table[i].want == NULL || strcmp(got, table[i].want) != 0))
            fail_msg("%s: %s, not %s", table[i].given, got ? got : "nothing",
                     table[i].want ? table[i].want : "nothing");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_generated_ids_avoid_given_ones),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_standard_input),
        cmocka_unit_test(test_large_standard_input),
        cmocka_unit_test(test_callback_ends_the_reading),
        cmocka_unit_test(test_optional_callbacks_and_limits),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_a_large_file_of_lines_is_read_through_a_window),
        cmocka_unit_test(test_a_file_that_changes_while_it_is_read_is_refused),
        cmocka_unit_test(test_texts_were_read_in_portions_too),
    };

    return cmocka_run_group_tests(tests, NULL, finish);
}
