/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the wire format. Must not know who sends or what a message does. */
#include "proto/msg.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

const char *msg_type_name(unsigned type)
{
    switch (type) {
#define X(name, number)                                                                            \
    case number:                                                                                   \
        return #name;
        MSG_LIST(X)
#undef X
    default:
        return "?";
    }
}

/* Starts a message; returns the offset of its length field, for end(). */
static size_t begin(struct buf *frame, enum msg_type type)
{
    if (frame->len == 0)
        buf_put_u32(frame, MSG_MAGIC);
    buf_put_u8(frame, (uint8_t)type);
    buf_put_u32(frame, 0);
    return frame->len - 4;
}

static void end(struct buf *frame, size_t at)
{
    size_t body = frame->len - at - 4;

    if (body > MSG_BODY_MAX)
        frame->failed = true;
    buf_set_u32(frame, at, (uint32_t)body);
}

int msg_open(struct msg_reader *r, const void *frame, size_t len, struct pilot_error *err)
{
    uint32_t magic;

    rd_init(&r->rd, frame, len);
    magic = rd_u32(&r->rd);
    if (!rd_ok(&r->rd) || (magic & ~0xffu) != (MSG_MAGIC & ~0xffu))
        return err_set(err, PILOT_EPROTO, "a message that is not pilot-mpi's");
    if (magic != MSG_MAGIC)
        return err_set(err, PILOT_EPROTO,
                       "a message of protocol version %u, but this is version %u: start the same "
                       "pilot-mpi on all nodes",
                       magic & 0xffu, (unsigned)MSG_VERSION);
    return 0;
}

int msg_next(struct msg_reader *r, unsigned *type, struct rd *body)
{
    const void *p;
    uint32_t len;

    if (rd_done(&r->rd))
        return 0;
    *type = rd_u8(&r->rd);
    len = rd_u32(&r->rd);
    if (len > MSG_BODY_MAX || (p = rd_bytes(&r->rd, len)) == NULL)
        return PILOT_EPROTO;
    rd_init(body, p, len);
    return 1;
}

static int finish(const struct rd *body)
{
    return rd_done(body) ? 0 : PILOT_EPROTO;
}

void msg_put_hello(struct buf *frame, const struct msg_hello *m)
{
    size_t at = begin(frame, MSG_HELLO);

    buf_put_str(frame, m->host);
    buf_put_str(frame, m->version);
    buf_put_str(frame, m->cpus);
    buf_put_u32(frame, m->slurm_cpus);
    buf_put_i64(frame, m->pid);
    end(frame, at);
}

int msg_get_hello(struct rd *body, struct msg_hello *m)
{
    rd_str_into(body, m->host, sizeof(m->host));
    rd_str_into(body, m->version, sizeof(m->version));
    rd_str_into(body, m->cpus, sizeof(m->cpus));
    m->slurm_cpus = rd_u32(body);
    m->pid = rd_i64(body);
    return finish(body);
}

enum { FLAG_HYPERTHREADS = 1, FLAG_NO_PIN = 2, FLAG_KEEP_ENV = 4 };

void msg_put_welcome(struct buf *frame, const struct msg_welcome *m)
{
    size_t at = begin(frame, MSG_WELCOME);

    buf_put_u8(frame, (uint8_t)m->role);
    buf_put_str(frame, m->node);
    buf_put_str(frame, m->cpus);
    buf_put_str(frame, m->workdir);
    buf_put_i64(frame, m->grace_ms);
    buf_put_i64(frame, m->silence_ms);
    buf_put_i64(frame, m->heartbeat_ms);
    buf_put_i64(frame, m->left_ms);
    buf_put_i64(frame, m->max_output);
    buf_put_u8(frame, (uint8_t)m->output);
    buf_put_u8(frame, (uint8_t)((m->use_hyperthreads ? FLAG_HYPERTHREADS : 0) |
                                (m->no_pin ? FLAG_NO_PIN : 0) | (m->keep_env ? FLAG_KEEP_ENV : 0)));
    end(frame, at);
}

int msg_get_welcome(struct rd *body, struct msg_welcome *m)
{
    unsigned role = rd_u8(body);
    unsigned output, flags;

    m->role = (enum msg_role)role;
    rd_str_into(body, m->node, sizeof(m->node));
    rd_str_into(body, m->cpus, sizeof(m->cpus));
    rd_str_into(body, m->workdir, sizeof(m->workdir));
    m->grace_ms = rd_i64(body);
    m->silence_ms = rd_i64(body);
    m->heartbeat_ms = rd_i64(body);
    m->left_ms = rd_i64(body);
    m->max_output = rd_i64(body);
    output = rd_u8(body);
    m->output = (enum pilot_output)output;
    flags = rd_u8(body);
    m->use_hyperthreads = flags & FLAG_HYPERTHREADS;
    m->no_pin = flags & FLAG_NO_PIN;
    m->keep_env = flags & FLAG_KEEP_ENV;
    if ((role != ROLE_AGENT && role != ROLE_SURPLUS) || output > PILOT_OUTPUT_NONE)
        return PILOT_EPROTO;
    return finish(body);
}

void msg_put_ready(struct buf *frame, const struct msg_ready *m)
{
    size_t at = begin(frame, MSG_READY);

    buf_put_u32(frame, m->cores);
    buf_put_i64(frame, m->memory);
    buf_put_str(frame, m->map);
    buf_put_str(frame, m->text);
    end(frame, at);
}

int msg_get_ready(struct rd *body, struct msg_ready *m)
{
    m->cores = rd_u32(body);
    m->memory = rd_i64(body);
    rd_str_into(body, m->map, sizeof(m->map));
    rd_str_into(body, m->text, sizeof(m->text));
    return finish(body);
}

void msg_put_assign(struct buf *frame, const struct msg_assign *m)
{
    size_t at = begin(frame, MSG_ASSIGN);

    buf_put_u32(frame, m->cores);
    buf_put_u8(frame, m->is_virtual);
    end(frame, at);
}

int msg_get_assign(struct rd *body, struct msg_assign *m)
{
    m->cores = rd_u32(body);
    m->is_virtual = rd_u8(body) != 0;
    return finish(body);
}

void msg_put_run(struct buf *frame, task_id_t task, uint32_t attempt, task_id_t after,
                 uint32_t backs, const void *spec, size_t spec_len)
{
    size_t at = begin(frame, MSG_RUN);

    buf_put_u32(frame, task);
    buf_put_u32(frame, attempt);
    buf_put_u32(frame, after);
    buf_put_u32(frame, backs);
    buf_put(frame, spec, spec_len);
    end(frame, at);
}

int msg_get_run(struct rd *body, struct msg_run *m)
{
    int rc;

    m->task = rd_u32(body);
    m->attempt = rd_u32(body);
    m->after = rd_u32(body);
    m->backs = rd_u32(body);
    rc = spec_unpack(body, &m->spec);
    if (rc == 0 && finish(body) < 0) {
        task_spec_fini(&m->spec);
        rc = PILOT_EPROTO;
    }
    return rc;
}

void msg_put_kill(struct buf *frame, const struct msg_kill *m)
{
    size_t at = begin(frame, MSG_KILL);

    buf_put_u32(frame, m->task);
    buf_put_u32(frame, m->attempt);
    buf_put_u8(frame, (uint8_t)m->reason);
    buf_put_u8(frame, m->now);
    buf_put_u8(frame, m->unbegun);
    end(frame, at);
}

int msg_get_kill(struct rd *body, struct msg_kill *m)
{
    unsigned reason;

    m->task = rd_u32(body);
    m->attempt = rd_u32(body);
    reason = rd_u8(body);
    m->now = rd_u8(body) != 0;
    m->unbegun = rd_u8(body) != 0;
    if (reason >= ATTEMPT_REASON_COUNT)
        return PILOT_EPROTO;
    m->reason = (enum attempt_reason)reason;
    return finish(body);
}

void msg_put_back(struct buf *frame, const struct msg_back *m)
{
    size_t at = begin(frame, MSG_BACK);

    buf_put_u32(frame, m->task);
    buf_put_u32(frame, m->attempt);
    end(frame, at);
}

int msg_get_back(struct rd *body, struct msg_back *m)
{
    m->task = rd_u32(body);
    m->attempt = rd_u32(body);
    return finish(body);
}

void msg_put_ended(struct buf *frame, const struct msg_ended *m)
{
    const struct attempt_result *r = &m->result;
    size_t at = begin(frame, MSG_ENDED);

    buf_put_u32(frame, m->task);
    buf_put_u32(frame, m->attempt);
    buf_put_str(frame, m->cpus);
    buf_put_u8(frame, (uint8_t)r->reason);
    buf_put_i64(frame, r->exit_code);
    buf_put_i64(frame, r->signal);
    buf_put_i64(frame, r->start_wall_ms);
    buf_put_i64(frame, r->end_wall_ms);
    buf_put_i64(frame, r->user_us);
    buf_put_i64(frame, r->sys_us);
    buf_put_i64(frame, r->max_rss_kib);
    buf_put_i64(frame, r->output_dropped);
    buf_put_u8(frame, r->packed);
    if (r->packed) {
        buf_put_u64(frame, r->pack_at);
        buf_put_i64(frame, r->stdout_bytes);
        buf_put_i64(frame, r->stderr_bytes);
    }
    buf_put_str(frame, r->message);
    end(frame, at);
}

int msg_get_ended(struct rd *body, struct msg_ended *m)
{
    struct attempt_result *r = &m->result;
    unsigned reason;

    m->task = rd_u32(body);
    m->attempt = rd_u32(body);
    rd_str_into(body, m->cpus, sizeof(m->cpus));
    reason = rd_u8(body);
    r->exit_code = (int)rd_i64(body);
    r->signal = (int)rd_i64(body);
    r->start_wall_ms = rd_i64(body);
    r->end_wall_ms = rd_i64(body);
    r->user_us = rd_i64(body);
    r->sys_us = rd_i64(body);
    r->max_rss_kib = rd_i64(body);
    r->output_dropped = rd_i64(body);
    r->packed = rd_u8(body) != 0;
    r->pack_at = r->packed ? rd_u64(body) : 0;
    r->stdout_bytes = r->packed ? rd_i64(body) : 0;
    r->stderr_bytes = r->packed ? rd_i64(body) : 0;
    rd_str_into(body, r->message, sizeof(r->message));
    if (reason >= ATTEMPT_REASON_COUNT)
        return PILOT_EPROTO;
    r->reason = (enum attempt_reason)reason;
    return finish(body);
}

void msg_put_text(struct buf *frame, enum msg_type type, uint32_t client, const char *text)
{
    size_t at = begin(frame, type);

    buf_put_u32(frame, client);
    buf_put_str(frame, text);
    end(frame, at);
}

int msg_get_text(struct rd *body, struct msg_text *m)
{
    m->client = rd_u32(body);
    m->text = rd_str(body);
    if (finish(body) < 0) {
        free(m->text);
        m->text = NULL;
        return PILOT_EPROTO;
    }
    return 0;
}

void msg_put_room(struct buf *frame, const struct msg_room *m)
{
    size_t at = begin(frame, MSG_ROOM);

    buf_put_str(frame, m->why);
    end(frame, at);
}

int msg_get_room(struct rd *body, struct msg_room *m)
{
    rd_str_into(body, m->why, sizeof(m->why));
    return finish(body);
}

void msg_put_pack(struct buf *frame, const struct msg_pack *m)
{
    size_t at = begin(frame, MSG_PACK);

    buf_put_u64(frame, m->run);
    end(frame, at);
}

int msg_get_pack(struct rd *body, struct msg_pack *m)
{
    m->run = rd_u64(body);
    return finish(body);
}

void msg_put_empty(struct buf *frame, enum msg_type type)
{
    end(frame, begin(frame, type));
}
