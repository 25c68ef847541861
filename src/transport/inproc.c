/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the two queues between head and agent in one process. Needs no descriptor: both ends are
 * served in the same loop, which goes round until neither has anything (see head/head.c). */
#include "transport/impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

struct frame {
    struct frame *next;
    size_t len;
    unsigned char data[];
};

struct inproc {
    struct transport base;
    struct inproc *other; /* NULL once it has closed */
    struct frame *first, **last;
    struct frame *current; /* handed out by the last recv */
    bool cut;
};

static struct inproc *self(struct transport *t)
{
    return (struct inproc *)t;
}

static int inproc_send(struct transport *t, int peer, const void *data, size_t len)
{
    struct inproc *to = self(t)->other;
    struct frame *f;

    (void)peer;
    if (to == NULL || self(t)->cut)
        return 0;
    f = malloc(sizeof(*f) + len);
    if (f == NULL)
        return PILOT_ENOMEM;
    f->next = NULL;
    f->len = len;
    memcpy(f->data, data, len);
    *to->last = f;
    to->last = &f->next;
    return 0;
}

static int inproc_recv(struct transport *t, int *peer, const void **data, size_t *len)
{
    struct inproc *in = self(t);
    struct frame *f = in->first;

    free(in->current);
    in->current = f;
    if (f == NULL)
        return 0;
    in->first = f->next;
    if (in->first == NULL)
        in->last = &in->first;
    *peer = 0;
    *data = f->data;
    *len = f->len;
    return 1;
}

static void inproc_flush(struct transport *t)
{
    (void)t;
}

static void inproc_drop(struct transport *t, int peer)
{
    (void)peer;
    self(t)->cut = true;
}

static int inproc_fd(const struct transport *t)
{
    (void)t;
    return -1;
}

static int64_t inproc_nap_us(struct transport *t, int64_t now_us)
{
    (void)now_us;
    return self(t)->first != NULL ? 0 : INT64_MAX;
}

static void inproc_woken(struct transport *t, int64_t now_us)
{
    (void)t;
    (void)now_us;
}

static bool inproc_idle(struct transport *t)
{
    struct inproc *other = self(t)->other;

    return other == NULL || other->first == NULL;
}

static void inproc_close(struct transport *t, bool orderly, int status)
{
    struct inproc *in = self(t);

    (void)orderly;
    (void)status;
    if (in->other != NULL)
        in->other->other = NULL;
    free(in->current);
    while (in->first != NULL) {
        struct frame *f = in->first;

        in->first = f->next;
        free(f);
    }
    free(in);
}

static const struct transport_ops inproc_ops = {
    .send = inproc_send,
    .recv = inproc_recv,
    .flush = inproc_flush,
    .drop = inproc_drop,
    .fd = inproc_fd,
    .nap_us = inproc_nap_us,
    .woken = inproc_woken,
    .idle = inproc_idle,
    .close = inproc_close,
};

int transport_inproc_open(struct transport **a, struct transport **b, struct pilot_error *err)
{
    struct inproc *ends[2];

    for (int i = 0; i < 2; i++) {
        ends[i] = calloc(1, sizeof(*ends[i]));
        if (ends[i] == NULL) {
            if (i == 1)
                free(ends[0]);
            return err_set(err, PILOT_ENOMEM, "out of memory");
        }
        ends[i]->base.ops = &inproc_ops;
        ends[i]->base.size = 1;
        ends[i]->last = &ends[i]->first;
    }
    ends[0]->other = ends[1];
    ends[1]->other = ends[0];
    *a = &ends[0]->base;
    *b = &ends[1]->base;
    return 0;
}

void transport_inproc_cut(struct transport *t)
{
    self(t)->cut = true;
    if (self(t)->other != NULL)
        self(t)->other->cut = true;
}
