/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the loop of rank 0. The order of work in a turn is fixed:
 *
 *   1. now           read once
 *   2. messages      our own agent collects; from all agents: ended attempts go to the core, what
 *                    follows is carried out
 *   3. silence       nodes that were not heard of are lost; pings
 *                    then the hook's lines, the inbox and the streamed file: new tasks
 *                    then the end of the allocation: stop in time; disks: is there room?
 *   4. placement     one pass of the core, unless a disk is full or the state is far behind; RUN
 *                    messages, some of which wait (trial.c)
 *   5. send          one frame a node; our own agent starts what it was sent
 *   6. state         a barrier for this turn's changes; notices of what is committed: lines for
 *                    people, events for the hook, callbacks, answers to requests
 *   7. end?          nothing left to run, or nothing can
 *   8. wait          for a descriptor or the next time that anything wants; then signals: a person
 *                    or Slurm wants an end
 */
#include "head/impl.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/site.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

#define STOP_SLACK_MS 5000 /* on top of the grace time, for agents to report ended attempts */

/* ---- Stopping -------------------------------------------------------------------------------- */

void head_stop(struct head *h, enum stop_level level, const char *fmt, ...)
{
    va_list ap;

    if (level <= h->stop)
        return;
    if (h->stop_why[0] == '\0') {
        va_start(ap, fmt);
        vsnprintf(h->stop_why, sizeof(h->stop_why), fmt, ap);
        va_end(ap);
    }
    if (h->stop == STOP_NOT && h->sched != NULL) {
        struct sched_event ev = {.type = SCHED_DRAIN};

        if (sched_apply(h->sched, &ev, clock_mono_ms(), &h->actions) < 0)
            BUG("out of memory in the scheduler");
    }
    h->stop = level;
    if (level >= STOP_TERM) {
        int64_t now_ms = clock_mono_ms();

        h->stop_deadline_ms = now_ms + STOP_SLACK_MS;
        if (level == STOP_TERM)
            h->stop_deadline_ms = drain_kill_ms(h, h->stop_deadline_ms + h->opt->grace_ms, now_ms);
        if (h->sched != NULL)
            actions_stop_running(h, level == STOP_KILL);
        if (h->store != NULL) {
            store_stopping(h->store);
            h->changed = true;
        }
    }
}

void head_fail(struct head *h, const struct pilot_error *why)
{
    if (h->failed)
        return;
    h->failed = true;
    h->failure = *why;
    log_error("%s", why->text);
    head_stop(h, STOP_TERM, "the pilot failed");
}

/* ---- The loop -------------------------------------------------------------------------------- */

void head_wait(struct head *h, int64_t until_ms)
{
    struct pollfd fds[7 + AGENT_FDS] = {
        {.fd = h->signal_fd, .events = POLLIN},
        {.fd = h->store ? store_fd(h->store) : -1, .events = POLLIN},
        {.fd = h->mpi ? transport_fd(h->mpi) : -1, .events = POLLIN},
    };
    int64_t now_us = clock_mono_us(), nap_us = INT64_MAX;
    struct pollfd *agents = fds + 3;
    nfds_t fd_count = 3;
    struct timespec ts;
    int rc;

    if (h->agent != NULL) {
        agent_fds(h->agent, agents);
        fd_count += AGENT_FDS;
    }
    fd_count += (nfds_t)hook_fds(h, fds + fd_count);
    fd_count += (nfds_t)stream_fds(h, fds + fd_count);

    if (until_ms != INT64_MAX)
        nap_us = until_ms * 1000 > now_us ? until_ms * 1000 - now_us : 0;
    if (h->mpi != NULL && transport_nap_us(h->mpi, now_us) < nap_us)
        nap_us = transport_nap_us(h->mpi, now_us);
    if (h->local != NULL && transport_nap_us(h->local, now_us) < nap_us)
        nap_us = 0;
    if (nap_us > 60000000)
        nap_us = 60000000;
    ts.tv_sec = nap_us / 1000000;
    ts.tv_nsec = (nap_us % 1000000) * 1000;
    rc = ppoll(fds, fd_count, &ts, NULL);
    if (rc < 0 && errno != EINTR)
        BUG("ppoll: %s", strerror(errno));
    if (rc > 0 && h->agent != NULL)
        agent_woken(h->agent, agents);
    if (rc > 0 && (fds[1].revents & POLLIN)) {
        uint64_t count;
        ssize_t got = read(fds[1].fd, &count, sizeof(count));

        (void)got; /* an eventfd: it only has to be empty again */
    }
    if (h->mpi != NULL)
        transport_woken(h->mpi, clock_mono_us());
    if (rc > 0 && fds[0].revents != 0)
        signals_take(h);
}

/* A disk is full, or so slow that memory would grow with what it is behind. */
static bool holds_starts(const struct head *h)
{
    return disk_holds(h) || tell_holds(h);
}

/* Before anything more is placed. */
static void limit_failures(struct head *h)
{
    struct sched_counts c;

    if (h->opt->max_failures == 0 || h->stop != STOP_NOT)
        return;
    sched_get_counts(h->sched, &c);
    if (c.failures >= h->opt->max_failures)
        head_stop(h, STOP_DRAIN, "%llu tasks failed (--max-failures %u)",
                  (unsigned long long)c.failures, h->opt->max_failures);
}

static void place(struct head *h, int64_t now_ms)
{
    limit_failures(h);
    if (!holds_starts(h) && sched_place(h->sched, now_ms, &h->actions) < 0)
        BUG("out of memory in the scheduler");
    actions_do(h);
}

/* Is the commit what everybody waits for? Nothing is ready to start, and a hook or callback may
 * change that once it is told; or nothing runs any more, and all that is left is to say so. */
static bool waits_for_commit(const struct head *h)
{
    struct sched_counts c;

    sched_get_counts(h->sched, &c);
    if (c.by_status[TASK_PENDING] + c.by_status[TASK_RUNNING] == 0)
        return true;
    if (h->hook == NULL && h->callbacks.ended == NULL)
        return false;
    return c.by_status[TASK_PENDING] == c.blocked + c.late + c.lent;
}

static void keep_state(struct head *h)
{
    struct pilot_error err;

    if (h->changed) {
        h->last_barrier = store_barrier(h->store);
        h->changed = false;
        tell_seal(h, h->last_barrier);
        if (h->hurry || waits_for_commit(h))
            store_hurry(h->store);
        h->hurry = false;
    }
    tell_committed(h, store_committed(h->store));
    if (!h->failed && store_failed(h->store, &err))
        head_fail(h, &err);
}

static void show_progress(struct head *h, int64_t now_ms)
{
    struct sched_counts c;
    struct report_progress p;

    sched_get_counts(h->sched, &c);
    p.completed = tell_count(h, &c, TASK_COMPLETED);
    p.failed = tell_count(h, &c, TASK_FAILED);
    p.skipped = tell_count(h, &c, TASK_SKIPPED) + tell_count(h, &c, TASK_CANCELLED);
    p.running = c.by_status[TASK_RUNNING];
    p.waiting = c.by_status[TASK_PENDING];
    p.total = h->tasks.len;
    p.cores_busy = c.cores_busy;
    p.cores = h->cores;
    p.note = disk_note(h, now_ms);
    report_progress(h->report, &p, now_ms);
}

static bool more_may_come(const struct head *h)
{
    return events_pending(h) || hook_holds(h) || stream_holds(h);
}

/* Is there nothing more to do? Decides too that it cannot go on. */
static bool check_end(struct head *h, int64_t now_ms)
{
    struct sched_counts c;
    bool told;

    sched_get_counts(h->sched, &c);
    if (c.by_status[TASK_RUNNING] > 0) {
        if (h->stop >= STOP_TERM && now_ms > h->stop_deadline_ms) {
            if (h->stop == STOP_KILL)
                return true; /* their nodes do not answer */
            head_stop(h, STOP_KILL, "%s", h->stop_why);
        }
        return false;
    }
    /* What is not committed yet is told first: lines, events, answers to clients. But who wants an
     * end now does not wait for a disk: it is tried once more, when the store is closed. */
    told = h->failed || (h->notices.len == 0 && !h->changed) ||
           (h->stop >= STOP_TERM && disk_holds_state(h));
    if (h->stop != STOP_NOT)
        return told;
    if (c.by_status[TASK_PENDING] == 0)
        return told && !more_may_come(h);
    if (sched_stuck(h->sched)) {
        struct pilot_error err;

        if (c.late > 0 && c.nodes_up > 0) {
            if (!told || more_may_come(h))
                return false;
            drain_late(h, c.late, now_ms);
            return true;
        }
        loss_explain_stuck(h, &err);
        head_fail(h, &err);
        return true;
    }
    return false;
}

static int64_t next_ms(const struct head *h, int64_t now_ms)
{
    int64_t next = holds_starts(h) ? INT64_MAX : sched_next_ms(h->sched, now_ms);
    int64_t other = report_next_ms(h->report);

    if (h->again)
        return now_ms;
    if (h->inbox != NULL && !disk_holds_state(h) && inbox_next_ms(h->inbox) < next)
        next = inbox_next_ms(h->inbox);
    if (other < next)
        next = other;
    other = disk_next_ms(h);
    if (other < next)
        next = other;
    other = doubt_next_ms(h);
    if (other < next)
        next = other;
    other = trial_next_ms(h);
    if (other < next)
        next = other;
    other = loss_next_ms(h);
    if (other < next)
        next = other;
    other = drain_next_ms(h);
    if (other < next)
        next = other;
    if (h->agent != NULL && (other = agent_next_ms(h->agent)) < next)
        next = other;
    if (h->stop >= STOP_TERM && h->stop_deadline_ms < next)
        next = h->stop_deadline_ms + 1;
    return next;
}

static void loop(struct head *h)
{
    signals_take(h); /* before anything starts */
    for (;;) {
        int64_t now_ms = clock_mono_ms();
        bool end;

        h->again = false;
        if (h->agent != NULL)
            agent_turn(h->agent, now_ms);
        ranks_receive(h, now_ms);
        doubt_turn(h, now_ms);
        loss_turn(h, now_ms);
        hook_turn(h, now_ms);
        if (!disk_holds_state(h)) /* they are kept there as well as here */
            requests_take_inbox(h, now_ms);
        stream_turn(h, now_ms);
        drain_turn(h, now_ms);
        disk_turn(h, now_ms);
        place(h, now_ms);
        trial_turn(h, now_ms);
        ranks_send(h, now_ms);
        if (h->agent != NULL)
            agent_take(h->agent, now_ms);
        keep_state(h);
        end = check_end(h, now_ms);
        show_progress(h, now_ms);
        if (end)
            return;
        head_wait(h, next_ms(h, now_ms));
    }
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

static char *absolute(const char *path, struct pilot_error *err)
{
    char *dir, *whole = NULL;

    if (path[0] == '/')
        return strdup(path);
    dir = getcwd(NULL, 0);
    if (dir == NULL) {
        err_set_errno(err, PILOT_EIO, errno, "cannot learn the current directory");
        return NULL;
    }
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    if (asprintf(&whole, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, path) < 0)
        whole = NULL;
    free(dir);
    if (whole == NULL)
        err_set(err, PILOT_ENOMEM, "out of memory");
    return whole;
}

static int open_state(struct head *h, struct pilot_error *err)
{
    const struct pilot_options *o = h->opt;
    char host[256] = "", job[64] = "";
    const char *slurm = getenv("SLURM_JOB_ID");
    struct store_owner owner = {.host = host, .pid = getpid(), .job = job, .workdir = h->workdir};
    int rc;

    rc = site_mkdirs(h->workdir, err);
    if (rc < 0)
        return rc == PILOT_EIO ? PILOT_ESTORE : rc;
    gethostname(host, sizeof(host) - 1);
    if (slurm != NULL)
        snprintf(job, sizeof(job), "slurm %.50s", slurm);
    if (o->resume)
        rc = tasks_open_state(h, h->db, &owner, err);
    else
        rc = store_open(&h->store, h->db, o->fresh ? STORE_FRESH : STORE_NEW, &owner, err);
    if (rc == 0 && o->resume)
        rc = store_get_meta(h->store, STREAM_UNREAD_KEY, &h->unread, err);
    if (rc == 0)
        ranks_prepare_packs(h);
    if (rc == 0)
        rc = store_start(h->store, err);
    if (rc == 0 && o->retry_failed) {
        int again = tasks_retry_failed(h);

        h->changed = true;
        log_info("%d failed or skipped tasks will run again", again);
    }
    return rc;
}

static int set_up(struct head *h, const struct head_config *config, struct pilot_error *err)
{
    const char *dir = h->opt->workdir ? h->opt->workdir : "./pilot_runs";
    int rc;

    h->workdir = absolute(dir, err);
    if (h->workdir == NULL || (h->opt->db == NULL && asprintf(&h->db, "%s/state.db", dir) < 0) ||
        (h->opt->db != NULL && (h->db = strdup(h->opt->db)) == NULL)) {
        launcher_stop(config->launcher);
        return err_set(err, PILOT_ENOMEM, "out of memory");
    }
    rc = signals_open(h, err);
    if (rc < 0) {
        launcher_stop(config->launcher);
        return rc;
    }
    rc = ranks_join(h, config, err);
    if (rc == 0)
        rc = ranks_assign(h, err);
    if (rc == 0 && h->opt->resume)
        rc = h->opt->dry_run ? plan_load_state(h, err) : open_state(h, err);
    return rc;
}

int head_create(struct head **out, const struct head_config *config, struct pilot_error *err)
{
    struct head *h = calloc(1, sizeof(*h));
    int rc;

    if (h == NULL) {
        launcher_stop(config->launcher);
        return err_set(err, PILOT_ENOMEM, "out of memory");
    }
    h->opt = config->options;
    h->environ_before = config->environ_before;
    h->mpi = config->mpi;
    h->signal_fd = -1;
    drain_set_end(h, config->end_ms);
    strmap_init(&h->tasks.ids);
    disk_init(h);
    rc = events_init(h, err);
    if (rc == 0)
        rc = hook_create(h, config->hook_launcher, err);
    if (rc < 0) {
        launcher_stop(config->hook_launcher);
        launcher_stop(config->launcher);
    } else {
        rc = set_up(h, config, err);
    }
    *out = h;
    return rc;
}

int64_t head_load_file(struct head *h, const char *path, struct pilot_error *err)
{
    if (h->ran)
        return err_set(err, PILOT_ESTATE,
                       "files are loaded before the run; in a callback, add tasks one by one or "
                       "as a text");
    return h->opt->stream ? stream_open(h, path, err) : intake_file(h, path, err);
}

static int start_core(struct head *h, struct pilot_error *err)
{
    struct sched_config config = {.max_running = h->opt->max_workers,
                                  .max_losses = h->opt->max_lost,
                                  .patience_ms = SCHED_PATIENCE_MS,
                                  .look_ms = SCHED_LOOK_MS,
                                  .lend_ms = h->opt->dry_run ? 0 : SCHED_LEND_MS,
                                  .deadline_ms = h->drain_ms != INT64_MAX ? h->drain_ms : 0};
    int64_t now_ms = clock_mono_ms();
    int rc = tasks_check_sizes(h, err);

    if (rc < 0)
        return rc;
    h->sched = sched_create(&config);
    if (h->sched == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    for (unsigned i = 0; i < h->node_count; i++) {
        struct sched_event ev = {.type = SCHED_NODE_UP,
                                 .node = i,
                                 .cores = h->nodes[i].cores,
                                 .memory = (uint64_t)h->nodes[i].memory};

        if (h->nodes[i].state == NODE_UP && sched_apply(h->sched, &ev, now_ms, &h->actions) < 0)
            return err_set(err, PILOT_ENOMEM, "out of memory");
    }
    if (h->stop != STOP_NOT) {
        struct sched_event drain = {.type = SCHED_DRAIN};

        if (sched_apply(h->sched, &drain, now_ms, &h->actions) < 0)
            return err_set(err, PILOT_ENOMEM, "out of memory");
    }
    return tasks_schedule(h, now_ms, err);
}

static int begin(struct head *h, struct pilot_error *err)
{
    bool talks = h->opt->hook != NULL && strcmp(h->opt->hook, "-") == 0;
    struct report_config config = {.fd = talks ? STDERR_FILENO : STDOUT_FILENO,
                                   .quiet = h->opt->quiet,
                                   .verbose = h->opt->verbose,
                                   .workdir = h->workdir,
                                   .output = h->opt->output};
    struct report_start rs = {.cores = h->cores,
                              .pinned = !h->virtual_cores && !h->opt->no_pin,
                              .why_not_pinned = h->virtual_cores ? "more cores than there are"
                                                : h->opt->no_pin ? "--no-pin"
                                                                 : NULL,
                              .db = h->db,
                              .tasks = h->tasks.len,
                              .more_from = stream_name(h)};
    struct report_node *rn = calloc(h->node_count, sizeof(*rn));
    int rc = rn ? report_create(&h->report, &config, err) : PILOT_ENOMEM;

    if (rc < 0) {
        free(rn);
        return rc;
    }
    log_set_sink(report_log, h->report);
    for (task_id_t i = 0; i < h->tasks.len; i++)
        rs.tasks_done += h->tasks.v[i].status != TASK_PENDING;
    rs.nodes = rn;
    for (unsigned i = 0; i < h->node_count; i++) {
        if (h->nodes[i].state != NODE_UP)
            continue;
        rn[rs.node_count].name = h->nodes[i].name;
        rn[rs.node_count].cores = h->nodes[i].cores;
        rn[rs.node_count].memory = h->nodes[i].memory;
        rn[rs.node_count++].map = h->nodes[i].map;
    }
    h->summary.nodes = rs.node_count;
    h->summary.cores = h->cores;
    report_start(h->report, &rs, h->start_ms);
    drain_announce(h, h->start_ms);
    free(rn);
    return 0;
}

static int exit_status(const struct head *h)
{
    const struct pilot_summary *s = &h->summary;

    if (h->failed)
        return PILOT_EXIT_PILOT;
    if (s->unfinished > 0 || h->unanswered || stream_unread(h) != NULL)
        return PILOT_EXIT_STOPPED;
    if (s->failed > 0 || s->skipped > 0 || s->cancelled > 0)
        return PILOT_EXIT_FAILED;
    return PILOT_EXIT_COMPLETED;
}

/* Attempts whose nodes never answered: nobody will tell us more about them. */
static void give_up_running(struct head *h)
{
    for (unsigned i = 0; i < h->node_count; i++)
        if (h->nodes[i].state == NODE_UP) {
            actions_node_lost(h, i, clock_mono_ms());
            h->nodes[i].state = NODE_READY; /* it still gets its BYE */
        }
}

/* As the state has it: what it does not have will be done again. */
static void count_up(struct head *h)
{
    struct pilot_summary *s = &h->summary;
    struct sched_counts c;

    sched_get_counts(h->sched, &c);
    s->completed = tell_count(h, &c, TASK_COMPLETED);
    s->failed = tell_count(h, &c, TASK_FAILED);
    s->skipped = tell_count(h, &c, TASK_SKIPPED);
    s->cancelled = tell_count(h, &c, TASK_CANCELLED);
    s->unfinished = h->tasks.len - s->completed - s->failed - s->skipped - s->cancelled;
    s->wall_s = (double)(clock_mono_ms() - h->start_ms) / 1e3;
}

static size_t untold_ends(const struct head *h)
{
    size_t n = 0;

    for (enum task_status status = TASK_COMPLETED; status < TASK_STATUS_COUNT; status++)
        n += tell_untold(h, status);
    return n;
}

/* Commits what can be, tells it, and says what could not be. */
static void end_state(struct head *h, struct pilot_error *err)
{
    int rc = store_end(h->store, err);
    size_t missing;

    tell_committed(h, store_committed(h->store)); /* lines only: see make_event */
    store_close(h->store, NULL);
    h->store = NULL;
    if (rc < 0 && !h->failed)
        head_fail(h, err);
    missing = untold_ends(h);
    if (missing > 0)
        log_error("the end%s of %zu task%s could not be stored: --resume runs %s again",
                  missing == 1 ? "" : "s", missing, missing == 1 ? "" : "s",
                  missing == 1 ? "it" : "them");
    count_up(h);
}

static int finish(struct head *h, struct pilot_error *err)
{
    struct report_end end = {.db = h->db, .failures = h->failures};
    struct sched_counts c;
    static const char *const outputs[] = {"", " --output=packed", " --output=merged",
                                          " --output=none"};
    const char *unread = stream_unread(h);
    char hint[1024];
    int rc;

    sched_get_counts(h->sched, &c);
    if (c.by_status[TASK_RUNNING] > 0)
        give_up_running(h);
    h->over = true;
    disk_end(h);
    keep_state(h);
    count_up(h);
    h->unanswered = events_pending(h) || h->notices.len > 0;
    hook_end(h, exit_status(h));
    ranks_release(h);
    end_state(h, err);
    snprintf(hint, sizeof(hint), "pilot-mpi --resume%s%.250s%s%.250s%s%s%.250s",
             h->opt->workdir ? " --workdir " : "", h->opt->workdir ? h->opt->workdir : "",
             h->opt->db ? " --db " : "", h->opt->db ? h->opt->db : "", outputs[h->opt->output],
             unread ? " --stream " : "", unread ? unread : "");
    end.summary = h->summary;
    end.failure_count = h->failure_count;
    for (unsigned i = 0; i < h->failure_count; i++)
        h->failures[i].id = head_task_id(h, h->failure_tasks[i]);
    end.exit_status = exit_status(h);
    end.stopped_why = h->failed ? h->failure.text : h->stop_why[0] ? h->stop_why : NULL;
    end.resume_hint =
        h->summary.unfinished > 0 || h->unanswered || stream_unread(h) != NULL ? hint : NULL;
    rc = report_end(h->report, &end, err);
    if (rc < 0)
        log_warn("%s", err->text);
    return end.exit_status;
}

int head_run(struct head *h, struct pilot_error *err)
{
    int rc;

    if (h->ran)
        return err_set(err, PILOT_ESTATE, "the run is over; create a new pilot for another one");
    h->start_ms = clock_mono_ms();
    rc = start_core(h, err);
    if (rc < 0)
        return rc;
    if (h->opt->dry_run)
        return plan_show(h, err);
    /* A new state, or one that forgets the old, is opened only now: input that is refused must not
     * cost anybody an earlier run. */
    if (h->store == NULL)
        rc = open_state(h, err);
    if (rc == 0)
        rc = tasks_save(h, 0, err);
    if (rc < 0)
        return rc;
    h->ran = true;
    rc = begin(h, err);
    if (rc < 0)
        return rc;
    trial_begin(h);
    h->changed = true; /* what was queued before the run, the marks of earlier ends among it */
    if (inbox_create(&h->inbox, h->workdir, err) < 0)
        log_warn("tasks cannot be added from other hosts: %s", err->text);
    else if (!h->opt->resume)
        inbox_refuse_old(h->inbox); /* they were meant for what has been forgotten */
    stream_begin(h);
    events_take_resumed(h);
    hook_start(h);
    actions_do(h);
    malloc_trim(0); /* what reading the tasks took, and lies between what stays */
    loop(h);
    return finish(h, err);
}

int64_t head_add(struct head *h, const char *name, const char *text, struct pilot_error *err)
{
    h->again = true;
    return intake_text(h, name, text, strlen(text), NULL, err);
}

int head_cancel(struct head *h, const char *id, struct pilot_error *err)
{
    struct sched_event ev = {.type = SCHED_CANCEL};

    if (h->over)
        return err_set(err, PILOT_ESTATE, "the run is over; nothing can be cancelled any more");
    if (!strmap_get(&h->tasks.ids, id, &ev.task))
        return err_set(err, PILOT_ENOENT, "there is no task '%.200s' to be cancelled", id);
    if (h->sched == NULL) { /* before the run: the core has nothing yet */
        if (h->tasks.v[ev.task].status == TASK_PENDING) {
            h->tasks.v[ev.task].status = TASK_CANCELLED;
            if (h->store != NULL && h->tasks.v[ev.task].saved != SAVE_NEW)
                store_task_status(h->store, ev.task, TASK_CANCELLED, "", false);
        }
        return 0;
    }
    if (sched_apply(h->sched, &ev, clock_mono_ms(), &h->actions) < 0)
        BUG("out of memory in the scheduler");
    h->again = true;
    return 0;
}

void head_stop_run(struct head *h, const char *why)
{
    head_stop(h, STOP_TERM, "%s", why);
}

void head_set_callbacks(struct head *h, const struct head_callbacks *callbacks)
{
    h->callbacks = *callbacks;
}

void head_get_summary(const struct head *h, struct pilot_summary *out)
{
    *out = h->summary;
}

bool head_destroy(struct head *h)
{
    struct pilot_error err;
    bool orderly;

    ranks_release(h);
    hook_destroy(h);
    inbox_destroy(h->inbox);
    stream_close(h);
    events_fini(h);
    log_set_sink(NULL, NULL);
    if (store_close(h->store, &err) < 0)
        log_error("%s", err.text);
    report_destroy(h->report);
    orderly = ranks_dismiss(h);
    ranks_fini(h);
    sched_destroy(h->sched);
    sched_actions_fini(&h->actions);
    doubt_fini(h);
    trial_fini(h);
    tell_fini(h);
    tasks_fini(h);
    if (h->signal_fd >= 0)
        close(h->signal_fd);
    free(h->workdir);
    free(h->db);
    free(h);
    return orderly;
}
