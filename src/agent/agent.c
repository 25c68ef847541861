/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the attempts that run on this node, and which cores each of them has. Must not decide what
 * runs next (head, core), nor fork (launch), nor know hwloc (cpus). */
#include "agent/agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/control.h"
#include "agent/cpus.h"
#include "agent/memory.h"
#include "agent/oom.h"
#include "agent/outroom.h"
#include "agent/runs.h"
#include "agent/scratch.h"
#include "agent/site.h"
#include "agent/taskenv.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/quick.h"
#include "common/room.h"
#include "common/strmap.h"
#include "proto/msg.h"

/* Life of an agent. Only set_state changes it.
 *
 *   GREETING --WELCOME(agent)--> READY --ASSIGN--> WORKING --BYE--> GONE --FINALIZE--> RELEASED
 *       |                                             |              ^
 *       |                                       launcher lost        |
 *       |                                             v              |
 *       +------WELCOME(surplus)-------------------> SURPLUS ---BYE---+
 *
 *       any state --LEAVE--> DISMISSED
 *       any state --silence of the head, or the end of its process--> ORPHANED
 */
enum agent_state { GREETING, READY, WORKING, SURPLUS, GONE, RELEASED, DISMISSED, ORPHANED };

#define STARTING_MS 600000 /* silence of the head before tasks run, where bells do not arrive */
#define LEAVING_MS 1000    /* for the last frames to get out of our hands */
#define REFUSED_BEATS 3    /* silent for so many heartbeats, and its port is closed: it has died */
#define FRAME_FULL 65536   /* bytes; a frame this long is sent before more is put in */
#define WAIT_MS 100        /* what is lent to us goes back when it has not begun after so long */

struct agent {
    enum agent_state state;
    struct transport *transport;
    struct launcher *launcher;
    char *const *environ_before;
    char **env;      /* base of all tasks */
    char **settings; /* what of it matters for what each task gets on top */
    struct msg_welcome site;
    int64_t end_ms; /* when tasks are ended because of the walltime; INT64_MAX: not known */
    struct cpus *cpus;
    bool pin;
    struct runs runs;
    struct control *control; /* NULL: none could be made, or not yet */
    struct outroom room;     /* for the output of tasks */
    struct scratch *scratch; /* for MPI programs in tasks; NULL: none could be made, or not yet */
    bool requests;           /* there may be some: the control socket is to be looked at */
    struct strmap xml;       /* CPU lists that have a topology file */
    struct buf out;          /* the frame of this turn */
    int64_t heard_ms, sent_ms, turned_ms;
    bool asking; /* we were stopped: what the head wanted before it answers may be too old */
    struct oom oom;
    int64_t oom_before; /* noted before the ends that came in together with what begins by itself */
};

static void set_state(struct agent *a, enum agent_state state)
{
    a->state = state;
}

/* ---- Attempts -------------------------------------------------------------------------------- */

static void report_end(struct agent *a, task_id_t task, uint32_t attempt, const char *cpus,
                       const struct attempt_result *result)
{
    struct msg_ended m = {.task = task, .attempt = attempt, .result = *result};

    (void)quick_concat(m.cpus, sizeof(m.cpus), (const char *const[]){cpus, NULL});
    msg_put_ended(&a->out, &m);
}

/* There is no room for output, or there is some again (errnum 0). */
static void tell_room(struct agent *a, int errnum)
{
    struct msg_room m = {.why = ""};

    if (errnum != 0)
        snprintf(m.why, sizeof(m.why), "cannot write in %.800s on %.100s: %s", a->site.workdir,
                 a->site.node, room_words(errnum));
    msg_put_room(&a->out, &m);
}

/* Something failed that may have failed for lack of room. Others would fail like it: the head is to
 * know before it hears of the end. */
static void suspect_room(struct agent *a)
{
    int errnum = outroom_suspect(&a->room, clock_mono_ms());

    if (errnum != 0)
        tell_room(a, errnum);
}

/* An attempt could not be started for lack of room. What was short for it may not be short where we
 * look (a quota of that directory), but is. */
static void tell_disk(struct agent *a, const struct attempt_result *result)
{
    struct msg_room m;
    int errnum = outroom_look(&a->room);

    if (errnum != 0) {
        tell_room(a, errnum);
        return;
    }
    snprintf(m.why, sizeof(m.why), "%s on %.100s; make room", result->message, a->site.node);
    msg_put_room(&a->out, &m);
}

/* An attempt that never came to the launcher. */
static void report_refusal(struct agent *a, const struct msg_run *m, enum attempt_reason reason,
                           const char *why)
{
    struct attempt_result result = {.reason = reason, .exit_code = -1};

    result.start_wall_ms = result.end_wall_ms = clock_wall_ms();
    snprintf(result.message, sizeof(result.message), "%.*s", (int)sizeof(result.message) - 1, why);
    report_end(a, m->task, m->attempt, "", &result);
}

/* Path of the topology file for these CPUs, made when it is first asked for; NULL: none. */
static const char *xml_for(struct agent *a, const char *list, char *path, size_t size)
{
    struct pilot_error err;
    char *key;

    if (!a->pin || list[0] == '\0' || strlen(list) > 200 ||
        !quick_concat(path, size,
                      (const char *const[]){a->site.workdir, "/.pilot/", a->site.node, "/cpus-",
                                            list, ".xml", NULL}))
        return NULL;
    if (strmap_get(&a->xml, list, NULL))
        return path;
    if (cpus_export_xml(a->cpus, list, path, &err) < 0) {
        log_warn("MPI programs inside tasks are not confined to their cores: %s", err.text);
        suspect_room(a);
        return NULL;
    }
    key = strdup(list);
    if (key != NULL && strmap_add(&a->xml, key, 0) < 0)
        free(key);
    return path;
}

/* Whole seconds until tasks are ended; -1: not known. */
static int64_t left_s(const struct agent *a)
{
    int64_t left_ms = a->end_ms - clock_mono_ms();

    if (a->end_ms == INT64_MAX)
        return -1;
    return left_ms > 0 ? left_ms / 1000 : 0;
}

/* before: the run that it follows, or RUN_NONE. */
static int launch(struct agent *a, uint32_t index, const struct msg_run *m, uint32_t before,
                  struct pilot_error *err)
{
    const struct task_spec *spec = &m->spec;
    uint32_t holder = before != RUN_NONE ? runs_first(&a->runs, before) : index;
    const char *cpus = a->runs.v[holder].cpus.list;
    char dir[8192], xml[8192], scratch[512];
    struct taskenv_task te = {
        .id = spec->id,
        .dir = dir,
        .cores = spec->cores,
        .memory = spec->memory,
        .attempt = m->attempt,
        .cpus = a->pin ? cpus : "",
        .node = a->site.node,
        .xml = xml_for(a, cpus, xml, sizeof(xml)),
        .scratch = scratch_path(a->scratch, index, scratch, sizeof(scratch)),
        .env = spec->env,
        .socket = a->control ? control_path(a->control) : NULL,
        .left_s = left_s(a),
    };
    struct launch_request req = {
        .key = index,
        .id = spec->id,
        .attempt = m->attempt,
        .command = spec->command,
        .argv = spec->argv,
        .cwd = spec->workdir,
        .stdin_path = spec->stdin_path,
        .timeout_ms = spec->timeout_ms,
        .memory = spec->memory,
        .max_output = a->site.max_output,
        .output = a->site.output,
        /* Not pinned means all CPUs of the node, not the one that mpirun bound this rank to. */
        .cpus = a->pin ? cpus : a->site.cpus,
        .wait_ms = before != RUN_NONE ? WAIT_MS : 0,
        .after = before,
    };
    char **env;
    int rc;

    (void)quick_concat(dir, sizeof(dir),
                       (const char *const[]){a->site.workdir, "/", spec->id, NULL});
    env = taskenv_task(a->settings, &te);
    if (env == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for the task's environment");
    req.env = env;
    rc = launcher_run(a->launcher, &req, err);
    strv_free(env);
    return rc;
}

/* behind: what it follows here. */
static void report_back(struct agent *a, task_id_t task, uint32_t attempt, task_id_t behind)
{
    struct msg_back m = {.task = task, .attempt = attempt};

    if (runs_give_back(&a->runs, task, behind) < 0)
        BUG("out of memory for a task that goes back");
    msg_put_back(&a->out, &m);
}

/* With `before` it begins when that has ended, and has its cores then; or goes back. */
static void start_run(struct agent *a, const struct msg_run *m, uint32_t before)
{
    struct pilot_error err;
    uint32_t index = runs_next(&a->runs);
    struct run *run = &a->runs.v[index];
    int rc = before != RUN_NONE ? 0 : cpus_take(a->cpus, m->spec.cores, &run->cpus, &err);

    if (rc == 0) {
        rc = launch(a, index, m, before, &err);
        if (rc < 0 && before == RUN_NONE)
            cpus_give(a->cpus, &run->cpus);
    }
    if (rc < 0 && before != RUN_NONE) {
        report_back(a, m->task, m->attempt, a->runs.v[before].task);
        return;
    }
    if (rc < 0) { /* a launcher that has died is no fault of the task's */
        report_refusal(a, m, rc == PILOT_ELOST ? REASON_STOP : REASON_SPAWN, err.text);
        return;
    }
    run->oom_noted = oom_note(&a->oom);
    runs_add(&a->runs, m->task, m->attempt, before);
}

static void handle_run(struct agent *a, struct rd *body)
{
    bool can = a->state == WORKING && !a->asking;
    struct msg_run m;
    task_id_t after;
    enum run_turn turn;

    if (msg_get_run(body, &m) < 0)
        BUG("a RUN message that does not decode");
    runs_acknowledge(&a->runs, m.backs);
    after = m.after;
    turn = after != TASK_ID_NONE ? runs_turn(&a->runs, &after) : TURN_NOW;
    if (turn == TURN_BACK)
        report_back(a, m.task, m.attempt, after);
    else if (can && runs_reserve(&a->runs) == 0)
        start_run(a, &m, turn == TURN_WAITS ? runs_find_task(&a->runs, after) : RUN_NONE);
    else if (turn == TURN_WAITS)
        report_back(a, m.task, m.attempt, after);
    else if (can)
        report_refusal(a, &m, REASON_SPAWN, "out of memory");
    else
        report_refusal(a, &m, REASON_STOP, "this node cannot take tasks now");
    task_spec_fini(&m.spec);
}

static void handle_kill(struct agent *a, struct rd *body)
{
    struct msg_kill m;
    uint32_t index;

    if (msg_get_kill(body, &m) < 0)
        BUG("a KILL message that does not decode");
    index = runs_find(&a->runs, m.task, m.attempt);
    if (index == RUN_NONE)
        return;
    if (m.unbegun)
        launcher_recall(a->launcher, index);
    else
        launcher_kill(a->launcher, index, m.reason, m.now);
}

/* It was lent to us and has not begun. */
static void return_run(struct agent *a, uint32_t index)
{
    struct run *run = &a->runs.v[index];

    BUG_ON(index >= a->runs.cap || !run->used || run->before == RUN_NONE);
    report_back(a, run->task, run->attempt, a->runs.v[run->before].task);
    (void)runs_remove(&a->runs, index);
}

static void finish_run(struct agent *a, const struct launch_event *ev)
{
    struct attempt_result result = ev->result;
    struct run *run = &a->runs.v[ev->key];
    uint32_t next;

    BUG_ON(ev->key >= a->runs.cap || !run->used || run->before != RUN_NONE);
    oom_judge(&a->oom, run->oom_noted, &result);
    if (result.reason == REASON_DISK)
        tell_disk(a, &result);
    else if (result.reason == REASON_SIGNAL || result.reason == REASON_SPAWN ||
             result.exit_code > 0)
        suspect_room(a);
    report_end(a, run->task, run->attempt, a->pin ? run->cpus.list : "", &result);
    scratch_clear(a->scratch, ev->key);
    next = runs_remove(&a->runs, (uint32_t)ev->key);
    if (next != RUN_NONE)
        a->runs.v[next].oom_noted = a->oom_before; /* it may have ended, too */
    else
        cpus_give(a->cpus, &run->cpus);
}

/* ---- Coming and going ------------------------------------------------------------------------ */

static void stop_tasks(struct agent *a)
{
    control_destroy(a->control);
    a->control = NULL;
    launcher_stop(a->launcher);
    a->launcher = NULL;
    scratch_destroy(a->scratch);
    a->scratch = NULL;
}

static void on_bye(struct agent *a)
{
    stop_tasks(a);
    msg_put_empty(&a->out, MSG_GONE);
    set_state(a, GONE);
}

/* No sign of life of the head: it is told all the same, for it may live. */
static void give_up_head(struct agent *a)
{
    stop_tasks(a);
    msg_put_empty(&a->out, MSG_LEAVE);
    set_state(a, ORPHANED);
}

static int prepare(struct agent *a, struct msg_ready *ready, struct pilot_error *err)
{
    struct cpus_config config = {.allowed = a->site.cpus,
                                 .use_hyperthreads = a->site.use_hyperthreads};
    int rc = cpus_create(&a->cpus, &config, err);

    if (rc == 0 && a->site.workdir[0] != '\0')
        rc = launcher_configure(a->launcher, a->site.workdir, a->env, a->site.grace_ms, err);
    if (rc == 0 && a->site.silence_ms > 0)
        rc = launcher_watch(a->launcher, a->site.silence_ms, err);
    if (rc == 0 && a->site.workdir[0] != '\0')
        rc = site_make_dir(a->site.workdir, a->site.node, err);
    if (rc < 0)
        return rc;
    outroom_init(&a->room, a->site.workdir, a->site.node);
    ready->cores = cpus_total(a->cpus);
    ready->memory = memory_for_tasks(a->environ_before, "");
    cpus_describe(a->cpus, ready->map, sizeof(ready->map));
    a->pin = !a->site.no_pin;
    return 0;
}

static void handle_welcome(struct agent *a, struct rd *body)
{
    struct msg_ready *ready;
    struct pilot_error err;

    if (msg_get_welcome(body, &a->site) < 0 || a->state != GREETING)
        BUG("a WELCOME message that does not fit");
    a->end_ms = a->site.left_ms == INT64_MAX ? INT64_MAX : clock_mono_ms() + a->site.left_ms;
    log_set_origin(a->site.role == ROLE_AGENT && transport_rank(a->transport) != 0 ? a->site.node
                                                                                   : NULL);
    if (a->site.role == ROLE_SURPLUS) {
        launcher_stop(a->launcher);
        a->launcher = NULL;
        set_state(a, SURPLUS);
        return;
    }
    ready = calloc(1, sizeof(*ready));
    a->env = taskenv_base(a->environ_before, a->site.keep_env);
    a->settings = a->env != NULL ? taskenv_settings(a->env) : NULL;
    if (ready == NULL || a->settings == NULL)
        BUG("out of memory while starting");
    if (prepare(a, ready, &err) < 0) {
        ready->cores = 0;
        snprintf(ready->text, sizeof(ready->text), "%.*s", (int)sizeof(ready->text) - 1, err.text);
    }
    msg_put_ready(&a->out, ready);
    free(ready);
    set_state(a, READY);
}

static void open_control(struct agent *a)
{
    struct pilot_error err;
    char dir[8192];

    snprintf(dir, sizeof(dir), "%s/.pilot/%s", a->site.workdir, a->site.node);
    if (control_create(&a->control, dir, &err) < 0)
        log_warn("tasks cannot add tasks on this node: %s", err.text);
    a->requests = true;
}

static void open_scratch(struct agent *a)
{
    struct pilot_error err;
    char dir[8192];

    snprintf(dir, sizeof(dir), "%s/.pilot/%s", a->site.workdir, a->site.node);
    if (scratch_create(&a->scratch, dir, &err) < 0)
        log_warn("what MPI programs in tasks leave on this node when they are killed will stay: %s",
                 err.text);
}

/* A launcher that has died shows soon by itself. */
static void handle_pack(struct agent *a, struct rd *body)
{
    struct pilot_error err;
    struct msg_pack m;
    char dir[8192];

    if (msg_get_pack(body, &m) < 0)
        BUG("a PACK message that does not decode");
    snprintf(dir, sizeof(dir), "%s/.pilot/%s", a->site.workdir, a->site.node);
    if (a->state == WORKING && launcher_pack(a->launcher, dir, m.run, &err) < 0)
        log_error("%s", err.text);
}

static void handle_assign(struct agent *a, struct rd *body)
{
    struct cpus_config config = {.allowed = a->site.cpus,
                                 .use_hyperthreads = a->site.use_hyperthreads};
    struct pilot_error err;
    struct msg_assign m;

    if (msg_get_assign(body, &m) < 0 || a->state != READY)
        BUG("an ASSIGN message that does not fit");
    set_state(a, WORKING);
    open_control(a);
    open_scratch(a);
    if (!m.is_virtual && m.cores == cpus_total(a->cpus))
        return;
    cpus_destroy(a->cpus);
    a->cpus = NULL;
    if (m.is_virtual) {
        config.virtual_cores = m.cores;
        a->pin = false;
    } else {
        config.max_cores = m.cores;
    }
    if (cpus_create(&a->cpus, &config, &err) < 0)
        BUG("the cores of this node changed while starting: %s", err.text);
}

static void handle_reply(struct agent *a, struct rd *body)
{
    struct msg_text m;

    if (msg_get_text(body, &m) < 0)
        BUG("a REPLY message that does not decode");
    if (a->control != NULL)
        control_reply(a->control, m.client, m.text);
    a->requests = true; /* another client may be let in now */
    free(m.text);
}

static void handle_message(struct agent *a, unsigned type, struct rd *body)
{
    switch (type) {
    case MSG_WELCOME:
        handle_welcome(a, body);
        break;
    case MSG_ASSIGN:
        handle_assign(a, body);
        break;
    case MSG_PACK:
        handle_pack(a, body);
        break;
    case MSG_RUN:
        handle_run(a, body);
        break;
    case MSG_KILL:
        handle_kill(a, body);
        break;
    case MSG_REPLY:
        handle_reply(a, body);
        break;
    case MSG_PROBE:
        tell_room(a, outroom_look(&a->room));
        break;
    case MSG_PING:
        break;
    case MSG_STILL:
        a->asking = false;
        break;
    case MSG_BYE:
        on_bye(a);
        break;
    case MSG_FINALIZE:
        set_state(a, RELEASED);
        break;
    case MSG_LEAVE:
        stop_tasks(a);
        set_state(a, DISMISSED);
        break;
    default:
        log_warn("ignoring a %s message from the head", msg_type_name(type));
    }
}

static bool is_over(const struct agent *a)
{
    return agent_ended(a) != AGENT_GOES_ON;
}

static void receive(struct agent *a, int64_t now_ms)
{
    struct pilot_error err;
    struct msg_reader reader;
    const void *frame;
    struct rd body;
    unsigned type;
    size_t len;
    int peer, rc;

    launcher_cork(a->launcher, true);
    while (!is_over(a) && transport_recv(a->transport, &peer, &frame, &len) > 0) {
        a->heard_ms = now_ms;
        if (msg_open(&reader, frame, len, &err) < 0) {
            log_error("%s", err.text);
            continue;
        }
        while ((rc = msg_next(&reader, &type, &body)) > 0 && !is_over(a))
            handle_message(a, type, &body);
        if (rc < 0)
            log_error("a message from the head is cut");
    }
    launcher_cork(a->launcher, false);
}

static void collect(struct agent *a)
{
    struct launch_event ev;
    int rc = 0;

    while (a->launcher != NULL && (rc = launcher_next(a->launcher, &ev)) > 0)
        if (ev.returned)
            return_run(a, (uint32_t)ev.key);
        else
            finish_run(a, &ev);
    if (a->state == WORKING)
        a->oom_before = oom_note(&a->oom);
    if (rc < 0 && a->state == WORKING) {
        log_error("the launcher process of this node died; its tasks go to other nodes");
        stop_tasks(a);
        msg_put_empty(&a->out, MSG_GONE);
        set_state(a, SURPLUS); /* the process stays: MPI is to be finalised by all */
    }
}

static void send_out(struct agent *a, int64_t now_ms)
{
    if (a->out.len == 0)
        return;
    if (!buf_ok(&a->out) || transport_send(a->transport, 0, a->out.data, a->out.len) < 0)
        BUG("out of memory for a message to the head");
    buf_clear(&a->out);
    a->sent_ms = now_ms;
    transport_flush(a->transport);
}

static void take_requests(struct agent *a, int64_t now_ms)
{
    const char *line;
    uint32_t client;

    if (!a->requests)
        return;
    a->requests = false; /* what is left for lack of time wakes us again */
    while (a->control != NULL && control_next(a->control, &client, &line) > 0) {
        msg_put_text(&a->out, MSG_REQUEST, client, line);
        if (a->out.len > FRAME_FULL)
            send_out(a, now_ms);
    }
}

/* How long the head may be silent; 0: for ever. Until it welcomes us it waits for others and pings.
 * Between that and the first task it may be reading a long file, or be in a program of the user's,
 * and does not ping; unless its bells come through, for these are rung whatever it does. */
static int64_t patience_ms(const struct agent *a)
{
    if (transport_rank(a->transport) == 0)
        return 0; /* our own head */
    if (a->site.silence_ms > STARTING_MS)
        return STARTING_MS;
    if (a->state == GREETING || a->state == WORKING ||
        transport_signs(a->transport, 0).heard_ms > 0)
        return a->site.silence_ms;
    return STARTING_MS;
}

/* Was this process stopped for so long that the head may have given it up? Then what it has sent us
 * meanwhile may run elsewhere: nothing is started before it has said that it still counts on us.
 * (If all was stopped, as by scontrol suspend, it does.) */
static void look_at_clock(struct agent *a, int64_t now_ms)
{
    int64_t silence_ms = patience_ms(a);

    if (silence_ms > 0 && now_ms - a->turned_ms > silence_ms) {
        a->heard_ms = now_ms; /* silence that nobody listened to */
        if (a->state == WORKING) {
            log_warn("this node was stopped for %.0f s", (double)(now_ms - a->turned_ms) / 1000);
            a->asking = true;
            msg_put_empty(&a->out, MSG_ASK);
        }
    }
    a->turned_ms = now_ms;
}

static void keep_alive(struct agent *a, int64_t now_ms)
{
    int64_t silence_ms = patience_ms(a), silent_ms;
    struct transport_signs head;

    if (silence_ms == 0 || is_over(a))
        return;
    head = transport_signs(a->transport, 0);
    silent_ms = now_ms - (head.heard_ms > a->heard_ms ? head.heard_ms : a->heard_ms);
    if (head.refused && silent_ms > REFUSED_BEATS * a->site.heartbeat_ms) {
        log_error("the head has died; killing this node's tasks and leaving");
        give_up_head(a);
    } else if (silent_ms > silence_ms) {
        log_error("nothing heard from the head for %.0f s; killing this node's tasks and leaving",
                  (double)silent_ms / 1000);
        give_up_head(a);
    } else if (a->site.heartbeat_ms > 0 && a->out.len == 0 &&
               now_ms - a->sent_ms >= a->site.heartbeat_ms) {
        msg_put_empty(&a->out, MSG_PING);
    }
}

void agent_turn(struct agent *a, int64_t now_ms)
{
    look_at_clock(a, now_ms);
    receive(a, now_ms);
    collect(a);
    take_requests(a, now_ms);
    keep_alive(a, now_ms);
    send_out(a, now_ms);
}

void agent_take(struct agent *a, int64_t now_ms)
{
    receive(a, now_ms);
    send_out(a, now_ms);
}

void agent_fds(const struct agent *a, struct pollfd fds[AGENT_FDS])
{
    fds[0] = (struct pollfd){.fd = a->launcher ? launcher_fd(a->launcher) : -1, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = a->control ? control_fd(a->control) : -1, .events = POLLIN};
}

void agent_woken(struct agent *a, const struct pollfd fds[AGENT_FDS])
{
    a->requests = a->requests || fds[1].revents != 0;
}

int64_t agent_next_ms(const struct agent *a)
{
    if (a->site.heartbeat_ms == 0 || agent_ended(a) != AGENT_GOES_ON)
        return INT64_MAX;
    return a->sent_ms + a->site.heartbeat_ms;
}

enum agent_end agent_ended(const struct agent *a)
{
    switch (a->state) {
    case RELEASED:
        return AGENT_RELEASED;
    case DISMISSED:
        return AGENT_DISMISSED;
    case ORPHANED:
        return AGENT_HEAD_LOST;
    default:
        return AGENT_GOES_ON;
    }
}

int agent_create(struct agent **out, const struct agent_config *config, struct pilot_error *err)
{
    struct agent *a = calloc(1, sizeof(*a));
    struct msg_hello *hello = calloc(1, sizeof(*hello));

    if (a == NULL || hello == NULL || site_hello(hello, config->environ_before, err) < 0) {
        free(a);
        free(hello);
        return err && err->code ? err->code : PILOT_ENOMEM;
    }
    a->transport = config->transport;
    a->launcher = config->launcher;
    a->environ_before = config->environ_before;
    a->site.heartbeat_ms = config->heartbeat_ms; /* until WELCOME says it */
    a->site.silence_ms = config->lost_after_ms;
    if (config->heartbeat_ms > 0)
        transport_beat(a->transport, config->heartbeat_ms);
    buf_init(&a->out);
    strmap_init(&a->xml);
    msg_put_hello(&a->out, hello);
    free(hello);
    a->heard_ms = a->turned_ms = clock_mono_ms();
    send_out(a, a->heard_ms);
    *out = a;
    return 0;
}

void agent_destroy(struct agent *a)
{
    if (a == NULL)
        return;
    control_destroy(a->control);
    launcher_stop(a->launcher);
    scratch_destroy(a->scratch);
    for (uint32_t i = 0; i < a->runs.cap; i++)
        if (a->runs.v[i].used && a->runs.v[i].before == RUN_NONE)
            cpus_give(a->cpus, &a->runs.v[i].cpus);
    cpus_destroy(a->cpus);
    strv_free(a->env);
    strv_free(a->settings);
    for (size_t i = 0; i < a->xml.cap; i++)
        free((char *)a->xml.slots[i].key);
    strmap_fini(&a->xml);
    buf_fini(&a->out);
    runs_fini(&a->runs);
    free(a);
}

static void wait_for_something(struct agent *a, struct transport *t)
{
    struct pollfd fds[1 + AGENT_FDS] = {{.fd = transport_fd(t), .events = POLLIN}};
    int64_t now_us = clock_mono_us();
    int64_t nap_us = transport_nap_us(t, now_us);
    int64_t next_ms = agent_next_ms(a);
    struct timespec ts;
    int rc;

    if (next_ms != INT64_MAX && next_ms * 1000 - now_us < nap_us)
        nap_us = next_ms * 1000 > now_us ? next_ms * 1000 - now_us : 0;
    ts.tv_sec = nap_us / 1000000;
    ts.tv_nsec = (nap_us % 1000000) * 1000;
    agent_fds(a, fds + 1);
    rc = ppoll(fds, 1 + AGENT_FDS, &ts, NULL);
    if (rc < 0 && errno != EINTR)
        BUG("ppoll: %s", strerror(errno));
    if (rc > 0)
        agent_woken(a, fds + 1);
    transport_woken(t, clock_mono_us());
}

enum agent_end agent_run(struct agent *a, struct transport *t)
{
    int64_t over_ms = 0;

    for (;;) {
        int64_t now_ms = clock_mono_ms();

        agent_turn(a, now_ms);
        if (is_over(a)) {
            if (over_ms == 0)
                over_ms = now_ms;
            /* Last words that do not get away, because the head is not there any more. */
            if (transport_idle(t) || now_ms - over_ms > LEAVING_MS)
                return agent_ended(a);
        }
        wait_for_something(a, t);
    }
}
