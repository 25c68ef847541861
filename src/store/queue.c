/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the caller's side of the queue. A change is copied, texts and all, behind the last one in a
 * block of memory; no lock is taken and nothing is allocated but a block now and then. A barrier
 * publishes the place reached, under the lock; the thread reads only what lies before it, so the
 * two sides never touch the same bytes. Must not call SQLite.
 *
 * Blocks come from mmap, not from malloc: a million tasks queued at once are hundreds of megabytes,
 * which go back to the system as they are written instead of staying in the heap of the pilot. */
#include "store/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/error.h"

#define BLOCK_BYTES ((size_t)256 * 1024)

static struct block *block_new(size_t data_bytes)
{
    size_t size = sizeof(struct block) + data_bytes;
    struct block *b;

    if (size < BLOCK_BYTES)
        size = BLOCK_BYTES;
    b = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b == MAP_FAILED)
        return NULL;
    b->cap = size - sizeof(struct block);
    return b;
}

void block_free(struct block *b)
{
    munmap(b, sizeof(struct block) + b->cap);
}

int queue_init(struct store *s)
{
    struct block *b = block_new(0);

    if (b == NULL)
        return PILOT_ENOMEM;
    s->tail = s->last_barrier = s->goal = s->writer.at = s->writer.begin = (struct queue_pos){b, 0};
    return 0;
}

void queue_fini(struct store *s)
{
    struct block *b = s->writer.begin.block;

    while (b != NULL) {
        struct block *next = b == s->tail.block ? NULL : b->next;

        block_free(b);
        b = next;
    }
    s->tail.block = s->writer.at.block = s->writer.begin.block = NULL;
}

static void out_of_memory(struct store *s)
{
    struct pilot_error err;

    err_set(&err, PILOT_ENOMEM, "memory is short for changes to the state in %s", s->place.given);
    store_fail(s, &err);
}

/* How much of a struct op a change of this kind has. */
static size_t head_bytes(enum op_kind kind)
{
    static const size_t of_union[] = {
        [OP_PUT] = sizeof(((struct op *)0)->u.spec),
        [OP_REPLACE] = sizeof(((struct op *)0)->u.spec),
        [OP_STARTED] = sizeof(((struct op *)0)->u.started),
        [OP_ENDED] = sizeof(((struct op *)0)->u.ended),
        [OP_STATUS] = 0,
        [OP_ANSWERED] = 0,
        [OP_TRIAL] = sizeof(((struct op *)0)->u.trial),
        [OP_META] = 0,
    };

    return offsetof(struct op, u) + of_union[kind];
}

/* Room for an op with texts of these lengths, which are set; NULL when the store has failed. */
static struct op *append(struct store *s, enum op_kind kind, task_id_t task,
                         const size_t len[OP_TEXTS])
{
    const size_t align = _Alignof(struct op);
    size_t texts = head_bytes(kind);
    size_t size = texts + len[0] + len[1] + len[2] + OP_TEXTS;
    struct block *b = s->tail.block;
    struct op *op;
    char *text;

    if (atomic_load(&s->failed))
        return NULL;
    for (int i = 0; i < OP_TEXTS; i++)
        BUG_ON(len[i] >= UINT32_MAX);
    size = (size + align - 1) / align * align;
    if (b->cap - s->tail.used < size) {
        struct block *fresh = block_new(size);

        if (fresh == NULL) {
            out_of_memory(s);
            return NULL;
        }
        b->used = s->tail.used;
        b->next = fresh;
        s->tail = (struct queue_pos){fresh, 0};
        b = fresh;
    }
    op = (struct op *)(b->data + s->tail.used);
    s->tail.used += size;
    op->size = size;
    op->kind = (uint8_t)kind;
    op->task = task;
    op->texts = (uint8_t)texts;
    text = (char *)op + texts;
    for (int i = 0; i < OP_TEXTS; i++) {
        op->len[i] = (uint32_t)len[i];
        text[len[i]] = '\0';
        text += len[i] + 1;
    }
    return op;
}

static void set_text(struct op *op, int i, const char *text)
{
    memcpy((char *)op_text(op, i), text, op->len[i]);
}

static size_t length(const char *s)
{
    return s ? strlen(s) : 0;
}

/* Can this argument be written for a shell as it is? */
static bool is_plain(const char *arg)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_@%+=:,./-";

    return arg[0] != '\0' && arg[strspn(arg, plain)] == '\0';
}

/* Appends to *at if out is not NULL; counts in any case. */
static void emit(char *out, size_t *at, const char *bytes, size_t len)
{
    if (out != NULL)
        memcpy(out + *at, bytes, len);
    *at += len;
}

size_t queue_join_arguments(char *const *argv, char *out)
{
    size_t at = 0;

    for (; *argv != NULL; argv++) {
        if (at > 0)
            emit(out, &at, " ", 1);
        if (is_plain(*argv)) {
            emit(out, &at, *argv, strlen(*argv));
            continue;
        }
        emit(out, &at, "'", 1);
        for (const char *c = *argv; *c != '\0'; c++)
            if (*c == '\'')
                emit(out, &at, "'\\''", 4);
            else
                emit(out, &at, c, 1);
        emit(out, &at, "'", 1);
    }
    return at;
}

static void append_spec(struct store *s, enum op_kind kind, task_id_t task,
                        const struct task_spec *spec, const char *spec_json,
                        enum task_status status)
{
    const size_t len[OP_TEXTS] = {
        strlen(spec->id),
        spec->argv ? queue_join_arguments(spec->argv, NULL) : length(spec->command),
        strlen(spec_json),
    };
    struct op *op = append(s, kind, task, len);

    if (op == NULL)
        return;
    op->status = (uint8_t)status;
    op->u.spec.cores = spec->cores;
    op->u.spec.priority = spec->priority;
    op->u.spec.max_retries = spec->max_retries;
    op->u.spec.timeout_ms = spec->timeout_ms;
    op->u.spec.estimate_ms = spec->estimate_ms;
    op->u.spec.memory = spec->memory;
    set_text(op, 0, spec->id);
    if (spec->argv != NULL)
        queue_join_arguments(spec->argv, (char *)op_text(op, 1));
    else if (spec->command != NULL)
        set_text(op, 1, spec->command);
    set_text(op, 2, spec_json);
}

void store_put_task(struct store *s, task_id_t task, const struct task_spec *spec,
                    const char *spec_json, enum task_status status)
{
    append_spec(s, OP_PUT, task, spec, spec_json, status);
}

void store_replace_task(struct store *s, task_id_t task, const struct task_spec *spec,
                        const char *spec_json)
{
    append_spec(s, OP_REPLACE, task, spec, spec_json, TASK_PENDING);
}

void store_attempt_started(struct store *s, task_id_t task, const char *id, unsigned attempt,
                           const char *node, int64_t start_wall_ms)
{
    const size_t len[OP_TEXTS] = {strlen(node), strlen(id)};
    struct op *op = append(s, OP_STARTED, task, len);

    if (op == NULL)
        return;
    op->attempt = attempt;
    op->status = TASK_RUNNING;
    op->u.started.start_wall_ms = start_wall_ms;
    set_text(op, 0, node);
    set_text(op, 1, id);
}

void store_attempt_ended(struct store *s, task_id_t task, unsigned attempt, const char *node,
                         const char *cpus, const struct attempt_result *result,
                         enum task_status status, bool tell)
{
    const size_t len[OP_TEXTS] = {strlen(node), length(cpus), strlen(result->message)};
    struct op *op = append(s, OP_ENDED, task, len);

    if (op == NULL)
        return;
    op->attempt = attempt;
    op->status = (uint8_t)status;
    op->tell = tell;
    op->u.ended.reason = result->reason;
    op->u.ended.exit_code = result->exit_code;
    op->u.ended.signal = result->signal;
    op->u.ended.start_wall_ms = result->start_wall_ms;
    op->u.ended.end_wall_ms = result->end_wall_ms;
    op->u.ended.user_us = result->user_us;
    op->u.ended.sys_us = result->sys_us;
    op->u.ended.max_rss_kib = result->max_rss_kib;
    op->u.ended.output_dropped = result->output_dropped;
    op->u.ended.packed = result->packed;
    op->u.ended.pack_at = result->pack_at;
    op->u.ended.stdout_bytes = result->stdout_bytes;
    op->u.ended.stderr_bytes = result->stderr_bytes;
    set_text(op, 0, node);
    set_text(op, 1, cpus ? cpus : "");
    set_text(op, 2, result->message);
}

void store_task_status(struct store *s, task_id_t task, enum task_status status, const char *why,
                       bool tell)
{
    const size_t len[OP_TEXTS] = {length(why)};
    struct op *op = append(s, OP_STATUS, task, len);

    if (op == NULL)
        return;
    op->status = (uint8_t)status;
    op->tell = tell;
    set_text(op, 0, why ? why : "");
}

void store_event_answered(struct store *s, task_id_t task)
{
    append(s, OP_ANSWERED, task, (const size_t[OP_TEXTS]){0});
}

void store_trial(struct store *s, task_id_t task, enum store_trial trial)
{
    struct op *op = append(s, OP_TRIAL, task, (const size_t[OP_TEXTS]){0});

    if (op != NULL)
        op->u.trial = trial;
}

void store_stopping(struct store *s)
{
    store_put_meta(s, "stopping", "1");
}

void store_put_meta(struct store *s, const char *key, const char *value)
{
    const size_t len[OP_TEXTS] = {strlen(key), length(value)};
    struct op *op = append(s, OP_META, TASK_ID_NONE, len);

    if (op == NULL)
        return;
    set_text(op, 0, key);
    set_text(op, 1, value ? value : "");
}

uint64_t store_barrier(struct store *s)
{
    bool wake;

    s->barriers++;
    s->last_barrier = s->tail;
    pthread_mutex_lock(&s->lock);
    s->goal = s->tail;
    s->goal_number = s->barriers;
    s->offer = false;
    wake = s->idle;
    s->idle = false;
    pthread_mutex_unlock(&s->lock);
    if (wake)
        pthread_cond_signal(&s->wake);
    return s->barriers;
}

void store_offer(struct store *s)
{
    bool wake;

    pthread_mutex_lock(&s->lock);
    s->offered = s->tail;
    s->offer = true;
    wake = s->idle;
    s->idle = false;
    pthread_mutex_unlock(&s->lock);
    if (wake)
        pthread_cond_signal(&s->wake);
}

void store_hurry(struct store *s)
{
    bool wake;

    pthread_mutex_lock(&s->lock);
    wake = s->hurried != s->goal_number;
    s->hurried = s->goal_number;
    pthread_mutex_unlock(&s->lock);
    if (wake)
        pthread_cond_signal(&s->wake);
}

uint64_t store_committed(const struct store *s)
{
    return atomic_load(&s->committed);
}

int store_fd(const struct store *s)
{
    return s->event_fd;
}

bool store_failed(const struct store *s, struct pilot_error *err)
{
    if (!atomic_load(&s->failed))
        return false;
    if (err != NULL)
        *err = s->failure;
    return true;
}

bool store_waits(struct store *s, struct pilot_error *err)
{
    if (!atomic_load(&s->waits))
        return false;
    if (err != NULL) {
        pthread_mutex_lock(&s->lock);
        *err = s->short_of;
        pthread_mutex_unlock(&s->lock);
    }
    return true;
}

void store_notify(struct store *s)
{
    const uint64_t one = 1;
    ssize_t n;

    do
        n = write(s->event_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR); /* EAGAIN: it is readable already */
}

void store_fail(struct store *s, const struct pilot_error *why)
{
    pthread_mutex_lock(&s->lock);
    if (!atomic_load(&s->failed)) {
        s->failure = *why;
        atomic_store(&s->failed, true);
    }
    pthread_mutex_unlock(&s->lock);
    store_notify(s);
}
