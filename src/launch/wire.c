/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: encoding, decoding and framing of the messages in wire.h. Must not interpret them.
 *
 * Strings travel with their NUL, unlike those of buf_put_str: a slot uses them where they lie in
 * the receive buffer, as arguments of execve, and allocates nothing for a task. */
#include "launch/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/error.h"

#define HEADER_BYTES 5 /* length and type */
#define RX_FIRST_BYTES 8192

/* ---- Strings --------------------------------------------------------------------------------- */

static void put_cstr(struct buf *b, const char *s)
{
    size_t bytes = s != NULL ? strlen(s) + 1 : 0;

    if (bytes > WIRE_MAX) {
        b->failed = true;
        return;
    }
    buf_put_u32(b, (uint32_t)bytes);
    buf_put(b, s, bytes);
}

/* NULL for a NULL that was sent, and on failure. */
static const char *get_cstr(struct rd *r)
{
    size_t bytes = rd_u32(r);
    const char *s;

    if (bytes == 0)
        return NULL;
    s = rd_bytes(r, bytes);
    if (s == NULL || memchr(s, '\0', bytes) != s + bytes - 1) {
        r->failed = true;
        return NULL;
    }
    return s;
}

static void put_strv(struct buf *b, char *const *v)
{
    size_t n = strv_len(v);

    buf_put_u32(b, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        put_cstr(b, v[i]);
}

static void get_strv(struct rd *r, struct wire_strv *out)
{
    size_t n = rd_u32(r);

    out->n = 0;
    if (r->failed || n > rd_left(r) / 4) { /* every string needs at least its length */
        r->failed = true;
        return;
    }
    if (n + 1 > out->cap) {
        char **v = realloc(out->v, (n + 1) * sizeof(*v));

        if (v == NULL) {
            r->failed = true;
            return;
        }
        out->v = v;
        out->cap = n + 1;
    }
    for (size_t i = 0; i < n; i++) {
        const char *s = get_cstr(r);

        if (s == NULL) {
            r->failed = true;
            return;
        }
        out->v[i] = (char *)s;
    }
    out->v[n] = NULL;
    out->n = n;
}

/* ---- Messages -------------------------------------------------------------------------------- */

static size_t begin(struct buf *b, enum wire_type type)
{
    size_t at = b->len;

    buf_put_u32(b, 0);
    buf_put_u8(b, (uint8_t)type);
    return at;
}

static void finish(struct buf *b, size_t at)
{
    size_t len = b->len - at - 4;

    if (len > WIRE_MAX)
        b->failed = true;
    else
        buf_set_u32(b, at, (uint32_t)len);
}

static int decoded(const struct rd *r)
{
    return rd_done(r) ? 0 : PILOT_EPROTO;
}

void wire_put_config(struct buf *b, const struct wire_config *config)
{
    size_t at = begin(b, WIRE_CONFIG);

    buf_put_i64(b, config->grace_ms);
    put_cstr(b, config->workdir);
    buf_put_strv(b, config->env);
    finish(b, at);
}

int wire_get_config(const void *payload, size_t len, struct wire_config *out)
{
    struct rd r;

    rd_init(&r, payload, len);
    out->grace_ms = rd_i64(&r);
    out->workdir = get_cstr(&r);
    out->env = rd_strv(&r);
    if (out->workdir == NULL || decoded(&r) < 0) {
        strv_free(out->env);
        out->env = NULL;
        return PILOT_EPROTO;
    }
    return 0;
}

void wire_put_pack(struct buf *b, const struct wire_pack *pack)
{
    size_t at = begin(b, WIRE_PACK);

    put_cstr(b, pack->dir);
    buf_put_u64(b, pack->run);
    finish(b, at);
}

int wire_get_pack(const void *payload, size_t len, struct wire_pack *out)
{
    struct rd r;

    rd_init(&r, payload, len);
    out->dir = get_cstr(&r);
    out->run = rd_u64(&r);
    return out->dir != NULL ? decoded(&r) : PILOT_EPROTO;
}

void wire_put_want(struct buf *b)
{
    finish(b, begin(b, WIRE_WANT));
}

static void put_number(struct buf *b, enum wire_type type, int64_t number)
{
    size_t at = begin(b, type);

    buf_put_i64(b, number);
    finish(b, at);
}

void wire_put_slot(struct buf *b, pid_t pid)
{
    put_number(b, WIRE_SLOT, pid);
}

void wire_put_noslot(struct buf *b, int errnum)
{
    put_number(b, WIRE_NOSLOT, errnum);
}

void wire_put_gone(struct buf *b, pid_t pid)
{
    put_number(b, WIRE_GONE, pid);
}

void wire_put_watch(struct buf *b, int64_t patience_ms)
{
    put_number(b, WIRE_WATCH, patience_ms < INT_MAX ? patience_ms : INT_MAX);
}

int wire_get_number(const void *payload, size_t len, int64_t *out)
{
    struct rd r;

    rd_init(&r, payload, len);
    *out = rd_i64(&r);
    if (*out < 0 || *out > INT_MAX)
        r.failed = true;
    return decoded(&r);
}

void wire_put_run(struct buf *b, const struct launch_request *req)
{
    size_t at = begin(b, WIRE_RUN);

    buf_put_u64(b, req->key);
    buf_put_u32(b, req->attempt);
    buf_put_i64(b, req->timeout_ms);
    buf_put_i64(b, req->memory);
    put_cstr(b, req->id);
    put_cstr(b, req->argv != NULL ? NULL : req->command);
    put_strv(b, req->argv);
    put_strv(b, req->env);
    put_cstr(b, req->cwd);
    put_cstr(b, req->stdin_path);
    put_cstr(b, req->cpus);
    buf_put_i64(b, req->wait_ms); /* `after` is the launcher's business: it chooses the slot */
    buf_put_u8(b, req->stdio_fd != 0);
    buf_put_i64(b, req->max_output);
    buf_put_u8(b, (uint8_t)req->output);
    finish(b, at);
}

int wire_get_run(const void *payload, size_t len, struct wire_run *out)
{
    struct launch_request *req = &out->req;
    struct rd r;

    rd_init(&r, payload, len);
    req->key = rd_u64(&r);
    req->attempt = rd_u32(&r);
    req->timeout_ms = rd_i64(&r);
    req->memory = rd_i64(&r);
    req->id = get_cstr(&r);
    req->command = get_cstr(&r);
    get_strv(&r, &out->argv);
    get_strv(&r, &out->env);
    req->cwd = get_cstr(&r);
    req->stdin_path = get_cstr(&r);
    req->cpus = get_cstr(&r);
    req->wait_ms = rd_i64(&r);
    req->stdio_fd = req->stderr_fd = rd_u8(&r) != 0 ? -1 : 0;
    req->max_output = rd_i64(&r);
    req->output = (enum pilot_output)rd_u8(&r);
    req->argv = out->argv.n > 0 ? out->argv.v : NULL;
    req->env = out->env.n > 0 ? out->env.v : NULL;
    if (req->id == NULL || req->output > PILOT_OUTPUT_NONE ||
        (req->command == NULL) == (req->argv == NULL))
        return PILOT_EPROTO;
    return decoded(&r);
}

void wire_put_back(struct buf *b, uint64_t key)
{
    size_t at = begin(b, WIRE_BACK);

    buf_put_u64(b, key);
    finish(b, at);
}

int wire_get_back(const void *payload, size_t len, uint64_t *key)
{
    struct rd r;

    rd_init(&r, payload, len);
    *key = rd_u64(&r);
    return decoded(&r);
}

void wire_run_fini(struct wire_run *run)
{
    free(run->argv.v);
    free(run->env.v);
    memset(run, 0, sizeof(*run));
}

void wire_put_kill(struct buf *b, const struct wire_kill *k)
{
    size_t at = begin(b, WIRE_KILL);

    buf_put_u64(b, k->key);
    buf_put_u8(b, (uint8_t)k->reason);
    buf_put_u8(b, k->now);
    buf_put_u8(b, k->unbegun);
    finish(b, at);
}

static enum attempt_reason get_reason(struct rd *r)
{
    uint8_t v = rd_u8(r);

    if (v >= ATTEMPT_REASON_COUNT) {
        r->failed = true;
        v = REASON_LOST;
    }
    return (enum attempt_reason)v;
}

int wire_get_kill(const void *payload, size_t len, struct wire_kill *out)
{
    struct rd r;

    rd_init(&r, payload, len);
    out->key = rd_u64(&r);
    out->reason = get_reason(&r);
    out->now = rd_u8(&r) != 0;
    out->unbegun = rd_u8(&r) != 0;
    return decoded(&r);
}

void wire_put_result(struct buf *b, const struct launch_event *ev)
{
    const struct attempt_result *res = &ev->result;
    size_t at = begin(b, WIRE_RESULT);

    buf_put_u64(b, ev->key);
    buf_put_u8(b, (uint8_t)res->reason);
    buf_put_i64(b, res->exit_code);
    buf_put_i64(b, res->signal);
    buf_put_i64(b, res->start_wall_ms);
    buf_put_i64(b, res->end_wall_ms);
    buf_put_i64(b, res->user_us);
    buf_put_i64(b, res->sys_us);
    buf_put_i64(b, res->max_rss_kib);
    buf_put_i64(b, res->output_dropped);
    buf_put_u8(b, res->packed);
    buf_put_u64(b, res->pack_at);
    buf_put_i64(b, res->stdout_bytes);
    buf_put_i64(b, res->stderr_bytes);
    buf_put_str(b, res->message);
    finish(b, at);
}

int wire_get_result(const void *payload, size_t len, struct launch_event *out)
{
    struct attempt_result *res = &out->result;
    struct rd r;

    rd_init(&r, payload, len);
    out->key = rd_u64(&r);
    res->reason = get_reason(&r);
    res->exit_code = (int)rd_i64(&r);
    res->signal = (int)rd_i64(&r);
    res->start_wall_ms = rd_i64(&r);
    res->end_wall_ms = rd_i64(&r);
    res->user_us = rd_i64(&r);
    res->sys_us = rd_i64(&r);
    res->max_rss_kib = rd_i64(&r);
    res->output_dropped = rd_i64(&r);
    res->packed = rd_u8(&r) != 0;
    res->pack_at = rd_u64(&r);
    res->stdout_bytes = rd_i64(&r);
    res->stderr_bytes = rd_i64(&r);
    rd_str_into(&r, res->message, sizeof(res->message));
    return decoded(&r);
}

/* ---- Transport ------------------------------------------------------------------------------- */

void wire_rx_init(struct wire_rx *rx)
{
    memset(rx, 0, sizeof(*rx));
}

void wire_rx_fini(struct wire_rx *rx)
{
    free(rx->data);
    wire_rx_init(rx);
}

/* Bytes of the message at the start, as far as known: at least a header. */
static size_t message_bytes(const struct wire_rx *rx)
{
    struct rd r;
    size_t len;

    if (rx->end - rx->start < 4)
        return HEADER_BYTES;
    rd_init(&r, rx->data + rx->start, 4);
    len = rd_u32(&r);
    return len >= 1 && len <= WIRE_MAX ? 4 + len : HEADER_BYTES;
}

/* Makes room for the rest of the message at the start, and in any case for some bytes. */
static int make_room(struct wire_rx *rx)
{
    size_t need = message_bytes(rx);
    size_t cap = rx->cap > 0 ? rx->cap : RX_FIRST_BYTES;
    unsigned char *data;

    if (rx->start > 0) {
        memmove(rx->data, rx->data + rx->start, rx->end - rx->start);
        rx->end -= rx->start;
        rx->start = 0;
    }
    while (cap < need || cap == rx->end)
        cap *= 2;
    if (cap == rx->cap)
        return 0;
    data = realloc(rx->data, cap);
    if (data == NULL)
        return PILOT_ENOMEM;
    rx->data = data;
    rx->cap = cap;
    return 0;
}

int wire_fds_dup(struct wire_fds *to, const struct wire_fds *from)
{
    to->n = 0;
    for (size_t i = 0; i < from->n; i++) {
        int fd = fcntl(from->v[i], F_DUPFD_CLOEXEC, 3);

        if (fd < 0) {
            int errnum = errno;

            wire_fds_close(to);
            errno = errnum;
            return PILOT_ESYS;
        }
        to->v[to->n++] = fd;
    }
    return 0;
}

void wire_fds_close(struct wire_fds *fds)
{
    while (fds->n > 0)
        close(fds->v[--fds->n]);
}

union fds_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
};

/* Fewer than were sent when this process may not have so many open. */
static void take_fds(struct msghdr *msg, struct wire_fds *fds)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);

    if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return;
    fds->n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds->v, CMSG_DATA(c), fds->n * sizeof(int));
}

ssize_t wire_recv(struct wire_rx *rx, int fd, int flags, struct wire_fds *fds)
{
    union fds_control control;
    struct iovec iov;
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (fds != NULL)
        fds->n = 0;
    if (make_room(rx) < 0)
        return PILOT_ENOMEM;
    iov.iov_base = rx->data + rx->end;
    iov.iov_len = rx->cap - rx->end;
    do {
        if (fds == NULL) {
            n = recv(fd, iov.iov_base, iov.iov_len, flags);
        } else {
            msg.msg_control = control.bytes;
            msg.msg_controllen = sizeof(control.bytes);
            n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
        }
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? PILOT_EAGAIN : PILOT_ELOST;
    if (fds != NULL)
        take_fds(&msg, fds);
    rx->end += (size_t)n;
    return n;
}

int wire_next(struct wire_rx *rx, enum wire_type *type, const void **payload, size_t *len)
{
    size_t have = rx->end - rx->start;
    struct rd r;
    uint32_t bytes;

    if (have < HEADER_BYTES)
        return 0;
    rd_init(&r, rx->data + rx->start, have);
    bytes = rd_u32(&r);
    if (bytes < 1 || bytes > WIRE_MAX)
        return PILOT_EPROTO;
    if (have < 4 + (size_t)bytes)
        return 0;
    *type = (enum wire_type)rd_u8(&r);
    *payload = r.p;
    *len = bytes - 1;
    rx->start += 4 + (size_t)bytes;
    return 1;
}

ssize_t wire_send(int fd, const void *data, size_t len, int flags)
{
    const unsigned char *p = data;
    size_t done = 0;

    while (done < len) {
        ssize_t n = send(fd, p + done, len - done, flags | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN && (flags & MSG_DONTWAIT))
            break;
        if (n < 0)
            return PILOT_ELOST;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

ssize_t wire_send_fds(int fd, const void *data, size_t len, int flags, const struct wire_fds *fds)
{
    union fds_control control;
    struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes};
    struct cmsghdr *c;
    ssize_t rest;
    ssize_t n;

    if (fds == NULL || fds->n == 0)
        return wire_send(fd, data, len, flags);
    memset(&control, 0, sizeof(control));
    msg.msg_controllen = CMSG_SPACE(fds->n * sizeof(int));
    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds->n * sizeof(int));
    memcpy(CMSG_DATA(c), fds->v, fds->n * sizeof(int));
    do {
        n = sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN && (flags & MSG_DONTWAIT) ? 0 : PILOT_ELOST;
    rest = wire_send(fd, (const unsigned char *)data + n, len - (size_t)n, flags);
    return rest < 0 ? rest : n + rest;
}
