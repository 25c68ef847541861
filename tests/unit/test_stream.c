/* SPDX-License-Identifier: BSD-3-Clause */
/* Task files that come piece by piece: they give what they give when they are read as a whole, how
 * ever they are cut, and each task as soon as it is there. */
#include <dirent.h>

#include "taskfile_fixture.h"

#include "common/arena.h"
#include "common/strmap.h"
#include "input/stream.h"

/* What was handed out: the part of the head. */
static struct strmap handed_out;
static struct arena ids;

static bool known_so_far(void *arg, const char *id)
{
    return strmap_get(&handed_out, id, NULL) || known_before(arg, id);
}

static int take_once(void *arg, const struct task_spec *spec, unsigned line,
                     struct pilot_error *err)
{
    size_t size = strlen(spec->id) + 1;
    char *key = arena_take(&ids, size);

    if (strmap_get(&handed_out, spec->id, NULL))
        return err_set(err, PILOT_EINVAL, "f:%u: duplicate '%s'", line, spec->id);
    memcpy(key, spec->id, size);
    assert_int_equal(strmap_add(&handed_out, key, 0), 0);
    return take_task(arg, spec, line, err);
}

static const struct taskfile_ops stream_ops = {
    .task = take_once, .known = known_so_far, .warn = take_warning, .arg = &result};

static struct task_stream *begin(void)
{
    clear_result();
    strmap_fini(&handed_out);
    arena_fini(&ids);
    return task_stream_create("f", &config, &stream_ops);
}

/* In portions of so many bytes, each in memory of its own. */
static void stream_text(const char *text, size_t len, size_t portion)
{
    struct task_stream *s = begin();
    int rc = 0;

    for (size_t at = 0; at < len && rc == 0; at += portion) {
        size_t n = len - at < portion ? len - at : portion;
        char *exact = malloc(n);

        memcpy(exact, text + at, n);
        rc = task_stream_put(s, exact, n, &result.err);
        free(exact);
    }
    if (rc == 0)
        rc = task_stream_end(s, &result.err);
    result.rc = rc;
    task_stream_destroy(s);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The tasks of the result, sorted: those that wait for later ones come later. */
static char *sorted_tasks(void)
{
    static char *lines[4096];
    char *text = strdup(text_of(&result.tasks)), *save = NULL;
    char *out = calloc(1, strlen(text) + 2);
    size_t n = 0;

    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        lines[n++] = line;
    qsort(lines, n, sizeof(*lines), compare_lines);
    for (size_t i = 0; i < n; i++) {
        strcat(out, lines[i]);
        strcat(out, "\n");
    }
    free(text);
    return out;
}

static const size_t portions[] = {1, 2, 3, 7, 64, 1000, 1 << 20};

/* differs: in a stream it is an error. */
static void compare(const char *name, const char *text, size_t len, bool differs)
{
    char *whole, *whole_warnings;
    int64_t whole_rc;

    read_text(text, len);
    whole = sorted_tasks();
    whole_warnings = strdup(text_of(&result.warnings));
    whole_rc = result.rc;
    for (size_t i = 0; i < sizeof(portions) / sizeof(portions[0]); i++) {
        char *streamed;

        if (len > 100000 && portions[i] < 1000)
            continue;
        stream_text(text, len, portions[i]);
        streamed = sorted_tasks();
        check((result.rc < 0) == (whole_rc < 0 || differs), name, "whole and in portions");
        if (result.rc == 0 && strcmp(streamed, whole) != 0)
            fail_msg("%s in portions of %zu:\n%s---- as a whole:\n%s", name, portions[i], streamed,
                     whole);
        if (result.rc == 0)
            assert_string_equal(text_of(&result.warnings), whole_warnings);
        free(streamed);
    }
    free(whole);
    free(whole_warnings);
}

static void test_files_give_the_same_in_any_portions(void **state)
{
    DIR *dir = opendir(DATA);
    struct dirent *e;
    unsigned n = 0;

    (void)state;
    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL) {
        char path[512];
        char *text = malloc(1 << 20);
        FILE *f;
        size_t len;

        snprintf(path, sizeof(path), "%s%s", DATA, e->d_name);
        f = e->d_name[0] != '.' ? fopen(path, "rb") : NULL;
        if (f != NULL) {
            len = fread(text, 1, 1 << 20, f);
            /* Its defaults stand behind its tasks. */
            compare(e->d_name, text, len, strcmp(e->d_name, "object.json") == 0);
            fclose(f);
            n++;
        }
        free(text);
    }
    closedir(dir);
    assert_true(n > 3);
}

#define T(id) "{\"id\":\"" id "\",\"command\":\"x\"}"
#define D(id, dep) "{\"id\":\"" id "\",\"command\":\"x\",\"depends_on\":[" dep "]}"

static void test_texts_give_the_same_in_any_portions(void **state)
{
    static const struct {
        const char *text;
        bool differs;
    } rows[] = {
        {"", false},
        {" \n ", false},
        {"[]", false},
        {" [ ] \n", false},
        {"\xef\xbb\xbf[" T("a") "]", false},
        {"\xef\xbb\xbf"
         "echo a\necho b",
         false},
        {"\xff\xfe[\0", false},
        {"[" T("a") "," T("b") "]", false},
        {"[" T("a") "," T("b") "] x", false},
        {"[" T("a") "," T("b"), false},
        {"[" T("a") "," T("b") ",", false},
        {"[" T("a") "," T("b") ",]", false},
        {"[" T("a") "," T("a") "]", false},
        {"[" T("a") " " T("b") "]", false},
        {"[1,2," T("a") "]", false},
        {"[[],{}]", false},
        {"[{\"command\":\"}]\\\\\\\"{[\"},{\"command\":\"\\\\\"}]", false},
        {"[" D("b", "\"a\"") "," T("a") "]", false},
        {"[" D("c", "\"b\",\"a\"") "," D("b", "\"a\"") "," T("a") "]", false},
        {"[" D("a", "\"before\"") "]", false},
        {"[" D("a", "\"z\"") "]", false},
        {"[" D("a", "\"a\"") "]", false},
        {"[" D("a", "\"b\"") "," D("b", "\"a\"") "]", false},
        {"[" D("a", "\"b\"") "," D("a", "\"b\"") "," T("b") "]", false},
        {"[" D("a", "\"b\"") "," T("a") "," T("b") "]", false},
        {T("a") "\n" T("b"), false},
        {T("a") "\n\n" T("b") "\n", false},
        {T("a"), false},
        {T("a") T("b"), false},
        {T("a") ",\n" T("b"), false},
        {T("a") "\n{\"id\": \"b\n", false},
        {"{\n\"id\":\"a\",\"command\":\"x\"}\n{\n\"command\":\"y\"\n}\n", false},
        {"{\n\"id\":\"a\",\"command\":\"x\"}\n{\n\"command\":\"y\"\n", false},
        {"{\"tasks\":[" T("a") "]}", false},
        {"{\"tasks\":[" T("a") "]} x", false},
        {"{\"tasks\":[" T("a") "]", false},
        {"{\"tasks\":[" T("a") ",]}", false},
        {"{\"tasks\":[" T("a") "],\"tasks\":[]}", false},
        {"{\"tasks\":[" T("a") "],\"mine\":{\"x\":[1]}}", false},
        {"{\"mine\":1,\"tasks\":[" T("a") "]}", false},
        {"{\"defaults\":{\"cores\":2},\"tasks\":[{\"command\":\"x\"}]}", false},
        {"{\"tasks\":[{\"command\":\"x\"}],\"defaults\":{\"cores\":2}}", true},
        {"{\"defaults\":{\"cores\":2}}", false},
        {"{\"tasks\":5}", false},
        {"{\"tasks\":null,\"defaults\":{}}", false},
        {"{\"defaults\":{\"cores\":2},\"tasks\":", false},
        {"echo a\n# no\necho b\n", false},
        {"# no\n", false},
        {"[ -e x ] && y\n{ a; }\n", false},
        {"echo \\\necho b\n", false},
        {"{", false},
        {"[", false},
        {"{\"id\":'a'}\n", false},
        {"[{\"command\":\"x\",\"cores\":65}]", false},
        {"[{\"command\":\"x\"},{\"id\":\"task-1\",\"command\":\"y\"}]", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        compare(rows[i].text, rows[i].text, i == 6 ? 4 : strlen(rows[i].text), rows[i].differs);
}

/* How many lines have come out. */
static unsigned count(void)
{
    unsigned n = 0;

    for (size_t i = 0; i < result.tasks.len; i++)
        n += result.tasks.data[i] == '\n';
    return n;
}

static void put_bytewise(struct task_stream *s, const char *text)
{
    for (; *text != '\0'; text++)
        assert_int_equal(task_stream_put(s, text, 1, &result.err), 0);
}

static void test_each_task_comes_with_its_last_byte(void **state)
{
    static const struct {
        const char *name, *head, *task, *between;
        bool with_separator; /* a line ends a task */
    } rows[] = {
        {"array", "[\n", "{\"command\":\"x \\\\\\\" } [\"}", ",\n", false},
        {"array on one line", "[", "{\"command\":\"x\",\"tags\":{\"a\":[1]}}", ",", false},
        {"object", "{\"defaults\":{\"cores\":2},\n\"tasks\": [", "{\"command\":\"x\"}", ",", false},
        {"lines", "", "{\"command\":\"x\"}", "\n", true},
        {"objects of several lines", "", "{\n\"command\":\"x\"\n}", "\n", false},
        {"commands", "# a list\n", "echo a", "\n", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct task_stream *s = begin();

        put_bytewise(s, rows[i].head);
        for (unsigned n = 0; n < 5; n++) {
            check(count() == n, rows[i].name, "one task too many");
            put_bytewise(s, rows[i].task);
            check(count() == n + !rows[i].with_separator, rows[i].name, "before the separator");
            put_bytewise(s, rows[i].between);
            check(count() == n + 1, rows[i].name, "behind the separator");
        }
        task_stream_destroy(s);
    }
}

static void test_a_task_waits_for_a_later_one(void **state)
{
    static const char *const parts[] = {"[" D("c", "\"a\",\"b\""), "," D("d", "\"c\""), "," T("b"),
                                        "," T("a")};
    static const unsigned after[] = {0, 0, 1, 4};
    struct task_stream *s = begin();

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(task_stream_put(s, parts[i], strlen(parts[i]), &result.err), 0);
        assert_int_equal(count(), after[i]);
    }
    assert_string_equal(result.lines, "1 1 1 1 ");
    assert_non_null(
        strstr(text_of(&result.tasks), "\"id\":\"a\",\"command\":\"x\"}\n{\"id\":\"c\""));
    assert_int_equal(task_stream_put(s, "]", 1, &result.err), 0);
    assert_int_equal(task_stream_end(s, &result.err), 0);
    task_stream_destroy(s);
}

/* Errors tell line and column in the file, not in the portion; what was before them came out. */
static void test_errors_have_their_place_in_the_file(void **state)
{
    static const struct {
        const char *text, *message;
        unsigned tasks;
    } rows[] = {
        {"[\n" T("a") ",\n" T("b") ", {\"id\":\"c\",\"command\":1}\n]", "f:3: task 'c': command",
         2},
        {"[\n" T("a") ",\n" T("b") ", {\"id\":\"c\" \"x\"}\n]", "f:3:37: task number 3", 2},
        {"[\n" T("a") ",\n" T("b") "\n}", "f:4:1: not valid JSON", 2},
        {T("a") "\n" T("b") "\n{\"id\":\"c\",\"command\":\"x\n" T("d"), "f:3:21: task number 3", 2},
        {T("a") "\n" T("b") "\n" T("b") "\n" T("c"), "f:3: duplicate 'b'", 2},
        {"{\"tasks\":[\n" T("a") "\n],\n\"defaults\":{}}", "f:4: \"defaults\" stands behind", 1},
        {"{\"tasks\":[\n" T("a") "\n], x}", "f:3:4: not valid JSON", 1},
        {"[\n" T("a") ",\n" D("b", "\"z\"") "]", "f:3: task 'b': depends_on names 'z'", 1},
        {"[" D("b", "\"c\"") "," D("c", "\"b\"") "]", "f:1: task 'b': depends on itself: b -> c",
         0},
        {"a\n\nb\nc \\\nd\n", "f:4: task '3': the command ends in a backslash", 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t n = 0; n < sizeof(portions) / sizeof(portions[0]); n++) {
            stream_text(rows[i].text, strlen(rows[i].text), portions[n]);
            check(result.rc < 0, rows[i].message, "it was taken");
            check(strncmp(result.err.text, rows[i].message, strlen(rows[i].message)) == 0,
                  rows[i].message, "another message");
            check(count() == rows[i].tasks, rows[i].message, "the tasks before it");
        }
}

/* A bracket that is never closed must not swallow the rest of a file without end. */
static void test_what_is_wrong_is_told_before_the_end(void **state)
{
    static const char *const starts[] = {"[" T("a") ",\n{\"id\":\"b\",\n",
                                         "[" T("a") ",\n{\"tags\":[\n", "{\"defaults\":{\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        struct task_stream *s = begin();
        size_t bytes = 0;
        int rc = task_stream_put(s, starts[i], strlen(starts[i]), &result.err);

        while (rc == 0 && bytes < (40u << 20)) {
            static const char line[] = "  {\"command\": \"x\"},\n";

            rc = task_stream_put(s, line, sizeof(line) - 1, &result.err);
            bytes += sizeof(line) - 1;
        }
        result.rc = rc;
        check(rc < 0, starts[i], "nothing was found wrong");
        check(i == 1 ? bytes > (16u << 20) : bytes < 300000, starts[i], "found wrong when?");
        task_stream_destroy(s);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_give_the_same_in_any_portions),
        cmocka_unit_test(test_texts_give_the_same_in_any_portions),
        cmocka_unit_test(test_each_task_comes_with_its_last_byte),
        cmocka_unit_test(test_a_task_waits_for_a_later_one),
        cmocka_unit_test(test_errors_have_their_place_in_the_file),
        cmocka_unit_test(test_what_is_wrong_is_told_before_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, finish);
}
