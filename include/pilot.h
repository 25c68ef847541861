/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libpilot: many tasks inside one allocation.
 *
 *     int main(void)
 *     {
 *         struct pilot_options opt = PILOT_OPTIONS_INIT;
 *         struct pilot_error err;
 *         struct pilot *p;
 *         int rc = pilot_create(&p, &opt, &err);
 *
 *         if (rc == 0 && pilot_load_file(p, "tasks.json", &err) < 0)
 *             rc = PILOT_EINVAL;
 *         if (rc == 0)
 *             rc = pilot_run(p, &err);
 *         if (rc < 0)
 *             fprintf(stderr, "%s\n", err.text);
 *         pilot_destroy(p);
 *         pilot_exit(rc < 0 ? PILOT_EXIT_USAGE : rc);
 *     }
 *
 * The program is started as pilot-mpi is: by itself, by mpirun, or by srun. Every rank makes the
 * same calls; the tasks are held, scheduled and counted on rank 0, and on the other ranks
 * pilot_load_file and the like do nothing while pilot_run serves as that node's agent.
 *
 * Not thread-safe: one pilot a process, used from the thread that created it.
 */
#ifndef PILOT_H
#define PILOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Errors ---------------------------------------------------------------------------------- */

/* Functions return 0 or a count on success and one of these on failure. */
enum pilot_status_code {
    PILOT_EINVAL = -1,  /* an argument, an option or a task that cannot be */
    PILOT_ENOMEM = -2,  /* out of memory */
    PILOT_EIO = -3,     /* a file, a socket or a process could not be used */
    PILOT_ENOENT = -4,  /* it is not there */
    PILOT_EEXIST = -5,  /* it is there already, with other content */
    PILOT_EBUSY = -6,   /* somebody else holds it: another pilot on the same database */
    PILOT_EPROTO = -7,  /* a message or a file that does not follow its format or version */
    PILOT_ESTATE = -8,  /* a call in the wrong order */
    PILOT_ESTORE = -9,  /* the state database failed */
    PILOT_ELOST = -10,  /* a node or a process is gone */
    PILOT_EAGAIN = -11, /* not now; later */
    PILOT_ESYS = -12,   /* anything else that the system refused */
};

#define PILOT_ERROR_MAX 8192 /* bytes of an error text, its NUL included */

/* Where a person will read it: which thing, what is wrong with it, what to do. */
struct pilot_error {
    int code;                   /* PILOT_E... */
    char text[PILOT_ERROR_MAX]; /* may be several lines, without a final newline */
};

/* Exit status of pilot-mpi, and what pilot_run returns when it is not negative. */
enum pilot_exit {
    PILOT_EXIT_COMPLETED = 0, /* every task completed */
    PILOT_EXIT_FAILED = 1,    /* some tasks failed or were skipped */
    PILOT_EXIT_USAGE = 2,     /* usage or bad input; nothing was run */
    PILOT_EXIT_STOPPED = 3,   /* stopped before the end; resume goes on */
    PILOT_EXIT_PILOT = 4,     /* the pilot itself failed */
};

/* ---- Options --------------------------------------------------------------------------------- */

/* What becomes of what tasks write to standard output and standard error. */
enum pilot_output {
    PILOT_OUTPUT_FILES,  /* WORKDIR/ID/stdout.txt and stderr.txt */
    PILOT_OUTPUT_PACKED, /* all tasks of a node into a few large files, for pilot-mpi logs; no
                          * directory is made for a task */
    PILOT_OUTPUT_MERGED, /* WORKDIR/ID/stdout.txt has both */
    PILOT_OUTPUT_NONE,   /* it is dropped, and no directory is made for a task */
};

struct pilot_options {
    const char *workdir;     /* directory of the tasks' directories; NULL: "./pilot_runs" */
    const char *db;          /* state database; NULL: WORKDIR/state.db */
    unsigned cores;          /* cores to use in total; 0: all that the allocation has */
    int64_t memory;          /* bytes that tasks may use on each node; 0: what the node has */
    unsigned max_workers;    /* tasks at once; 0: no limit but the cores */
    unsigned max_failures;   /* stop after this many failed tasks; 0: never */
    int64_t grace_ms;        /* between TERM and KILL */
    int64_t heartbeat_ms;    /* head and agents say that they are alive so often */
    int64_t lost_after_ms;   /* a node silent for so long is lost; an agent that hears nothing from
                              * the head for two thirds of it kills its tasks and leaves */
    unsigned max_lost;       /* a task whose attempts were lost with their node so often has failed;
                              * 0: never. On the pilot's own node that is found out by trials: see
                              * docs/scheduling.md */
    int64_t walltime_ms;     /* the allocation ends so long after pilot_create, whatever the batch
                              * system says; 0: what that says, if it says anything */
    int64_t drain_margin_ms; /* nothing starts later than so long before that end, and what still
                              * runs then is ended */
    int64_t disk_wait_ms;    /* a full disk is waited for so long */
    int64_t max_output; /* bytes of a task's stdout, and of its stderr, that are kept; 0: all */
    enum pilot_output output;
    bool resume;             /* go on with what the database holds */
    bool fresh;              /* forget what the database holds */
    bool retry_failed;       /* with resume: run failed and skipped tasks again */
    bool rerun_changed;      /* with resume: a known id with other content runs again */
    bool stream;             /* pilot_load_file only opens the file: its tasks start while it is
                              * still being read, in pilot_run */
    bool dry_run;            /* check and show what would run; run and change nothing */
    bool head_only;          /* no tasks on the node of rank 0 */
    bool use_hyperthreads;   /* the unit "core" is the hardware thread */
    bool no_pin;             /* tasks are not pinned */
    bool keep_env;           /* tasks get the launcher's environment variables too */
    const char *hook;        /* command that is told of ended tasks and answers with new ones (see
                              * docs/hooks.md); "-": standard input and output; NULL: none */
    const char *hook_events; /* which: "completed,failed,skipped,cancelled" or fewer; NULL: all */
    bool quiet;              /* nothing but errors and the last summary line */
    bool verbose;            /* every task's start and end, never throttled */
};

#define PILOT_GRACE_MS 5000
#define PILOT_HEARTBEAT_MS 1000
#define PILOT_LOST_AFTER_MS 15000
#define PILOT_MAX_LOST 3
#define PILOT_DRAIN_MARGIN_MS 60000
#define PILOT_DISK_WAIT_MS 600000
#define PILOT_OPTIONS_INIT                                                                         \
    {                                                                                              \
        .grace_ms = PILOT_GRACE_MS, .heartbeat_ms = PILOT_HEARTBEAT_MS,                            \
        .lost_after_ms = PILOT_LOST_AFTER_MS, .max_lost = PILOT_MAX_LOST,                          \
        .drain_margin_ms = PILOT_DRAIN_MARGIN_MS, .disk_wait_ms = PILOT_DISK_WAIT_MS               \
    }

/* ---- The pilot ------------------------------------------------------------------------------- */

struct pilot; /* opaque */

/* Version of the library, "1.2.3". Static; do not free. */
const char *pilot_version(void);

/* Joins the allocation: starts the launcher, initialises MPI when a launcher of MPI started this
 * program (never otherwise), and learns the nodes. Call it early: before MPI_Init, before any
 * thread, with little memory in use. Copies opt. On success *out is the caller's, to be freed with
 * pilot_destroy.
 * With opt->resume the database is opened here (PILOT_EBUSY: in use, PILOT_ENOENT, PILOT_ESTORE),
 * otherwise by pilot_run, so that input that is refused costs nobody an earlier run.
 * Started by an MPI launcher, it calls MPI_Init, which waits for all ranks: let them come here at
 * about the same time. A process in which that takes eight times opt->lost_after_ms (at least 20 s)
 * takes some other for dead, says so and ends with PILOT_EXIT_PILOT.
 * Errors: PILOT_ESTATE (MPI is initialised already, or a pilot exists), PILOT_EINVAL (options that
 * contradict each other), PILOT_ELOST (no node can run tasks), PILOT_ESYS, PILOT_ENOMEM. */
int pilot_create(struct pilot **out, const struct pilot_options *opt, struct pilot_error *err);

/* 0 on the rank that schedules; other ranks only run tasks. */
int pilot_rank(const struct pilot *p);

/* Reads a task file (see pilot-mpi(1) for its forms); "-" is standard input. Either all its tasks
 * are taken or none (with opt->stream: those before the first error; the error is told, and
 * pilot_run returns PILOT_EXIT_STOPPED). Returns the number of new tasks (tasks of a resumed
 * database that are there already are not counted), 0 on ranks other than 0. Errors: PILOT_EINVAL
 * with up to 20 lines, one for each thing that is wrong; PILOT_ENOENT or PILOT_EIO for the file;
 * PILOT_EEXIST for a known id with other content; PILOT_ESTATE after pilot_run. */
int64_t pilot_load_file(struct pilot *p, const char *path, struct pilot_error *err);

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* A task to be added. Everything is copied by the call that takes it. */
struct pilot_task {
    const char *id;          /* NULL: made from the content: the same again is the same task */
    const char *command;     /* for sh -c; or */
    const char *const *argv; /* run without a shell, NULL-terminated; one of the two */
    unsigned cores;          /* on one node, at least 1 */
    double timeout_s;        /* seconds; 0: none */
    double time_estimate_s;  /* seconds that it will take; 0: not known */
    int64_t memory;          /* bytes that it may use; 0: no limit, and none is set aside */
    int priority;            /* higher first */
    unsigned max_retries;
    const char *const *env;        /* "NAME=value", NULL-terminated; NULL: none */
    const char *tags;              /* JSON text, handed back; NULL: none */
    const char *workdir;           /* NULL: the task's own directory; WORKDIR where it has none */
    const char *stdin_path;        /* NULL: /dev/null */
    const char *const *depends_on; /* ids, NULL-terminated; may have ended already; NULL: none */
};
#define PILOT_TASK_INIT                                                                            \
    {                                                                                              \
        .cores = 1                                                                                 \
    }

/* Adds one task, before pilot_run or from a callback. 1: it is new; 0: it is there already with the
 * same content (nothing changes). On ranks other than 0: 0. Added in a callback it is committed
 * together with the fact that the callback has been called for its event, so that after a crash
 * neither is lost nor done twice.
 * Errors: PILOT_EINVAL (what is wrong with it), PILOT_EEXIST (that id with other content),
 * PILOT_ESTATE (after the end of the run). */
int pilot_add(struct pilot *p, const struct pilot_task *task, struct pilot_error *err);

/* The same for a JSON text in any of the forms of a task file. All or none. Returns how many are
 * new. */
int64_t pilot_add_json(struct pilot *p, const char *json, struct pilot_error *err);

/* A task that has not ended will end as cancelled; one that has ended stays as it is. Before
 * pilot_run or from a callback. PILOT_ENOENT: no such task. */
int pilot_cancel(struct pilot *p, const char *id, struct pilot_error *err);

/* Ends the run early: nothing more starts, running tasks are ended and will run again on resume. */
void pilot_stop(struct pilot *p, const char *why);

/* ---- Summary --------------------------------------------------------------------------------- */

struct pilot_summary {
    uint64_t completed, failed, skipped, cancelled; /* tasks */
    uint64_t unfinished; /* tasks pending or running when the run ended */
    uint64_t attempts;   /* attempts ended in this run */
    uint64_t lost;       /* attempts of this run lost with their node, apart from failures */
    double wall_s;       /* of this run, seconds */
    double cpu_s;        /* user and system seconds of this run's attempts */
    double core_s;       /* cores x seconds given to attempts in this run */
    unsigned cores;      /* cores of the allocation used by tasks */
    unsigned nodes;      /* nodes that could run tasks */
};

/* ---- Callbacks ------------------------------------------------------------------------------- */

/* What is known of a task that starts or has ended. Valid during the callback only. */
struct pilot_result {
    const char *task_id;
    const struct pilot_task *task; /* as it was added, with its tags */
    const char *status;            /* "running", "completed", "failed", "skipped", "cancelled" */
    bool success;                  /* completed */
    int returncode;                /* exit code; -1: signal, timeout, not started, lost, skipped */
    const char *reason; /* "exit", "signal", "timeout", "spawn", "lost", "cancel", "memory"; "" */
    double duration_s;  /* of the last attempt */
    const char *stdout_file; /* absolute paths; packed output has been unpacked there when a task
                              * has ended, for on_complete */
    const char *stderr_file;
    const char *node; /* of the last attempt; "" */
    unsigned attempts;
};

/* Called on rank 0 only, out of pilot_run, one at a time and never inside another call of this
 * library. The pilot waits for them, and starts nothing meanwhile; other nodes take nobody for lost
 * for up to 10 minutes, or half of lost_after_ms where a firewall swallows datagrams.
 * on_complete and on_end are called after the change has been committed. */
typedef void pilot_task_f(struct pilot *p, const struct pilot_result *result, void *arg);

/* A task has ended for good (completed, failed, skipped, cancelled). If the pilot is killed before
 * the callback has returned and its additions are committed, it is called again after resume; if
 * they are, never. */
void pilot_on_complete(struct pilot *p, pilot_task_f *f, void *arg);
/* An attempt was sent to its node. */
void pilot_on_start(struct pilot *p, pilot_task_f *f, void *arg);
/* The run is over; result->task is NULL. The last moment to look; adding is an error. */
typedef void pilot_end_f(struct pilot *p, const struct pilot_summary *summary, void *arg);
void pilot_on_end(struct pilot *p, pilot_end_f *f, void *arg);

/* ---- Running --------------------------------------------------------------------------------- */

/* Runs until every task has ended, or a signal (INT, TERM) or max_failures stops it. Returns an
 * enum pilot_exit, or a PILOT_E... when nothing was run: PILOT_EBUSY (the database is in use),
 * PILOT_EEXIST (it holds work and neither resume nor fresh was asked), PILOT_ESTORE. Call it once.
 */
int pilot_run(struct pilot *p, struct pilot_error *err);

/* Counts over all tasks of the database, times of this run. Valid after pilot_run, on rank 0. */
void pilot_get_summary(const struct pilot *p, struct pilot_summary *out);

/* Frees p and leaves the MPI job; on rank 0, releases the other ranks if pilot_run was not called.
 * NULL does nothing. Should a rank be lost in that very moment, so that MPI_Finalize hangs, the
 * process ends after 20 s with what pilot_run returned (SIGALRM is used for that). */
void pilot_destroy(struct pilot *p);

/* Ends the process, destroying the pilot first if there still is one; call it at the end of main
 * instead of returning, with what pilot_run has returned (negative: exit status 2). After the loss
 * of a node MPI cannot be finalised (it would wait for the lost), and a plain exit() might hang in
 * it. */
#if defined(__GNUC__)
__attribute__((noreturn))
#endif
void pilot_exit(int status);

#ifdef __cplusplus
}
#endif

#endif
