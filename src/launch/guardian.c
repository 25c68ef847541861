/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the slot processes. Must not run tasks itself, nor allocate much: each slot is a fork of
 * it.
 *
 * It is a child subreaper above the slots: as long as a slot lives, that slot gets the orphans of
 * its task; when a slot dies they come here, so every child that is not a slot is to be killed. The
 * end of the agent is seen as the end of the stream on the socket, and, should a stray process hold
 * a copy of the agent's end, as a death signal.
 *
 * An agent that is stopped counts as dead after a while, if it has asked for that. Looks at it are
 * counted, not the time between them: if the guardian was stopped too, all was, and nothing has
 * happened meanwhile. */
#include "launch/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "launch/slot.h"
#include "launch/tree.h"
#include "launch/wire.h"
#include "pack/write.h"

#define FORK_TRIES 4
#define FORK_PAUSE_MS 20
#define SWEEP_FIRST_MS 2
#define SWEEP_LAST_MS 100
#define WATCH_LOOKS 8 /* that find the agent stopped, one after the other */

extern char **environ;

enum guardian_state {
    GUARDIAN_WATCH, /* every child is a slot */
    GUARDIAN_SWEEP, /* a slot has died: others may be there, and are killed until none is left */
};

struct guardian {
    enum guardian_state state;
    int sock;
    int sigfd;
    pid_t self;
    pid_t agent;
    int sweep_ms;     /* until the next pass, SWEEP only */
    int64_t watch_ms; /* between two looks at the agent, 0: none */
    int64_t look_ms;  /* the next one */
    unsigned stopped; /* looks that found it stopped */
    struct wire_rx rx;
    struct buf out;
    struct wire_config config;
    char *workdir;           /* what config.workdir points to */
    struct pack_place *pack; /* of packed output, NULL: none */
    struct memcg group;      /* that we and the agent are in */
    pid_t *slots;            /* living */
    size_t slots_n;
    size_t slots_cap;
    pid_t *gone; /* dead, to be reported when the sweep has ended; same capacity */
    size_t gone_n;
    struct tree tree;
};

/* ---- The end --------------------------------------------------------------------------------- */

static void drain_signals(const struct guardian *g)
{
    struct signalfd_siginfo info;

    while (read(g->sigfd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        ;
}

_Noreturn static void leave(struct guardian *g)
{
    struct pollfd child = {.fd = g->sigfd, .events = POLLIN};
    int pause_ms = SWEEP_FIRST_MS;

    for (;;) {
        pid_t pid;

        do {
            pid = waitpid(-1, NULL, WNOHANG);
        } while (pid > 0);
        if (pid < 0) {
            memcg_sweep(&g->group, g->self);
            _exit(EXIT_SUCCESS);
        }
        if (tree_find(&g->tree, g->self, NULL, 0) >= 0)
            tree_signal(&g->tree, SIGKILL);
        (void)poll(&child, 1, pause_ms);
        drain_signals(g);
        if (pause_ms < SWEEP_LAST_MS)
            pause_ms *= 2;
    }
}

static void send_out(struct guardian *g)
{
    if (!buf_ok(&g->out) || wire_send(g->sock, g->out.data, g->out.len, 0) < 0)
        leave(g);
    buf_clear(&g->out);
}

/* ---- Making a slot --------------------------------------------------------------------------- */

static bool reserve_slot(struct guardian *g)
{
    size_t cap = g->slots_cap > 0 ? 2 * g->slots_cap : 64;
    pid_t *p;

    if (g->slots_n + g->gone_n < g->slots_cap)
        return true;
    p = realloc(g->slots, cap * sizeof(*p));
    if (p == NULL)
        return false;
    g->slots = p;
    p = realloc(g->gone, cap * sizeof(*p));
    if (p == NULL)
        return false;
    g->gone = p;
    g->slots_cap = cap;
    return true;
}

static pid_t fork_patiently(void)
{
    struct timespec pause = {.tv_nsec = FORK_PAUSE_MS * 1000000L};

    for (int i = 1;; i++) {
        pid_t pid = fork();

        if (pid >= 0 || (errno != EAGAIN && errno != ENOMEM) || i == FORK_TRIES)
            return pid;
        (void)nanosleep(&pause, NULL);
        pause.tv_nsec *= 2;
    }
}

/* The slot's pid, or a negative errno value. *agent_end is the agent's to have. */
static pid_t make_slot(struct guardian *g, int *agent_end)
{
    int pair[2];
    int errnum;
    pid_t pid;

    if (!reserve_slot(g))
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    pid = fork_patiently();
    if (pid == 0) {
        close(g->sock);
        close(g->sigfd);
        close(pair[0]);
        slot_main(pair[1], &g->config, &g->group, g->pack);
    }
    errnum = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return -errnum;
    }
    g->slots[g->slots_n++] = pid;
    *agent_end = pair[0];
    return pid;
}

static void handle_want(struct guardian *g)
{
    struct wire_fds agent_end = {.n = 1};
    pid_t pid = make_slot(g, &agent_end.v[0]);

    if (pid < 0) {
        wire_put_noslot(&g->out, -pid);
        send_out(g);
        return;
    }
    wire_put_slot(&g->out, pid);
    if (!buf_ok(&g->out) || wire_send_fds(g->sock, g->out.data, g->out.len, 0, &agent_end) < 0)
        leave(g);
    buf_clear(&g->out);
    wire_fds_close(&agent_end);
}

/* ---- Cleaning up ----------------------------------------------------------------------------- */

static void forget_slot(struct guardian *g, pid_t pid)
{
    for (size_t i = 0; i < g->slots_n; i++) {
        if (g->slots[i] == pid) {
            g->slots[i] = g->slots[--g->slots_n];
            g->gone[g->gone_n++] = pid;
            g->state = GUARDIAN_SWEEP;
            g->sweep_ms = SWEEP_FIRST_MS;
            return;
        }
    }
}

static void reap(struct guardian *g)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        forget_slot(g, pid);
}

/* One pass: kills what dead slots left. When nothing is left, says so to the agent. */
static void sweep(struct guardian *g)
{
    if (tree_find(&g->tree, g->self, g->slots, g->slots_n) > 0) {
        tree_signal(&g->tree, SIGKILL);
        if (g->sweep_ms < SWEEP_LAST_MS)
            g->sweep_ms *= 2;
        return;
    }
    g->state = GUARDIAN_WATCH;
    memcg_sweep(&g->group, g->self);
    while (g->gone_n > 0)
        wire_put_gone(&g->out, g->gone[--g->gone_n]);
    send_out(g);
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void handle_config(struct guardian *g, const void *payload, size_t len)
{
    struct wire_config config;

    if (wire_get_config(payload, len, &config) < 0)
        leave(g);
    if (g->workdir != NULL)
        strv_free(g->config.env);
    free(g->workdir);
    g->config = config;
    g->workdir = strdup(config.workdir);
    if (g->workdir == NULL)
        leave(g);
    g->config.workdir = g->workdir;
    if (memcg_find(&g->group, ""))
        memcg_prepare(&g->group, g->agent);
}

static void handle_pack(struct guardian *g, const void *payload, size_t len)
{
    struct wire_pack pack;

    if (wire_get_pack(payload, len, &pack) < 0)
        leave(g);
    pack_place_destroy(g->pack);
    g->pack = pack_place_create(pack.dir, pack.run, PACK_SEGMENT_BYTES);
    if (g->pack == NULL)
        leave(g);
}

static void handle_watch(struct guardian *g, const void *payload, size_t len)
{
    int64_t patience_ms;

    if (wire_get_number(payload, len, &patience_ms) < 0)
        leave(g);
    g->watch_ms = patience_ms / WATCH_LOOKS + 1;
    g->look_ms = clock_mono_ms() + g->watch_ms;
    g->stopped = 0;
}

static void look_at_agent(struct guardian *g)
{
    int64_t now_ms = clock_mono_ms();
    struct tree_proc agent;

    if (g->watch_ms == 0 || now_ms < g->look_ms)
        return;
    g->look_ms = now_ms + g->watch_ms;
    g->stopped = tree_look(g->agent, &agent) && agent.stopped ? g->stopped + 1 : 0;
    if (g->stopped == WATCH_LOOKS)
        leave(g);
}

static void receive(struct guardian *g)
{
    ssize_t n = wire_recv(&g->rx, g->sock, MSG_DONTWAIT, NULL);
    enum wire_type type;
    const void *payload;
    size_t len;
    int rc;

    if (n == PILOT_EAGAIN)
        return;
    if (n <= 0)
        leave(g);
    while ((rc = wire_next(&g->rx, &type, &payload, &len)) > 0) {
        if (type == WIRE_CONFIG)
            handle_config(g, payload, len);
        else if (type == WIRE_WANT)
            handle_want(g);
        else if (type == WIRE_PACK)
            handle_pack(g, payload, len);
        else if (type == WIRE_WATCH)
            handle_watch(g, payload, len);
        else
            leave(g);
    }
    if (rc < 0)
        leave(g);
}

static int poll_timeout(const struct guardian *g)
{
    int64_t wait_ms = g->watch_ms > 0 ? g->look_ms - clock_mono_ms() : -1;

    if (g->watch_ms > 0 && wait_ms < 0)
        wait_ms = 0;
    if (g->state == GUARDIAN_SWEEP && (wait_ms < 0 || g->sweep_ms < wait_ms))
        wait_ms = g->sweep_ms;
    return (int)wait_ms;
}

static void turn(struct guardian *g)
{
    struct pollfd fds[2] = {{.fd = g->sigfd, .events = POLLIN}, {.fd = g->sock, .events = POLLIN}};

    (void)poll(fds, 2, poll_timeout(g));
    look_at_agent(g);
    if (fds[0].revents != 0) {
        drain_signals(g);
        if (getppid() != g->agent)
            leave(g);
        reap(g);
    }
    if (fds[1].revents != 0)
        receive(g);
    if (g->state == GUARDIAN_SWEEP)
        sweep(g);
}

/* ---- The start ------------------------------------------------------------------------------- */

static void default_actions(void)
{
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            (void)signal(sig, SIG_DFL); /* fails for those that the C library keeps to itself */
}

static void close_from(int first)
{
    long max = sysconf(_SC_OPEN_MAX);

#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0U, 0U) == 0)
        return;
#endif
    for (int fd = first; fd < max; fd++)
        close(fd);
}

/* Only the socket (3) and /dev/null (0, 1, 2) stay open: mpirun and srun wait for everybody who
 * holds the output of a rank. */
static int close_all_but(int sock)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int copy = fcntl(sock, F_DUPFD_CLOEXEC, 4);

    if (null < 0 || copy < 0)
        _exit(EXIT_FAILURE);
    for (int fd = 0; fd <= 2; fd++)
        if (dup2(null, fd) < 0)
            _exit(EXIT_FAILURE);
    if (dup3(copy, 3, O_CLOEXEC) < 0)
        _exit(EXIT_FAILURE);
    close_from(4);
    return 3;
}

_Noreturn void guardian_main(int sock, pid_t agent, const struct rlimit *descriptors)
{
    static struct guardian g;
    sigset_t set;

    (void)setsid();
    default_actions();
    g.sock = close_all_but(sock); /* before the limit: it may be below some that are open */
    (void)setrlimit(RLIMIT_NOFILE, descriptors);
    g.self = getpid();
    g.agent = agent;
    g.config.env = environ;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGUSR1); /* the death signal */
    g.sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (g.sigfd < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        _exit(EXIT_FAILURE);
    (void)prctl(PR_SET_PDEATHSIG, SIGUSR1);
    (void)prctl(PR_SET_NAME, "pilot-guardian");
    if (getppid() != agent)
        _exit(EXIT_SUCCESS);
    for (;;)
        turn(&g);
}
