/* SPDX-License-Identifier: BSD-3-Clause */
/* The descendants of a process, found in /proc, and signals to them. */
#ifndef PILOT_LAUNCH_TREE_H
#define PILOT_LAUNCH_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct tree_proc {
    pid_t pid;
    pid_t ppid;
    pid_t sid;
    unsigned long long start; /* clock ticks since boot */
    bool zombie;
    bool stopped; /* by SIGSTOP and the like, or a debugger */
    bool member;  /* used while searching */
};

/* Zero it before first use. */
struct tree {
    struct tree_proc *procs;
    size_t n;
    size_t cap;
};
void tree_fini(struct tree *t);

/* Puts every descendant of root into t, zombies included (a zombie may be a first thread that has
 * ended while others go on), but neither those in skip nor what descends from them only. Returns
 * their number, or a negative PILOT_E... when /proc cannot be read. A process that is forked during
 * the search may be missed: to be rid of a tree, repeat until waitpid has no more children. */
int tree_find(struct tree *t, pid_t root, const pid_t *skip, size_t skip_n);

/* The same from what the kernel says of each process's children, which costs nothing for those
 * outside the tree; only pid and ppid are filled in, and a child may be missed while its parent
 * ends. PILOT_ESYS: this kernel does not say. */
int tree_children(struct tree *t, pid_t root);

/* Sends sig to all of t. */
void tree_signal(const struct tree *t, int sig);

/* What /proc says of one process. False when it is gone. */
bool tree_look(pid_t pid, struct tree_proc *out);

/* Whether pid has one of these files open. True too when its descriptors may not be looked at. */
bool tree_holds_file(pid_t pid, const struct stat *files, size_t n);

#endif
