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
    msg_put_run(b, m->task, m->attempt, spec.data, spec.len);
    buf_fini(&spec);
    task_spec_fini(&m->spec);
}

/* Decodes one message and appends it to b. False: it was refused. */
static bool again(unsigned type, struct rd *body, struct buf *b)
{
    static union {
        struct msg_hello hello;
        struct msg_welcome welcome;
        struct msg_ready ready;
        struct msg_assign assign;
        struct msg_run run;
        struct msg_kill kill;
        struct msg_ended ended;
        struct msg_text text;
    } m;

#define AGAIN(TYPE, name)                                                                          \
    case MSG_##TYPE:                                                                               \
        if (msg_get_##name(body, &m.name) < 0)                                                     \
            return false;                                                                          \
        msg_put_##name(b, &m.name);                                                                \
        return true;
    memset(&m, 0xa5, sizeof(m)); /* what a decoder forgets to set shows */
    switch (type) {
        AGAIN(HELLO, hello)
        AGAIN(WELCOME, welcome)
        AGAIN(READY, ready)
        AGAIN(ASSIGN, assign)
        AGAIN(KILL, kill)
        AGAIN(ENDED, ended)
    case MSG_RUN:
        if (msg_get_run(body, &m.run) < 0)
            return false;
        put_run(b, &m.run);
        return true;
    case MSG_REQUEST:
    case MSG_REPLY:
        if (msg_get_text(body, &m.text) < 0)
            return false;
        msg_put_text(b, (enum msg_type)type, m.text.client, m.text.text);
        free(m.text.text);
        return true;
    default:
        BUG_ON(msg_type_name(type)[0] == '\0');
        return false;
    }
#undef AGAIN
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
