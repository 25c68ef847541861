/* SPDX-License-Identifier: BSD-3-Clause */
/* What a task is (task_spec, from the task file), how it stands (task_status), and what became of
 * one attempt to run it (attempt_result). Shared vocabulary of all components. */
#ifndef PILOT_COMMON_TASK_H
#define PILOT_COMMON_TASK_H

#include <stdbool.h>
#include <stdint.h>

/* Number of a task within one database: 0, 1, 2, ... in the order in which tasks were added. */
typedef uint32_t task_id_t;
#define LENT_MAX 16 /* tasks sent ahead, to begin one after the other behind one that runs */
#define TASK_ID_NONE UINT32_MAX

/* What the user wrote. All pointers are heap memory owned by the struct. */
struct task_spec {
    char *id;             /* unique; also the path of its directory below the work directory */
    char *command;        /* for sh -c; NULL when argv is given */
    char **argv;          /* run without a shell; NULL-terminated; NULL when command is given */
    uint32_t cores;       /* at least 1 */
    int64_t timeout_ms;   /* 0: none */
    int64_t estimate_ms;  /* how long it will take; 0: not known */
    int64_t memory;       /* bytes that it may use; 0: no limit, and none is set aside */
    int32_t priority;     /* higher first */
    uint32_t max_retries; /* failures that are followed by another attempt */
    char **env;           /* "NAME=value" in the order given; NULL-terminated; NULL: none */
    char *tags;           /* compact JSON text; NULL: none */
    char *workdir;        /* NULL: the task's own directory */
    char *stdin_path;     /* NULL: /dev/null */
    char **depends_on;    /* ids; NULL-terminated; NULL: none */
};

/* cores 1, everything else empty. */
void task_spec_init(struct task_spec *spec);
/* Frees what it holds; as after task_spec_init. */
void task_spec_fini(struct task_spec *spec);

/* The life of a task; the transition table is in core/sched.c. */
enum task_status {
    TASK_PENDING,   /* not started, waiting to be retried, or waiting for a dependency */
    TASK_RUNNING,   /* an attempt is on a node */
    TASK_COMPLETED, /* ended with exit code 0; final */
    TASK_FAILED,    /* no retry left; final */
    TASK_SKIPPED,   /* something it depends on did not complete; final */
    TASK_CANCELLED, /* somebody asked for it; final */
};
#define TASK_STATUS_COUNT 6

/* "pending", ...; and back (false for an unknown word). */
const char *task_status_name(enum task_status status);
bool task_status_parse(const char *name, enum task_status *out);

/* Why an attempt ended. */
enum attempt_reason {
    REASON_EXIT,    /* the command exited; exit_code says how */
    REASON_SIGNAL,  /* the command was killed by a signal that was not ours */
    REASON_TIMEOUT, /* its timeout passed; TERM, then KILL, were ours */
    REASON_SPAWN,   /* it could not be started; message says why */
    REASON_LOST,    /* its node, or the pilot, was lost while it ran */
    REASON_CANCEL,  /* it was cancelled while it ran */
    REASON_STOP,    /* the pilot ended it because it had to end itself; it will run again */
    REASON_MEMORY,  /* it used more memory than it may; KILL was ours or the kernel's */
    REASON_DISK,    /* it could not be started for lack of room for its output; message says what
                     * could not be done; it will run again */
};
#define ATTEMPT_REASON_COUNT 9
const char *attempt_reason_name(enum attempt_reason reason);
bool attempt_reason_parse(const char *name, enum attempt_reason *out);

#define TASK_CPUS_MAX 1024   /* bytes of a list of CPUs ("0-3,8"), NUL included */
#define TASK_MESSAGE_MAX 160 /* bytes of a message, NUL included */

/* What became of one attempt. Times of day are those of the node. */
struct attempt_result {
    enum attempt_reason reason;
    int exit_code;         /* 0-255 for REASON_EXIT, -1 otherwise */
    int signal;            /* number of the signal that ended it, 0: none */
    int64_t start_wall_ms; /* since 1970 UTC */
    int64_t end_wall_ms;
    int64_t user_us; /* CPU time of the whole tree, microseconds */
    int64_t sys_us;
    int64_t max_rss_kib;            /* of the largest process */
    int64_t output_dropped;         /* bytes of stdout and stderr cut off by --max-output */
    char message[TASK_MESSAGE_MAX]; /* REASON_SPAWN, _MEMORY, _DISK: what failed; otherwise "" */
    bool packed;                    /* its output was packed: the next three mean something */
    uint64_t pack_at;               /* position of its last record (pack/record.h), 0: no output */
    int64_t stdout_bytes, stderr_bytes;
};

#endif
