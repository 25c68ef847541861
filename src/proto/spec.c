/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: a task's content as bytes. The format is internal: it is never stored, only kept in memory
 * and sent between processes of the same version. */
#include "proto/msg.h"

#include <stdlib.h>

#include "common/error.h"

/* What follows the id. Nothing else does: of a million tasks most have little but a command. */
enum {
    HAS_COMMAND = 1,
    HAS_TAGS = 2,
    HAS_WORKDIR = 4,
    HAS_STDIN = 8,
    HAS_ENV = 16,
    HAS_DEPENDS = 32,
    HAS_CORES = 64, /* not 1; the numbers below: not 0 */
    HAS_TIMEOUT = 128,
    HAS_ESTIMATE = 256,
    HAS_MEMORY = 512,
    HAS_PRIORITY = 1024,
    HAS_RETRIES = 2048,
    HAS_ALL = 4095,
};

static unsigned flag(bool has, unsigned bit)
{
    return has ? bit : 0;
}

static unsigned what_it_has(const struct task_spec *spec)
{
    return flag(spec->command != NULL, HAS_COMMAND) | flag(spec->tags != NULL, HAS_TAGS) |
           flag(spec->workdir != NULL, HAS_WORKDIR) | flag(spec->stdin_path != NULL, HAS_STDIN) |
           flag(spec->env != NULL && spec->env[0] != NULL, HAS_ENV) |
           flag(spec->depends_on != NULL && spec->depends_on[0] != NULL, HAS_DEPENDS) |
           flag(spec->cores != 1, HAS_CORES) | flag(spec->timeout_ms != 0, HAS_TIMEOUT) |
           flag(spec->estimate_ms != 0, HAS_ESTIMATE) | flag(spec->memory != 0, HAS_MEMORY) |
           flag(spec->priority != 0, HAS_PRIORITY) | flag(spec->max_retries != 0, HAS_RETRIES);
}

void spec_pack(struct buf *b, const struct task_spec *spec)
{
    unsigned has = what_it_has(spec);

    buf_put_text(b, spec->id);
    buf_put_var(b, has);
    if (has & HAS_CORES)
        buf_put_var(b, spec->cores);
    if (has & HAS_TIMEOUT)
        buf_put_var(b, (uint64_t)spec->timeout_ms);
    if (has & HAS_ESTIMATE)
        buf_put_var(b, (uint64_t)spec->estimate_ms);
    if (has & HAS_MEMORY)
        buf_put_var(b, (uint64_t)spec->memory);
    if (has & HAS_PRIORITY)
        buf_put_var(b, (uint32_t)spec->priority);
    if (has & HAS_RETRIES)
        buf_put_var(b, spec->max_retries);
    if (has & HAS_COMMAND)
        buf_put_text(b, spec->command);
    else
        buf_put_texts(b, spec->argv);
    if (has & HAS_ENV)
        buf_put_texts(b, spec->env);
    if (has & HAS_TAGS)
        buf_put_text(b, spec->tags);
    if (has & HAS_WORKDIR)
        buf_put_text(b, spec->workdir);
    if (has & HAS_STDIN)
        buf_put_text(b, spec->stdin_path);
    if (has & HAS_DEPENDS)
        buf_put_texts(b, spec->depends_on);
}

static uint32_t read_u32(struct rd *r)
{
    uint64_t v = rd_var(r);

    if (v > UINT32_MAX)
        r->failed = true;
    return (uint32_t)v;
}

static void unpack_numbers(struct rd *r, unsigned has, struct task_spec *spec)
{
    if (has & HAS_CORES)
        spec->cores = read_u32(r);
    if (has & HAS_TIMEOUT)
        spec->timeout_ms = (int64_t)rd_var(r);
    if (has & HAS_ESTIMATE)
        spec->estimate_ms = (int64_t)rd_var(r);
    if (has & HAS_MEMORY)
        spec->memory = (int64_t)rd_var(r);
    if (has & HAS_PRIORITY)
        spec->priority = (int32_t)read_u32(r);
    if (has & HAS_RETRIES)
        spec->max_retries = read_u32(r);
}

int spec_unpack(struct rd *r, struct task_spec *spec)
{
    unsigned has;

    task_spec_init(spec);
    spec->id = rd_text(r);
    has = read_u32(r);
    unpack_numbers(r, has, spec);
    if (has & HAS_COMMAND)
        spec->command = rd_text(r);
    else
        spec->argv = rd_texts(r);
    if (has & HAS_ENV)
        spec->env = rd_texts(r);
    if (has & HAS_TAGS)
        spec->tags = rd_text(r);
    if (has & HAS_WORKDIR)
        spec->workdir = rd_text(r);
    if (has & HAS_STDIN)
        spec->stdin_path = rd_text(r);
    if (has & HAS_DEPENDS)
        spec->depends_on = rd_texts(r);
    if (!rd_ok(r) || has > HAS_ALL || spec->cores == 0 ||
        (spec->command == NULL) == (spec->argv == NULL)) {
        task_spec_fini(spec);
        return PILOT_EPROTO;
    }
    return 0;
}

int spec_unpack_shape(struct rd *r, struct task_spec *spec)
{
    struct rd whole = *r;
    unsigned has;

    task_spec_init(spec);
    rd_skip_text(r); /* the id */
    has = read_u32(r);
    if (has & HAS_DEPENDS) {
        *r = whole;
        return spec_unpack(r, spec);
    }
    unpack_numbers(r, has, spec);
    return rd_ok(r) && has <= HAS_ALL && spec->cores > 0 ? 0 : PILOT_EPROTO;
}
