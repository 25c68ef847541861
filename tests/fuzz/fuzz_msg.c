/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as a frame between ranks. What decodes is encoded again, and must then decode to the
 * same bytes: nothing is lost and nothing is made up. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "proto/msg.h"

static void put_run(struct buf *b, struct msg_run *m)
{
    struct buf spec;

    buf_init(&spec);
    spec_pack(&spec, &m->spec);
    BUG_ON(!buf_ok(&spec));
    msg_put_run(b, m->task, m->attempt, m->after, m->backs, spec.data, spec.len);
    buf_fini(&spec);
    task_spec_fini(&m->spec);
}

/* Decoded on the heap, where a byte behind its end is seen, and over a pattern, so that what a
 * decoder forgets to set is seen too. */
#define DEFINE_AGAIN(name)                                                                         \
    static bool again_##name(struct rd *body, struct buf *b)                                       \
    {                                                                                              \
        struct msg_##name *m = malloc(sizeof(*m));                                                 \
        bool ok;                                                                                   \
                                                                                                   \
        BUG_ON(m == NULL);                                                                         \
        memset(m, 0xa5, sizeof(*m));                                                               \
        ok = msg_get_##name(body, m) == 0;                                                         \
        if (ok)                                                                                    \
            msg_put_##name(b, m);                                                                  \
        free(m);                                                                                   \
        return ok;                                                                                 \
    }
DEFINE_AGAIN(hello)
DEFINE_AGAIN(welcome)
DEFINE_AGAIN(ready)
DEFINE_AGAIN(assign)
DEFINE_AGAIN(kill)
DEFINE_AGAIN(ended)
DEFINE_AGAIN(back)

/* Decodes one message and appends it to b. False: it was refused. */
static bool again(unsigned type, struct rd *body, struct buf *b)
{
    struct msg_run run;
    struct msg_text text;

    switch (type) {
    case MSG_HELLO:
        return again_hello(body, b);
    case MSG_WELCOME:
        return again_welcome(body, b);
    case MSG_READY:
        return again_ready(body, b);
    case MSG_ASSIGN:
        return again_assign(body, b);
    case MSG_KILL:
        return again_kill(body, b);
    case MSG_ENDED:
        return again_ended(body, b);
    case MSG_BACK:
        return again_back(body, b);
    case MSG_RUN:
        if (msg_get_run(body, &run) < 0)
            return false;
        put_run(b, &run);
        return true;
    case MSG_REQUEST:
    case MSG_REPLY:
        if (msg_get_text(body, &text) < 0)
            return false;
        msg_put_text(b, (enum msg_type)type, text.client, text.text);
        free(text.text);
        return true;
    default:
        BUG_ON(msg_type_name(type)[0] == '\0');
        return false;
    }
}

/* Everything in a frame that decodes, encoded into b. */
static void recode(const void *frame, size_t len, struct buf *b)
{
    struct pilot_error err;
    struct msg_reader reader;
    struct rd body;
    unsigned type;
    int rc;

    rc = msg_open(&reader, frame, len, &err);
    if (rc < 0) {
        BUG_ON(rc != PILOT_EPROTO || err.text[0] == '\0');
        return;
    }
    while ((rc = msg_next(&reader, &type, &body)) > 0)
        again(type, &body, b);
    BUG_ON(rc != 0 && rc != PILOT_EPROTO);
    BUG_ON(!buf_ok(b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf first, second;

    buf_init(&first);
    buf_init(&second);
    recode(data, size, &first);
    if (first.len > 0)
        recode(first.data, first.len, &second);
    BUG_ON(first.len != second.len ||
           (first.len > 0 && memcmp(first.data, second.data, first.len) != 0));
    buf_fini(&first);
    buf_fini(&second);
    return 0;
}
