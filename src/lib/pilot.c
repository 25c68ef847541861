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
#include "common/error.h"
#include "common/log.h"
#include "head/head.h"
#include "launch/launch.h"
#include "transport/transport.h"

extern char **environ;

#define API __attribute__((visibility("default")))

struct pilot {
    struct pilot_options opt; /* its strings are ours */
    char *workdir, *db;
    char **environ_before;
    struct transport *mpi;
    struct head *head;        /* rank 0 */
    struct agent *agent;      /* other ranks */
    bool ran, left_early;
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
    if (o->quiet && o->verbose)
        return err_set(err, PILOT_EINVAL, "--quiet and --verbose contradict each other");
    if (o->grace_ms < 0 || o->node_timeout_ms < 1000)
        return err_set(err, PILOT_EINVAL,
                       "--grace must not be negative and --node-timeout at least 1 second");
    return 0;
}

static int copy_options(struct pilot *p, const struct pilot_options *o, struct pilot_error *err)
{
    p->opt = *o;
    if ((o->workdir != NULL && (p->workdir = strdup(o->workdir)) == NULL) ||
        (o->db != NULL && (p->db = strdup(o->db)) == NULL) ||
        (p->environ_before = strv_dup(environ)) == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    p->opt.workdir = p->workdir;
    p->opt.db = p->db;
    return 0;
}

static int join_as_agent(struct pilot *p, struct launcher *launcher, struct pilot_error *err)
{
    struct agent_config config = {
        .transport = p->mpi, .launcher = launcher, .environ_before = p->environ_before};
    int rc = agent_create(&p->agent, &config, err);

    if (rc < 0)
        launcher_stop(launcher);
    return rc;
}

/* Started by srun, Open MPI binds the process to one core inside MPI_Init. That is no allocation:
 * the mask of before is put back. */
static int open_mpi(struct pilot *p, struct pilot_error *err)
{
    unsigned char mask[4096]; /* 32,768 CPUs */
    long size = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
    int rc;

    head_block_signals();
    rc = transport_mpi_open(&p->mpi, err);
    if (rc == 0 && size > 0)
        syscall(SYS_sched_setaffinity, 0, (size_t)size, mask);
    return rc;
}

static int join(struct pilot *p, struct pilot_error *err)
{
    struct head_config config = {.options = &p->opt, .environ_before = p->environ_before};
    int launched = transport_launched(err), rc;

    if (launched < 0)
        return launched;
    rc = launcher_start(&config.launcher, err);
    if (rc < 0)
        return rc;
    if (launched) {
        rc = open_mpi(p, err);
        if (rc < 0) {
            launcher_stop(config.launcher);
            return rc;
        }
        config.mpi = p->mpi;
        if (transport_rank(p->mpi) != 0)
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

static int serve_as_agent(struct pilot *p)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};

    /* The head decides when it is over; a launcher that signals every rank signals it too. */
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    if (agent_run(p->agent, p->mpi) == AGENT_RELEASED)
        return PILOT_EXIT_COMPLETED;
    p->left_early = true;
    return PILOT_EXIT_PILOT;
}

API int pilot_run(struct pilot *p, struct pilot_error *err)
{
    if (p->ran)
        return err_set(err, PILOT_ESTATE, "the run is over; create a new pilot for another one");
    p->ran = true;
    if (p->head == NULL)
        return serve_as_agent(p);
    return head_run(p->head, err);
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
    transport_close(p->mpi, orderly);
    mpi_over = mpi_over || p->mpi != NULL;
    mpi_abandoned = !orderly;
    strv_free(p->environ_before);
    free(p->workdir);
    free(p->db);
    free(p);
    the_pilot = NULL;
}

API void pilot_exit(int status)
{
    if (!mpi_abandoned)
        exit(status);
    fflush(NULL);
    _exit(status);
}
