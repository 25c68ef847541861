/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as what agent, guardian and slots say to each other, received through a socket in
 * pieces whose size is the first byte. What decodes is encoded again, and must then decode to the
 * same bytes. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/error.h"
#include "launch/wire.h"

static struct wire_run run;

/* All strings, their ends included, lie in the message. */
static void check_strings(const struct launch_request *req, const char *payload, size_t len)
{
    const char *const single[] = {req->id, req->command, req->cwd, req->stdin_path, req->cpus};
    char *const *const lists[] = {req->argv, req->env};

    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++)
        BUG_ON(single[i] != NULL && single[i] + strlen(single[i]) >= payload + len);
    for (size_t i = 0; i < 2; i++)
        for (char *const *v = lists[i]; v != NULL && *v != NULL; v++)
            BUG_ON(*v + strlen(*v) >= payload + len);
}

/* Decodes one message and appends it to b, unless it is refused. */
static void again(enum wire_type type, const void *payload, size_t len, struct buf *b)
{
    struct wire_config config;
    struct wire_kill k;
    struct launch_event ev = {0};
    struct wire_pack pack;
    int64_t number;

    switch (type) {
    case WIRE_CONFIG:
        if (wire_get_config(payload, len, &config) == 0) {
            wire_put_config(b, &config);
            strv_free(config.env);
        }
        break;
    case WIRE_WANT:
        wire_put_want(b);
        break;
    case WIRE_SLOT:
    case WIRE_NOSLOT:
    case WIRE_GONE:
        if (wire_get_number(payload, len, &number) == 0)
            wire_put_slot(b, (pid_t)number);
        break;
    case WIRE_PACK:
        if (wire_get_pack(payload, len, &pack) == 0)
            wire_put_pack(b, &pack);
        break;
    case WIRE_WATCH:
        if (wire_get_number(payload, len, &number) == 0)
            wire_put_watch(b, number);
        break;
    case WIRE_RUN:
        if (wire_get_run(payload, len, &run) == 0) {
            BUG_ON((run.req.command == NULL) == (run.req.argv == NULL));
            check_strings(&run.req, payload, len);
            wire_put_run(b, &run.req);
        }
        break;
    case WIRE_KILL:
        if (wire_get_kill(payload, len, &k) == 0)
            wire_put_kill(b, &k);
        break;
    case WIRE_BACK:
        if (wire_get_back(payload, len, &k.key) == 0)
            wire_put_back(b, k.key);
        break;
    case WIRE_RESULT:
        if (wire_get_result(payload, len, &ev) == 0)
            wire_put_result(b, &ev);
        break;
    }
}

static void take_messages(struct wire_rx *rx, struct buf *b)
{
    enum wire_type type;
    const void *payload;
    size_t len;

    while (wire_next(rx, &type, &payload, &len) > 0)
        again(type, payload, len, b);
}

/* Everything that decodes, encoded into b. */
static void recode(const uint8_t *data, size_t size, size_t piece, struct buf *b)
{
    struct wire_rx rx;
    int ends[2];

    BUG_ON(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0);
    wire_rx_init(&rx);
    while (size > 0) {
        size_t n = piece < size ? piece : size;
        ssize_t sent = wire_send(ends[0], data, n, MSG_DONTWAIT);

        BUG_ON(sent < 0);
        while (wire_recv(&rx, ends[1], MSG_DONTWAIT, NULL) > 0)
            take_messages(&rx, b);
        data += sent;
        size -= (size_t)sent;
    }
    close(ends[0]);
    BUG_ON(wire_recv(&rx, ends[1], MSG_DONTWAIT, NULL) != 0);
    close(ends[1]);
    wire_rx_fini(&rx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf first, second;

    if (size == 0)
        return 0;
    buf_init(&first);
    buf_init(&second);
    recode(data + 1, size - 1, data[0] + 1u, &first);
    BUG_ON(!buf_ok(&first));
    recode(first.data, first.len, 4096, &second);
    BUG_ON(first.len != second.len ||
           (first.len > 0 && memcmp(first.data, second.data, first.len) != 0));
    buf_fini(&first);
    buf_fini(&second);
    wire_run_fini(&run);
    return 0;
}
