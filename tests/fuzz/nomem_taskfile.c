/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs the readers of task files, of whole ones and of what comes in portions, out of memory at
 * every allocation in turn: the first fails, then the second, ... until a run needs no more. Each
 * run must end with PILOT_ENOMEM, and the sanitizers see to leaks and worse. The linker's --wrap
 * puts the functions below in place of the library's; cJSON gets its memory through its own hooks.
 */
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "input/portions.h"
#include "input/stream.h"

static long until_failure = -1; /* allocations; negative: never */

static bool fails(void)
{
    return until_failure >= 0 && until_failure-- == 0;
}

#define TAKE_OVER(type, name, parameters, arguments)                                               \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails() ? NULL : __real_##name arguments;                                           \
    }

TAKE_OVER(void *, malloc, (size_t size), (size))
TAKE_OVER(void *, calloc, (size_t count, size_t size), (count, size))
TAKE_OVER(void *, realloc, (void *p, size_t size), (p, size))
TAKE_OVER(void *, reallocarray, (void *p, size_t count, size_t size), (p, count, size))
TAKE_OVER(char *, strdup, (const char *s), (s))
TAKE_OVER(char *, strndup, (const char *s, size_t size), (s, size))

int __wrap_asprintf(char **out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **out, const char *fmt, ...)
{
    va_list ap;
    int rc = -1;

    *out = NULL;
    va_start(ap, fmt);
    if (!fails())
        rc = vasprintf(out, fmt, ap);
    va_end(ap);
    return rc;
}

/* What has been handed out. */
static char seen[32][64];
static unsigned seen_count;

static bool is_seen(void *arg, const char *id)
{
    (void)arg;
    for (unsigned i = 0; i < seen_count; i++)
        if (strcmp(seen[i], id) == 0)
            return true;
    return false;
}

static int take_task(void *arg, const struct task_spec *spec, unsigned line,
                     struct pilot_error *err)
{
    struct task_spec back;
    char *json = task_spec_to_json(spec);
    int rc;

    (void)arg;
    (void)line;
    if (json == NULL)
        return err_set(err, PILOT_ENOMEM, "no JSON");
    rc = task_spec_from_json(json, &back, err);
    snprintf(seen[seen_count++ % 32], sizeof(seen[0]), "%s", spec->id);
    free(json);
    task_spec_fini(&back);
    return rc;
}

static const struct taskfile_config config = {0};
static const struct taskfile_ops ops = {.task = take_task};

static int64_t read_whole(const char *path, struct pilot_error *err)
{
    return taskfile_read(path, &config, &ops, err);
}

/* Through a window, if it is one of lines. */
static int64_t read_in_window(const char *path, struct pilot_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int64_t rc = portions_read(fd, path, 4096, 100, &config, &ops, err);

    close(fd);
    return rc == PORTIONS_NOT_LINES ? PILOT_EINVAL : rc;
}

static int64_t read_in_portions(const char *path, struct pilot_error *err)
{
    static const struct taskfile_ops stream_ops = {.task = take_task, .known = is_seen};
    struct task_stream *s = task_stream_create(path, &config, &stream_ops);
    char portion[40];
    FILE *f = fopen(path, "rb");
    size_t n;
    int rc = s == NULL ? err_set(err, PILOT_ENOMEM, "no stream") : 0;

    seen_count = 0;

    while (rc == 0 && (n = fread(portion, 1, sizeof(portion), f)) > 0)
        rc = task_stream_put(s, portion, n, err);
    if (rc == 0)
        rc = task_stream_end(s, err);
    fclose(f);
    task_stream_destroy(s);
    return rc;
}

typedef int64_t read_f(const char *path, struct pilot_error *err);

static void starve(const char *path, const char *how, read_f *read_it)
{
    int64_t rc = PILOT_ENOMEM;
    long n;

    for (n = 0; rc < 0; n++) {
        struct pilot_error err = {0};

        until_failure = n;
        rc = read_it(path, &err);
        if (rc == PILOT_EINVAL && until_failure >= 0)
            break; /* not so: its defaults come too late, an id is of an earlier run, or no lines */
        if (rc < 0 && (rc != PILOT_ENOMEM || err.code != rc || err.text[0] == '\0'))
            BUG("%s, %s, allocation %ld: %lld, %s", path, how, n, (long long)rc, err.text);
    }
    if (until_failure < 0)
        BUG("%s, %s: allocation %ld failed and nobody minded", path, how, n - 1);
    printf("%s, %s: %lld, %ld allocations\n", path, how, (long long)rc, n - 1);
}

int main(int argc, char **argv)
{
    cJSON_Hooks hooks = {.malloc_fn = __wrap_malloc, .free_fn = free};

    cJSON_InitHooks(&hooks);
    for (int i = 1; i < argc; i++) {
        starve(argv[i], "whole", read_whole);
        starve(argv[i], "in portions", read_in_portions);
        starve(argv[i], "through a window", read_in_window);
    }
    return 0;
}
