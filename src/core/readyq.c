/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the heaps of ready tasks and the tournament over them. A heap holds 64-bit keys and nothing
 * else: comparing two of them touches no task, which is what makes a heap of a million fast. */
#include "core/readyq.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/large.h"
#include "core/sched.h"

#define MEMORY_BITS 9

uint64_t key_of(int32_t priority, task_id_t task)
{
    uint32_t rank = UINT32_MAX - ((uint32_t)priority ^ UINT32_C(0x80000000));

    return (uint64_t)rank << 32 | task;
}

task_id_t key_task(uint64_t key)
{
    return (task_id_t)key;
}

void readyq_fini(struct readyq *q)
{
    for (uint32_t i = 0; i < q->len; i++)
        free(q->v[i].heap);
    free(q->v);
    free(q->by_width);
    free(q->tree);
    *q = (struct readyq){0};
}

/* ---- Shapes ------------------------------------------------------------------------------------
 */

/* Timeouts that differ by less than a factor of two are alike; 0: no timeout. */
static uint32_t timeout_class(int64_t timeout_ms)
{
    return timeout_ms <= 0 ? 0 : 64 - (uint32_t)__builtin_clzll((uint64_t)timeout_ms);
}

uint64_t sched_memory(uint64_t bytes)
{
    int spare = bytes ? 64 - __builtin_clzll(bytes) - MEMORY_BITS : 0;

    return spare > 0 ? bytes >> spare << spare : bytes;
}

/* Like memcmp. */
static int compare(const struct shape *s, uint32_t cores, uint64_t memory, uint32_t class)
{
    if (s->cores != cores)
        return s->cores < cores ? -1 : 1;
    if (s->memory != memory)
        return s->memory < memory ? -1 : 1;
    return (s->timeout_class > class) - (s->timeout_class < class);
}

/* The position of the first shape that is not before (cores, memory, class). */
static uint32_t position_of(const struct readyq *q, uint32_t cores, uint64_t memory, uint32_t class)
{
    uint32_t lo = 0, hi = q->len;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (compare(&q->v[q->by_width[mid]], cores, memory, class) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void update_tree(struct readyq *q, uint32_t shape)
{
    uint32_t i = q->cap + q->v[shape].position;

    q->tree[i] = readyq_top(q, shape);
    for (i /= 2; i > 0; i /= 2)
        q->tree[i] = smaller(q->tree[2 * i], q->tree[2 * i + 1]);
}

static void rebuild_tree(struct readyq *q)
{
    for (uint32_t i = 0; i < q->cap; i++)
        q->tree[q->cap + i] = i < q->len ? readyq_top(q, q->by_width[i]) : KEY_NONE;
    for (uint32_t i = q->cap - 1; i > 0; i--)
        q->tree[i] = smaller(q->tree[2 * i], q->tree[2 * i + 1]);
}

static int grow(struct readyq *q)
{
    uint32_t cap = q->cap ? q->cap * 2 : 8; /* a power of two, for the tree */
    struct shape *v;
    uint32_t *by_width;
    uint64_t *tree = malloc((size_t)cap * 2 * sizeof(*tree));

    if (!tree)
        return PILOT_ENOMEM;
    v = realloc(q->v, cap * sizeof(*v));
    if (v)
        q->v = v;
    by_width = v ? realloc(q->by_width, cap * sizeof(*by_width)) : NULL;
    if (!by_width) {
        free(tree);
        return PILOT_ENOMEM;
    }
    q->by_width = by_width;
    free(q->tree);
    q->tree = tree;
    q->cap = cap;
    rebuild_tree(q);
    return 0;
}

static uint32_t find_kin(const struct readyq *q, uint32_t cores, uint32_t class)
{
    for (uint32_t i = 0; i < q->len; i++)
        if (q->v[i].cores == cores && q->v[i].timeout_class == class)
            return i;
    return q->len;
}

struct estimate *readyq_estimate(const struct readyq *q, uint32_t shape)
{
    return &q->v[q->v[shape].kin].estimate;
}

int64_t readyq_shape(struct readyq *q, uint32_t cores, uint64_t memory, int64_t timeout_ms)
{
    uint32_t class = timeout_class(timeout_ms);
    uint32_t at = position_of(q, cores, memory, class);

    if (at < q->len && compare(&q->v[q->by_width[at]], cores, memory, class) == 0)
        return q->by_width[at];
    if (q->len == q->cap) {
        int rc = grow(q);

        if (rc < 0)
            return rc;
    }
    memmove(&q->by_width[at + 1], &q->by_width[at], (q->len - at) * sizeof(*q->by_width));
    q->by_width[at] = q->len;
    q->v[q->len] = (struct shape){
        .cores = cores, .memory = memory, .timeout_class = class, .kin = find_kin(q, cores, class)};
    q->len++;
    q->uses_memory |= memory > 0;
    for (uint32_t i = at; i < q->len; i++)
        q->v[q->by_width[i]].position = i;
    rebuild_tree(q);
    return q->len - 1;
}

uint32_t readyq_narrower(const struct readyq *q, uint32_t max_cores)
{
    uint32_t lo = 0, hi = q->len;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (q->v[q->by_width[mid]].cores <= max_cores)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint32_t readyq_position(const struct readyq *q, uint32_t cores, uint64_t memory)
{
    return position_of(q, cores, memory, 0);
}

uint64_t readyq_between(const struct readyq *q, uint32_t from, uint32_t to)
{
    uint32_t lo = q->cap + from, hi = q->cap + to;
    uint64_t first = KEY_NONE;

    for (; lo < hi; lo /= 2, hi /= 2) {
        if (lo & 1)
            first = smaller(first, q->tree[lo++]);
        if (hi & 1)
            first = smaller(first, q->tree[--hi]);
    }
    return first;
}

uint64_t readyq_first(const struct readyq *q, uint32_t max_cores)
{
    return readyq_between(q, 0, readyq_narrower(q, max_cores));
}

bool readyq_has_smaller(const struct readyq *q, uint32_t cores, uint64_t memory)
{
    if (readyq_first(q, cores - 1) != KEY_NONE)
        return true;
    if (memory == 0)
        return false;
    for (uint32_t at = readyq_narrower(q, cores - 1), next; at < q->len; at = next) {
        uint32_t width = q->v[q->by_width[at]].cores;

        next = readyq_narrower(q, width);
        if (readyq_between(q, at, readyq_position(q, width, memory)) != KEY_NONE)
            return true;
    }
    return false;
}

/* ---- Heaps -------------------------------------------------------------------------------------
 */

int readyq_reserve(struct readyq *q, uint32_t shape, uint32_t entries)
{
    struct shape *s = &q->v[shape];
    uint64_t cap = (uint64_t)s->cap + s->cap / 2;
    uint64_t *heap;

    if (entries <= s->cap)
        return 0;
    if (cap < entries)
        cap = entries;
    if (cap > UINT32_MAX)
        cap = UINT32_MAX;
    heap = realloc(s->heap, cap * sizeof(*heap));
    if (!heap)
        return PILOT_ENOMEM;
    large_pages(heap, cap * sizeof(*heap));
    s->heap = heap;
    s->cap = (uint32_t)cap;
    return 0;
}

uint64_t readyq_top(const struct readyq *q, uint32_t shape)
{
    return q->v[shape].len ? q->v[shape].heap[0] : KEY_NONE;
}

void readyq_push(struct readyq *q, uint32_t shape, uint64_t key)
{
    struct shape *s = &q->v[shape];
    uint32_t i = s->len++;

    BUG_ON(i == s->cap);
    for (; i > 0 && s->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = key;
    if (i == 0)
        update_tree(q, shape);
}

void readyq_pop(struct readyq *q, uint32_t shape)
{
    struct shape *s = &q->v[shape];
    uint32_t i = 0;
    uint64_t last;

    BUG_ON(s->len == 0);
    last = s->heap[--s->len];
    for (uint64_t child = 1; child < s->len; child = 2 * (uint64_t)i + 1) {
        if (child + 1 < s->len && s->heap[child + 1] < s->heap[child])
            child++;
        if (last <= s->heap[child])
            break;
        s->heap[i] = s->heap[child];
        i = (uint32_t)child;
    }
    if (s->len > 0)
        s->heap[i] = last;
    update_tree(q, shape);
}
