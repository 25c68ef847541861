/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as the answer of what listens on a socket where a pilot is expected: the client gets a
 * line, or says that there was none, and takes the line apart. */
#include "fuzz.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/client_impl.h"
#include "cli/client_reply.h"
#include "common/error.h"

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char base[64];
static int listener = -1;
static struct {
    const uint8_t *data;
    size_t size;
} answer;
static sem_t answered; /* and the answer is not looked at any more */

static void clean_up(void)
{
    (void)unlink(address.sun_path);
    (void)rmdir(base);
}

/* One client after the other: reads its line, answers, leaves. */
static void *serve(void *arg)
{
    char request[64];

    for (;;) {
        int fd = accept(listener, NULL, NULL);
        ssize_t n, sent = 0;

        BUG_ON(fd < 0);
        do
            n = recv(fd, request, sizeof(request), 0);
        while (n > 0 && request[n - 1] != '\n');
        while (n > 0 && sent >= 0 && answer.size > 0) {
            sent = send(fd, answer.data, answer.size, MSG_NOSIGNAL);
            if (sent > 0) {
                answer.data += sent;
                answer.size -= (size_t)sent;
            }
        }
        close(fd);
        sem_post(&answered);
    }
    return arg;
}

static void set_up(void)
{
    pthread_t thread;

    strcpy(base, "/tmp/fuzz-client.XXXXXX");
    BUG_ON(mkdtemp(base) == NULL);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", base);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BUG_ON(listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
           listen(listener, 8) < 0);
    BUG_ON(sem_init(&answered, 0, 0) < 0);
    BUG_ON(pthread_create(&thread, NULL, serve, NULL) != 0);
    atexit(clean_up);
}

static void understand(const char *text)
{
    struct client_reply r;

    if (client_reply_parse(text, &r) == 0)
        BUG_ON(!r.ok && r.message == NULL);
    client_reply_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool whole = memchr(data, '\n', size) != NULL;
    struct pilot_error err = {0};
    char *reply = NULL;
    int rc;

    if (listener < 0)
        set_up();
    answer.data = data;
    answer.size = size;
    rc = client_by_socket(address.sun_path, "{}", 2, &reply, &err);
    sem_wait(&answered);
    BUG_ON(rc == 0 ? !whole || reply == NULL : rc != PILOT_ELOST || err.text[0] == '\0');
    BUG_ON(rc == 0 && strchr(reply, '\n') != NULL);
    if (rc == 0)
        understand(reply);
    free(reply);
    return 0;
}
