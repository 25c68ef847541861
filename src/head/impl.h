/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the head share. Who owns what:
 *
 *   head.c     the loop and its order, stopping, the end
 *   ranks.c    ranks and nodes: joining, cores, messages, leaving
 *   loss.c     heartbeats, and who is lost
 *   tasks.c    the table of tasks: resuming, giving them to the core
 *   stream.c   a task file that is read while its tasks run
 *   intake.c   new tasks: out of files, from hooks, from clients, from a program
 *   events.c   ends of tasks that somebody is to be told and has to answer
 *   hook.c     the hook program: its lines, its life
 *   requests.c what clients of the control sockets and the inbox ask
 *   cycles.c   circles of dependencies that --rerun-changed would close
 *   actions.c  what the core decided -> messages, changes of state, things to tell
 *   disk.c     waiting for room on a full disk
 *   doubt.c    attempts that ended by a signal which may have been meant for us all
 *   drain.c    stopping in time before the end of the allocation (walltime.c finds it)
 *   trial.c    tasks that may have ended the pilot
 *   signals.c  signals that want an end
 *   tell.c     telling people about changes, once they are committed
 *   plan.c     --dry-run
 */
#ifndef PILOT_HEAD_IMPL_H
#define PILOT_HEAD_IMPL_H

#include <poll.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/strmap.h"
#include "common/task.h"
#include "core/sched.h"
#include "head/head.h"
#include "head/inbox.h"
#include "input/taskfile.h"
#include "proto/msg.h"
#include "report/report.h"
#include "store/store.h"

/* ---- Nodes ----------------------------------------------------------------------------------- */

/* JOINING -> READY -> UP -> LEFT, and from each to LOST. ranks.c changes it. */
enum node_state { NODE_JOINING, NODE_READY, NODE_UP, NODE_LEFT, NODE_LOST };

struct node {
    enum node_state state;
    char name[MSG_NAME_MAX];
    char cpus[MSG_CPUS_MAX]; /* union over its ranks */
    char map[MSG_TEXT_MAX];
    struct transport *transport; /* to its agent */
    int peer;
    uint32_t slurm_cpus;
    unsigned ranks;
    unsigned real_cores, cores; /* there; used */
    int64_t memory;             /* bytes for tasks; 0: not known */
    bool has_agent;             /* false: the head's node with --head-only */
    bool no_room;               /* for output, said its agent last */
    uint32_t backs;             /* BACK messages that have come from it */
    struct buf out;             /* the frame of this turn */
    int64_t sent_ms;
};

/* What is known of each rank of the MPI job (of the one process, without MPI). */
struct rank {
    struct msg_hello *hello; /* owned; while joining */
    node_id_t node;          /* NODE_ID_NONE: not heard of */
    bool is_agent;           /* of that node; the others only wait for BYE */
    bool gone, lost, late;   /* late: it has spoken after it was lost */
    int64_t heard_ms;
};

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Does the store have it? */
enum saved { SAVED, SAVE_NEW, SAVE_REPLACED };

struct head_task {
    const char *packed; /* the spec, in the table's arena; it begins with the id and a NUL */
    uint32_t packed_len;
    uint32_t cores;
    int64_t memory;
    node_id_t node;                      /* of the running attempt, or where it is lent */
    unsigned attempts, failures, losses; /* from earlier runs */
    unsigned line;                       /* of the streamed file, in which it is; 0: not in it */
    uint8_t status;    /* enum task_status before the core has it; afterwards the core knows */
    uint8_t saved;     /* enum saved */
    uint8_t suspicion; /* as in struct store_task */
    bool convicted;    /* by its trials: it is to be told that it has failed */
};

_Static_assert(sizeof(struct head_task) == 48, "there may be millions");

struct task_table {
    struct head_task *v;
    task_id_t len, cap;
    struct strmap ids;
    struct arena text; /* packed specs; of a task that was replaced, the old one stays too */
};

/* ---- Telling --------------------------------------------------------------------------------- */

enum told {
    TOLD_STARTED,
    TOLD_ENDED,   /* an attempt */
    TOLD_DROPPED, /* skipped, or cancelled before it ran */
    TOLD_REPLY,   /* the answer to a request */
};

/* Something to tell once barrier is committed. */
struct notice {
    uint64_t barrier; /* 0: of this turn, its barrier is not set yet */
    enum told what;
    task_id_t task, cause;
    unsigned attempt;
    node_id_t node;
    unsigned failures;
    enum task_status status;
    int64_t took_ms; /* of an attempt */
    /* owned; NULL: of no attempt, or of one that completed its task and that is no event: of these
     * there may be very many, and nobody asks for more than took_ms */
    struct attempt_result *result;
    char *text;      /* owned: CPUs of an attempt that an event is made of; the reply */
    char *inbox;     /* owned: the reply goes to this request of the inbox; NULL: to a client */
    uint32_t client; /* of node */
    bool event;      /* the store keeps it as still to be told */
};

struct notices { /* a ring */
    struct notice *v;
    size_t first, len, cap;         /* cap is a power of two */
    size_t unset;                   /* at the end: notices of this turn */
    size_t ends[TASK_STATUS_COUNT]; /* of tasks, by the status that they ended with */
};

/* ---- Events ---------------------------------------------------------------------------------- */

/* The end of a task that a hook is to be told, or has not answered yet. */
struct event {
    task_id_t task;
    enum task_status status;
    unsigned attempts;
    char *node, *cpus; /* owned */
    struct attempt_result result;
    bool answered;
};

struct events { /* a ring; its first event has the number first_seq */
    struct event *v;
    size_t first, len, cap; /* cap is a power of two */
    uint64_t first_seq;     /* numbers start at 1 */
    uint64_t next_to_tell;  /* number of the first that the hook was not told */
    unsigned wanted;        /* bits 1 << enum task_status: which ends are events */
};

struct hook;
struct stream;

#define FAILURES_SHOWN 5

struct doubt;

/* ---- Disks ----------------------------------------------------------------------------------- */

/* A lack of room that lasts, or has just passed. disk.c changes it. */
struct disk_trouble {
    bool on;
    bool said;        /* to people */
    int64_t since_ms; /* it began; again soon after its end is the same */
    int64_t said_ms;  /* last; meaningful after since_ms */
    int64_t over_ms;  /* it ended; INT64_MIN: there was none */
    char why[MSG_TEXT_MAX];
};

struct disk {
    struct disk_trouble state, output;
    int64_t probe_ms, probe_pause_ms; /* when the agents are asked next; and the pause after that */
    char note[80];                    /* for the live line */
};

/* ---- Trials ---------------------------------------------------------------------------------- */

struct held_start {
    task_id_t task;
    unsigned attempt;
    uint64_t barrier; /* behind which the start is stored; 0: it is not, yet */
    bool cancelled;
};

/* NONE -> WAITING -> STORING -> WATCHED -> NONE. */
enum trial_phase { TRIAL_NONE, TRIAL_WAITING, TRIAL_STORING, TRIAL_WATCHED };

struct trial {
    struct held_start *held; /* owned; that the core has decided, in order */
    size_t len, cap;
    enum trial_phase phase;
    size_t group;     /* so many of the first are in the trial; once WATCHED they have been started
                       * and are held no more */
    int64_t until_ms; /* of WAITING and WATCHED */
    int64_t stored_first_until_ms; /* no start before it is stored; 0: as always */
};

/* ---- The head -------------------------------------------------------------------------------- */

/* WORKING -> DRAINING (nothing starts any more) -> STOPPING (what runs is ended). */
enum stop_level { STOP_NOT, STOP_DRAIN, STOP_TERM, STOP_KILL };

struct head {
    const struct pilot_options *opt;
    char *workdir; /* absolute */
    char *db;      /* as given, or WORKDIR/state.db */

    struct transport *mpi;   /* or NULL */
    struct transport *local; /* our end of the pair to our own agent */
    struct transport *local_agent_end;
    struct agent *agent; /* or NULL: --head-only */
    struct node *nodes;
    unsigned node_count;
    struct rank *ranks;
    int rank_count;
    int64_t others_pinged_ms, listened_ms;
    unsigned cores; /* used, over all nodes */
    bool virtual_cores;
    bool lost_ranks, released;

    char *const *environ_before;
    struct task_table tasks;
    struct event *resumed; /* ends that an earlier run did not get answered; owned */
    size_t resumed_count;
    struct sched *sched; /* from head_run on */
    struct sched_actions actions;
    struct store *store; /* NULL in a dry run */
    struct report *report;
    struct notices notices;
    struct events events;
    struct head_callbacks callbacks;
    struct hook *hook;     /* NULL: none */
    struct stream *stream; /* NULL: none */
    char *unread; /* owned; the file that an earlier run did not read to its end; NULL: none */
    struct inbox *inbox; /* from head_run on */
    bool again;          /* something was added in this turn: do not sleep before the next */
    bool hurry;          /* somebody waits for this turn's barrier */
    bool unanswered;     /* ends remain to be told: only a resume can finish that */
    bool over;           /* the loop has ended: nothing can be added any more */
    struct doubt *doubts, **last_doubt;
    struct trial trial;
    struct disk disk;
    bool changed; /* something was given to the store in this turn */
    uint64_t last_barrier;

    int signal_fd;
    bool ran;
    enum stop_level stop;
    char stop_why[160];
    int64_t stop_deadline_ms, signal_ms;
    int signal_number;        /* the last that came; 0: none */
    int64_t end_ms, drain_ms; /* of the allocation, and when we stop; INT64_MAX: not known */
    bool failed;              /* the pilot itself: exit status 4 */
    struct pilot_error failure;

    int64_t start_ms;
    struct pilot_summary summary;
    struct report_failure failures[FAILURES_SHOWN];
    task_id_t failure_tasks[FAILURES_SHOWN];
    unsigned failure_count;
};

static inline const char *head_task_id(const struct head *h, task_id_t task)
{
    return h->tasks.v[task].packed;
}

/* ranks.c */
int ranks_join(struct head *h, const struct head_config *config, struct pilot_error *err);
void ranks_prepare_packs(struct head *h); /* once the state is open */
int ranks_assign(struct head *h, struct pilot_error *err);
struct buf *node_frame(struct head *h, node_id_t node); /* to append messages to */
void ranks_receive(struct head *h, int64_t now_ms);     /* handles all that has come */
void ranks_send(struct head *h, int64_t now_ms);        /* the frames of this turn */
void ranks_serve(struct head *h);                       /* one turn of all that: outside the loop */
void ranks_tell(struct head *h, int rank, enum msg_type type);   /* at once, no body */
unsigned ranks_largest(const struct head *h, const char **name); /* cores of the largest node */
/* Memory of the node that has most; 0: there is one of which it is not known. */
int64_t ranks_most_memory(const struct head *h, const char **name);
/* Is there a node with so much of both? Nodes that were lost count too. */
bool ranks_can_hold(const struct head *h, unsigned cores, int64_t memory);
void ranks_release(struct head *h); /* BYE to all, waits (bounded) for their tasks' end */
/* The last word to all, when nothing remains to be done but to leave. False: some rank was lost, so
 * that MPI must not be finalised. */
bool ranks_dismiss(struct head *h);
void ranks_fini(struct head *h);

/* loss.c */
int64_t
loss_agents_patience_ms(const struct head *h); /* how long an agent waits for a sign of us */
void loss_turn(struct head *h, int64_t now_ms);
int64_t loss_next_ms(const struct head *h);
void loss_of_rank(struct head *h, int rank, const char *why); /* and of the node it is agent of */
void loss_drop_rank(struct head *h, int rank);                /* no word to it, none from it */
void loss_handle_gone(struct head *h, int rank);
void loss_late_word(struct head *h, int rank); /* a message of a lost rank has come */
/* Why the nodes that are left can run nothing of what is left. */
void loss_explain_stuck(const struct head *h, struct pilot_error *err);

/* tasks.c */
/* Opens the state at db to go on with it, and reads its tasks. */
int tasks_open_state(struct head *h, const char *db, const struct store_owner *owner,
                     struct pilot_error *err);
/* Packs spec into task; everything else of it is zero. */
int tasks_make(struct task_table *t, struct head_task *task, const struct task_spec *spec,
               struct buf *scratch, struct pilot_error *err);
int tasks_reserve(struct task_table *t, size_t more);
int tasks_check_sizes(const struct head *h, struct pilot_error *err);
/* Queues for the store what it does not have yet, of the tasks from first on. */
int tasks_save(struct head *h, task_id_t first, struct pilot_error *err);
int tasks_retry_failed(struct head *h);
/* Gives the core the tasks that it does not have yet. */
int tasks_schedule(struct head *h, int64_t now_ms, struct pilot_error *err);
int tasks_unpack(const struct head_task *task, struct task_spec *spec);
void tasks_fini(struct head *h);

/* intake.c */
/* What the nodes of this run, and the files in its work directory, leave to a task. */
struct intake_limits {
    struct taskfile_config config;
    char names[5][256];
    const char *reserved[8];
    char cores_of[MSG_NAME_MAX + 80], memory_of[MSG_NAME_MAX + 80];
};
void intake_limits_init(struct intake_limits *l, struct head *h);
/* Is there a node for it? 0, or PILOT_EINVAL. */
int intake_check_room(const struct head *h, const char *file, const struct task_spec *spec,
                      unsigned line, struct pilot_error *err);
/* By the canonical text, in which the order of env and depends_on does not matter. */
bool intake_same_content(const struct head_task *known, const struct task_spec *spec);
/* Takes a task in that tasks_make has made, for which there is room, at the end of the table. */
void intake_append(struct head *h, const struct head_task *task);
/* In the run: the tasks from first on go to the store, then to the core. */
void intake_start(struct head *h, task_id_t first);
int64_t intake_file(struct head *h, const char *path, struct pilot_error *err);
/* Adds the tasks of a text, in any form of a task file, all or none; known ones with the same
 * content are fine. While running they are scheduled at once. ids (may be NULL): those of all of
 * them, strv_free. Returns how many are new. */
int64_t intake_text(struct head *h, const char *name, const char *text, size_t len, char ***ids,
                    struct pilot_error *err);

/* stream.c */
#define STREAM_UNREAD_KEY "unread" /* in the table meta: a file that was not read to its end */
int stream_open(struct head *h, const char *path, struct pilot_error *err);
void stream_begin(struct head *h); /* the run begins, the state is open */
void stream_turn(struct head *h, int64_t now_ms);
int stream_fds(const struct head *h, struct pollfd *fds); /* fills up to 1, returns how many */
bool stream_holds(const struct head *h);                  /* more may come */
const char *stream_name(const struct head *h);            /* for people; NULL: there is none */
/* The file of which there is still something to be read, also since an earlier run; NULL: none. */
const char *stream_unread(const struct head *h);
void stream_close(struct head *h);

/* cycles.c */
int cycles_check(const struct head *h, const struct sched_task *tasks, task_id_t count,
                 struct pilot_error *err);

/* actions.c */
void actions_ended(struct head *h, node_id_t node, const struct msg_ended *m, int64_t now_ms);
/* What was lent to the node has come back. */
void actions_returned(struct head *h, node_id_t node, const struct msg_back *m, int64_t now_ms);
void actions_node_lost(struct head *h, node_id_t node, int64_t now_ms);
void actions_do(struct head *h);
void actions_stop_running(struct head *h, bool now);
/* The two halves of a start. */
void actions_store_start(struct head *h, task_id_t task, node_id_t node, unsigned attempt);
void actions_send_start(struct head *h, task_id_t task, node_id_t node, unsigned attempt);

/* disk.c */
void disk_init(struct head *h);
void disk_handle_room(struct head *h, node_id_t node, const struct msg_room *m, int64_t now_ms);
void disk_turn(struct head *h, int64_t now_ms);
/* There is no room: nothing may be started. */
bool disk_holds(const struct head *h);
/* What is decided cannot be committed for lack of room. */
bool disk_holds_state(const struct head *h);
int64_t disk_next_ms(const struct head *h);
void disk_end(struct head *h);                         /* says what is still to be said */
const char *disk_note(struct head *h, int64_t now_ms); /* for the live line; NULL: none */

/* doubt.c */
/* True: the end of this attempt is judged later, by doubt_turn. */
bool doubt_take(struct head *h, node_id_t node, const struct msg_ended *m, int64_t now_ms);
void doubt_turn(struct head *h, int64_t now_ms);
int64_t doubt_next_ms(const struct head *h);
void doubt_fini(struct head *h);

/* trial.c */
/* Loading: has the task failed by its trials? */
bool trial_convicts(const struct head *h, const struct head_task *task);
void trial_begin(struct head *h);
/* True: the start is carried out later, by trial_turn. */
bool trial_holds_start(struct head *h, const struct sched_action *a, int64_t now_ms);
/* May it be sent ahead? Then it begins without being held. */
bool trial_allows_loan(const struct head *h, const struct sched_action *a, int64_t now_ms);
void trial_cancel(struct head *h, task_id_t task);
/* What is held will not be started: its attempts end as stopped. */
void trial_withdraw_all(struct head *h, int64_t now_ms);
void trial_turn(struct head *h, int64_t now_ms);
int64_t trial_next_ms(const struct head *h);
void trial_fini(struct head *h);

/* signals.c */
int signals_open(struct head *h, struct pilot_error *err);
void signals_take(struct head *h);

/* drain.c */
void drain_set_end(struct head *h, int64_t end_ms);          /* INT64_MAX: not known */
int64_t drain_left_ms(const struct head *h, int64_t now_ms); /* until tasks are ended */
void drain_announce(const struct head *h, int64_t now_ms);
void drain_turn(struct head *h, int64_t now_ms);
int64_t drain_next_ms(const struct head *h);
/* When to kill what was asked to end, if nothing hurried, that would be at wanted_ms. */
int64_t drain_kill_ms(const struct head *h, int64_t wanted_ms, int64_t now_ms);
/* Only so many late tasks, and what waits for them, are left. */
void drain_late(struct head *h, task_id_t late, int64_t now_ms);

/* tell.c */
void tell_later(struct head *h, const struct notice *n);
void tell_seal(struct head *h, uint64_t barrier);
void tell_committed(struct head *h, uint64_t committed);
/* Ends of tasks with this status that are not committed yet, and so not true yet. */
size_t tell_untold(const struct head *h, enum task_status status);
/* So much waits to be committed that nothing more is to be started until it is: else memory would
 * grow with what the disk is behind. */
bool tell_holds(const struct head *h);
/* Tasks that ended so and are committed: what everybody is told of. c: the core's counts. */
uint64_t tell_count(const struct head *h, const struct sched_counts *c, enum task_status status);
void tell_fini(struct head *h);

/* events.c */
int events_init(struct head *h, struct pilot_error *err);
bool events_want(const struct head *h, enum task_status status);
/* Takes the end of a task that is committed and still to be told: calls the callback, then it is up
 * to the hook to answer; without a hook it is answered. The strings are copied. */
void events_take(struct head *h, const struct event *e);
/* While loading: an end of an earlier run that is still to be told. Copied. */
int events_remember(struct head *h, const struct event *e);
void events_take_resumed(struct head *h);
bool events_pending(const struct head *h);
struct event *events_find(struct head *h, uint64_t seq); /* NULL: no such, or answered */
void events_answer(struct head *h, uint64_t seq);
void events_fini(struct head *h);

/* hook.c */
int hook_create(struct head *h, struct launcher *launcher, struct pilot_error *err);
void hook_start(struct head *h);                /* once the nodes are known */
void hook_turn(struct head *h, int64_t now_ms); /* reads, writes, restarts */
void hook_started(struct head *h, task_id_t task, node_id_t node, unsigned attempt);
bool hook_holds(const struct head *h);
int hook_fds(const struct head *h, struct pollfd *fds); /* fills up to 3, returns how many */
int64_t hook_next_ms(const struct head *h);
void hook_end(struct head *h, int exit_status); /* says end, waits (bounded) */
void hook_destroy(struct head *h);

/* requests.c */
void requests_handle(struct head *h, node_id_t node, uint32_t client, const char *inbox,
                     const char *text);
void requests_take_inbox(struct head *h, int64_t now_ms);
void requests_reply(struct head *h, const struct notice *n);

/* plan.c */
int plan_load_state(struct head *h, struct pilot_error *err); /* of a copy: nothing is changed */
int plan_show(struct head *h, struct pilot_error *err);

/* head.c: stops the run; only ever raises the level. */
void head_stop(struct head *h, enum stop_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void head_fail(struct head *h, const struct pilot_error *why);
/* Sleeps until something may have happened, at most until_ms (monotonic). */
void head_wait(struct head *h, int64_t until_ms);

#endif
