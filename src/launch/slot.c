/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the life of one attempt, from the request to the moment when no process of it is left, at
 * which the next one of those that follow it (follow.h) begins.
 *
 *              RUN                main exited, others left      nobody holds the output,
 *     IDLE ----------> RUNNING ------------------------> LINGER  or grace over
 *       ^                 | timeout, KILL message          |
 *       |                 v                                |
 *       |               TERM <-----------------------------+
 *       |                 | grace over, or KILL message with "now" (from any state)
 *       |                 v
 *       |               KILL   repeats SIGKILL
 *       |                 |
 *       +--- waitpid: ECHILD (from every state) ---------------------------------------------
 *
 * Requests that come while a task runs are kept, and begin in finish, one after the other. From the
 * moment when the task may take longer than expected (the time of the first of them has passed, it
 * is to be killed, it lingers) they are all given back instead. When the agent is told: results.h.
 *
 * Over the memory that it may have, a task goes from every state straight to KILL: it would not
 * get smaller by ending in order.
 *
 *     state    main process    deadline_ms             sent to the tree
 *     IDLE     none            never                   nothing: there is none
 *     RUNNING  runs            the task's timeout      nothing
 *     LINGER   has exited      grace, then TERM        nothing: they may finish their output
 *     TERM     may run         grace, then KILL        TERM and CONT, once
 *     KILL     may run         never                   KILL, at every look
 *
 * The slot is a child subreaper, so whatever the task starts comes back to it in the end, and
 * ECHILD means that nothing is left. While the task runs, the slot sleeps in poll on two
 * descriptors: its socket, and a signalfd for SIGCHLD; and on the pipes of its output when that is
 * packed, or when only so much of it is kept (pump.h). Idle, it sleeps in recv. It holds no timer
 * unless it needs one.
 *
 * max_rss_kib: the kernel hands the peak of the slot itself (1 to 2 MB) on through vfork and
 * execve, so a smaller task is reported with that. */
#include "launch/slot.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/room.h"
#include "launch/cpubind.h"
#include "launch/follow.h"
#include "launch/memguard.h"
#include "launch/oomscore.h"
#include "launch/orphans.h"
#include "launch/plan.h"
#include "launch/pump.h"
#include "launch/results.h"
#include "launch/spawn.h"
#include "launch/taskdir.h"
#include "launch/tree.h"

#define NEVER INT64_MAX
#define LOOK_FIRST_MS 2  /* pause between two looks at what is left; doubled each time ... */
#define LOOK_LAST_MS 100 /* ... up to this */
#define MEMORY_FIRST_MS 50
#define PREPARE_MS 2 /* a task has come that far: there is time for what the next one needs */
#define FLUSH_MS 500 /* packed output is kept in memory so long, for who follows it */

enum slot_state { SLOT_IDLE, SLOT_RUNNING, SLOT_LINGER, SLOT_TERM, SLOT_KILL };

struct slot {
    enum slot_state state;
    int sock;
    int sigfd;
    pid_t self;
    const struct wire_config *config;
    const struct memcg *group;
    int64_t now_ms; /* of this turn, monotonic */

    unsigned begun; /* attempts */

    /* The attempt. */
    pid_t main_pid;         /* 0: reaped, or never started */
    pid_t leader;           /* process group of the main process */
    int main_status;        /* of waitpid */
    int64_t timeout_ms;     /* as asked */
    int64_t deadline_ms;    /* end of this state */
    int64_t look_ms;        /* next look at the tree: LINGER, KILL */
    int64_t pause_ms;       /* until the one after that */
    int64_t flush_ms;       /* packed output is to be written */
    int64_t memory_ms;      /* next look at the memory of the tree */
    struct memguard guard;  /* of that memory */
    struct follow follow;   /* what begins after it */
    bool prepared;          /* the other of dirs is open for the first of these */
    int64_t prepare_ms;     /* when it is to be */
    struct wire_fds passed; /* came with a RUN message's first bytes, are used with its last */
    struct launch_event ev;

    /* Memory kept from attempt to attempt. */
    struct wire_rx rx;
    struct wire_run run;
    struct results results;
    struct plan plan;
    struct cpubind cpus;
    struct oomscore oom_score;
    struct taskdir *dir; /* one of ... */
    struct taskdir dirs[2];
    struct pump pump;         /* open only for a task with max_output, or whose output is packed */
    struct pack_place *place; /* NULL: output cannot be packed */
    struct pack_out packed;   /* its place is NULL unless the task's output is packed */
    struct spawn_report *report;
    struct tree tree;
};

/* ---- The end of an attempt ------------------------------------------------------------------- */

static void add_usage(struct attempt_result *res, const struct rusage *ru)
{
    res->user_us += (int64_t)ru->ru_utime.tv_sec * 1000000 + ru->ru_utime.tv_usec;
    res->sys_us += (int64_t)ru->ru_stime.tv_sec * 1000000 + ru->ru_stime.tv_usec;
    if (ru->ru_maxrss > res->max_rss_kib)
        res->max_rss_kib = ru->ru_maxrss;
}

/* It is sent when the next one has begun: whom it wakes would take the core from that. */
static void put_result(struct slot *s)
{
    s->ev.result.end_wall_ms = clock_wall_ms();
    results_put(&s->results, &s->ev, s->follow.n > 0 ? s->follow.n - 1 : 0);
}

/* A line of ours behind the task's output. */
static void note(struct slot *s, const char *text)
{
    char line[TASK_MESSAGE_MAX + 64];
    int len;

    if (s->packed.place == NULL) {
        taskdir_note(s->dir, text);
        return;
    }
    len = snprintf(line, sizeof(line), "pilot-mpi: %s\n", text);
    pack_out_put(&s->packed, PACK_STDERR, line,
                 (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

static void end_packed(struct slot *s)
{
    struct attempt_result *res = &s->ev.result;
    int errnum = pack_out_end(&s->packed);

    res->packed = true;
    res->pack_at = s->packed.last;
    res->stdout_bytes = s->packed.bytes[PACK_STDOUT];
    res->stderr_bytes = s->packed.bytes[PACK_STDERR];
    if (errnum == 0 || (res->reason != REASON_EXIT && res->reason != REASON_SIGNAL))
        return;
    res->reason = REASON_SPAWN;
    res->exit_code = -1;
    snprintf(res->message, sizeof(res->message), "cannot write its packed output: %s",
             strerror(errnum));
}

/* After pump_end, and when it is known how the task ended. */
static void judge_output(struct slot *s)
{
    struct attempt_result *res = &s->ev.result;

    s->flush_ms = NEVER;
    res->output_dropped = pump_dropped(&s->pump);
    if (s->packed.place != NULL) {
        end_packed(s);
    } else if ((res->reason == REASON_EXIT || res->reason == REASON_SIGNAL) &&
               !pump_has_kept(&s->pump, res->message, sizeof(res->message))) {
        res->reason = REASON_SPAWN;
        res->exit_code = -1;
    }
    pump_init(&s->pump);
}

static struct taskdir *other_dir(struct slot *s)
{
    return &s->dirs[s->dir == &s->dirs[0]];
}

/* One of those that are to follow goes back. What is ahead of it has not been reported. */
static void give_one_back(struct slot *s, size_t at)
{
    uint64_t key = s->follow.v[at].key;

    if (at == 0 && s->prepared) {
        taskdir_undo(other_dir(s));
        s->prepared = false;
        s->prepare_ms = 0; /* for the one that is the first now */
    }
    follow_remove(&s->follow, at);
    results_put_back(&s->results, key);
}

static void give_back(struct slot *s)
{
    while (s->follow.n > 0)
        give_one_back(s, 0);
}

static void fail_spawn(struct slot *s)
{
    if (s->ev.result.reason != REASON_DISK)
        s->ev.result.reason = REASON_SPAWN;
    note(s, s->ev.result.message);
}

/* Says so, unless it had to end anyway. */
static void fail_for_memory(struct slot *s)
{
    struct attempt_result *res = &s->ev.result;
    char text[TASK_MESSAGE_MAX + 32];

    if (res->reason != REASON_EXIT)
        return;
    res->reason = REASON_MEMORY;
    memguard_describe(&s->guard, res->message, sizeof(res->message));
    snprintf(text, sizeof(text), "out of memory: %s", res->message);
    note(s, text);
}

static void begin_next(struct slot *s);

/* No process is left. */
static void finish(struct slot *s)
{
    struct attempt_result *res = &s->ev.result;

    memguard_end(&s->guard);
    pump_end(&s->pump); /* before anything of ours is written behind the output */
    if (s->report->stage != SPAWN_OK) {
        spawn_describe(s->report, res->message, sizeof(res->message));
        fail_spawn(s);
    } else {
        if (s->guard.over)
            fail_for_memory(s);
        if (WIFSIGNALED(s->main_status))
            res->signal = WTERMSIG(s->main_status);
        if (res->reason == REASON_EXIT && res->signal != 0)
            res->reason = REASON_SIGNAL;
        if (res->reason == REASON_EXIT)
            res->exit_code = WEXITSTATUS(s->main_status);
    }
    judge_output(s);
    taskdir_close(s->dir);
    s->state = SLOT_IDLE;
    s->deadline_ms = s->look_ms = s->memory_ms = NEVER;
    if (s->follow.n > 0 && clock_mono_ms() > follow_due_ms(&s->follow))
        give_back(s); /* we were stopped for a while: they may run elsewhere */
    put_result(s);
    begin_next(s);
}

/* ---- Ending a tree --------------------------------------------------------------------------- */

static void signal_tree(struct slot *s, int sig)
{
    orphans_signal(&s->tree, s->self, s->leader, sig);
}

static void plan_look(struct slot *s)
{
    s->look_ms = s->now_ms + s->pause_ms;
    s->pause_ms = s->pause_ms * 2 < LOOK_LAST_MS ? s->pause_ms * 2 : LOOK_LAST_MS;
}

static void kill_tree(struct slot *s)
{
    signal_tree(s, SIGKILL);
    plan_look(s);
}

static void enter_kill(struct slot *s)
{
    give_back(s);
    s->state = SLOT_KILL;
    s->deadline_ms = NEVER;
    s->pause_ms = LOOK_FIRST_MS;
    kill_tree(s);
}

static void enter_term(struct slot *s)
{
    if (s->config->grace_ms <= 0) {
        enter_kill(s);
        return;
    }
    give_back(s);
    s->state = SLOT_TERM;
    s->deadline_ms = s->now_ms + s->config->grace_ms;
    s->look_ms = NEVER;
    signal_tree(s, SIGTERM);
    signal_tree(s, SIGCONT); /* a stopped process gets TERM only when it goes on */
}

static void look_at_memory(struct slot *s)
{
    s->memory_ms = s->now_ms + memguard_look(&s->guard, &s->tree, s->self);
    if (!s->guard.over)
        return;
    s->memory_ms = NEVER;
    fail_for_memory(s);
    if (s->state != SLOT_KILL)
        enter_kill(s);
}

/* Whoever has an output file open may finish it; the others wait with it, for they may be what it
 * reads from. When nobody has, all are ended: at once after a program that had descriptors of the
 * caller's, for then there are no files. */
static void look_for_writers(struct slot *s)
{
    int n;

    if (pump_is_open(&s->pump)) { /* nobody else can tell so well */
        plan_look(s);
        return;
    }
    n = tree_find(&s->tree, s->self, NULL, 0);
    for (int i = 0; i < n; i++) {
        if (!s->tree.procs[i].zombie && taskdir_is_held_by(s->dir, s->tree.procs[i].pid)) {
            plan_look(s);
            return;
        }
    }
    enter_term(s);
}

static void enter_linger(struct slot *s)
{
    give_back(s);
    s->state = SLOT_LINGER;
    pump_expect_end(&s->pump);
    s->deadline_ms = s->now_ms + s->config->grace_ms;
    s->pause_ms = LOOK_FIRST_MS;
    look_for_writers(s);
}

static void reap(struct slot *s)
{
    struct rusage ru;
    int status;
    pid_t pid;

    while ((pid = wait4(-1, &status, WNOHANG, &ru)) > 0) {
        add_usage(&s->ev.result, &ru);
        if (pid == s->main_pid) {
            s->main_pid = 0;
            s->main_status = status;
        }
    }
    if (pid < 0 && errno == ECHILD)
        finish(s);
    else if (s->state == SLOT_RUNNING && s->main_pid == 0)
        enter_linger(s);
    else if (s->state == SLOT_LINGER)
        look_for_writers(s); /* perhaps that was the last one */
    else if (s->state == SLOT_KILL)
        kill_tree(s); /* orphans of that one may have come to us */
}

static void on_timeout(struct slot *s)
{
    char text[64];

    snprintf(text, sizeof(text), "timed out after %g s", (double)s->timeout_ms / 1000);
    note(s, text);
    s->ev.result.reason = REASON_TIMEOUT;
    enter_term(s);
}

static void on_deadline(struct slot *s)
{
    switch (s->state) {
    case SLOT_RUNNING:
        on_timeout(s);
        break;
    case SLOT_LINGER:
        enter_term(s);
        break;
    case SLOT_TERM:
        enter_kill(s);
        break;
    case SLOT_IDLE:
    case SLOT_KILL:
        BUG("deadline in state %d", (int)s->state);
    }
}

/* ---- Messages -------------------------------------------------------------------------------- */

/* In front of its files, or of packed output when that has begun. */
static bool open_pump(struct slot *s, int64_t limit, struct spawn_spec *spec)
{
    int errnum = s->packed.place != NULL
                     ? pump_open_packed(&s->pump, limit, &s->packed)
                     : pump_open(&s->pump, limit, s->dir->out_fd, s->dir->err_fd);

    if (errnum != 0) {
        snprintf(s->ev.result.message, sizeof(s->ev.result.message),
                 "cannot make pipes for its output: %s", strerror(errnum));
        return false;
    }
    spec->out_fd = pump_out_fd(&s->pump);
    spec->err_fd = pump_err_fd(&s->pump);
    return true;
}

static bool begin_packed(struct slot *s, const struct launch_request *req)
{
    int errnum =
        s->place != NULL ? pack_out_begin(&s->packed, s->place, req->id, req->attempt) : ENOENT;

    if (errnum != 0)
        snprintf(s->ev.result.message, sizeof(s->ev.result.message), "cannot pack its output: %s",
                 strerror(errnum));
    return errnum == 0;
}

static bool has_files(const struct launch_request *req)
{
    return req->output == PILOT_OUTPUT_FILES || req->output == PILOT_OUTPUT_MERGED;
}

static int open_files(const struct slot *s, struct taskdir *dir, const struct launch_request *req,
                      char message[TASK_MESSAGE_MAX])
{
    return taskdir_open(dir, s->config->workdir, req->id, req->attempt,
                        req->output == PILOT_OUTPUT_MERGED, message, TASK_MESSAGE_MAX);
}

/* The output of a task: files, packed, or nothing. */
static bool open_task_output(struct slot *s, const struct launch_request *req,
                             struct spawn_spec *spec)
{
    struct attempt_result *res = &s->ev.result;
    bool files = has_files(req);
    int errnum = 0;

    if (s->prepared)
        s->dir = other_dir(s);
    else if (files)
        errnum = open_files(s, s->dir, req, res->message);
    else
        errnum = taskdir_open_none(s->dir, s->config->workdir, res->message, sizeof(res->message));
    s->prepared = false;
    if (room_is_errno(errnum))
        res->reason = REASON_DISK;
    if (errnum != 0)
        return false;
    if (req->output == PILOT_OUTPUT_PACKED)
        return begin_packed(s, req) && open_pump(s, req->max_output, spec);
    spec->out_fd = files ? s->dir->out_fd : STDOUT_FILENO; /* ours are /dev/null */
    spec->err_fd = files ? s->dir->err_fd : STDERR_FILENO;
    return !files || req->max_output <= 0 || open_pump(s, req->max_output, spec);
}

/* What becomes the program's output: that of a task, or what the caller passed. */
static bool open_output(struct slot *s, const struct launch_request *req, struct spawn_spec *spec)
{
    struct attempt_result *res = &s->ev.result;

    if (req->stdio_fd == 0)
        return open_task_output(s, req, spec);
    if (s->passed.n != 2) {
        snprintf(res->message, sizeof(res->message), "cannot receive the caller's descriptors: %s",
                 strerror(EMFILE)); /* the one reason why the kernel leaves some out */
        return false;
    }
    spec->in_fd = spec->out_fd = s->passed.v[0];
    spec->err_fd = s->passed.v[1];
    return true;
}

/* Up to the point where there is a process. False when there is none: message says why. */
static bool start(struct slot *s, const struct launch_request *req)
{
    struct attempt_result *res = &s->ev.result;
    struct spawn_spec spec = {0};
    int errnum;

    if (!open_output(s, req, &spec))
        return false;
    errnum = cpubind_apply(&s->cpus, req->cpus);
    if (errnum != 0) {
        snprintf(res->message, sizeof(res->message), "cannot bind to the CPUs '%.80s': %s",
                 req->cpus, strerror(errnum));
        return false;
    }
    if (plan_make(&s->plan, req, s->config->env, taskdir_path(s->dir), &spec) < 0) {
        snprintf(res->message, sizeof(res->message), "cannot start: out of memory");
        return false;
    }
    if (req->cwd == NULL && !has_files(req))
        spec.cwd_fd = s->dir->workdir_fd; /* it is open anyway: no walk along its path */
    memguard_begin(&s->guard, s->group, req->memory);
    if (s->guard.group.procs_fd > 0)
        spec.group_fd = s->guard.group.procs_fd;
    oomscore_apply(&s->oom_score, req->stdio_fd == 0);
    s->main_pid = s->leader = spawn_task(&spec, s->report);
    if (s->main_pid == 0)
        spawn_describe(s->report, res->message, sizeof(res->message));
    if (s->main_pid == 0 || s->report->outside)
        memguard_watch(&s->guard);
    return s->main_pid != 0;
}

static void handle_run(struct slot *s, const struct launch_request *req)
{
    struct attempt_result *res = &s->ev.result;
    bool started;

    s->begun++;
    memset(&s->ev, 0, sizeof(s->ev));
    s->ev.key = req->key;
    res->exit_code = -1;
    res->start_wall_ms = clock_wall_ms();
    s->main_status = 0;
    s->leader = 0;
    s->timeout_ms = req->timeout_ms;
    started = start(s, req);
    wire_fds_close(&s->passed); /* or the caller would not see the end of the program's output */
    if (!started) {
        pump_end(&s->pump);
        fail_spawn(s);
        judge_output(s);
        taskdir_close(s->dir);
        put_result(s);
        return;
    }
    s->state = SLOT_RUNNING;
    if (req->timeout_ms > 0)
        s->deadline_ms = clock_mono_ms() + req->timeout_ms;
    if (req->memory > 0)
        s->memory_ms = clock_mono_ms() + MEMORY_FIRST_MS;
}

/* Makes the files of the first that is to follow, while there is time; not just when another
 * begins, from which that would take the core. Only what can be taken back: of a first attempt.
 * What cannot be made is tried again, and told, when it begins. */
static void prepare_next(struct slot *s, const struct launch_request *req)
{
    char message[TASK_MESSAGE_MAX];

    s->prepare_ms = NEVER;
    if (s->prepared || !has_files(req) || req->attempt != 1)
        return;
    s->prepared = open_files(s, other_dir(s), req, message) == 0;
    if (!s->prepared)
        taskdir_close(other_dir(s));
}

static const struct launch_request *first_request(struct slot *s)
{
    const struct buf *msg = &follow_first(&s->follow)->msg;

    if (wire_get_run(msg->data, msg->len, &s->run) < 0)
        BUG("a request that was good has gone bad");
    return &s->run.req;
}

static void begin_next(struct slot *s)
{
    while (s->state == SLOT_IDLE && s->follow.n > 0) {
        handle_run(s, first_request(s));
        follow_remove(&s->follow, 0);
    }
    s->prepare_ms = clock_mono_ms() + PREPARE_MS;
}

/* It begins when what runs and those that came before it have ended. False: this cannot be. */
static bool handle_next(struct slot *s, const struct launch_request *req, const void *payload,
                        size_t len)
{
    if (req->wait_ms <= 0 ||
        !follow_add(&s->follow, req->key, clock_mono_ms() + req->wait_ms, payload, len))
        return false;
    if (s->state != SLOT_RUNNING)
        give_back(s); /* it may take long until that has ended */
    else if (s->prepare_ms == NEVER && s->follow.n == 1)
        s->prepare_ms = clock_mono_ms() + PREPARE_MS;
    return true;
}

static void handle_kill(struct slot *s, const struct wire_kill *k)
{
    size_t at = follow_find(&s->follow, k->key);

    results_hurry(&s->results);
    if (at < s->follow.n)
        give_one_back(s, at);
    else if (k->key == s->ev.key && !k->unbegun)
        give_back(s);
    if (s->state == SLOT_IDLE || k->key != s->ev.key || k->unbegun)
        return; /* it has ended meanwhile */
    if (s->ev.result.reason == REASON_EXIT)
        s->ev.result.reason = k->reason;
    s->now_ms = clock_mono_ms();
    if (k->now && s->state != SLOT_KILL)
        enter_kill(s);
    else if (s->state == SLOT_RUNNING || s->state == SLOT_LINGER)
        enter_term(s);
}

/* Ends everything at once and leaves: the agent has died, or wants that. */
_Noreturn static void leave(struct slot *s)
{
    orphans_end(&s->tree, s->self, s->leader, s->sigfd);
    memguard_end(&s->guard);
    pump_end(&s->pump); /* for who reads the packed output of a pilot that was killed */
    if (s->packed.place != NULL)
        (void)pack_out_end(&s->packed);
    _exit(EXIT_SUCCESS);
}

static void handle(struct slot *s, enum wire_type type, const void *payload, size_t len)
{
    struct wire_kill k;

    if (type == WIRE_RUN && wire_get_run(payload, len, &s->run) == 0 &&
        (s->state == SLOT_IDLE || handle_next(s, &s->run.req, payload, len))) {
        if (s->state == SLOT_IDLE)
            handle_run(s, &s->run.req);
    } else if (type == WIRE_KILL && wire_get_kill(payload, len, &k) == 0)
        handle_kill(s, &k);
    else
        leave(s); /* the agent does not keep to the protocol: it sees that this slot is lost */
}

static void handle_messages(struct slot *s)
{
    enum wire_type type;
    const void *payload;
    size_t len;
    int rc;

    while ((rc = wire_next(&s->rx, &type, &payload, &len)) > 0)
        handle(s, type, payload, len);
    if (rc < 0)
        leave(s);
}

/* ---- The loop -------------------------------------------------------------------------------- */

static int poll_timeout(const struct slot *s)
{
    const int64_t dues_ms[] = {s->deadline_ms,
                               s->look_ms,
                               s->memory_ms,
                               s->flush_ms,
                               s->follow.n > 0 ? follow_due_ms(&s->follow) + 1 : NEVER,
                               s->follow.n > 0 ? s->prepare_ms : NEVER,
                               s->results.due_ms};
    int64_t until = NEVER, wait;

    for (size_t i = 0; i < sizeof(dues_ms) / sizeof(dues_ms[0]); i++)
        until = dues_ms[i] < until ? dues_ms[i] : until;
    if (until == NEVER)
        return -1;
    wait = until - clock_mono_ms();
    if (wait < 0)
        return 0;
    return wait < INT32_MAX ? (int)wait : INT32_MAX;
}

static void receive(struct slot *s, int flags)
{
    struct wire_fds fds;
    ssize_t n = wire_recv(&s->rx, s->sock, flags, &fds);

    if (n == 0 || (n < 0 && n != PILOT_EAGAIN))
        leave(s);
    if (fds.n > 0) {
        wire_fds_close(&s->passed);
        s->passed = fds;
    }
    handle_messages(s);
}

static void on_time(struct slot *s)
{
    if (s->deadline_ms == NEVER && s->look_ms == NEVER && s->memory_ms == NEVER &&
        s->flush_ms == NEVER && s->follow.n == 0)
        return;
    s->now_ms = clock_mono_ms();
    if (s->now_ms > follow_due_ms(&s->follow))
        give_back(s);
    if (s->now_ms >= s->prepare_ms && s->follow.n > 0)
        prepare_next(s, first_request(s));
    if (s->now_ms >= s->flush_ms) {
        pack_out_flush(&s->packed);
        s->flush_ms = NEVER;
    }
    if (s->now_ms >= s->memory_ms)
        look_at_memory(s);
    if (s->now_ms >= s->deadline_ms)
        on_deadline(s);
    else if (s->now_ms >= s->look_ms && s->state == SLOT_LINGER)
        look_for_writers(s);
    else if (s->now_ms >= s->look_ms && s->state == SLOT_KILL)
        kill_tree(s);
}

static void take_output(struct slot *s, const struct pollfd *fds)
{
    pump_turn(&s->pump, fds);
    if (s->pump.filled && s->flush_ms == NEVER)
        s->flush_ms = clock_mono_ms() + FLUSH_MS;
    s->pump.filled = false;
    if (s->state == SLOT_LINGER && !pump_is_open(&s->pump))
        s->look_ms = 0; /* that was what it waited for */
}

/* One turn while a task runs: children first, so that an exit comes before a deadline that has
 * passed meanwhile; then output; then messages; then deadlines. */
static void turn(struct slot *s)
{
    struct pollfd fds[2 + PUMP_STREAMS] = {{.fd = s->sigfd, .events = POLLIN},
                                           {.fd = s->sock, .events = POLLIN}};
    int outputs = pump_fds(&s->pump, fds + 2);
    unsigned begun = s->begun;
    struct signalfd_siginfo info;

    if (poll(fds, 2 + (nfds_t)outputs, poll_timeout(s)) < 0)
        return;
    if (fds[0].revents != 0) {
        (void)!read(s->sigfd, &info, sizeof(info)); /* SIGCHLD: only that, at most one pending */
        s->now_ms = clock_mono_ms();
        reap(s);
    }
    if (outputs > 0 && s->begun == begun) /* else they are those of the attempt before */
        take_output(s, fds + 2);
    if (fds[1].revents != 0)
        receive(s, MSG_DONTWAIT);
    on_time(s);
}

static void send_out(struct slot *s)
{
    const struct buf *out = &s->results.out;

    if (!results_are_due(&s->results))
        return;
    if (!buf_ok(out) || wire_send(s->sock, out->data, out->len, 0) < 0)
        leave(s); /* the agent is gone */
    results_clear(&s->results);
}

static void init(struct slot *s, int sock, const struct wire_config *config)
{
    sigset_t chld;

    memset(s, 0, sizeof(*s));
    s->sock = sock;
    s->config = config;
    s->self = getpid();
    s->deadline_ms = s->look_ms = s->memory_ms = s->flush_ms = s->prepare_ms = NEVER;
    results_init(&s->results);
    memguard_init(&s->guard);
    oomscore_init(&s->oom_score);
    taskdir_init(&s->dirs[0]);
    taskdir_init(&s->dirs[1]);
    s->dir = &s->dirs[0];
    pump_init(&s->pump);
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    s->sigfd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    s->report = spawn_report_create();
    if (s->sigfd < 0 || s->report == NULL || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        _exit(EXIT_FAILURE); /* the agent sees that the slot is lost */
    (void)setsid();
    (void)prctl(PR_SET_NAME, "pilot-slot");
}

_Noreturn void slot_main(int sock, const struct wire_config *config, const struct memcg *group,
                         struct pack_place *place)
{
    static struct slot s; /* large buffers, one slot a process */

    init(&s, sock, config);
    s.group = group;
    s.place = place;
    for (;;) {
        if (s.state == SLOT_IDLE)
            receive(&s, 0);
        else
            turn(&s);
        send_out(&s);
    }
}
