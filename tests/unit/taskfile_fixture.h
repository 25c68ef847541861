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
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/error.h"
#include "input/portions.h"
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

static unsigned in_portions; /* texts that were read so, too */

static int text_fd(const char *text, size_t len)
{
    int fd = memfd_create("tasks", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static bool same_text(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* What is read through a window must be what was found in the whole, word for word. */
static void compare_portions(const char *text, size_t len, size_t portion)
{
    struct result other = {0};
    struct taskfile_ops other_ops = ops;
    int fd = text_fd(text, len);

    other_ops.arg = &other;
    other.rc = portions_read(fd, "f", len, portion, &config, &other_ops, &other.err);
    close(fd);
    if (other.rc != PORTIONS_NOT_LINES) {
        in_portions++;
        if (other.rc != result.rc || strcmp(other.lines, result.lines) != 0 ||
            (other.rc < 0 && strcmp(other.err.text, result.err.text) != 0) ||
            !same_text(&other.tasks, &result.tasks) ||
            !same_text(&other.warnings, &result.warnings))
            fail_msg("in portions of %zu: %lld, not %lld:\n%s\nnot\n%s\nlines %s, not %s\n%s",
                     portion, (long long)other.rc, (long long)result.rc, other.err.text,
                     result.err.text, other.lines, result.lines, text);
    }
    buf_fini(&other.tasks);
    buf_fini(&other.warnings);
}

static void read_text(const char *text, size_t len)
{
    static const size_t portions[] = {1, 7, 64, 4096};

    char *exact = malloc(len ? len : 1);

    assert_non_null(exact);
    memcpy(exact, text, len);
    clear_result();
    result.rc = taskfile_read_text("f", exact, len, &config, &ops, &result.err);
    free(exact);
    for (size_t i = 0; i < sizeof(portions) / sizeof(portions[0]); i++)
        compare_portions(text, len, portions[i]);
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
