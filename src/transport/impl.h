/* SPDX-License-Identifier: BSD-3-Clause */
/* What an implementation of transport.h provides. */
#ifndef PILOT_TRANSPORT_IMPL_H
#define PILOT_TRANSPORT_IMPL_H

#include "transport/transport.h"

struct transport_ops {
    int (*send)(struct transport *t, int peer, const void *frame, size_t len);
    int (*recv)(struct transport *t, int *peer, const void **frame, size_t *len);
    void (*flush)(struct transport *t);
    void (*drop)(struct transport *t, int peer);
    int (*fd)(const struct transport *t);
    int64_t (*nap_us)(struct transport *t, int64_t now_us);
    void (*woken)(struct transport *t, int64_t now_us);
    bool (*idle)(struct transport *t);
    void (*beat)(struct transport *t, int64_t every_ms);                  /* may be NULL */
    struct transport_signs (*signs)(const struct transport *t, int peer); /* may be NULL */
    void (*close)(struct transport *t, bool orderly, int status);
};

/* The first member of each implementation's own struct. */
struct transport {
    const struct transport_ops *ops;
    int rank;
    int size;
};

#endif
