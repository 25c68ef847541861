/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the store share; nobody outside src/store but its unit test includes this.
 *
 *   place.c   which file, on what kind of file system, and the lock beside it (no SQLite)
 *   claim.c   the other lock, for where the first is not enough: a file with a heartbeat (no
 * SQLite) schema.c  tables, versions, migrations open.c    opening in three modes, closing health.c
 * is it whole? recover.c a new database of what can be read of a damaged one, by means of salvage.h
 *   look.c    a connection that only reads, beside a pilot
 *   load.c    reading the tasks of an earlier run
 *   queue.c   the caller's side: changes are copied into blocks of memory (no SQLite)
 *   writer.c  the thread's side: blocks are turned into statements and transactions
 *   sql.c     small helpers and the wording of SQLite's errors
 *
 * The connection belongs to one thread at a time: to the caller until store_start and again after
 * the thread was joined, to the thread in between. */
#ifndef PILOT_STORE_INTERNAL_H
#define PILOT_STORE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/store.h"

/* ---- What a test may replace ------------------------------------------------------------------
 */

struct store_setup {
    const char *vfs;          /* SQLite's file layer; NULL: the default */
    bool network;             /* behave as on a network file system */
    const char *const *steps; /* migrations; NULL: schema_steps */
    int step_count;
    int64_t pace_us;         /* least time from one commit to the next; 0: PACE_US */
    int64_t retry_us;        /* without room, until the first new try; 0: RETRY_US */
    int64_t claim_silent_ms; /* see struct place; 0: as usual */
    const char *synchronous; /* NULL: FULL */
};
int store_open_with(struct store **out, const char *path, enum store_mode mode,
                    const struct store_owner *owner, const struct store_setup *setup,
                    struct pilot_error *err);

/* "host H, pid N, slurm J, since T", and a line with the work directory. */
void store_describe_holder(const struct store_owner *owner, int64_t now_ms, char *text,
                           size_t size);

/* At most 50 commits a second, so that waiting for the disk does not take the cores from the tasks.
 */
#define PACE_US 20000

/* Without room: the pause before the first new try, doubled before each that follows up to the
 * other. */
#define RETRY_US 100000
#define RETRY_MAX_US 2000000

/* ---- place.c ----------------------------------------------------------------------------------
 */

#define HOLDER_MAX 512 /* bytes of the text that says who holds the lock, NUL included */

struct place {
    char *given;     /* the path as the user wrote it, for messages; owned */
    char *file;      /* absolute, without symbolic links; owned */
    char *lock_path; /* file + ".lock"; owned */
    int lock_fd;     /* -1: not locked */
    bool network;
    bool copies;         /* a file system that writes every change to another place */
    bool existed;        /* the file was there when it was looked for */
    bool no_locks;       /* the file system has none that work: the claim alone keeps others away */
    struct claim *claim; /* NULL: none is needed */
    int64_t claim_silent_ms; /* another's claim without a beat for so long is dead; 0: as usual */
    int64_t noted_ms; /* when the last holder committed last, as it noted; 0: it ended cleanly */
    off_t note_at;    /* where the note is in the lock file; 0: nowhere yet */
    bool lost;        /* another has taken over: nothing of it is ours any more */
    bool keep_note;   /* leave the lock file: what it notes is still to be dealt with */
};
void place_init(struct place *p);
/* Makes the parent directory unless must_exist. PILOT_ENOENT when the file must exist and does not,
 * PILOT_ESTORE when there cannot be a database. */
int place_find(struct place *p, const char *path, bool must_exist, struct pilot_error *err);
/* Takes the lock and leaves holder (one line) in the file. PILOT_EBUSY names the other holder. */
int place_lock(struct place *p, const char *holder, struct pilot_error *err);
/* PILOT_EBUSY, naming who has the lock or, when we have it, that it is no pilot. */
int place_busy(const struct place *p, struct pilot_error *err);
/* Notes in the lock file, unless it is 0, that there was a commit whose heartbeat is this. Should
 * the log of the database vanish, with the last commits in it, that shows at the next start. */
void place_note(struct place *p, int64_t heartbeat_ms);
/* Before a commit: PILOT_EBUSY when another pilot has taken the database over meanwhile. */
int place_check(struct place *p, struct pilot_error *err);
/* Writes the entry of the file in its directory to the disk. Failures do no harm that others did
 * not do before: they are not told. */
void place_sync(const struct place *p);
/* Gives up the lock and frees. */
void place_fini(struct place *p);
bool place_is_network_magic(uint64_t magic);

/* ---- claim.c ----------------------------------------------------------------------------------
 */

/* Makes a claim beside the file, and keeps it beating on a thread of its own. Where another's is
 * there, waits until that has beaten (PILOT_EBUSY, and who it is in holder), or has not for
 * silent_ms; a process of this host is asked instead. A claim is not the lock of somebody who has
 * the kernel's; see the top of claim.c. */
int claim_take(struct claim **out, const char *file, const char *text, int64_t silent_ms,
               char holder[HOLDER_MAX], struct pilot_error *err);
/* Has the newest claim on the file been silent for so long? False at once for a living process of
 * this host and where there is none; otherwise after silent_ms at most. */
bool claim_is_silent(const char *file, int64_t silent_ms, char holder[HOLDER_MAX]);
/* False: another has taken over. */
bool claim_holds(struct claim *c);
void claim_release(struct claim *c); /* NULL: nothing */

/* ---- health.c ---------------------------------------------------------------------------------
 */

/* Before the file is opened: is there what SQLite would take for an empty database, or throw away?
 */
int health_check_files(struct place *p, struct pilot_error *err);
/* Once it is open, before anything is changed: is all of it whole, and is it the newest?
 * PILOT_ESTORE says what is wrong and what to do. */
int health_check(struct store *s, struct pilot_error *err);

/* The long part of it, on a thread and with a connection of its own, while the caller reads. It
 * only says whether all is well: what is not, or a thread that could not be started, is a case for
 * health_check. The caller must not write before health_end. */
struct health_beside {
    sqlite3 *db;
    pthread_t thread;
    bool started, good;
};
void health_begin(struct health_beside *h, const struct store *s, const char *vfs);
/* What health_check would say. */
int health_end(struct health_beside *h, struct store *s, struct pilot_error *err);

/* ---- load.c -----------------------------------------------------------------------------------
 */

/* store_load in two parts. load_before writes nothing, and gives those that are left open as
 * pending; load_settle settles them and gives them again. */
int load_before(struct store *s, const struct store_reader *r, struct pilot_error *err);
int load_settle(struct store *s, const struct store_reader *r, struct pilot_error *err);

/* ---- schema.c ---------------------------------------------------------------------------------
 */

#define SCHEMA_APPLICATION_ID 0x504d5049 /* "PMPI", in the header of the file */
/* Of new databases. SQLite's own default is 4096: of that it can add and end 190,000 tasks a
 * second, of this 230,000, for there are half as many pages to look up, to split and to write into
 * the log. */
#define SCHEMA_PAGE_BYTES 8192
extern const char *const schema_steps[]; /* schema_steps[v] leads from version v to v + 1 */
extern const int schema_step_count;

/* 0 when the file is empty or ours and no newer than step_count; else PILOT_EPROTO. Reads only. */
int schema_check(struct store *s, int step_count, struct pilot_error *err);
/* Inside a transaction: brings the file to version step_count. */
int schema_migrate(struct store *s, const char *const *steps, int step_count,
                   struct pilot_error *err);

/* ---- sql.c ------------------------------------------------------------------------------------
 */

/* Words the last error of the connection: "cannot DOING PATH: cause; remedy". PILOT_ESTORE. */
int sql_fail(struct store *s, struct pilot_error *err, const char *doing);
int sql_exec(struct store *s, const char *sql, const char *doing, struct pilot_error *err);
/* The integer in the first column of the first row. */
int sql_int(struct store *s, const char *sql, int64_t *out, struct pilot_error *err);
int sql_prepare(struct store *s, const char *sql, sqlite3_stmt **out, struct pilot_error *err);
/* Binds text, or NULL for an empty one. */
void sql_bind_text(sqlite3_stmt *stmt, int column, const char *text, size_t len);
/* Binds milliseconds as seconds, or NULL for 0 and less. */
void sql_bind_ms(sqlite3_stmt *stmt, int column, int64_t ms);
/* Ends a transaction that may or may not be open. */
void sql_rollback(struct store *s);

/* ---- look.c -----------------------------------------------------------------------------------
 */

/* Opens a state to look into it only. *out is to be closed in any case. */
int look_open(sqlite3 **out, const char *path, struct pilot_error *err);
int look_fail(sqlite3 *db, const char *path, struct pilot_error *err);

/* ---- queue.c ----------------------------------------------------------------------------------
 */

enum op_kind {
    OP_PUT,
    OP_REPLACE,
    OP_STARTED,
    OP_ENDED,
    OP_STATUS,
    OP_ANSWERED,
    OP_TRIAL,
    OP_META
};
#define OP_TEXTS 3

/* One queued change. Only as much of the union as its kind has is there; the texts lie behind that,
 * each with a NUL. Two of them are written and read for each task that runs, in memory that is in
 * no cache: they are to be small. */
struct op {
    size_t size;    /* of all, a multiple of the alignment */
    uint8_t kind;   /* enum op_kind */
    uint8_t status; /* enum task_status */
    bool tell;      /* ENDED, STATUS: this end is to be told to the hook */
    uint8_t texts;  /* where they begin, from the beginning of the op */
    task_id_t task;
    uint32_t attempt;
    uint32_t len[OP_TEXTS];
    union {
        struct {
            uint32_t cores;
            int32_t priority;
            uint32_t max_retries;
            int64_t timeout_ms, estimate_ms, memory;
        } spec; /* PUT, REPLACE; texts: id, command, JSON */
        struct {
            int64_t start_wall_ms;
        } started; /* texts: node, id */
        struct {
            enum attempt_reason reason;
            int exit_code;
            int signal;
            int64_t start_wall_ms;
            int64_t end_wall_ms;
            int64_t user_us;
            int64_t sys_us;
            int64_t max_rss_kib, output_dropped;
            bool packed;
            uint64_t pack_at;
            int64_t stdout_bytes, stderr_bytes;
        } ended; /* texts: node, cpus, message */
        enum store_trial trial;
    } u; /* STATUS: texts: why. ANSWERED, TRIAL: none. META: texts: key, value */
};

static inline const char *op_text(const struct op *op, int i)
{
    const char *text = (const char *)op + op->texts;

    for (int before = 0; before < i; before++)
        text += op->len[before] + 1;
    return text;
}

struct block {
    struct block *next; /* valid once the queue has gone on to the next block */
    size_t cap;
    size_t used; /* the caller's; final once next is valid */
    _Alignas(max_align_t) unsigned char data[];
};

/* A place in the queue: everything in the blocks before, and `used` bytes of this one. */
struct queue_pos {
    struct block *block;
    size_t used;
};

int queue_init(struct store *s); /* 0 or PILOT_ENOMEM */
/* The arguments as one would type them, without a NUL; out NULL: only their length. */
size_t queue_join_arguments(char *const *argv, char *out);
void queue_fini(struct store *s);
void block_free(struct block *b);

/* ---- writer.c ---------------------------------------------------------------------------------
 */

enum statement {
    ST_BEGIN,
    ST_COMMIT,
    ST_PUT,
    ST_REPLACE,
    ST_FORGET,
    ST_START_ATTEMPT,
    ST_START_TASK,
    ST_END_ATTEMPT,
    ST_END_TASK,
    ST_PLAIN_ATTEMPT,
    ST_PLAIN_TASK,
    ST_STATUS,
    ST_ANSWERED,
    ST_TRIAL,
    ST_META,
    ST_HEARTBEAT,
    ST_COUNT,
};

struct start_slot {
    task_id_t task;
    uint32_t index1; /* index in the list, plus 1; 0: free */
};

/* Starts of the pass in hand that are not written yet, because the end may follow. */
struct starts {
    const struct op **list; /* in order; NULL once taken */
    size_t len, cap;
    struct start_slot *slots; /* by task, open addressing */
    size_t slot_count;        /* a power of two, twice cap */
};

struct writer {
    sqlite3_stmt *stmt[ST_COUNT];
    struct queue_pos at;    /* everything before is written */
    struct queue_pos begin; /* of the transaction in hand: everything before is committed */
    struct starts starts;
    bool ahead_failed; /* nothing is written ahead of the next barrier */
    int errnum;        /* what the system said to the last statement that failed; 0: nothing */
    int64_t commit_us; /* when the last commit began */
    int64_t heartbeat_ms;
};

/* Statements; after this writer_run may be called. */
int writer_init(struct store *s, struct pilot_error *err);
void writer_fini(struct store *s);
/* Until `stop` is set and all barriers are committed, or a failure. */
void writer_run(struct store *s);

/* ---- The store --------------------------------------------------------------------------------
 */

#define BUSY_MS 10000 /* how long a person's lock on the database is waited for */

struct store {
    sqlite3 *db;
    struct place place;
    int event_fd;
    uint64_t run;
    char cut_off[256]; /* host of the last pilot, if that ended without a word; "": it did not */
    int64_t pace_us, retry_us;
    pthread_t thread;
    bool started;

    /* The caller's. */
    struct queue_pos tail; /* where the next change goes */
    struct queue_pos last_barrier;
    uint64_t barriers;

    /* Shared, under lock. */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue_pos goal; /* the newest barrier */
    uint64_t goal_number;
    struct queue_pos offered; /* may be written ahead of its barrier */
    bool offer;               /* there is more in front of `offered` than in front of `goal` */
    uint64_t hurried;         /* the newest barrier that somebody waits for; 0: none yet */
    bool idle;                /* the thread waits for a barrier, not for time */
    bool stop;
    struct pilot_error short_of; /* why, while waits is true */

    /* Shared, without it. failure is written once, before failed becomes true. */
    _Atomic uint64_t committed;
    atomic_bool waits; /* for room */
    atomic_bool failed;
    struct pilot_error failure;

    struct writer writer; /* the thread's */
};

/* The first failure counts; sets failed, wakes the caller. */
void store_fail(struct store *s, const struct pilot_error *why);
/* Makes store_fd readable. */
void store_notify(struct store *s);

#endif
