/* SPDX-License-Identifier: BSD-3-Clause */
/* The state of a pilot in SQLite. The only user of SQLite, which after store_start works on a
 * thread of its own: the caller queues changes (never waiting for a disk) and learns by number
 * which are committed. Changes are applied in the order in which they were queued; everything
 * queued between two store_barrier calls and many barriers share one transaction.
 *
 * docs/state.md describes the schema for people. */
#ifndef PILOT_STORE_STORE_H
#define PILOT_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/task.h"
#include "pilot.h"

struct store;

enum store_mode {
    STORE_NEW,    /* must hold no tasks yet; otherwise PILOT_EEXIST, naming --resume and --fresh */
    STORE_RESUME, /* go on with what is there; PILOT_ENOENT when there is nothing */
    STORE_FRESH,  /* forget what is there */
};

struct store_owner {
    const char *host;
    int64_t pid;
    const char *job;     /* "slurm 1234" or "" */
    const char *workdir; /* absolute; goes into the lock file, for clients that know only the
                          * database; NULL: none */
};

/* For programs, before anything else: nobody but the store uses SQLite in this process. It then
 * does not count its memory, under a lock at each allocation, which is a tenth of its time. */
void store_alone(void);

/* Opens or makes the database, checks its version (migrating older ones), takes the lock that keeps
 * a second pilot away, proves with a real write that it can be written, and reads nothing else.
 * Errors: PILOT_EBUSY (names the owner: host, pid, job, since when), PILOT_EEXIST, PILOT_ENOENT,
 * PILOT_EPROTO (not ours, or from a newer version), PILOT_ESTORE (not writable, disk full, ...). */
int store_open(struct store **out, const char *path, enum store_mode mode,
               const struct store_owner *owner, struct pilot_error *err);

/* A number that this state has had since it was empty, and no other has; never 0. */
uint64_t store_run(const struct store *s);

/* The last pilot that had this state ended without a word: killed, or with its node. */
bool store_was_cut_off(const struct store *s);

/* ---- Recovery ---------------------------------------------------------------------------------
 */

struct store_recover_hooks {
    /* A task's JSON (task_spec_from_json of input/). */
    int (*parse)(const char *json, struct task_spec *spec, struct pilot_error *err);
    /* One thing that could not be read: "task number 3 'c'", "task number 4 'd': its JSON is ...".
     */
    void (*tell)(void *arg, const char *what);
    void *arg;
};

struct store_recovered {
    int64_t tasks, completed; /* that are in the new database */
    int64_t attempts;
    int64_t lost;          /* tasks that are known to have been, and are not in it */
    int64_t lost_attempts; /* of the tasks in it */
    int64_t doubtful;      /* tasks in it that are pending because their status was damaged */
    int64_t heartbeat_ms;  /* of the last commit that could be read; 0: not known */
    bool newest_lost;      /* there were commits after that one */
    char old[4096];        /* where the damaged file is now */
    char made[4096];       /* where the new one is */
};

/* Makes a new database of what can be read of the one at path. The damaged file is not changed; it
 * is renamed to FILE.damaged, and the new one takes its name, unless out names another place.
 * Errors: PILOT_EBUSY, PILOT_ENOENT, PILOT_EEXIST (out is there), PILOT_ESTORE (nothing can be
 * read, or no new file can be made). */
int store_recover(const char *path, const char *out, const struct store_owner *owner,
                  const struct store_recover_hooks *hooks, struct store_recovered *result,
                  struct pilot_error *err);

/* ---- Running ----------------------------------------------------------------------------------
 */

/* A task as the database holds it. Pointers are valid during the callback only. */
struct store_task {
    task_id_t task;
    const char *id;
    const char *spec_json;
    enum task_status status;
    unsigned attempts; /* all attempts so far */
    unsigned failures; /* those that count against max_retries */
    bool told;         /* its end is still to be told to a hook: see store_attempt_ended */
    /* Of the last attempt, when told is set; reason REASON_EXIT and zeros when there was none. */
    struct attempt_result result;
    const char *node;   /* "" if there was none */
    const char *cpus;   /* "" if not pinned */
    unsigned losses;    /* those lost with their node while the pilot went on; what ran when the
                         * pilot itself died is closed as lost by store_load, but does not count */
    unsigned suspicion; /* up to STORE_SUSPECT: ends of a pilot without a word while it ran on the
                         * pilot's own node; above STORE_ALONE: so many trials of its own, in a row,
                         * ended so (store_trial); STORE_ALONE: it is to have some, since one that
                         * it shared did */
};
#define STORE_SUSPECT 2
#define STORE_ALONE 3

typedef int store_task_f(void *arg, const struct store_task *task, struct pilot_error *err);

/* Calls f for each task, in the order of their numbers. Tasks that were running are given as
 * pending, their open attempts are closed as lost. Before store_start. */
int store_load(struct store *s, store_task_f *f, void *arg, struct pilot_error *err);

/* Who takes the tasks of a state that is gone on with. */
struct store_reader {
    /* So many will come, if all goes well. PILOT_ENOMEM must be worded by it. */
    int (*expect)(void *arg, size_t tasks, struct pilot_error *err);
    /* Each task in the order of the numbers; afterwards again those that were running or under
     * trial, as they are now: the second word on a task counts. */
    store_task_f *task;
    void *arg;
};

/* store_open for going on (STORE_RESUME) and store_load in one, in about half of the time: the file
 * is checked while the tasks are read. When it fails, what the reader was given means nothing. */
int store_resume(struct store **out, const char *path, const struct store_owner *owner,
                 const struct store_reader *reader, struct pilot_error *err);

/* A key of the table meta as the database has it: fresh memory, NULL when it is not there or empty.
 * Before store_start. */
int store_get_meta(struct store *s, const char *key, char **value, struct pilot_error *err);

/* Starts the thread. From here on only the calls below. */
int store_start(struct store *s, struct pilot_error *err);

/* Queue changes. They copy what they need. All are cheap, none fails: a failure of the database
 * shows in store_failed. */
void store_put_task(struct store *s, task_id_t task, const struct task_spec *spec,
                    const char *spec_json, enum task_status status);
/* Same task, new content (--rerun-changed): status becomes pending, counts start again. */
void store_replace_task(struct store *s, task_id_t task, const struct task_spec *spec,
                        const char *spec_json);
/* An attempt starts: a row in attempts, task running. id: that of the task, which the row has too.
 */
void store_attempt_started(struct store *s, task_id_t task, const char *id, unsigned attempt,
                           const char *node, int64_t start_wall_ms);
/* An attempt has ended; the task is now `status` (pending when it will be retried). cpus: the
 * pinned set, "" if not pinned. A start_wall_ms of 0 leaves the start as store_attempt_started gave
 * it. Fills exit_code, node, started_at, finished_at, reason of the task too, and counts a failure
 * (exit code not 0, signal, timeout, spawn) or a loss. tell: a hook is to be told, which store_load
 * asks for (told) until store_event_answered; means nothing unless status is final. */
void store_attempt_ended(struct store *s, task_id_t task, unsigned attempt, const char *node,
                         const char *cpus, const struct attempt_result *result,
                         enum task_status status, bool tell);
/* A status that comes from no attempt: skipped, cancelled, pending again (--retry-failed, which
 * resets the count of failures), failed (a suspect that is given up, whose trials become losses).
 * why: a few words, kept in the column reason ("dependency a failed"). */
void store_task_status(struct store *s, task_id_t task, enum task_status status, const char *why,
                       bool tell);
/* The hook has answered the end of this task. */
void store_event_answered(struct store *s, task_id_t task);
/* How far the trial of a suspect is. A pilot that ends without a word while it waits clears it of
 * all that earlier trials showed, and while it is watched counts against it; store_load reckons. */
enum store_trial {
    STORE_TRIAL_WAITS,   /* it will be started by itself, and other things are not, for a while */
    STORE_TRIAL_WATCHED, /* it is started by itself */
    STORE_TRIAL_SHARED,  /* it is started with other suspects */
    STORE_TRIAL_PASSED,  /* it has run for long enough: no suspect any more */
};
void store_trial(struct store *s, task_id_t task, enum store_trial trial);
/* The pilot ends what runs, so that an end without a word is not one any more. */
void store_stopping(struct store *s);
/* A key of the table meta. */
void store_put_meta(struct store *s, const char *key, const char *value);

/* Marks a point in the queue; returns its number (1, 2, ...). Everything queued before it is
 * committed when store_committed() has reached it. A transaction never ends between barriers: what
 * lies between two of them is committed together. */
uint64_t store_barrier(struct store *s);
uint64_t store_committed(const struct store *s);
/* What is queued so far may be written already, though not committed: that is for the next barrier,
 * and a pilot that ends without one leaves nothing of it. For a caller that has very many changes
 * to queue, so that the thread does not begin only when the last is there. */
void store_offer(struct store *s);
/* Somebody waits for the newest barrier: commit it now, however short ago the last commit was. */
void store_hurry(struct store *s);
/* An eventfd, readable after new commits, after a failure, and when store_waits has changed; the
 * caller reads it empty. */
int store_fd(const struct store *s);
/* False, or true and why: from then on nothing is committed any more. */
bool store_failed(const struct store *s, struct pilot_error *err);
/* True, and why: there is no room for what is to be committed next (a full disk, a quota, a file
 * system that became read-only). It is kept and tried again every now and then; store_fd tells when
 * that begins and when it is over. Nothing but the caller bounds how long that may take, and what
 * is queued meanwhile takes memory. */
bool store_waits(struct store *s, struct pilot_error *err);

/* Commits what is queued (as behind one more barrier) and ends the thread. Waits for no room: what
 * waits for it is tried once more. Returns 0 or PILOT_ESTORE when something queued could not be
 * committed. store_committed then says how far it came; nothing but store_close may follow. */
int store_end(struct store *s, struct pilot_error *err);

/* As store_end, unless that was called; gives up the lock, checkpoints, frees s. NULL: 0. */
int store_close(struct store *s, struct pilot_error *err);

#endif
