/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the agent's side of the launcher: which slot runs what, what waits for a slot, and what
 * became of each attempt. Must not block but in start, configure and stop, and in the few
 * milliseconds of cleaning up after a guardian that was killed.
 *
 * Readiness: the epoll descriptor holds all sockets. launcher_next looks at one socket after the
 * other and returns as soon as it has an event; the others stay readable, and so does the epoll
 * descriptor. Events that come from elsewhere (a request that ended before it had a slot) are
 * announced by an eventfd in the set.
 *
 * A slot whose last task had the same CPUs is preferred to the slot used last: neither has then to
 * be moved to other CPUs, which costs more than all the rest that a slot does. */
#include "launch/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/error.h"
#include "launch/conn.h"
#include "launch/eventq.h"
#include "launch/guardian.h"
#include "launch/memcg.h"
#include "launch/orphans.h"
#include "launch/request.h"
#include "launch/taskdir.h"
#include "launch/tree.h"
#include "launch/waitq.h"
#include "launch/wire.h"

#define BATCH 64
#define STOP_MS 10000
#define SWEEP_MS 5000

enum launcher_state {
    LAUNCHER_STARTED, /* not configured yet */
    LAUNCHER_UP,
    LAUNCHER_LOST, /* the guardian has died; nothing can be started any more */
};

struct launcher {
    enum launcher_state state;
    pid_t owner; /* the process that may use this */
    int epoll_fd;
    int passed_fd; /* came along with a message of the guardian, -1: none */
    unsigned long long guardian_start;
    struct guardian_mark mark; /* while it has not been reaped */
    struct conn *guardian;     /* NULL once LOST */

    struct conn **conns; /* all slots */
    size_t conns_n;
    size_t conns_cap;
    struct conn **idle; /* those that are FREE, the one used last on top; same capacity */
    size_t idle_n;

    struct waitq waiting;
    size_t wanted; /* slots asked for and not yet come */

    struct eventq events;
    size_t running;
    bool corked;

    struct epoll_event batch[BATCH];
    int batch_next;
    int batch_n;

    struct buf scratch;
    struct tree tree;
};

/* The attempt began as in `attempt` and has ended now, which no socket announces. */
static void push_end(struct launcher *l, const struct launch_event *attempt,
                     enum attempt_reason reason, const char *message)
{
    struct launch_event ev = *attempt;

    ev.result.reason = reason;
    ev.result.exit_code = -1;
    ev.result.end_wall_ms = clock_wall_ms();
    snprintf(ev.result.message, sizeof(ev.result.message), "%s", message);
    eventq_push(&l->events, &ev);
    eventq_announce(&l->events, EVENTQ_ANNOUNCED);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static int reserve_conn(struct launcher *l)
{
    size_t cap = l->conns_cap > 0 ? 2 * l->conns_cap : 64;
    struct conn **p;

    if (l->conns_n < l->conns_cap)
        return 0;
    p = realloc(l->conns, cap * sizeof(*p));
    if (p == NULL)
        return PILOT_ENOMEM;
    l->conns = p;
    p = realloc(l->idle, cap * sizeof(*p));
    if (p == NULL)
        return PILOT_ENOMEM;
    l->idle = p;
    l->conns_cap = cap;
    return 0;
}

static void take_from_idle(struct launcher *l, size_t at)
{
    l->idle_n--;
    memmove(l->idle + at, l->idle + at + 1, (l->idle_n - at) * sizeof(*l->idle));
}

static void forget_idle(struct launcher *l, const struct conn *c)
{
    for (size_t i = 0; i < l->idle_n; i++) {
        if (l->idle[i] == c) {
            take_from_idle(l, i);
            return;
        }
    }
}

/* A free slot, out of the stack; NULL when all are busy. */
static struct conn *take_slot(struct launcher *l, const char *cpus)
{
    struct conn *c;
    size_t at = l->idle_n;

    if (l->idle_n == 0)
        return NULL;
    while (at > 0 && strcmp(l->idle[at - 1]->cpus, cpus) != 0)
        at--;
    at = at > 0 ? at - 1 : l->idle_n - 1;
    c = l->idle[at];
    take_from_idle(l, at);
    return c;
}

static void destroy_conn(struct launcher *l, struct conn *c)
{
    for (int i = l->batch_next; i < l->batch_n; i++)
        if (l->batch[i].data.ptr == c)
            l->batch[i].data.ptr = NULL;
    for (size_t i = 0; i < l->conns_n; i++) {
        if (l->conns[i] == c) {
            l->conns[i] = l->conns[--l->conns_n];
            break;
        }
    }
    conn_destroy(c);
}

/* The stream of c has ended. The guardian's word follows. */
static void end_of_slot(struct launcher *l, struct conn *c)
{
    if (c->state == CONN_FREE)
        forget_idle(l, c);
    c->state = c->state == CONN_BUSY ? CONN_LOST : CONN_DEAD;
    conn_hang_up(c);
}

/* Gives the message to a free slot: true when one has it. */
static bool give(struct launcher *l, const struct buf *msg, const struct wire_fds *fds,
                 const struct launch_event *attempt, const char *cpus)
{
    struct conn *c;

    while ((c = take_slot(l, cpus)) != NULL) {
        if (conn_send_fds(c, msg, fds) == 0) {
            c->state = CONN_BUSY;
            c->attempt = *attempt;
            memcpy(c->cpus, cpus, strlen(cpus) + 1);
            return true;
        }
        end_of_slot(l, c); /* it died while it was free */
    }
    return false;
}

static struct conn *find_busy(const struct launcher *l, uint64_t key)
{
    for (size_t i = 0; i < l->conns_n; i++) {
        struct conn *c = l->conns[i];

        if (c->state != CONN_BUSY)
            continue;
        if (c->attempt.key == key || behind_find(&c->behind, key) < c->behind.n)
            return c;
    }
    return NULL;
}

/* Puts the message behind the attempt `after` in its slot. False: it has no slot, or that has one
 * behind it already, or as many as may be, or is dying. */
static bool give_behind(struct launcher *l, uint64_t after, const struct buf *msg,
                        const struct launch_event *attempt)
{
    struct conn *c = find_busy(l, after);

    if (c == NULL || c->behind.n == LENT_MAX ||
        (c->behind.n > 0 && behind_find(&c->behind, after) != c->behind.n - 1))
        return false;
    if (l->corked) {
        conn_keep(c, msg);
        c->corked = true;
    } else if (conn_send(c, msg) < 0) {
        return false;
    }
    behind_add(&c->behind, attempt);
    return true;
}

void launcher_cork(struct launcher *l, bool on)
{
    if (l == NULL)
        return;
    l->corked = on;
    for (size_t i = 0; i < l->conns_n && !on; i++) {
        if (l->conns[i]->corked && l->conns[i]->fd >= 0)
            conn_flush(l->conns[i]);
        l->conns[i]->corked = false;
    }
}

/* One that follows has not begun, and will not. Comes before the event of what is ahead of it. */
static void push_back(struct launcher *l, struct conn *c, size_t at)
{
    struct launch_event ev = behind_take(&c->behind, at);

    ev.returned = true;
    eventq_push(&l->events, &ev);
}

/* ---- Requests that wait ---------------------------------------------------------------------- */

static void end_waiting(struct launcher *l, struct waiting **link, enum attempt_reason reason,
                        const char *message)
{
    push_end(l, &(*link)->attempt, reason, message);
    waitq_remove(&l->waiting, link);
}

static void ask_for_slots(struct launcher *l)
{
    struct buf want;

    buf_init(&want);
    wire_put_want(&want);
    /* A guardian that is gone shows at its socket's end. */
    while (buf_ok(&want) && l->wanted < l->waiting.n && conn_send(l->guardian, &want) == 0)
        l->wanted++;
    buf_fini(&want);
}

static void serve_queue(struct launcher *l)
{
    struct waiting *w;

    while ((w = l->waiting.first) != NULL && give(l, &w->msg, &w->fds, &w->attempt, w->cpus))
        waitq_remove(&l->waiting, &l->waiting.first);
}

/* A slot could not be had. While others are at work the queue waits for them. */
static void on_no_slot(struct launcher *l, int errnum)
{
    char message[TASK_MESSAGE_MAX];

    if (l->wanted > 0)
        l->wanted--;
    for (size_t i = 0; i < l->conns_n; i++)
        if (l->conns[i]->state == CONN_BUSY)
            return;
    if (l->wanted > 0)
        return;
    snprintf(message, sizeof(message), "cannot start a launcher process: %s", strerror(errnum));
    while (l->waiting.first != NULL)
        end_waiting(l, &l->waiting.first, REASON_SPAWN, message);
}

/* ---- Messages -------------------------------------------------------------------------------- */

/* The attempt of the slot has ended: the one behind it has begun there. */
static bool take_result(struct launcher *l, struct conn *c, const void *payload, size_t len)
{
    struct launch_event ev = {0};

    if (c->state != CONN_BUSY || wire_get_result(payload, len, &ev) < 0 || ev.key != c->attempt.key)
        return false;
    eventq_push(&l->events, &ev);
    if (c->behind.n > 0) {
        c->attempt = behind_take(&c->behind, 0);
    } else {
        c->state = CONN_FREE;
        l->idle[l->idle_n++] = c;
    }
    return true;
}

static bool take_back(struct launcher *l, struct conn *c, const void *payload, size_t len)
{
    uint64_t key;
    size_t at;

    if (wire_get_back(payload, len, &key) < 0 || (at = behind_find(&c->behind, key)) == c->behind.n)
        return false;
    push_back(l, c, at);
    return true;
}

/* Reads once: positive when there was something, 0 when there is nothing now, negative at the end
 * of the stream and when the other side makes no sense. */
static int read_slot(struct launcher *l, struct conn *c)
{
    ssize_t n = wire_recv(&c->rx, c->fd, MSG_DONTWAIT, NULL);
    enum wire_type type;
    const void *payload;
    size_t len;
    int rc;

    if (n == PILOT_EAGAIN)
        return 0;
    if (n <= 0)
        return PILOT_ELOST;
    while ((rc = wire_next(&c->rx, &type, &payload, &len)) > 0) {
        bool fits = type == WIRE_RESULT ? take_result(l, c, payload, len)
                                        : type == WIRE_BACK && take_back(l, c, payload, len);

        if (!fits)
            return PILOT_ELOST;
    }
    return rc == 0 ? 1 : rc;
}

static void on_slot(struct launcher *l, struct conn *c)
{
    if (read_slot(l, c) < 0)
        end_of_slot(l, c);
    else if (c->state == CONN_FREE)
        serve_queue(l);
}

/* Nothing is left of a slot: a result that it still sent counts, else its attempt is lost, and so
 * are those behind it, which may have begun, and ended. */
static void bury(struct launcher *l, struct conn *c)
{
    while (c->state == CONN_BUSY && read_slot(l, c) > 0)
        ;
    if (c->state == CONN_BUSY || c->state == CONN_FREE)
        end_of_slot(l, c);
    if (c->state == CONN_LOST)
        push_end(l, &c->attempt, REASON_LOST, "");
    for (size_t i = 0; i < c->behind.n; i++) {
        struct launch_event next = behind_get(&c->behind, i);

        push_end(l, &next, REASON_LOST, "");
    }
    destroy_conn(l, c);
}

static void on_gone(struct launcher *l, pid_t pid)
{
    for (size_t i = 0; i < l->conns_n; i++) {
        if (l->conns[i]->pid == pid) {
            bury(l, l->conns[i]);
            break;
        }
    }
    ask_for_slots(l);
}

static void on_new_slot(struct launcher *l, pid_t pid)
{
    struct conn *c = NULL;
    int fd = l->passed_fd;

    l->passed_fd = -1;
    if (fd >= 0 && reserve_conn(l) == 0)
        c = conn_create(fd, pid, CONN_FREE, l->epoll_fd);
    if (c == NULL) { /* without its socket the slot leaves by itself */
        if (fd >= 0)
            close(fd);
        on_no_slot(l, fd < 0 ? EMFILE : ENOMEM);
        return;
    }
    if (l->wanted > 0)
        l->wanted--;
    l->conns[l->conns_n++] = c;
    l->idle[l->idle_n++] = c;
    serve_queue(l);
}

static bool handle_guardian(struct launcher *l, enum wire_type type, const void *payload,
                            size_t len)
{
    int64_t number;

    if (wire_get_number(payload, len, &number) < 0)
        return false;
    if (type == WIRE_SLOT)
        on_new_slot(l, (pid_t)number);
    else if (type == WIRE_NOSLOT)
        on_no_slot(l, (int)number);
    else if (type == WIRE_GONE)
        on_gone(l, (pid_t)number);
    else
        return false;
    return true;
}

/* Reads once; false when the guardian has ended or makes no sense. */
static bool read_guardian(struct launcher *l)
{
    struct wire_fds fds;
    ssize_t n = wire_recv(&l->guardian->rx, l->guardian->fd, MSG_DONTWAIT, &fds);
    enum wire_type type;
    const void *payload;
    size_t len;
    int rc;

    if (n == PILOT_EAGAIN)
        return true;
    if (n <= 0)
        return false;
    if (fds.n > 0)
        l->passed_fd = fds.v[0];
    while ((rc = wire_next(&l->guardian->rx, &type, &payload, &len)) > 0)
        if (!handle_guardian(l, type, payload, len))
            return false;
    return rc == 0;
}

/* ---- After the guardian ---------------------------------------------------------------------- */

static void wait_for(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void lose_guardian(struct launcher *l)
{
    struct memcg group;

    l->state = LAUNCHER_LOST;
    (void)kill(l->guardian->pid, SIGKILL);
    wait_for(l->guardian->pid); /* from here on its slots are our children */
    guardian_mark_remove(&l->mark);
    orphans_kill(&l->tree, l->guardian_start, SWEEP_MS);
    if (memcg_find(&group, ""))
        memcg_sweep(&group, l->guardian->pid);
    while (l->conns_n > 0)
        bury(l, l->conns[0]);
    while (l->waiting.first != NULL)
        end_waiting(l, &l->waiting.first, REASON_LOST, "");
    conn_destroy(l->guardian);
    l->guardian = NULL;
    eventq_announce(&l->events, EVENTQ_FOR_GOOD);
}

/* ---- Start and stop -------------------------------------------------------------------------- */

/* Of descriptors, before the first of the launchers that live now raised it. */
static struct rlimit users_limit;

static pid_t fork_guardian(int pair[2])
{
    pid_t self = getpid();
    sigset_t all;
    sigset_t old;
    pid_t pid;

    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &old);
    pid = fork();
    if (pid == 0) {
        close(pair[0]);
        guardian_main(pair[1], self, &users_limit);
    }
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    return pid;
}

/* One descriptor a slot, and epoll; the guardian, its slots and the tasks keep the user's limit. */
static void raise_descriptor_limit(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur == lim.rlim_max)
        return;
    lim.rlim_cur = lim.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &lim);
}

static int start_guardian(struct launcher *l, struct pilot_error *err)
{
    struct tree_proc proc;
    int pair[2];
    pid_t pid;

    if (!guardian_mark_any() && getrlimit(RLIMIT_NOFILE, &users_limit) < 0)
        return err_set_errno(err, PILOT_ESYS, errno, "cannot get the limit of open files");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set_errno(err, PILOT_ESYS, errno, "cannot make a socket to the launcher");
    pid = fork_guardian(pair);
    if (pid < 0) {
        int rc = err_set_errno(err, PILOT_ESYS, errno, "cannot start the launcher");

        close(pair[0]);
        close(pair[1]);
        return rc;
    }
    close(pair[1]);
    l->guardian = conn_create(pair[0], pid, CONN_GUARDIAN, l->epoll_fd);
    if (l->guardian == NULL) {
        close(pair[0]); /* the guardian sees that and leaves */
        wait_for(pid);
        return err_set(err, PILOT_ENOMEM, "cannot start the launcher: out of memory");
    }
    guardian_mark_add(&l->mark, pid);
    if (tree_look(pid, &proc))
        l->guardian_start = proc.start;
    return 0;
}

static void free_launcher(struct launcher *l)
{
    guardian_mark_remove(&l->mark);
    while (l->conns_n > 0)
        destroy_conn(l, l->conns[0]);
    waitq_fini(&l->waiting);
    conn_destroy(l->guardian);
    if (l->passed_fd >= 0)
        close(l->passed_fd);
    eventq_fini(&l->events);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    free(l->conns);
    free(l->idle);
    buf_fini(&l->scratch);
    tree_fini(&l->tree);
    free(l);
}

int launcher_start(struct launcher **out, struct pilot_error *err)
{
    struct launcher *l = calloc(1, sizeof(*l));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    int rc;

    if (l == NULL)
        return err_set(err, PILOT_ENOMEM, "cannot start the launcher: out of memory");
    l->owner = getpid();
    waitq_init(&l->waiting);
    l->passed_fd = -1;
    l->events.fd = -1;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0 || eventq_init(&l->events) < 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->events.fd, &ev) < 0)
        rc = err_set_errno(err, PILOT_ESYS, errno, "cannot make the launcher's descriptors");
    else
        rc = start_guardian(l, err);
    if (rc < 0) {
        free_launcher(l);
        return rc;
    }
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* for the day the guardian is killed */
    raise_descriptor_limit();
    *out = l;
    return 0;
}

int launcher_configure(struct launcher *l, const char *workdir, char *const *env, int64_t grace_ms,
                       struct pilot_error *err)
{
    extern char **environ;
    struct wire_config config = {.grace_ms = grace_ms, .workdir = workdir};
    int rc;

    if (l->state == LAUNCHER_LOST)
        return err_set(err, PILOT_ELOST, "the launcher has died");
    if (workdir[0] != '/')
        return err_set(err, PILOT_EINVAL, "work directory '%s': must be an absolute path", workdir);
    rc = taskdir_make_workdir(workdir, err);
    if (rc < 0)
        return rc;
    config.env = (char **)(env != NULL ? env : environ);
    buf_clear(&l->scratch);
    wire_put_config(&l->scratch, &config);
    if (!buf_ok(&l->scratch))
        return err_set(err, PILOT_EINVAL, "the environment of the tasks is too large");
    if (conn_send(l->guardian, &l->scratch) < 0)
        return err_set(err, PILOT_ELOST, "the launcher has died");
    l->state = LAUNCHER_UP;
    return 0;
}

int launcher_pack(struct launcher *l, const char *dir, uint64_t run, struct pilot_error *err)
{
    struct wire_pack pack = {.dir = dir, .run = run};

    if (strlen(dir) >= PATH_MAX)
        return err_set(err, PILOT_EINVAL, "the directory of packed output has too long a path");
    buf_clear(&l->scratch);
    wire_put_pack(&l->scratch, &pack);
    if (l->state == LAUNCHER_LOST || !buf_ok(&l->scratch) ||
        conn_send(l->guardian, &l->scratch) < 0)
        return err_set(err, PILOT_ELOST, "the launcher has died");
    return 0;
}

int launcher_watch(struct launcher *l, int64_t patience_ms, struct pilot_error *err)
{
    buf_clear(&l->scratch);
    wire_put_watch(&l->scratch, patience_ms);
    if (l->state == LAUNCHER_LOST || !buf_ok(&l->scratch) ||
        conn_send(l->guardian, &l->scratch) < 0)
        return err_set(err, PILOT_ELOST, "the launcher has died");
    return 0;
}

static void stop_guardian(struct launcher *l)
{
    pid_t pid = l->guardian->pid;

    for (size_t i = 0; i < l->conns_n; i++)
        conn_hang_up(l->conns[i]);
    (void)shutdown(l->guardian->fd, SHUT_WR);
    if (!conn_await_end(l->guardian, clock_mono_ms() + STOP_MS))
        (void)kill(pid, SIGKILL);
    wait_for(pid);
    guardian_mark_remove(&l->mark);
    orphans_kill(&l->tree, l->guardian_start, SWEEP_MS);
}

/* In a fork of the owner: the sockets and the epoll set are shared with it, and stay as they are.
 */
static void abandon(struct launcher *l)
{
    for (size_t i = 0; i < l->conns_n; i++)
        l->conns[i]->epoll_fd = -1;
    if (l->guardian != NULL)
        l->guardian->epoll_fd = -1;
}

void launcher_stop(struct launcher *l)
{
    if (l == NULL)
        return;
    if (l->owner != getpid())
        abandon(l);
    else if (l->guardian != NULL)
        stop_guardian(l);
    free_launcher(l);
}

/* ---- Attempts -------------------------------------------------------------------------------- */

int launcher_run(struct launcher *l, const struct launch_request *req, struct pilot_error *err)
{
    struct launch_event attempt = {.key = req->key};
    const struct wire_fds fds = {{req->stdio_fd, req->stderr_fd}, req->stdio_fd != 0 ? 2 : 0};
    const char *cpus = req->cpus != NULL ? req->cpus : "";
    int rc = request_check(req, err);

    if (rc < 0)
        return rc;
    if (l->state == LAUNCHER_LOST)
        return err_set(err, PILOT_ELOST, "the launcher has died; --resume goes on");
    if (l->state == LAUNCHER_STARTED)
        return err_set(err, PILOT_ESTATE, "task '%s': the launcher is not configured", req->id);
    if (eventq_reserve(&l->events, l->running + 1) < 0)
        return err_set(err, PILOT_ENOMEM, "task '%s': out of memory", req->id);
    attempt.result.start_wall_ms = clock_wall_ms();
    buf_clear(&l->scratch);
    wire_put_run(&l->scratch, req);
    if (!buf_ok(&l->scratch)) {
        if (!request_is_too_large(req))
            return err_set(err, PILOT_ENOMEM, "task '%s': out of memory", req->id);
        l->running++;
        push_end(l, &attempt, REASON_SPAWN,
                 "cannot execute: Argument list too long; put the command into a script");
        return 0;
    }
    if (req->wait_ms > 0) {
        if (!give_behind(l, req->after, &l->scratch, &attempt))
            return err_set(err, PILOT_EAGAIN, "task '%s': there is nothing to follow", req->id);
    } else if (l->waiting.first != NULL || !give(l, &l->scratch, &fds, &attempt, cpus)) {
        rc = waitq_add(&l->waiting, &l->scratch, &attempt, &fds, cpus);
        if (rc == PILOT_ESYS)
            return err_set(err, rc, "task '%s': too many open files; raise 'ulimit -n'", req->id);
        if (rc < 0)
            return err_set(err, PILOT_ENOMEM, "task '%s': out of memory", req->id);
        ask_for_slots(l);
    }
    l->running++;
    return 0;
}

static void send_kill(struct launcher *l, const struct wire_kill *k)
{
    struct conn *c = find_busy(l, k->key);

    if (c == NULL)
        return;
    buf_clear(&l->scratch);
    wire_put_kill(&l->scratch, k);
    if (buf_ok(&l->scratch))
        (void)conn_send(c, &l->scratch); /* a dead slot shows at its socket's end */
}

void launcher_kill(struct launcher *l, uint64_t key, enum attempt_reason reason, bool now)
{
    const struct wire_kill k = {.key = key, .reason = reason, .now = now};
    struct waiting **link = waitq_find(&l->waiting, key);

    if (link != NULL)
        end_waiting(l, link, reason, "");
    else
        send_kill(l, &k);
}

void launcher_recall(struct launcher *l, uint64_t key)
{
    const struct wire_kill k = {.key = key, .unbegun = true};

    send_kill(l, &k);
}

int launcher_fd(const struct launcher *l)
{
    return l->epoll_fd;
}

static void handle_event(struct launcher *l, const struct epoll_event *ev)
{
    struct conn *c = ev->data.ptr;

    if (c == NULL || c->fd < 0)
        return; /* the eventfd, or a slot that has ended meanwhile */
    if (ev->events & EPOLLOUT)
        conn_flush(c);
    if ((ev->events & ~(uint32_t)EPOLLOUT) == 0)
        return;
    if (c->state != CONN_GUARDIAN)
        on_slot(l, c);
    else if (!read_guardian(l))
        lose_guardian(l);
}

int launcher_next(struct launcher *l, struct launch_event *ev)
{
    for (;;) {
        if (eventq_pop(&l->events, ev)) {
            l->running--;
            return 1;
        }
        if (l->state == LAUNCHER_LOST)
            return PILOT_ELOST;
        if (l->batch_next < l->batch_n) {
            l->batch_next++;
            handle_event(l, &l->batch[l->batch_next - 1]);
            continue;
        }
        /* A batch that was not full held everything: no need to ask again. */
        if (l->batch_n > 0 && l->batch_n < BATCH) {
            l->batch_n = l->batch_next = 0;
            return 0;
        }
        l->batch_next = 0;
        l->batch_n = epoll_wait(l->epoll_fd, l->batch, BATCH, 0);
        if (l->batch_n <= 0) {
            l->batch_n = 0;
            return 0;
        }
    }
}

unsigned launcher_running(const struct launcher *l)
{
    return (unsigned)l->running;
}
