/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: a task's content as bytes. The format is internal: it is never stored, only kept in memory
 * and sent between processes of the same version. */
#include "proto/msg.h"

#include <stdlib.h>

#include "common/error.h"

/* Which optional strings follow. */
enum {
    HAS_COMMAND = 1,
    HAS_TAGS = 2,
    HAS_WORKDIR = 4,
    HAS_STDIN = 8,
};

void spec_pack(struct buf *b, const struct task_spec *spec)
{
    unsigned has = (spec->command ? HAS_COMMAND : 0) | (spec->tags ? HAS_TAGS : 0) |
                   (spec->workdir ? HAS_WORKDIR : 0) | (spec->stdin_path ? HAS_STDIN : 0);

    buf_put_u8(b, (uint8_t)has);
    buf_put_str(b, spec->id);
    buf_put_u32(b, spec->cores);
    buf_put_i64(b, spec->timeout_ms);
    buf_put_i64(b, spec->estimate_ms);
    buf_put_i64(b, spec->memory);
    buf_put_u32(b, (uint32_t)spec->priority);
    buf_put_u32(b, spec->max_retries);
    if (has & HAS_COMMAND)
        buf_put_str(b, spec->command);
    buf_put_strv(b, spec->argv);
    buf_put_strv(b, spec->env);
    if (has & HAS_TAGS)
        buf_put_str(b, spec->tags);
    if (has & HAS_WORKDIR)
        buf_put_str(b, spec->workdir);
    if (has & HAS_STDIN)
        buf_put_str(b, spec->stdin_path);
    buf_put_strv(b, spec->depends_on);
}

int spec_unpack(struct rd *r, struct task_spec *spec)
{
    unsigned has = rd_u8(r);

    task_spec_init(spec);
    spec->id = rd_str(r);
    spec->cores = rd_u32(r);
    spec->timeout_ms = rd_i64(r);
    spec->estimate_ms = rd_i64(r);
    spec->memory = rd_i64(r);
    spec->priority = (int32_t)rd_u32(r);
    spec->max_retries = rd_u32(r);
    if (has & HAS_COMMAND)
        spec->command = rd_str(r);
    spec->argv = rd_strv(r);
    spec->env = rd_strv(r);
    if (has & HAS_TAGS)
        spec->tags = rd_str(r);
    if (has & HAS_WORKDIR)
        spec->workdir = rd_str(r);
    if (has & HAS_STDIN)
        spec->stdin_path = rd_str(r);
    spec->depends_on = rd_strv(r);
    if (!rd_ok(r) || has > 15 || spec->cores == 0 ||
        (spec->command == NULL) == (spec->argv == NULL)) {
        task_spec_fini(spec);
        return PILOT_EPROTO;
    }
    return 0;
}
