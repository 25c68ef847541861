/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes through the control socket of a node, from one or two clients, in pieces. The first
 * byte says how: its low bit a second client that sends the same and leaves without reading, the
 * others the size of the pieces. Each line must come out as it was sent, and what it asks is
 * understood or refused with words; it is answered, and the connection lasts as long as its client.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/control.h"
#include "common/buf.h"
#include "common/error.h"
#include "head/lines.h"

static struct control *control;
static char base[64];

static void clean_up(void)
{
    char note[80];

    control_destroy(control);
    snprintf(note, sizeof(note), "%s/socket", base);
    (void)unlink(note);
    (void)rmdir(base);
}

static void set_up(void)
{
    struct pilot_error err;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    strcpy(base, "/tmp/fuzz-control.XXXXXX");
    BUG_ON(mkdtemp(base) == NULL || null < 0);
    BUG_ON(setenv("TMPDIR", base, 1) < 0);
    if (control_create(&control, base, &err) < 0)
        BUG("%s", err.text);
    atexit(clean_up);
    close(null);
}

static int join(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", control_path(control));
    BUG_ON(fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0);
    return fd;
}

static void understand(const char *line)
{
    struct client_request r;
    char why[LINES_WHY_MAX] = "";
    int rc = client_request_parse(line, strlen(line), &r, why);

    BUG_ON(rc == PILOT_ENOMEM);
    BUG_ON((rc == PILOT_EINVAL) != (why[0] != '\0'));
    BUG_ON(rc == 0 && r.op == REQUEST_ADD && (r.text == NULL || r.name == NULL));
    client_request_fini(&r);
}

/* Answers all that is asked now. */
static void serve(const uint8_t *data, size_t size)
{
    const char *line;
    uint32_t client;

    while (control_next(control, &client, &line) > 0) {
        size_t len = strlen(line);
        char *whole = malloc(len + 2);

        BUG_ON(whole == NULL);
        memcpy(whole, line, len);
        memcpy(whole + len, "\n", 2);
        BUG_ON(strchr(line, '\n') != NULL || memmem(data, size, whole, len + 1) == NULL);
        free(whole);
        understand(line);
        control_reply(control, client, "{\"ok\": true}");
    }
}

static void drain(int fd)
{
    char answers[4096];

    while (recv(fd, answers, sizeof(answers), MSG_DONTWAIT) > 0)
        ;
}

/* Sends all of it, unless the other side has closed. */
static void talk(const uint8_t *data, size_t size, size_t piece, bool reads, int fd)
{
    for (size_t sent = 0; sent < size;) {
        size_t n = piece < size - sent ? piece : size - sent;
        ssize_t rc = send(fd, data + sent, n, MSG_NOSIGNAL);

        if (rc < 0 && errno != EAGAIN)
            return;
        sent += rc > 0 ? (size_t)rc : 0;
        serve(data, size);
        if (reads)
            drain(fd);
        else if (rc < 0)
            return; /* it blocks only itself */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int first, second;

    if (control == NULL)
        set_up();
    if (size == 0)
        return 0;
    first = join();
    second = data[0] & 1 ? join() : -1;
    if (second >= 0)
        talk(data + 1, size - 1, size, false, second);
    talk(data + 1, size - 1, data[0] / 2 + 1u, true, first);
    if (second >= 0)
        close(second);
    shutdown(first, SHUT_WR);
    serve(data, size);
    serve(data, size); /* sees that they have gone */
    close(first);
    serve(data, size);
    return 0;
}
