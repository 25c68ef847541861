/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as lines of a hook. A line is understood or refused with words; the tasks of one that
 * is understood go to the reader of task files, as the head does it, and none is taken when one of
 * them is wrong. */
#include "fuzz.h"

#include <string.h>

#include "common/buf.h"
#include "common/error.h"
#include "head/lines.h"
#include "input/taskfile.h"

static int take_task(void *arg, const struct task_spec *spec, unsigned line,
                     struct pilot_error *err)
{
    (void)arg;
    (void)err;
    BUG_ON(spec->id == NULL || line == 0);
    return 0;
}

static void read_tasks(const struct scan_text *tasks)
{
    static const struct taskfile_config config = {.max_cores = 64, .ids_by_content = true};
    static const struct taskfile_ops ops = {.task = take_task};
    struct pilot_error err = {0};
    int64_t rc = taskfile_read_text("hook", tasks->p, tasks->len, &config, &ops, &err);

    BUG_ON(tasks->p[0] != '[' || tasks->p[tasks->len - 1] != ']');
    BUG_ON(rc < 0 && (rc != PILOT_EINVAL || err.text[0] == '\0'));
}

static void take_line(const char *line, size_t len)
{
    struct hook_answer a;
    char why[LINES_WHY_MAX] = "";
    int rc = hook_answer_parse(line, len, &a, why);

    BUG_ON(rc == PILOT_ENOMEM); /* never for what the line says */
    BUG_ON((rc == PILOT_EINVAL) != (why[0] != '\0'));
    for (const char *p = why; *p != '\0'; p++)
        BUG_ON((unsigned char)*p < 0x20);
    BUG_ON(a.ack > 0 && (!a.ack_is_number || (double)a.ack != a.ack_given));
    BUG_ON(strv_len(a.cancel) > len || (a.stop != NULL && strlen(a.stop) > len));
    if (rc > 0 && a.tasks.p != NULL)
        read_tasks(&a.tasks);
    hook_answer_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data, *end = p + size;

    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((newline != NULL ? newline : end) - p);

        take_line(p, len);
        p += len + 1;
    }
    return 0;
}
