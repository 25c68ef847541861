/* SPDX-License-Identifier: BSD-3-Clause */
/* Task files that are wrong: every complaint once, their order and number, and the warnings. */
#include "taskfile_fixture.h"

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
        {"{\ncommand: \"x\"}", 1, {"f:2:1", "name in double quotes"}},
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
        {"[{\"command\":\"\\ude80\\ude80\"}]", 1, {"surrogate"}},
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
        {ONE("\"memory\":\"4G\""), 1, {"memory is 4G", "node vc2 has 3G", "at most 3072M"}},
        {ONE("\"memory\":3221237818"), 1, {"memory is 3.0G", "at most 3072M"}},
        {ONE("\"memory\":\"4X\""), 1, {"memory \"4X\" is not a size", "\"2G\""}},
        {ONE("\"memory\":-1"), 1, {"memory is out of range"}},
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
        {ONE("\"cores\":2.000000000000000000000000000000000000000000000000000000000000000e1"),
         1,
         {"cores is out of range"}},
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

static void test_what_is_handed_out_has_a_command(void **state)
{
    static const char *const texts[] = {
        "{\"tasks\":[{},{\"id\" 5}],\"defaults\":{\"command\":\"x\"}}", /* defaults not reached */
        "{\"defaults\":{\"command\":5},\"tasks\":[{}]}",
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        read_text(texts[i], strlen(texts[i]));
        check(result.rc == PILOT_EINVAL && result.tasks.len == 0, texts[i], "a task handed out");
        check(count_lines(result.err.text) == 1, texts[i], "more than one error");
    }
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
         4,
         {"task number 1", "task 'b': cores", "task number 3", "task 'c': there is no command"}},
        {"[\n  {\n    \"id\": \"a\"\n    \"command\": \"x\"\n  },\n  {\n    \"command\": 1\n  }\n]",
         2,
         {"f:4:5: task number 1", "f:7: task number 2: command"}},
        /* unknown ids are no news while tasks could not be read */
        {"[\n{\"id\":\"a\" 5},\n{\"id\":\"b\",\"command\":\"x\",\"depends_on\":\"a\"}\n]",
         1,
         {"f:2:"}},
        {"[5 5\n,\n{\"command\":5}]", 2, {"must be an object", "expected ',' or ']'"}},
        {"[{\n5,\n5]", 1, {"nothing behind this was read"}},
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
        /* one message a circle, although b is reached again from within it */
        {"[{\"id\":\"a\",\"command\":\"x\",\"depends_on\":\"b\"},"
         "{\"id\":\"b\",\"command\":\"x\",\"depends_on\":\"c\"},"
         "{\"id\":\"c\",\"command\":\"x\",\"depends_on\":[\"a\",\"b\"]}]",
         1,
         {"a -> b -> c -> a"}},
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_what_is_handed_out_has_a_command),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_errors_are_in_file_order_and_limited),
        cmocka_unit_test(test_messages_stay_short_and_printable),
        cmocka_unit_test(test_reading_goes_on_behind_broken_elements),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_many_unknown_names_are_summed_up),
        cmocka_unit_test(test_name_that_says_json),
        cmocka_unit_test(test_circles),
        cmocka_unit_test(test_long_chains_need_no_deep_stack),
    };

    return cmocka_run_group_tests(tests, NULL, finish);
}
