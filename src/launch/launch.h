/* SPDX-License-Identifier: BSD-3-Clause */
/* The launcher: everything that forks, execs, reaps and kills, in processes of its own.
 *
 *   agent -- socket --> guardian -- fork --> slot, slot, slot ...   (each: one task at a time)
 *     \______________ one socket a slot ______/
 *
 * launcher_start forks the *guardian* out of a process that is still small and single-threaded,
 * before MPI_Init. The guardian forks a *slot* whenever the agent needs one more than it has, and
 * hands the agent the slot's socket (SCM_RIGHTS). A slot starts one task at a time (vfork), is a
 * child subreaper, and therefore owns exactly the processes of its task, however they daemonise:
 * the task has ended when waitpid says ECHILD. When the agent dies, its sockets close and every
 * slot kills what it started; when a slot dies, its orphans go to the guardian, which kills them;
 * when the guardian dies, they go to the agent, a subreaper too. Guardian and slots are in sessions
 * of their own, ignore INT, HUP and the like, and link neither MPI nor SQLite nor hwloc.
 */
#ifndef PILOT_LAUNCH_LAUNCH_H
#define PILOT_LAUNCH_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/task.h"
#include "pilot.h"

struct launcher; /* the agent's handle */

/* Forks the guardian. A process may have several launchers. Before any thread and before MPI_Init.
 * The environment of now is the base of every task's environment unless launcher_set_env replaces
 * it. */
int launcher_start(struct launcher **out, struct pilot_error *err);

/* What all tasks share; call it once, before the first launcher_run. Strings are copied.
 * workdir: absolute path, is made if missing; task directories are made below it.
 * env: base environment of all tasks, NULL-terminated "NAME=value".
 * grace_ms: between TERM and KILL. */
int launcher_configure(struct launcher *l, const char *workdir, char *const *env, int64_t grace_ms,
                       struct pilot_error *err);

/* From now on, when this process has been stopped (SIGSTOP) for patience_ms, all that the launcher
 * runs is killed as if this process had died: somebody else may have been told to run it.
 * PILOT_ELOST. */
int launcher_watch(struct launcher *l, int64_t patience_ms, struct pilot_error *err);

/* Where packed output of tasks goes from now on: into segments in dir, as `run` (see
 * pack/record.h). Before the first request that wants it. PILOT_ELOST, PILOT_EINVAL. */
int launcher_pack(struct launcher *l, const char *dir, uint64_t run, struct pilot_error *err);

struct launch_request {
    uint64_t key;        /* the caller's name for this attempt; comes back in the event */
    const char *id;      /* task id: directory below workdir */
    unsigned attempt;    /* 1, 2, ...; from 2 on stdout.txt is first renamed stdout.(N-1).txt */
    const char *command; /* sh -c; NULL when argv is set. Simple ones are executed directly */
    char *const *argv;
    char *const *env;       /* "NAME=value", on top of the base, later ones win; may be NULL */
    const char *cwd;        /* NULL: the task's directory; relative to ours at start */
    const char *stdin_path; /* NULL: /dev/null; relative to our directory at start */
    int64_t timeout_ms;     /* 0: none */
    int64_t memory;         /* bytes that all its processes may use: beyond, it is killed, and the
                             * event has REASON_MEMORY; 0: no limit */
    /* 0 (unset): standard output and error go to the task's files. Otherwise two descriptors of the
     * caller's, both > 2, passed to the slot (SCM_RIGHTS) and not kept: a socket or pipe that
     * becomes descriptors 0 and 1, and one that becomes 2; the caller may close them when
     * launcher_run has returned. No task directory is made then, what cannot be started is told in
     * the event only, what the program leaves behind is ended at once, stdin_path must be NULL, and
     * cwd must be set ("." is where the caller was at launcher_start). Else, and when one is not
     * open: PILOT_EINVAL. For programs that talk with the caller, such as a hook. */
    int stdio_fd, stderr_fd;
    /* Bytes that are kept of standard output, and of standard error; the rest is read and dropped,
     * which the file and the event say. 0: all, and the task writes into its files itself. Not with
     * stdio_fd. */
    int64_t max_output;
    enum pilot_output output; /* FILES (unset), ... With PACKED and NONE no task directory is made,
                               * and cwd NULL is the work directory. Not with stdio_fd. */
    /* 0: no. Otherwise it begins in the slot of the attempt `after` as soon as that has ended, so
     * that nobody has to be asked in between. `after` runs, or follows another itself; it is the
     * last one there, and at most LENT_MAX follow one that runs. It comes back
     * (launch_event.returned), and with it those behind it, when it has not begun after so long, or
     * when what runs is killed or leaves processes behind. Not with stdio_fd. */
    int64_t wait_ms;
    uint64_t after;
    const char *cpus; /* "0-3,8": sched_setaffinity; NULL or "": inherit the launcher's */
};

/* While it is on, requests that follow others are kept; those of a slot then go in one message. l
 * may be NULL. */
void launcher_cork(struct launcher *l, bool on);

/* Starts it as soon as a slot is free (a new slot is made if none is). Never blocks on the task.
 * A command that cannot be started is not an error here but an event with REASON_SPAWN.
 * Errors: PILOT_EAGAIN (nothing can be put behind that one), PILOT_ELOST (the guardian is gone),
 * PILOT_EINVAL (no id or no command), PILOT_ESTATE (not configured), PILOT_ENOMEM. */
int launcher_run(struct launcher *l, const struct launch_request *req, struct pilot_error *err);

/* TERM to the whole tree, KILL after the grace time (at once when now is true). The event that
 * follows carries reason. One that follows another and has not begun comes back, alone. Unknown
 * keys (already ended) are ignored. */
void launcher_kill(struct launcher *l, uint64_t key, enum attempt_reason reason, bool now);

/* It comes back if it has not begun. */
void launcher_recall(struct launcher *l, uint64_t key);

/* Readable (poll, epoll) when launcher_next may have something. Stays the same fd. */
int launcher_fd(const struct launcher *l);

struct launch_event {
    uint64_t key;
    bool returned; /* it was to follow another, and has not begun: there is no result. This comes
                    * before the event of the other */
    struct attempt_result result;
};

/* 1 and *ev for an attempt that has ended: its main process has exited, its output is complete and
 * no process of it is left. (The end of a short one may be known some ms later, when others follow
 * it.) The attempt of a slot that died comes back as REASON_LOST. 0: nothing
 * now. PILOT_ELOST: the guardian has died, all attempts have come back and nothing can be started
 * any more. Never blocks, but for the milliseconds that it then takes to kill what the guardian
 * left: every child of this process, younger than the guardian, that is in another session than
 * this process, but for guardians of other launchers. So a process that the agent starts by itself
 * must stay in the agent's session. */
int launcher_next(struct launcher *l, struct launch_event *ev);

/* Attempts started and not yet returned by launcher_next. */
unsigned launcher_running(const struct launcher *l);

/* Kills whatever still runs, waits until the guardian and its slots have gone (bounded: 10 s), and
 * frees l. NULL does nothing. */
void launcher_stop(struct launcher *l);

#endif
