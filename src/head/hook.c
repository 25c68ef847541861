/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the hook program and the lines to and from it (docs/hooks.md). Events wait in events.c and
 * are worded when the program's input has room, so a slow hook costs memory, not time. The program
 * runs under a launcher of its own, so that nothing of it is left either; with "-" it is whoever
 * holds our standard input and output. */
#include "head/impl.h"
#include "head/lines.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "input/taskfile.h"

#define RESTARTS 3
#define OUT_AHEAD (256 << 10) /* bytes of worded events that wait for room */
#define READS_A_TURN 64       /* of READ_SIZE, so that a chatty hook does not hold up the loop */
#define READ_SIZE 65536
#define LINE_MAX_BYTES (64u << 20)

/* IDLE -> RUNNING -> (dies) -> RUNNING ... -> ENDING (end was said) -> OVER. */
enum hook_state { HOOK_IDLE, HOOK_RUNNING, HOOK_ENDING, HOOK_OVER };

struct hook {
    enum hook_state state;
    bool own_stdio; /* "-" */
    struct launcher *launcher;
    uint64_t key;      /* of the running program; counts starts */
    int in_fd, out_fd; /* from it, to it; the same socket for a program of ours */
    struct buf in, out;
    size_t out_sent;
    uint64_t sent_seq; /* events up to here were worded to the program that runs */
    unsigned restarts;
    size_t scanned; /* bytes of in without a newline */
    bool hold;      /* it wants the pilot to wait although nothing is left to run */
    bool waiting;   /* there was nothing to run at all: until its first line */
};

static void say(struct hook *k, cJSON *line)
{
    char *text = line != NULL ? cJSON_PrintUnformatted(line) : NULL;

    if (text == NULL)
        BUG("out of memory for a line to the hook");
    buf_put(&k->out, text, strlen(text));
    buf_put(&k->out, "\n", 1);
    if (!buf_ok(&k->out))
        BUG("out of memory for lines to the hook");
    cJSON_free(text);
    cJSON_Delete(line);
}

static cJSON *counts_of(const struct head *h)
{
    cJSON *o = cJSON_CreateObject();
    struct sched_counts c;

    sched_get_counts(h->sched, &c);
    for (int i = TASK_COMPLETED; i < TASK_STATUS_COUNT; i++)
        cJSON_AddNumberToObject(o, task_status_name((enum task_status)i),
                                (double)tell_count(h, &c, (enum task_status)i));
    cJSON_AddNumberToObject(o, "running", c.by_status[TASK_RUNNING]);
    cJSON_AddNumberToObject(o, "waiting", c.by_status[TASK_PENDING]);
    cJSON_AddNumberToObject(o, "total", h->tasks.len);
    cJSON_AddNumberToObject(o, "cores_busy", c.cores_busy);
    cJSON_AddNumberToObject(o, "cores", h->cores);
    return o;
}

static void say_hello(struct head *h)
{
    cJSON *o = cJSON_CreateObject();

    cJSON_AddStringToObject(o, "event", "hello");
    cJSON_AddNumberToObject(o, "protocol", 1);
    cJSON_AddStringToObject(o, "version", pilot_version());
    cJSON_AddStringToObject(o, "workdir", h->workdir);
    cJSON_AddNumberToObject(o, "cores", h->cores);
    cJSON_AddNumberToObject(o, "nodes", h->summary.nodes);
    cJSON_AddItemToObject(o, "counts", counts_of(h));
    say(h->hook, o);
}

/* answer: the line that it is about; NULL: none. */
static void say_error(struct hook *k, const struct hook_answer *answer, const char *message)
{
    cJSON *o = cJSON_CreateObject();

    log_warn("hook: %s", message);
    cJSON_AddStringToObject(o, "event", "error");
    if (answer != NULL && answer->ack_is_number)
        cJSON_AddNumberToObject(o, "ack", answer->ack_given);
    cJSON_AddStringToObject(o, "message", message);
    say(k, o);
}

static void add_path(cJSON *o, const char *key, const struct head *h, const char *id,
                     const char *file)
{
    char path[8192];

    snprintf(path, sizeof(path), "%s/%s/%s", h->workdir, id, file);
    cJSON_AddStringToObject(o, key, path);
}

static cJSON *result_of(const struct head *h, const struct event *e)
{
    const struct attempt_result *r = &e->result;
    const char *id = head_task_id(h, e->task);
    cJSON *o = cJSON_CreateObject();
    bool ran = e->attempts > 0;

    cJSON_AddStringToObject(o, "task_id", id);
    cJSON_AddStringToObject(o, "status", task_status_name(e->status));
    cJSON_AddBoolToObject(o, "success", e->status == TASK_COMPLETED);
    cJSON_AddNumberToObject(o, "returncode", ran && r->reason == REASON_EXIT ? r->exit_code : -1);
    cJSON_AddStringToObject(o, "reason", ran ? attempt_reason_name(r->reason) : "");
    cJSON_AddNumberToObject(o, "signal", r->signal);
    cJSON_AddNumberToObject(o, "duration", (double)(r->end_wall_ms - r->start_wall_ms) / 1e3);
    add_path(o, "stdout_file", h, id, "stdout.txt");
    add_path(o, "stderr_file", h, id, "stderr.txt");
    cJSON_AddStringToObject(o, "node", e->node);
    cJSON_AddNumberToObject(o, "attempts", e->attempts);
    cJSON_AddStringToObject(o, "cpus", e->cpus);
    cJSON_AddNumberToObject(o, "user_time", (double)r->user_us / 1e6);
    cJSON_AddNumberToObject(o, "sys_time", (double)r->sys_us / 1e6);
    cJSON_AddNumberToObject(o, "max_rss_kib", (double)r->max_rss_kib);
    return o;
}

static void say_event(struct head *h, uint64_t seq, const struct event *e)
{
    cJSON *o = cJSON_CreateObject();
    struct task_spec spec;
    char *task = NULL;

    if (tasks_unpack(&h->tasks.v[e->task], &spec) == 0)
        task = task_spec_to_json(&spec);
    task_spec_fini(&spec);
    if (task == NULL)
        BUG("out of memory for a task");
    cJSON_AddStringToObject(o, "event", "ended");
    cJSON_AddNumberToObject(o, "seq", (double)seq);
    cJSON_AddRawToObject(o, "task", task);
    cJSON_AddItemToObject(o, "result", result_of(h, e));
    cJSON_AddItemToObject(o, "counts", counts_of(h));
    free(task);
    say(h->hook, o);
}

void hook_started(struct head *h, task_id_t task, node_id_t node, unsigned attempt)
{
    cJSON *o;

    if (h->hook == NULL || !h->hook->own_stdio || h->hook->state != HOOK_RUNNING)
        return;
    o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "event", "started");
    cJSON_AddStringToObject(o, "id", head_task_id(h, task));
    cJSON_AddStringToObject(o, "node", h->nodes[node].name);
    cJSON_AddNumberToObject(o, "cores", h->tasks.v[task].cores);
    cJSON_AddNumberToObject(o, "attempt", attempt);
    say(h->hook, o);
}

/* ---- Starting and dying ---------------------------------------------------------------------- */

static void forget_lines(struct hook *k)
{
    buf_clear(&k->in);
    buf_clear(&k->out);
    k->out_sent = 0;
    k->scanned = 0;
}

static int start_program(struct head *h, struct pilot_error *err)
{
    struct hook *k = h->hook;
    struct launch_request req = {
        .key = ++k->key, .id = "hook", .attempt = 1, .command = h->opt->hook, .cwd = "."};
    int ends[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return err_set_errno(err, PILOT_ESYS, errno, "cannot make a socket for the hook");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    req.stdio_fd = ends[1];
    req.stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    rc = req.stderr_fd < 0 ? err_set_errno(err, PILOT_ESYS, errno, "cannot copy standard error")
                           : launcher_run(k->launcher, &req, err);
    if (req.stderr_fd >= 0)
        close(req.stderr_fd);
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        return rc;
    }
    k->in_fd = k->out_fd = ends[0];
    return 0;
}

/* Our own ends, opened anew so that O_NONBLOCK is not set for whoever shares them; a socket cannot
 * be opened anew and is read and written with MSG_DONTWAIT. */
static int reopen(int fd, int mode)
{
    char path[32];
    int mine;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    mine = open(path, mode | O_NONBLOCK | O_CLOEXEC);
    return mine >= 0 ? mine : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void fail(struct head *h, const char *why)
{
    struct pilot_error err;

    h->hook->state = HOOK_OVER;
    err_set(&err, PILOT_ELOST, "%s", why);
    if (!h->failed) {
        h->failed = true;
        h->failure = err;
        log_error("%s", err.text);
    }
    head_stop(h, STOP_DRAIN, "the hook failed");
}

static void start(struct head *h)
{
    struct hook *k = h->hook;
    struct pilot_error err;

    forget_lines(k);
    k->sent_seq = h->events.first_seq - 1;
    k->hold = false; /* whoever starts anew knows nothing of that */
    if (k->own_stdio) {
        k->in_fd = reopen(STDIN_FILENO, O_RDONLY);
        k->out_fd = reopen(STDOUT_FILENO, O_WRONLY);
    } else if (start_program(h, &err) < 0) {
        fail(h, err.text);
        return;
    }
    k->state = HOOK_RUNNING;
    say_hello(h);
}

static void close_ends(struct hook *k)
{
    if (k->in_fd >= 0)
        close(k->in_fd);
    if (k->out_fd >= 0 && k->out_fd != k->in_fd)
        close(k->out_fd);
    k->in_fd = k->out_fd = -1;
}

/* The program has closed its side. */
static void on_death(struct head *h)
{
    struct hook *k = h->hook;

    close_ends(k);
    if (k->state != HOOK_RUNNING) {
        k->state = HOOK_OVER;
    } else if (k->own_stdio) {
        k->state = HOOK_OVER;
        head_stop(h, STOP_TERM, "the program that started the pilot has gone");
    } else if (k->restarts == RESTARTS) {
        fail(h, "the hook died once more after three restarts; tasks that run may end, then the "
                "pilot stops; mend the hook, then --resume with it: what it has not answered is "
                "told again");
    } else {
        k->restarts++;
        log_warn("the hook has died; starting it again with what it has not answered (%u of %d)",
                 k->restarts, RESTARTS);
        launcher_kill(k->launcher, k->key, REASON_CANCEL, true);
        start(h);
    }
}

/* ---- Its lines ------------------------------------------------------------------------------- */

/* One task of an answer, as the list of one that intake reads. */
static int64_t take_one(struct head *h, const struct scan_text *task, struct buf *scratch,
                        struct pilot_error *err)
{
    buf_clear(scratch);
    buf_put(scratch, "[", 1);
    buf_put(scratch, task->p, task->len);
    buf_put(scratch, "]", 1);
    if (!buf_ok(scratch))
        BUG("out of memory for an answer of the hook");
    return intake_text(h, "hook", (const char *)scratch->data, scratch->len, NULL, err);
}

/* Takes the tasks one by one, in rounds, since one may depend on another that stands behind it;
 * what no round could take is refused. */
static void take_one_by_one(struct head *h, const struct hook_answer *a)
{
    struct scan_members tasks = {0};
    struct scan_fail fail = {0};
    struct pilot_error err;
    struct buf scratch;
    bool progress = true, last = false;

    if (scan_value(a->tasks.p, a->tasks.p + a->tasks.len, &tasks, &fail) == NULL)
        BUG("out of memory for an answer of the hook");
    buf_init(&scratch);
    while (tasks.count > 0 && (progress || !last)) {
        size_t left = 0;

        last = !progress; /* the round that complains */
        progress = false;
        for (size_t i = 0; i < tasks.count; i++) {
            if (take_one(h, &tasks.list[i].value, &scratch, &err) >= 0) {
                progress = true;
                continue;
            }
            if (last)
                say_error(h->hook, a, err.text);
            tasks.list[left++] = tasks.list[i];
        }
        tasks.count = left;
    }
    buf_fini(&scratch);
    scan_members_fini(&tasks);
}

static void take_cancels(struct head *h, const struct hook_answer *a)
{
    struct pilot_error err;

    for (char **id = a->cancel; id != NULL && *id != NULL; id++)
        if (head_cancel(h, *id, &err) < 0)
            say_error(h->hook, a, err.text);
}

static void take_answer(struct head *h, const struct hook_answer *a)
{
    struct pilot_error err;

    if (h->over)
        return; /* too late: the event stays unanswered, a resume tells it again */
    if (a->has_ack && (a->ack == 0 || events_find(h, a->ack) == NULL)) {
        say_error(h->hook, a,
                  "\"ack\" is not the number of an event that waits for an answer; "
                  "the line was ignored");
        return;
    }
    if (a->tasks.p != NULL && scan_blank(a->tasks.p + 1, a->tasks.p + a->tasks.len)[0] != ']' &&
        intake_text(h, "hook", a->tasks.p, a->tasks.len, NULL, &err) < 0)
        take_one_by_one(h, a);
    take_cancels(h, a);
    if (a->has_hold)
        h->hook->hold = a->hold;
    if (a->has_ack)
        events_answer(h, a->ack);
    if (a->stop != NULL)
        head_stop_run(h, a->stop);
    h->again = true;
}

static void take_line(struct head *h, const char *line, size_t len)
{
    char why[LINES_WHY_MAX], text[LINES_WHY_MAX + 40];
    struct hook_answer answer;
    int rc = hook_answer_parse(line, len, &answer, why);

    if (rc == PILOT_ENOMEM)
        BUG("out of memory for a line of the hook");
    if (rc == PILOT_EINVAL) {
        snprintf(text, sizeof(text), "a line was ignored: %s", why);
        say_error(h->hook, &answer, text);
    } else if (rc > 0) {
        take_answer(h, &answer);
    }
    hook_answer_fini(&answer);
}

static void take_lines(struct head *h)
{
    struct hook *k = h->hook;
    size_t from = 0, at = k->scanned;
    unsigned char *newline;

    while ((newline = memchr(k->in.data + at, '\n', k->in.len - at)) != NULL) {
        at = (size_t)(newline - k->in.data);
        k->waiting = false;
        take_line(h, (const char *)k->in.data + from, at - from);
        from = ++at;
    }
    memmove(k->in.data, k->in.data + from, k->in.len - from);
    k->in.len -= from;
    k->scanned = k->in.len;
    if (k->in.len > LINE_MAX_BYTES) {
        say_error(k, NULL, "a line of more than 64 MiB was ignored");
        k->in.len = k->scanned = 0;
    }
}

static ssize_t read_some(int fd, void *data, size_t size)
{
    ssize_t got = recv(fd, data, size, MSG_DONTWAIT);

    return got < 0 && errno == ENOTSOCK ? read(fd, data, size) : got;
}

static ssize_t write_some(int fd, const void *data, size_t size)
{
    ssize_t sent = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

    return sent < 0 && errno == ENOTSOCK ? write(fd, data, size) : sent;
}

/* True when the other side has gone. */
static bool read_lines(struct head *h)
{
    static char block[READ_SIZE];
    struct hook *k = h->hook;

    for (int i = 0; i < READS_A_TURN && k->in_fd >= 0; i++) {
        ssize_t got = read_some(k->in_fd, block, sizeof(block));

        if (got < 0)
            return errno != EAGAIN && errno != EINTR;
        if (got == 0)
            return true;
        buf_put(&k->in, block, (size_t)got);
        if (!buf_ok(&k->in))
            BUG("out of memory for lines of the hook");
        take_lines(h);
    }
    return false;
}

static void word_events(struct head *h)
{
    struct hook *k = h->hook;
    uint64_t end = h->events.first_seq + h->events.len;

    if (k->sent_seq + 1 < h->events.first_seq)
        k->sent_seq = h->events.first_seq - 1;
    while (k->sent_seq + 1 < end && k->out.len - k->out_sent < OUT_AHEAD) {
        const struct event *e = events_find(h, ++k->sent_seq);

        if (e != NULL)
            say_event(h, k->sent_seq, e);
    }
}

/* True when the other side has gone. */
static bool write_lines(struct head *h)
{
    struct hook *k = h->hook;

    while (k->out_fd >= 0 && k->out_sent < k->out.len) {
        ssize_t sent = write_some(k->out_fd, k->out.data + k->out_sent, k->out.len - k->out_sent);

        if (sent <= 0)
            return sent < 0 && errno != EAGAIN && errno != EINTR;
        k->out_sent += (size_t)sent;
        if (k->out_sent > OUT_AHEAD && k->out_sent < k->out.len) {
            memmove(k->out.data, k->out.data + k->out_sent, k->out.len - k->out_sent);
            k->out.len -= k->out_sent;
            k->out_sent = 0;
        }
        if (k->out_sent == k->out.len) {
            buf_clear(&k->out);
            k->out_sent = 0;
            if (k->state == HOOK_RUNNING)
                word_events(h);
        }
    }
    return false;
}

static void drain_launcher(struct hook *k)
{
    struct launch_event ev;

    while (k->launcher != NULL && launcher_next(k->launcher, &ev) > 0)
        if (ev.key == k->key && ev.result.reason == REASON_SPAWN)
            log_error("hook: %s", ev.result.message);
}

void hook_turn(struct head *h, int64_t now_ms)
{
    struct hook *k = h->hook;
    bool gone;

    (void)now_ms;
    if (k == NULL || k->state == HOOK_IDLE || k->state == HOOK_OVER)
        return;
    drain_launcher(k);
    if (k->state == HOOK_RUNNING)
        word_events(h);
    /* Reads to the end first: what a program said before it left counts. */
    gone = write_lines(h);
    if (read_lines(h) || gone)
        on_death(h);
}

/* ---- Its life -------------------------------------------------------------------------------- */

int hook_create(struct head *h, struct launcher *launcher, struct pilot_error *err)
{
    struct hook *k;

    if (h->opt->hook == NULL)
        return 0;
    k = calloc(1, sizeof(*k));
    if (k == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    k->own_stdio = strcmp(h->opt->hook, "-") == 0;
    k->launcher = launcher;
    k->in_fd = k->out_fd = -1;
    h->hook = k;
    return 0;
}

void hook_start(struct head *h)
{
    struct hook *k = h->hook;
    struct pilot_error err;

    if (k == NULL)
        return;
    k->waiting = h->tasks.len == 0 && h->stream == NULL;
    if (k->launcher != NULL &&
        launcher_configure(k->launcher, h->workdir, h->environ_before, h->opt->grace_ms, &err) < 0)
        fail(h, err.text);
    else
        start(h);
}

bool hook_holds(const struct head *h)
{
    const struct hook *k = h->hook;

    return k != NULL && (k->hold || k->waiting) && k->state == HOOK_RUNNING;
}

int hook_fds(const struct head *h, struct pollfd *fds)
{
    const struct hook *k = h->hook;
    int n = 0;

    if (k == NULL || k->in_fd < 0)
        return 0;
    fds[n++] = (struct pollfd){.fd = k->in_fd, .events = POLLIN};
    if (k->out_sent < k->out.len)
        fds[n++] = (struct pollfd){.fd = k->out_fd, .events = POLLOUT};
    if (k->launcher != NULL)
        fds[n++] = (struct pollfd){.fd = launcher_fd(k->launcher), .events = POLLIN};
    return n;
}

static void say_end(struct head *h, int exit_status)
{
    const struct pilot_summary *s = &h->summary;
    cJSON *o = cJSON_CreateObject(), *sum;

    cJSON_AddStringToObject(o, "event", "end");
    cJSON_AddNumberToObject(o, "exit_status", exit_status);
    sum = cJSON_AddObjectToObject(o, "summary");
    cJSON_AddNumberToObject(sum, "completed", (double)s->completed);
    cJSON_AddNumberToObject(sum, "failed", (double)s->failed);
    cJSON_AddNumberToObject(sum, "skipped", (double)s->skipped);
    cJSON_AddNumberToObject(sum, "cancelled", (double)s->cancelled);
    cJSON_AddNumberToObject(sum, "unfinished", (double)s->unfinished);
    cJSON_AddNumberToObject(sum, "wall_time", s->wall_s);
    cJSON_AddNumberToObject(sum, "cpu_time", s->cpu_s);
    say(h->hook, o);
}

void hook_end(struct head *h, int exit_status)
{
    struct hook *k = h->hook;
    int64_t until_ms = clock_mono_ms() + h->opt->grace_ms;

    if (k == NULL || k->state != HOOK_RUNNING)
        return;
    k->state = HOOK_ENDING;
    say_end(h, exit_status);
    while (k->state == HOOK_ENDING && clock_mono_ms() < until_ms) {
        hook_turn(h, clock_mono_ms());
        if (k->state != HOOK_ENDING || (k->out.len == 0 && k->own_stdio))
            break;
        if (k->out.len == 0 && k->out_fd >= 0)
            shutdown(k->out_fd, SHUT_WR);
        ranks_serve(h);
        head_wait(h, loss_next_ms(h) < until_ms ? loss_next_ms(h) : until_ms);
    }
    if (k->state == HOOK_ENDING && !k->own_stdio)
        log_warn("the hook did not leave within %.0f s after its end of input; killing it",
                 (double)h->opt->grace_ms / 1e3);
}

void hook_destroy(struct head *h)
{
    struct hook *k = h->hook;

    if (k == NULL)
        return;
    close_ends(k);
    launcher_stop(k->launcher);
    buf_fini(&k->in);
    buf_fini(&k->out);
    free(k);
    h->hook = NULL;
}
