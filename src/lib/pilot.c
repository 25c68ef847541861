/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the public interface. Puts the parts of one process together: the launcher first, while the
 * process is small, then MPI if a launcher of MPI started us, then head or agent by rank. */
#include "pilot.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/latency.h"
#include "common/log.h"
#include "head/head.h"
#include "head/walltime.h"
#include "launch/launch.h"
#include "lib/task_json.h"
#include "transport/transport.h"

#define INIT_LOSSES 8    /* MPI_Init may take so many times --lost-after, */
#define INIT_MIN_S 20    /* but no less than this: rank 0 may first ask for the walltime, */
#define INIT_MAX_S 86400 /* and no more than this */

extern char **environ;

#define API __attribute__((visibility("default")))

struct pilot {
    struct pilot_options opt; /* its strings are ours */
    char *workdir, *db, *hook, *hook_events;
    char **environ_before;
    struct transport *mpi;
    struct head *head;   /* rank 0 */
    struct agent *agent; /* other ranks */
    pilot_task_f *on_complete, *on_start;
    pilot_end_f *on_end;
    void *on_complete_arg, *on_start_arg, *on_end_arg;
    bool ran, left_early;
    int status; /* with which the process ends, should leaving MPI hang */
};

/* One at a time; whether MPI has been and gone, and whether it was left unfinalised: facts of the
 * whole process, as MPI itself is. */
static struct pilot *the_pilot;
static bool mpi_over, mpi_abandoned;

static int check_options(const struct pilot_options *o, struct pilot_error *err)
{
    if (o->resume && o->fresh)
        return err_set(err, PILOT_EINVAL,
                       "--resume and --fresh contradict each other: go on, or forget?");
    if (o->retry_failed && !o->resume)
        return err_set(err, PILOT_EINVAL, "--retry-failed needs --resume");
    if (o->rerun_changed && !o->resume)
        return err_set(err, PILOT_EINVAL, "--rerun-changed needs --resume");
    if (o->stream && (o->dry_run || o->rerun_changed))
        return err_set(err, PILOT_EINVAL,
                       "--stream starts tasks before the file is read to its end, and %s needs all "
                       "of it; leave out one of them",
                       o->dry_run ? "--dry-run" : "--rerun-changed");
    if (o->quiet && o->verbose)
        return err_set(err, PILOT_EINVAL, "--quiet and --verbose contradict each other");
    if (o->grace_ms < 0 || o->heartbeat_ms < 10 || o->lost_after_ms < 3 * o->heartbeat_ms)
        return err_set(
            err, PILOT_EINVAL,
            "--grace must not be negative, --heartbeat at least 0.01 seconds, and --lost-after at "
            "least three times as long as --heartbeat");
    if (o->walltime_ms < 0 || o->drain_margin_ms < 0)
        return err_set(err, PILOT_EINVAL, "--walltime and --drain-margin must not be negative");
    if (o->walltime_ms > 0 && o->walltime_ms <= o->drain_margin_ms)
        return err_set(err, PILOT_EINVAL,
                       "--walltime leaves no time for tasks: it must be longer than --drain-margin "
                       "(%lld s); shorten that, or allow more",
                       (long long)o->drain_margin_ms / 1000);
    return 0;
}

static int copy_options(struct pilot *p, const struct pilot_options *o, struct pilot_error *err)
{
    p->opt = *o;
    if ((o->workdir != NULL && (p->workdir = strdup(o->workdir)) == NULL) ||
        (o->db != NULL && (p->db = strdup(o->db)) == NULL) ||
        (o->hook != NULL && (p->hook = strdup(o->hook)) == NULL) ||
        (o->hook_events != NULL && (p->hook_events = strdup(o->hook_events)) == NULL) ||
        (p->environ_before = strv_dup(environ)) == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    p->opt.workdir = p->workdir;
    p->opt.db = p->db;
    p->opt.hook = p->hook;
    p->opt.hook_events = p->hook_events;
    return 0;
}

static int join_as_agent(struct pilot *p, struct launcher *launcher, struct pilot_error *err)
{
    struct agent_config config = {.transport = p->mpi,
                                  .launcher = launcher,
                                  .environ_before = p->environ_before,
                                  .heartbeat_ms = p->opt.heartbeat_ms,
                                  .lost_after_ms = p->opt.lost_after_ms};
    int rc = agent_create(&p->agent, &config, err);

    if (rc < 0)
        launcher_stop(launcher);
    return rc;
}

/* How long MPI_Init may take. Ranks do not start all at the same moment, and nobody can tell who is
 * late from who has died: hence not --lost-after, but enough times as much. */
static unsigned init_limit_s(const struct pilot *p)
{
    int64_t limit_s = p->opt.lost_after_ms * INIT_LOSSES / 1000;

    if (limit_s < INIT_MIN_S)
        return INIT_MIN_S;
    return limit_s > INIT_MAX_S ? INIT_MAX_S : (unsigned)limit_s;
}

/* Started by srun, Open MPI binds the process to one core inside MPI_Init. That is no allocation:
 * the mask of before is put back. */
static int open_mpi(struct pilot *p, struct pilot_error *err)
{
    unsigned char mask[4096]; /* 32,768 CPUs */
    long size = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
    int rc;

    head_block_signals();
    rc = transport_mpi_open(&p->mpi, init_limit_s(p), err);
    if (rc == 0 && size > 0)
        syscall(SYS_sched_setaffinity, 0, (size_t)size, mask);
    return rc;
}

/* Some ranks can be known not to be the first; asking from all would be a burden for the batch
 * system. */
static bool may_be_head(char *const *env)
{
    static const char *const names[] = {"PMIX_RANK=", "OMPI_COMM_WORLD_RANK=", "PMI_RANK="};

    for (size_t i = 0; env[i] != NULL; i++)
        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
            if (strncmp(env[i], names[n], strlen(names[n])) == 0)
                return strcmp(env[i] + strlen(names[n]), "0") == 0;
    return true;
}

static int64_t end_of_allocation(const struct pilot *p, bool launched)
{
    struct walltime w;

    if (p->opt.dry_run || (launched && !may_be_head(p->environ_before)))
        return INT64_MAX;
    walltime_find(&w, p->opt.walltime_ms, p->environ_before, WALLTIME_ASK_MS);
    return w.left_ms == WALLTIME_UNKNOWN ? INT64_MAX : clock_mono_ms() + w.left_ms;
}

static int join(struct pilot *p, struct pilot_error *err)
{
    struct head_config config = {.options = &p->opt, .environ_before = p->environ_before};
    int launched = transport_launched(err), rc;

    if (launched < 0)
        return launched;
    config.end_ms = end_of_allocation(p, launched > 0);
    rc = launcher_start(&config.launcher, err);
    if (rc == 0 && p->hook != NULL && strcmp(p->hook, "-") != 0)
        rc = launcher_start(&config.hook_launcher, err);
    if (rc == 0 && launched)
        rc = open_mpi(p, err);
    if (rc < 0) {
        launcher_stop(config.hook_launcher);
        launcher_stop(config.launcher);
        return rc;
    }
    config.mpi = p->mpi;
    if (launched && transport_rank(p->mpi) != 0) {
        launcher_stop(config.hook_launcher);
        return join_as_agent(p, config.launcher, err);
    }
    return head_create(&p->head, &config, err);
}

API int pilot_create(struct pilot **out, const struct pilot_options *opt, struct pilot_error *err)
{
    struct pilot *p;
    int rc;

    *out = NULL;
    if (the_pilot != NULL)
        return err_set(err, PILOT_ESTATE,
                       "this process has a pilot already; destroy it before the next is created");
    if (mpi_over)
        return err_set(err, PILOT_ESTATE, "MPI is over in this process; start a new one");
    rc = check_options(opt, err);
    if (rc < 0)
        return rc;
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    the_pilot = p;
    rc = copy_options(p, opt, err);
    if (rc == 0)
        rc = join(p, err);
    if (rc < 0) {
        pilot_destroy(p);
        return rc;
    }
    *out = p;
    return 0;
}

API int pilot_rank(const struct pilot *p)
{
    return p->mpi != NULL ? transport_rank(p->mpi) : 0;
}

API int64_t pilot_load_file(struct pilot *p, const char *path, struct pilot_error *err)
{
    if (p->head == NULL)
        return 0;
    return head_load_file(p->head, path, err);
}

/* ---- Tasks and callbacks --------------------------------------------------------------------- */

API int64_t pilot_add_json(struct pilot *p, const char *json, struct pilot_error *err)
{
    return p->head != NULL ? head_add(p->head, "pilot_add_json", json, err) : 0;
}

API int pilot_add(struct pilot *p, const struct pilot_task *task, struct pilot_error *err)
{
    char *json;
    int rc;

    if (p->head == NULL)
        return 0;
    json = task_to_json(task, err);
    if (json == NULL)
        return err ? err->code : PILOT_EINVAL;
    rc = (int)head_add(p->head, "pilot_add", json, err);
    free(json);
    return rc;
}

API int pilot_cancel(struct pilot *p, const char *id, struct pilot_error *err)
{
    return p->head != NULL ? head_cancel(p->head, id, err) : 0;
}

API void pilot_stop(struct pilot *p, const char *why)
{
    if (p->head != NULL)
        head_stop_run(p->head, why);
}

static void call(struct pilot *p, pilot_task_f *f, void *arg, const struct head_report *r)
{
    const struct task_spec *spec = r->spec;
    struct pilot_task task = {.id = spec->id,
                              .command = spec->command,
                              .argv = (const char *const *)spec->argv,
                              .cores = spec->cores,
                              .timeout_s = (double)spec->timeout_ms / 1e3,
                              .priority = spec->priority,
                              .max_retries = spec->max_retries,
                              .env = (const char *const *)spec->env,
                              .tags = spec->tags,
                              .workdir = spec->workdir,
                              .stdin_path = spec->stdin_path,
                              .depends_on = (const char *const *)spec->depends_on};
    char out[8192], errors[8192];
    bool ran = r->attempts > 0 && r->status != TASK_RUNNING;
    struct pilot_result result = {
        .task_id = spec->id,
        .task = &task,
        .status = task_status_name(r->status),
        .success = r->status == TASK_COMPLETED,
        .returncode = ran && r->result->reason == REASON_EXIT ? r->result->exit_code : -1,
        .reason = ran ? attempt_reason_name(r->result->reason) : "",
        .duration_s = (double)(r->result->end_wall_ms - r->result->start_wall_ms) / 1e3,
        .stdout_file = out,
        .stderr_file = errors,
        .node = r->node,
        .attempts = r->attempts};

    snprintf(out, sizeof(out), "%s/%s/stdout.txt", r->workdir, spec->id);
    snprintf(errors, sizeof(errors), "%s/%s/stderr.txt", r->workdir, spec->id);
    f(p, &result, arg);
}

static void on_started(void *arg, const struct head_report *r)
{
    struct pilot *p = arg;

    call(p, p->on_start, p->on_start_arg, r);
}

static void on_ended(void *arg, const struct head_report *r)
{
    struct pilot *p = arg;

    call(p, p->on_complete, p->on_complete_arg, r);
}

API void pilot_on_complete(struct pilot *p, pilot_task_f *f, void *arg)
{
    p->on_complete = f;
    p->on_complete_arg = arg;
}

API void pilot_on_start(struct pilot *p, pilot_task_f *f, void *arg)
{
    p->on_start = f;
    p->on_start_arg = arg;
}

API void pilot_on_end(struct pilot *p, pilot_end_f *f, void *arg)
{
    p->on_end = f;
    p->on_end_arg = arg;
}

static int run_head(struct pilot *p, struct pilot_error *err)
{
    struct head_callbacks callbacks = {.started = p->on_start ? on_started : NULL,
                                       .ended = p->on_complete ? on_ended : NULL,
                                       .arg = p};
    struct pilot_summary summary;
    struct latency latency;
    int rc;

    head_set_callbacks(p->head, &callbacks);
    latency_ask(&latency, false);
    rc = head_run(p->head, err);
    latency_drop(&latency);
    if (rc >= 0 && p->on_end != NULL) {
        head_get_summary(p->head, &summary);
        p->on_end(p, &summary, p->on_end_arg);
    }
    return rc;
}

/* ---- Running --------------------------------------------------------------------------------- */

static int serve_as_agent(struct pilot *p)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    struct latency latency;
    enum agent_end end;

    /* The head decides when it is over; a launcher that signals every rank signals it too. */
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    latency_ask(&latency, false);
    end = agent_run(p->agent, p->mpi);
    latency_drop(&latency);
    switch (end) {
    case AGENT_RELEASED:
        return PILOT_EXIT_COMPLETED;
    case AGENT_DISMISSED:
        p->left_early = true;
        return PILOT_EXIT_COMPLETED;
    default:
        p->left_early = true;
        return PILOT_EXIT_PILOT;
    }
}

API int pilot_run(struct pilot *p, struct pilot_error *err)
{
    if (p->ran)
        return err_set(err, PILOT_ESTATE, "the run is over; create a new pilot for another one");
    p->ran = true;
    p->status = p->head == NULL ? serve_as_agent(p) : run_head(p, err);
    return p->status;
}

API void pilot_get_summary(const struct pilot *p, struct pilot_summary *out)
{
    memset(out, 0, sizeof(*out));
    if (p->head != NULL)
        head_get_summary(p->head, out);
}

API void pilot_destroy(struct pilot *p)
{
    bool orderly = true;

    if (p == NULL)
        return;
    if (p->head != NULL) {
        /* Releases the ranks first, so that it is known whether all of them answered. */
        orderly = head_destroy(p->head);
    } else if (p->agent != NULL) {
        if (!p->ran)
            serve_as_agent(p);
        orderly = !p->left_early;
        agent_destroy(p->agent);
    }
    transport_close(p->mpi, orderly, p->status < 0 ? PILOT_EXIT_USAGE : p->status);
    mpi_over = mpi_over || p->mpi != NULL;
    mpi_abandoned = !orderly;
    strv_free(p->environ_before);
    free(p->workdir);
    free(p->db);
    free(p->hook);
    free(p->hook_events);
    free(p);
    the_pilot = NULL;
}

API void pilot_exit(int status)
{
    if (status < 0)
        status = PILOT_EXIT_USAGE;
    if (the_pilot != NULL)
        the_pilot->status = status;
    pilot_destroy(the_pilot);
    if (!mpi_abandoned)
        exit(status);
    fflush(NULL);
    _exit(status);
}
