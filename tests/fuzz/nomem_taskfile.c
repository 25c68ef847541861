/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs the reader of task files out of memory at every allocation in turn: the first fails, then
 * the second, ... until a run needs no more. Each run must end with PILOT_ENOMEM, and the
 * sanitizers see to leaks and worse. The linker's --wrap puts the functions below in place of the
 * library's; cJSON gets its memory through its own hooks. */
#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "input/taskfile.h"

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
    free(json);
    task_spec_fini(&back);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct taskfile_config config = {0};
    static const struct taskfile_ops ops = {.task = take_task};
    cJSON_Hooks hooks = {.malloc_fn = __wrap_malloc, .free_fn = free};

    cJSON_InitHooks(&hooks);
    for (int i = 1; i < argc; i++) {
        struct pilot_error err = {0};
        int64_t rc = PILOT_ENOMEM;
        long n;

        for (n = 0; rc < 0; n++) {
            until_failure = n;
            rc = taskfile_read(argv[i], &config, &ops, &err);
            if (rc < 0 && (rc != PILOT_ENOMEM || err.code != rc || err.text[0] == '\0'))
                BUG("%s, allocation %ld: %lld, %s", argv[i], n, (long long)rc, err.text);
        }
        if (until_failure < 0)
            BUG("%s: allocation %ld failed and nobody minded", argv[i], n - 1);
        printf("%s: %lld tasks, %ld allocations\n", argv[i], (long long)rc, n - 1);
    }
    return 0;
}
