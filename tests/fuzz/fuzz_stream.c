/* SPDX-License-Identifier: BSD-3-Clause */
/* Feeds any bytes, in portions, to the reader of task files that still come. The first byte is the
 * size of the portions. What must hold: nothing crashes; what is taken is taken as a whole, too,
 * with as many tasks; what is refused has a message; and each task comes after all that it depends
 * on, once. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/strmap.h"
#include "input/stream.h"

struct taken {
    uint64_t count;
    struct strmap ids;
    struct arena text;
};

static bool is_known(void *arg, const char *id)
{
    const struct taken *t = arg;

    return id[0] == 'k' || strmap_get(&t->ids, id, NULL);
}

static int take_task(void *arg, const struct task_spec *spec, unsigned line,
                     struct pilot_error *err)
{
    struct taken *t = arg;
    size_t size = strlen(spec->id) + 1;
    char *key;

    BUG_ON(line == 0);
    for (char **id = spec->depends_on; id != NULL && *id != NULL; id++)
        BUG_ON(!is_known(t, *id));
    if (strmap_get(&t->ids, spec->id, NULL))
        return err_set(err, PILOT_EINVAL, "fuzz: twice");
    key = arena_take(&t->text, size);
    BUG_ON(key == NULL);
    memcpy(key, spec->id, size);
    BUG_ON(strmap_add(&t->ids, key, 0) < 0);
    t->count++;
    return 0;
}

static int count_task(void *arg, const struct task_spec *spec, unsigned line,
                      struct pilot_error *err)
{
    uint64_t *count = arg;

    (void)spec;
    (void)line;
    (void)err;
    ++*count;
    return 0;
}

static bool known_before(void *arg, const char *id)
{
    (void)arg;
    return id[0] == 'k';
}

static int put_all(struct task_stream *s, const char *text, size_t len, size_t portion,
                   struct pilot_error *err)
{
    int rc = 0;

    for (size_t at = 0; at < len && rc == 0; at += portion)
        rc = task_stream_put(s, text + at, len - at < portion ? len - at : portion, err);
    return rc == 0 ? task_stream_end(s, err) : rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct taskfile_config config = {.max_cores = 64};
    struct taken taken = {0};
    uint64_t count = 0;
    const struct taskfile_ops ops = {.task = take_task, .known = is_known, .arg = &taken};
    const struct taskfile_ops whole_ops = {
        .task = count_task, .known = known_before, .arg = &count};
    struct pilot_error err = {0}, whole_err = {0};
    struct task_stream *s;
    const char *text;
    int rc;

    if (size == 0)
        return 0;
    s = task_stream_create("fuzz", &config, &ops);
    BUG_ON(s == NULL);
    text = (const char *)data + 1;
    rc = put_all(s, text, size - 1, data[0] + 1u, &err);
    BUG_ON(rc < 0 && (rc != PILOT_EINVAL || err.code != rc || strncmp(err.text, "fuzz:", 5) != 0));
    if (rc == 0) {
        int64_t whole = taskfile_read_text("fuzz", text, size - 1, &config, &whole_ops, &whole_err);

        if (whole < 0 || (uint64_t)whole != taken.count)
            BUG("%llu tasks in portions, %lld as a whole: %s", (unsigned long long)taken.count,
                (long long)whole, whole_err.text);
    }
    task_stream_destroy(s);
    strmap_fini(&taken.ids);
    arena_fini(&taken.text);
    return 0;
}
