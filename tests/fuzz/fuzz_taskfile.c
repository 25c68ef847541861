/* SPDX-License-Identifier: BSD-3-Clause */
/* Feeds any bytes to the reader of task files. What must hold, whatever they are: nothing crashes,
 * a refusal has a message of at most 21 printable lines, and what is handed out is a task that
 * comes back from its canonical JSON as the same text. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/error.h"
#include "input/portions.h"
#include "input/taskfile.h"

static int take_task(void *arg, const struct task_spec *spec, unsigned line,
                     struct pilot_error *err)
{
    uint64_t *count = arg;
    struct task_spec back;
    char *json = task_spec_to_json(spec);
    char *again;

    BUG_ON(json == NULL || line == 0);
    BUG_ON((spec->command == NULL) == (spec->argv == NULL));
    BUG_ON(spec->id == NULL || spec->id[0] == '\0' || spec->id[0] == '/' || spec->cores == 0);
    if (task_spec_from_json(json, &back, err) < 0)
        BUG("%s\n%s", err->text, json);
    again = task_spec_to_json(&back);
    BUG_ON(again == NULL || strcmp(json, again) != 0);
    free(again);
    free(json);
    task_spec_fini(&back);
    ++*count;
    return 0;
}

static void take_warning(void *arg, const char *text)
{
    (void)arg;
    for (; *text != '\0'; text++)
        BUG_ON((unsigned char)*text < 0x20);
}

static bool known_before(void *arg, const char *id)
{
    (void)arg;
    return id[0] == 'k';
}

/* Read through a window, if it can be, it must come to the same. */
static void compare_portions(const uint8_t *data, size_t size, const struct taskfile_config *config,
                             int64_t whole, const struct pilot_error *whole_err)
{
    uint64_t count = 0;
    const struct taskfile_ops ops = {
        .task = take_task, .known = known_before, .warn = take_warning, .arg = &count};
    struct pilot_error err = {0};
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    int64_t rc;

    BUG_ON(fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0);
    rc = portions_read(fd, "fuzz", size, 1 + size % 61, config, &ops, &err);
    close(fd);
    if (rc != PORTIONS_NOT_LINES &&
        (rc != whole || (rc < 0 && strcmp(err.text, whole_err->text) != 0)))
        BUG("%lld in portions, %lld as a whole:\n%s\nnot\n%s", (long long)rc, (long long)whole,
            err.text, whole_err->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const reserved[] = {"state.db", NULL};
    static const struct taskfile_config config = {.max_cores = 64, .reserved = reserved};
    uint64_t count = 0;
    const struct taskfile_ops ops = {
        .task = take_task, .known = known_before, .warn = take_warning, .arg = &count};
    struct pilot_error err = {0};
    unsigned lines = 1;
    int64_t rc = taskfile_read_text("fuzz", (const char *)data, size, &config, &ops, &err);

    compare_portions(data, size, &config, rc, &err);
    if (rc >= 0) {
        BUG_ON((uint64_t)rc != count);
        return 0;
    }
    BUG_ON(rc != PILOT_EINVAL || err.code != rc || strncmp(err.text, "fuzz:", 5) != 0);
    for (const char *p = err.text; *p != '\0'; p++) {
        lines += *p == '\n';
        BUG_ON((unsigned char)*p < 0x20 && *p != '\n');
    }
    BUG_ON(lines > TASKFILE_ERRORS_SHOWN + 1);
    return 0;
}
