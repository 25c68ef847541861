/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of task files share: reading a text and keeping what comes of it. Tasks are kept
 * as their canonical JSON. Texts are handed over in buffers of their exact size, so that the
 * address sanitizer sees any byte read behind them. */
#ifndef PILOT_TESTS_TASKFILE_FIXTURE_H
#define PILOT_TESTS_TASKFILE_FIXTURE_H

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
    .max_memory = (INT64_C(3) << 30) + 12345,
    .max_memory_of = "node vc2 has 3G, the most of any node",
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

/* A file with one task, with these fields besides id and command. */
#define ONE(fields) "[{\"id\":\"a\",\"command\":\"x\"," fields "}]"

static int finish(void **state)
{
    (void)state;
    clear_result();
    return 0;
}

#endif
