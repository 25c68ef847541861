/* SPDX-License-Identifier: BSD-3-Clause */
/* A launcher that starts no task: every attempt has ended, with exit code 0, as soon as it was
 * asked for. Linked in place of src/launch it makes pilot-mpi-null, whose agents answer at once, so
 * that what is measured is everything but the tasks: queue, state, messages and hooks. Only a
 * program that talks with the caller, a hook, is started; nobody watches over it.
 *
 * Owns nothing but the attempts that launcher_next has not returned yet. */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "launch/launch.h"

extern char **environ;

struct launcher {
    int fd;         /* eventfd: readable while there is something to return */
    uint64_t *keys; /* a ring; cap is a power of two */
    size_t first, len, cap;
};

int launcher_start(struct launcher **out, struct pilot_error *err)
{
    struct launcher *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    l->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->fd < 0) {
        int errnum = errno;

        free(l);
        return err_set_errno(err, PILOT_ESYS, errnum, "eventfd");
    }
    *out = l;
    return 0;
}

int launcher_pack(struct launcher *l, const char *dir, uint64_t run, struct pilot_error *err)
{
    (void)l, (void)dir, (void)run, (void)err;
    return 0;
}

int launcher_watch(struct launcher *l, int64_t patience_ms, struct pilot_error *err)
{
    (void)l;
    (void)patience_ms;
    (void)err;
    return 0;
}

int launcher_configure(struct launcher *l, const char *workdir, char *const *env, int64_t grace_ms,
                       struct pilot_error *err)
{
    (void)l, (void)workdir, (void)env, (void)grace_ms, (void)err;
    return 0;
}

static int grow(struct launcher *l)
{
    size_t cap = l->cap ? 2 * l->cap : 64;
    uint64_t *keys = malloc(cap * sizeof(*keys));

    if (keys == NULL)
        return PILOT_ENOMEM;
    for (size_t i = 0; i < l->len; i++)
        keys[i] = l->keys[(l->first + i) & (l->cap - 1)];
    free(l->keys);
    l->keys = keys;
    l->cap = cap;
    l->first = 0;
    return 0;
}

static int start_hook(const struct launch_request *req, struct pilot_error *err)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)req->command, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc != 0)
        return err_set_errno(err, PILOT_ESYS, rc, "cannot start the hook");
    for (int fd = 0; rc == 0 && fd < 3; fd++)
        rc =
            posix_spawn_file_actions_adddup2(&actions, fd < 2 ? req->stdio_fd : req->stderr_fd, fd);
    if (rc == 0)
        rc = posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc == 0 ? 0 : err_set_errno(err, PILOT_ESYS, rc, "cannot start the hook");
}

void launcher_cork(struct launcher *l, bool on)
{
    (void)l, (void)on;
}

int launcher_run(struct launcher *l, const struct launch_request *req, struct pilot_error *err)
{
    if (req->stdio_fd > 0)
        return start_hook(req, err);
    if (l->len == l->cap && grow(l) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    l->keys[(l->first + l->len) & (l->cap - 1)] = req->key;
    if (l->len++ == 0 && eventfd_write(l->fd, 1) < 0)
        return err_set_errno(err, PILOT_ESYS, errno, "eventfd");
    return 0;
}

void launcher_kill(struct launcher *l, uint64_t key, enum attempt_reason reason, bool now)
{
    (void)l, (void)key, (void)reason, (void)now; /* it has ended already */
}

void launcher_recall(struct launcher *l, uint64_t key)
{
    (void)l, (void)key; /* the same */
}

int launcher_fd(const struct launcher *l)
{
    return l->fd;
}

int launcher_next(struct launcher *l, struct launch_event *ev)
{
    int64_t now_ms = clock_wall_ms();
    eventfd_t ignored;

    if (l->len == 0)
        return 0;
    *ev = (struct launch_event){
        .key = l->keys[l->first],
        .result = {.reason = REASON_EXIT, .start_wall_ms = now_ms, .end_wall_ms = now_ms}};
    l->first = (l->first + 1) & (l->cap - 1);
    if (--l->len == 0)
        (void)eventfd_read(l->fd, &ignored); /* nonblocking; it is 1 */
    return 1;
}

unsigned launcher_running(const struct launcher *l)
{
    return (unsigned)l->len;
}

void launcher_stop(struct launcher *l)
{
    if (l == NULL)
        return;
    close(l->fd);
    free(l->keys);
    free(l);
}
