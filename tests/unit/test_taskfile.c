/* SPDX-License-Identifier: BSD-3-Clause */
/* Task files: every form, every field, every complaint, and texts cut or broken anywhere. Tasks are
 * compared as their canonical JSON. Texts are handed over in buffers of their exact size, so that
 * the address sanitizer sees any byte read behind them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/error.h"
#include "input/suggest.h"
#include "input/taskfile.h"

#define DATA TEST_DATA "/tasks/"

/* What a reading gave: one canonical task a line, and one warning a line. */
struct result {
    struct buf tasks;
    struct buf warnings;
    char lines[256]; /* of the tasks: "1 3 " */
    int64_t rc;
    struct pilot_error err;
};

static struct result result;

static int take_task(void *arg, const struct task_spec *spec, unsigned line,
                     struct pilot_error *err)
{
    struct result *r = arg;
    char *json = task_spec_to_json(spec);
    size_t used = strlen(r->lines);

    (void)err;
    assert_non_null(json);
    buf_put(&r->tasks, json, strlen(json));
    buf_put(&r->tasks, "\n", 1);
    if (used + 16 < sizeof(r->lines))
        snprintf(r->lines + used, 16, "%u ", line);
    free(json);
    return 0;
}

static void take_warning(void *arg, const char *text)
{
    struct result *r = arg;

    buf_put(&r->warnings, text, strlen(text));
    buf_put(&r->warnings, "\n", 1);
}

static bool known_before(void *arg, const char *id)
{
    (void)arg;
    return strcmp(id, "before") == 0;
}

static const char *const reserved[] = {"state.db", "summary.json", NULL};
static const struct taskfile_config config = {
    .max_cores = 64,
    .max_cores_of = "node vc2 has 64, the most of any node",
    .reserved = reserved,
};
static const struct taskfile_ops ops = {
    .task = take_task, .known = known_before, .warn = take_warning, .arg = &result};

static void clear_result(void)
{
    buf_fini(&result.tasks);
    buf_fini(&result.warnings);
    memset(&result, 0, sizeof(result));
}

static const char *text_of(struct buf *b)
{
    buf_put(b, "", 1);
    b->len--;
    return (const char *)b->data;
}

static void read_text(const char *text, size_t len)
{
    char *exact = malloc(len ? len : 1);

    assert_non_null(exact);
    memcpy(exact, text, len);
    clear_result();
    result.rc = taskfile_read_text("f", exact, len, &config, &ops, &result.err);
    free(exact);
}

static void check(bool ok, const char *test, const char *what)
{
    if (!ok)
        fail_msg("%s: %s\nrc %lld: %s\ntasks:\n%swarnings:\n%s", test, what, (long long)result.rc,
                 result.err.text, text_of(&result.tasks), text_of(&result.warnings));
}

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

#define ONE(fields) "[{\"id\":\"a\",\"command\":\"x\"," fields "}]"
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

/* ---- What is wrong --------------------------------------------------------------------------- */

struct bad {
    const char *text;
    unsigned errors;
    const char *words[4]; /* all in the message */
};

static unsigned count_lines(const char *text)
{
    unsigned n = 1;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void check_bad(const struct bad *b, size_t len)
{
    read_text(b->text, len);
    check(result.rc == PILOT_EINVAL && result.err.code == PILOT_EINVAL, b->text, "was accepted");
    check(count_lines(result.err.text) == b->errors, b->text, "wrong number of errors");
    for (size_t i = 0; i < 4 && b->words[i] != NULL; i++)
        check(strstr(result.err.text, b->words[i]) != NULL, b->text, b->words[i]);
}

static void test_bad_json(void **state)
{
    static const struct bad table[] = {
        {"", 1, {"f: ", "empty"}},
        {" \n \r\n", 1, {"empty"}},
        {"\xef\xbb\xbf", 1, {"empty"}},
        {"# c\n\n#d", 1, {"only comments"}},
        {"echo a \\\n b\n", 1, {"f:1: task '1'", "backslash", "one line"}},
        {"[", 1, {"f:1:2", "expected a value", "end of the file"}},
        {"{", 1, {"f:1:2", "name in double quotes", "end of the line"}},
        {"[{\"command\":\"x\"},]", 1, {"f:1:17: not valid", "trailing comma", "remove"}},
        {"[{\"command\":\"x\",}]", 1, {"f:1:16: task number 1", "trailing comma"}},
        {"[{\"command\":\"x\"} {\"command\":\"y\",\"cores\":0}]",
         2,
         {"expected ',' or ']'", "cores"}},
        {"[{\"command\":\"x\"} 5]", 1, {"expected ',' or ']'"}},
        {"[{\"command\":\"x\"}", 1, {"ends before the ']'"}},
        {"[{\"command\":\"x\"}] 5", 1, {"f:1:19", "behind the ']'"}},
        {"[{\"command\":\"x\" \"id\":\"a\"}]", 1, {"expected ',' or '}'", "missing before it"}},
        {"[{\"command\" \"x\"}]", 1, {"expected ':'", "found a string"}},
        {"[{\"command\":\"x}]\n", 1, {"f:1:13", "not closed", "missing '\"'"}},
        {"[{\"command\":\"x, \"id\":5}]\n", 1, {"f:1:18", "expected ',' or '}'", "quote"}},
        {"[{\"command\":\"x\"]", 1, {"expected ',' or '}'", "found ']'"}},
        {"[{\"command\":[\"x\"}]", 1, {"expected ',' or ']'", "found '}'"}},
        {"[{\"command\":'x'}]", 1, {"single quote"}},
        {"[{'command':\"x\"}]", 1, {"name in double quotes", "single quote"}},
        {"{'command':\"x\"}", 1, {"name in double quotes"}},
        {"[{command:\"x\"}]", 1, {"name in double quotes", "found 'c'"}},
        {"{\ncommand: \"x\"}", 1, {"f:1:2", "name in double quotes"}},
        {"[{\"command\":\"x\"//c\n}]", 1, {"comment"}},
        {"[{\"command\":\"x\",\"cores\":01}]", 1, {"not a number"}},
        {"[{\"command\":\"x\",\"cores\":1.}]", 1, {"not a number"}},
        {"[{\"command\":\"x\",\"cores\":-}]", 1, {"not a number"}},
        {"[{\"command\":\"x\",\"cores\":1e}]", 1, {"not a number"}},
        {"[{\"command\":\"x\",\"cores\":1.2.3}]", 1, {"not a number"}},
        {"[{\"command\":\"x\",\"cores\":+1}]", 1, {"expected a value", "'+'"}},
        {"[{\"command\":\"x\",\"tags\":NaN}]", 1, {"NaN", "no such number"}},
        {"[{\"command\":\"x\",\"tags\":-Infinity}]", 1, {"Infinity", "no such number"}},
        {"[{\"command\":\"x\",\"tags\":True}]", 1, {"JSON writes true"}},
        {"[{\"command\":\"x\",\"tags\":None}]", 1, {"JSON writes null"}},
        {"[{\"command\":\"x\",\"tags\":nul}]", 1, {"expected a value", "'n'"}},
        {"[{\"command\":\"\\q\"}]", 1, {"backslash", "doubled"}},
        {"[{\"command\":\"\\u12g4\"}]", 1, {"hexadecimal"}},
        {"[{\"command\":\"\\ud83d\"}]", 1, {"surrogate"}},
        {"[{\"command\":\"\\ude80\"}]", 1, {"surrogate"}},
        {"[{\"command\":\"\\ud83d\\u0041\"}]", 1, {"surrogate"}},
        {"[{\"command\":\"a\tb\"}]", 1, {"tab", "\\t"}},
        {"[{\"command\":\"a\x1b\"}]", 1, {"control character", "\\u001b"}},
        {"[{\"command\":\"x\"},\x80]", 1, {"byte 0x80"}},
        {"{\"command\":\"x\"},\n{\"command\":\"y\",\"cores\":0}",
         2,
         {"f:1:16: task number 1", "lines of JSON have none", "f:2: task number 2: cores"}},
        {"{\"command\":\"x\"} {\"command\":\"y\"}\n", 1, {"one object a line"}},
        {"{\"command\":\"x\"\n{\"command\":\"y\",\"id\":\"..\"}\n",
         2,
         {"end of the line", "f:2: "}},
        {"{\n\"command\":\"x\"\n}\n{\n\"command\" 5\n}\n{\n\"command\": 5}",
         2,
         {"f:5:11: task number 2", "f:8: task number 3"}},
        {"{\"tasks\":[{\"command\":\"x\"}] \"defaults\":{}}", 1, {"expected ',' or '}'"}},
        {"{\"tasks\":[{\"command\":\"x\"}]} x", 1, {"behind the '}'"}},
        {"{\"tasks\":[{},{\"id\" 5}],\"defaults\":{\"command\":\"x\"}}", 1, {"task number 2"}},
        {"{\"defaults\":{\"command\":\"x\",},\"tasks\":[{}]}", 1, {"trailing comma"}},
        {"{\"tasks\":5}", 1, {"\"tasks\" must be an array", "a number"}},
        {"{\"tasks\":[],\"tasks\":[]}", 1, {"\"tasks\" is given twice"}},
        {"{\"defaults\":{}}", 1, {"no \"tasks\""}},
        {"{\"defaults\":[],\"tasks\":[]}", 1, {"\"defaults\" must be an object", "an array"}},
        {"{\n\"defaults\":{\n\"cores\":0,\"id\":\"a\"},\"tasks\":[{\"command\":\"x\"}]}",
         2,
         {"f:3: defaults: cores", "\"id\" cannot have a default"}},
        {"\xff\xfe[\0", 1, {"UTF-16", "UTF-8"}},
    };
    static const struct bad with_nul[] = {
        {"echo a\0b", 1, {"task '1'", "NUL"}},
        {"[{\"a\":\"\0\"}", 1, {"NUL"}},
        {"[\0]\n\n\n\n\n", 1, {"NUL"}},
    };
    static const size_t lengths[] = {8, 9, 8};

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        check_bad(&table[i], strlen(table[i].text));
    for (size_t i = 0; i < sizeof(with_nul) / sizeof(with_nul[0]); i++)
        check_bad(&with_nul[i], lengths[i]);
}

static void test_bad_fields(void **state)
{
    static const struct bad table[] = {
        {"[5]", 1, {"f:1: task number 1", "must be an object", "a number"}},
        {"[\"echo a\"]", 1, {"must be an object", "a string"}},
        {"[{}]", 1, {"task number 1", "no command"}},
        {"[{\"command\":5}]", 1, {"command must be a string", "a number"}},
        {"[{\"command\":\"\"}]", 1, {"command is empty"}},
        {"[{\"command\":\" \\t\\n\"}]", 1, {"command is empty"}},
        {"[{\"command\":[]}]", 1, {"empty array"}},
        {"[{\"command\":[\"\",\"x\"]}]", 1, {"program in command is empty"}},
        {"[{\"command\":[\"x\",5]}]", 1, {"argument in command must be a string", "a number"}},
        {"[{\"command\":[\"x\",null,{}]}]", 1, {"argument in command must be a string", "null"}},
        {"[{\"command\":\"a\\u0000b\"}]", 1, {"command has a NUL"}},
        {"[{\"command\":[\"x\",\"\\\\\\u0000\"]}]", 1, {"argument in command has a NUL"}},
        {ONE("\"cores\":0"), 1, {"task 'a'", "cores is out of range: 0", "from 1"}},
        {ONE("\"cores\":-1"), 1, {"cores is out of range: -1"}},
        {ONE("\"cores\":1000001"), 1, {"cores is out of range", "1000000"}},
        {ONE("\"cores\":65"), 1, {"cores is 65", "node vc2 has 64", "at most 64"}},
        {ONE("\"cores\":2.5"), 1, {"cores must be a whole number, not 2.5"}},
        {ONE("\"cores\":\"2\""), 1, {"cores must be a number, not a string"}},
        {ONE("\"cores\":true"), 1, {"cores must be a number, not true or false"}},
        {ONE("\"timeout\":-0.5"), 1, {"timeout is out of range: -0.5"}},
        {ONE("\"timeout\":1e999"), 1, {"timeout is out of range: 1e999"}},
        {ONE("\"timeout\":1000000001"), 1, {"timeout is out of range"}},
        {ONE("\"timeout\":\"1h\""), 1, {"timeout must be a number"}},
        {ONE("\"timeout\":1000000000000000000000000000000000000000000000000000000000000000000"),
         1,
         {"timeout is out of range"}},
        {ONE("\"priority\":2147483648"), 1, {"priority is out of range"}},
        {ONE("\"priority\":-2147483649"), 1, {"priority is out of range"}},
        {ONE("\"priority\":0.5"), 1, {"priority must be a whole number"}},
        {ONE("\"max_retries\":-1"), 1, {"max_retries is out of range"}},
        {ONE("\"max_retries\":1000001"), 1, {"max_retries is out of range"}},
        {ONE("\"env\":[]"), 1, {"env must be an object", "an array"}},
        {ONE("\"env\":{\"A\":null}"), 1, {"env \"A\" must be a string, not null"}},
        {ONE("\"env\":{\"A\":{}}"), 1, {"env \"A\" must be a string, not an object"}},
        {ONE("\"env\":{\"A\":\"\\u0000\"}"), 1, {"env \"A\" has a NUL"}},
        {ONE("\"env\":{\"\":\"\"}"), 1, {"name must not be empty"}},
        {ONE("\"env\":{\"A=B\":\"\"}"), 1, {"env \"A=B\"", "'='"}},
        {ONE("\"env\":{\"A\\u0000\":\"\"}"), 1, {"NUL"}},
        {ONE("\"env\":{\"A\":\"1\",\"B\":\"1\",\"A\":\"2\"}"), 1, {"env \"A\" is given twice"}},
        {ONE("\"workdir\":5"), 1, {"workdir must be a string"}},
        {ONE("\"workdir\":\"\""), 1, {"workdir is empty"}},
        {ONE("\"stdin\":[]"), 1, {"stdin must be a string, not an array"}},
        {ONE("\"stdin\":\"\\u0000\""), 1, {"stdin has a NUL"}},
        {ONE("\"depends_on\":true"), 1, {"depends_on must be an array"}},
        {ONE("\"depends_on\":[1.5]"), 1, {"id in depends_on must be", "1.5"}},
        {ONE("\"depends_on\":[[]]"), 1, {"id in depends_on must be a string", "an array"}},
        {ONE("\"depends_on\":[\"\"]"), 1, {"id in depends_on is empty"}},
        {ONE("\"depends_on\":[\"b\"]"), 1, {"task 'a'", "'b'", "no task of this file", "earlier"}},
        {ONE("\"depends_on\":[\"a\"]"), 1, {"task 'a'", "a -> a", "remove"}},
        {ONE("\"cores\":2,\"cores\":3"), 1, {"\"cores\" is given twice"}},
        {ONE("\"cores\":null,\"c\\u006fres\":3"), 1, {"\"cores\" is given twice"}},
        {ONE("\n\n\"cores\":0,\n\"timeout\":-1"),
         2,
         {"f:3: task 'a': cores", "f:4: task 'a': timeout"}},
        {"[{\"command\":\"x\",\"id\":1.5}]", 1, {"id must be a string or a whole number, not 1.5"}},
        {"[{\"command\":\"x\",\"id\":[]}]", 1, {"id must be a string, not an array"}},
        {"[{\"command\":\"x\",\"id\":\"a\"},\n{\"command\":\"y\",\"id\":\"a\"}]",
         1,
         {"f:2: task 'a': duplicate id", "line 1", "its own"}},
        {"[{\"command\":\"x\",\"id\":1},{\"command\":\"y\",\"id\":\"1\"}]", 1, {"duplicate id"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        check_bad(&table[i], strlen(table[i].text));
}

static void test_ids(void **state)
{
    static const struct {
        const char *id;
        const char *words; /* NULL: good */
    } table[] = {
        {"a", NULL},
        {"-a", NULL},
        {"a/b/c.d", NULL},
        {"..a", NULL},
        {"stdout", NULL},
        {"stdout.x.txt", NULL},
        {"stdout.1.txt.x", NULL},
        {"state.db2", NULL},
        {"x/state.db", NULL},
        {"", "is empty"},
        {"/x", "start with '/'"},
        {"..", "leave the work directory"},
        {"../x", "leave the work directory"},
        {"a/../../b", "leave the work directory"},
        {"a/..", "leave the work directory"},
        {".", "leave it out"},
        {"./a", "leave it out"},
        {"a//b", "extra '/'"},
        {"a/", "extra '/'"},
        {"a\\nb", "control"},
        {"a\\u007f", "control"},
        {"a\\u009b", "control"},
        {"a\xff", "UTF-8"},
        {"a\xc0\xaf", "UTF-8"},
        {"a\\u0000", "NUL"},
        {"state.db", "which the pilot uses"},
        {"summary.json/a", "\"summary.json\", which the pilot uses"},
        {"stdout.txt", "task's output"},
        {"a/stderr.txt", "task's output"},
        {"a/stderr.txt/b", "task's output"},
        {"stdout.12.txt", "task's output"},
    };
    char text[2200];
    char id[1100];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        snprintf(text, sizeof(text), "[{\"command\":\"x\",\"id\":\"%s\"}]", table[i].id);
        read_text(text, strlen(text));
        check((result.rc == 1) == (table[i].words == NULL), text, "accepted or refused");
        if (table[i].words != NULL)
            check(strstr(result.err.text, table[i].words) != NULL, text, table[i].words);
    }
    for (size_t len = 250; len < 1100; len++) {
        memset(id, 'i', len);
        for (size_t i = 200; i < len; i += 200)
            id[i] = len >= 300 ? '/' : 'i';
        id[len] = '\0';
        snprintf(text, sizeof(text), "[{\"command\":\"x\",\"id\":\"%s\"}]", id);
        read_text(text, strlen(text));
        if (len % 200 == 1 && len >= 300)
            check(result.rc < 0, text, "a '/' at the end");
        else
            check((result.rc == 1) == (len <= 255 || (len >= 300 && len <= 1024)), text, "length");
    }
}

/* ---- Many errors, warnings, graphs ----------------------------------------------------------- */

static void test_errors_are_in_file_order_and_limited(void **state)
{
    struct buf text;
    char line[80];
    const char *p;

    (void)state;
    buf_init(&text);
    buf_put(&text, "[\n", 2);
    for (int i = 0; i < 100; i++) { /* unknown ids are found last but belong to early lines */
        snprintf(line, sizeof(line), "{\"id\":\"t%d\",\"command\":\"x\",%s},\n", i,
                 i == 3 ? "\"depends_on\":\"nowhere\"" : "\"cores\":0");
        buf_put(&text, line, strlen(line));
    }
    buf_put(&text, "{\"command\":\"x\"}]", 16);
    read_text((const char *)text.data, text.len);
    buf_fini(&text);
    check(result.rc == PILOT_EINVAL, "100 errors", "code");
    check(count_lines(result.err.text) == 21, "100 errors", "20 lines and the rest");
    check(strstr(result.err.text, "\n... and 80 more errors") != NULL, "100 errors", "rest");
    check(strstr(result.err.text, "\nf:5: task 't3': depends_on") != NULL, "100 errors", "line 5");
    p = result.err.text;
    for (unsigned i = 2; i < 22; i++) {
        snprintf(line, sizeof(line), "f:%u:", i);
        check(strncmp(p, line, strlen(line)) == 0, "100 errors", line);
        p = strchr(p, '\n') + 1;
    }
    check(result.tasks.len == 0, "100 errors", "a task was handed out behind an error");
}

static void test_messages_stay_short_and_printable(void **state)
{
    char text[3000];
    char id[1025];

    (void)state;
    memset(id, 'i', sizeof(id) - 1);
    for (size_t i = 200; i < sizeof(id); i += 200)
        id[i] = '/';
    id[sizeof(id) - 1] = '\0';
    snprintf(text, sizeof(text),
             "[{\"id\":\"%s\",\"command\":\"x\",\"depends_on\":\"\\u001b[31m%s\"}]", id, id);
    read_text(text, strlen(text));
    check(result.rc == PILOT_EINVAL, text, "code");
    check(strlen(result.err.text) < 400, text, "too long");
    check(strchr(result.err.text, 0x1b) == NULL, text, "escape in a message");
    check(strstr(result.err.text, "'?[31m") != NULL, text, "shown");
}

static void test_reading_goes_on_behind_broken_elements(void **state)
{
    static const struct bad table[] = {
        {"[\n {\"id\":\"a, \"command\":\"x\"},\n {\"id\":\"b\",\"command\":\"y\",\"cores\":0}\n]",
         2,
         {"f:2:", "f:3: task 'b': cores"}},
        {"[{\"id\":5 5},{\"id\":\"b\",\"command\":\"y\",\"cores\":0},[}, {\"id\":\"c\"}]",
         3,
         {"task number 1", "task 'b': cores", "task number 3"}},
        {"[\n  {\n    \"id\": \"a\"\n    \"command\": \"x\"\n  },\n  {\n    \"command\": 1\n  }\n]",
         2,
         {"f:4:5: task number 1", "f:7: task number 2: command"}},
        /* unknown ids are no news while tasks could not be read */
        {"[\n{\"id\":\"a\" 5},\n{\"id\":\"b\",\"command\":\"x\",\"depends_on\":\"a\"}\n]",
         1,
         {"f:2:"}},
        {"[5 5\n,\n{\"command\":5}]", 2, {"must be an object", "expected ',' or ']'"}},
        {"[{]\n,\n{\"command\":5}]", 1, {"nothing behind this was read"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        check_bad(&table[i], strlen(table[i].text));
}

static void test_warnings(void **state)
{
    static const struct {
        const char *text;
        unsigned warnings;
        const char *words[3];
    } table[] = {
        {ONE("\"prioirty\":1"), 1, {"f:1: task 'a'", "\"prioirty\"", "did you mean \"priority\"?"}},
        {ONE("\"Cores\":1"), 1, {"\"cores\"?"}},
        {ONE("\"max-retries\":1"), 1, {"\"max_retries\"?"}},
        {ONE("\"colour\":1"), 1, {"\"colour\" is ignored", "\"tags\""}},
        {ONE("\"colour\":1,\"note\":{\"a\":[]}"), 2, {"\"colour\"", "\"note\""}},
        {ONE("\"\\u0000\":1"), 1, {"NUL"}},
        {ONE("\"\\u001b[0m\":1"), 1, {"\"?[0m\""}},
        {"{\"tasks\":[],\"version\":1}", 1, {"f:1", "\"version\" is ignored"}},
        {"{\"defaults\":{\"core\":2},\"tasks\":[]}", 1, {"defaults: unknown field", "\"cores\"?"}},
        {"[{\"command\":\"x\",\"a\":1},{\"command\":\"x\",\"a\":1},\n{\"a\":1,\"command\":\"y\"}]",
         1,
         {"(3 times in this file)", "f:1: task number 1"}},
        {"{\"command\":\"x\",\"task\":[]}", 1, {"did you mean \"tasks\"?"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        read_text(table[i].text, strlen(table[i].text));
        check(result.rc >= 0, table[i].text, "refused");
        check(count_lines(text_of(&result.warnings)) - 1 == table[i].warnings, table[i].text,
              "count");
        for (size_t j = 0; j < 3 && table[i].words[j] != NULL; j++)
            check(strstr(text_of(&result.warnings), table[i].words[j]) != NULL, table[i].text,
                  table[i].words[j]);
    }
}

static void test_many_unknown_names_are_summed_up(void **state)
{
    struct buf text;
    char line[80];

    (void)state;
    buf_init(&text);
    for (int i = 0; i < 50; i++) {
        snprintf(line, sizeof(line), "{\"command\":\"x\",\"mine%d\":1}\n", i);
        buf_put(&text, line, strlen(line));
    }
    read_text((const char *)text.data, text.len);
    buf_fini(&text);
    check(result.rc == 50, "50 names", "count");
    check(count_lines(text_of(&result.warnings)) - 1 == 21, "50 names", "warnings");
    check(strstr(text_of(&result.warnings), "30 more unknown fields") != NULL, "50 names", "rest");
}

static void test_name_that_says_json(void **state)
{
    (void)state;
    clear_result();
    result.rc = taskfile_read_text("x.json", "- a", 3, &config, &ops, &result.err);
    check(result.rc == 1, "x.json", "count");
    check(strstr(text_of(&result.warnings), "list of shell commands") != NULL, "x.json", "warning");
}

static void test_circles(void **state)
{
    static const struct bad table[] = {
        {"[{\"id\":\"a\",\"command\":\"x\",\"depends_on\":\"b\"},"
         "{\"id\":\"b\",\"command\":\"x\",\"depends_on\":\"a\"}]",
         1,
         {"task 'a'", "a -> b -> a"}},
        {"[{\"id\":\"z\",\"command\":\"x\",\"depends_on\":\"c\"},"
         "{\"id\":\"a\",\"command\":\"x\",\"depends_on\":\"b\"},"
         "{\"id\":\"b\",\"command\":\"x\",\"depends_on\":[\"before\",\"c\"]},"
         "{\"id\":\"c\",\"command\":\"x\",\"depends_on\":\"a\"},"
         "{\"id\":\"d\",\"command\":\"x\",\"depends_on\":[\"d\",\"z\"]}]",
         2,
         {"task 'a'", "a -> b -> c -> a", "task 'd'", "d -> d"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        check_bad(&table[i], strlen(table[i].text));
}

static void build_chain(struct buf *text, int count, int first_waits_for)
{
    char line[120];

    buf_init(text);
    for (int i = 0; i < count; i++) {
        int to = i + 1 < count ? i + 1 : first_waits_for;

        if (to < 0)
            snprintf(line, sizeof(line), "{\"id\":\"t%d\",\"command\":\"x\"}\n", i);
        else
            snprintf(line, sizeof(line),
                     "{\"id\":\"t%d\",\"command\":\"x\",\"depends_on\":\"t%d\"}\n", i, to);
        buf_put(text, line, strlen(line));
    }
}

static void test_long_chains_need_no_deep_stack(void **state)
{
    struct buf text;

    (void)state;
    build_chain(&text, 200000, -1);
    read_text((const char *)text.data, text.len);
    buf_fini(&text);
    check(result.rc == 200000, "chain", "count");
    build_chain(&text, 200000, 5);
    read_text((const char *)text.data, text.len);
    buf_fini(&text);
    check(result.rc == PILOT_EINVAL, "circle", "code");
    check(strstr(result.err.text, "task 't5'") != NULL, "circle", "start");
    check(strstr(result.err.text, "t5 -> t6 -> ") != NULL, "circle", "path");
    check(strstr(result.err.text, "(199987 more) -> t199999 -> t5;") != NULL, "circle", "end");
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
    static const char *const odd[] = {"\"",         "\\", "\n", "\t", "\x01", "\x7f", "\u00e9",
                                      "\U0001f680", "=",  "/",  " ",  "{",    "\xff", "\\u0000"};
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
    if (random_below(2) == 0)
        spec->command = random_text(true);
    else if ((spec->argv = random_list(false, true)) == NULL)
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

        for (size_t cut = 0; cut < len; cut++) {
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
    char text[1200] = "[{\"command\":\"x\",\"tags\":";
    size_t start = strlen(text);

    (void)state;
    for (size_t depth = 500; depth < 520; depth++) {
        memset(text + start, '[', depth);
        memset(text + start + depth, ']', depth);
        memcpy(text + start + 2 * depth, "}]", 3);
        read_text(text, strlen(text));
        check((result.rc == 1) == (depth <= 511), text, "depth");
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

static int finish(void **state)
{
    (void)state;
    clear_result();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_generated_ids_avoid_given_ones),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_errors_are_in_file_order_and_limited),
        cmocka_unit_test(test_messages_stay_short_and_printable),
        cmocka_unit_test(test_reading_goes_on_behind_broken_elements),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_many_unknown_names_are_summed_up),
        cmocka_unit_test(test_name_that_says_json),
        cmocka_unit_test(test_circles),
        cmocka_unit_test(test_long_chains_need_no_deep_stack),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_standard_input),
        cmocka_unit_test(test_callback_ends_the_reading),
        cmocka_unit_test(test_optional_callbacks_and_limits),
        cmocka_unit_test(test_canonical_json_comes_back),
        cmocka_unit_test(test_order_without_meaning_is_not_kept),
        cmocka_unit_test(test_bad_canonical_json),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_suggestions),
    };

    return cmocka_run_group_tests(tests, NULL, finish);
}
