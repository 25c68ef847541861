/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: reading the process tree. Must not decide whom to end, nor reap anybody.
 *
 * To end a tree, parents are read from every /proc/PID/stat, not from /proc/PID/task/TID/children:
 * kernels are built without that file, it may miss one, and a way that is needed anyway is better
 * always taken. It costs some microseconds a process, and happens only when a task left something
 * behind or has to be ended. Who looks again and again (memguard.c) asks for the children.
 *
 * Between the search and the signal a pid could be used anew; pids are handed out in a circle, so
 * that would take a whole round of them within the few milliseconds of a search. */
#include "launch/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"

void tree_fini(struct tree *t)
{
    free(t->procs);
    memset(t, 0, sizeof(*t));
}

bool tree_look(pid_t pid, struct tree_proc *out)
{
    char path[32];
    char text[1024];
    const char *p;
    char state;
    ssize_t len;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    len = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';
    p = strrchr(text, ')'); /* the name before it may hold anything */
    if (p == NULL)
        return false;
    memset(out, 0, sizeof(*out));
    out->pid = pid;
    /* state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime cutime
     * cstime priority nice threads itrealvalue starttime */
    if (sscanf(p + 1,
               " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &state, &out->ppid, &out->sid, &out->start) != 4)
        return false;
    out->zombie = state == 'Z' || state == 'X';
    out->stopped = state == 'T' || state == 't';
    return true;
}

static int add(struct tree *t, const struct tree_proc *proc)
{
    if (t->n == t->cap) {
        size_t cap = t->cap > 0 ? 2 * t->cap : 256;
        struct tree_proc *procs = realloc(t->procs, cap * sizeof(*procs));

        if (procs == NULL)
            return PILOT_ENOMEM;
        t->procs = procs;
        t->cap = cap;
    }
    t->procs[t->n++] = *proc;
    return 0;
}

static int by_pid(const void *a, const void *b)
{
    const struct tree_proc *x = a;
    const struct tree_proc *y = b;

    return (x->pid > y->pid) - (x->pid < y->pid);
}

static int read_all(struct tree *t)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    int rc = 0;

    t->n = 0;
    if (dir == NULL)
        return PILOT_ESYS;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        struct tree_proc proc;
        long pid = strtol(entry->d_name, NULL, 10); /* 0 for what is not a process */

        if (pid > 0 && tree_look((pid_t)pid, &proc))
            rc = add(t, &proc);
    }
    closedir(dir);
    if (rc == 0 && t->n > 1)
        qsort(t->procs, t->n, sizeof(*t->procs), by_pid);
    return rc;
}

static bool is_member(const struct tree *t, pid_t pid)
{
    const struct tree_proc key = {.pid = pid};
    const struct tree_proc *found = bsearch(&key, t->procs, t->n, sizeof(*t->procs), by_pid);

    return found != NULL && found->member;
}

static bool contains(const pid_t *pids, size_t n, pid_t pid)
{
    for (size_t i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* One pass over all processes; true when it found another member. A child mostly has the larger
 * pid, so that one pass finds nearly all. */
static bool mark(struct tree *t, pid_t root, const pid_t *skip, size_t skip_n)
{
    bool found = false;

    for (size_t i = 0; i < t->n; i++) {
        struct tree_proc *proc = &t->procs[i];

        if (proc->member || (proc->ppid != root && !is_member(t, proc->ppid)) ||
            contains(skip, skip_n, proc->pid))
            continue;
        proc->member = true;
        found = true;
    }
    return found;
}

int tree_find(struct tree *t, pid_t root, const pid_t *skip, size_t skip_n)
{
    int rc = read_all(t);
    size_t kept = 0;

    if (rc < 0)
        return rc;
    while (t->n > 0 && mark(t, root, skip, skip_n))
        ;
    for (size_t i = 0; i < t->n; i++)
        if (t->procs[i].member)
            t->procs[kept++] = t->procs[i];
    t->n = kept;
    return (int)kept;
}

/* Adds the children of one thread. */
static int add_children(struct tree *t, pid_t pid, const char *thread)
{
    struct tree_proc proc = {.ppid = pid};
    char path[64];
    int rc = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", (int)pid, thread);
    f = fopen(path, "re");
    if (f == NULL)
        return PILOT_ESYS;
    while (rc == 0 && fscanf(f, "%d", &proc.pid) == 1)
        rc = add(t, &proc);
    fclose(f);
    return rc;
}

/* Those of a process; when it is gone there are none. */
static int add_children_of(struct tree *t, pid_t pid)
{
    const struct dirent *entry;
    char path[32];
    int rc = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    while (dir != NULL && rc != PILOT_ENOMEM && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            rc = add_children(t, pid, entry->d_name);
    if (dir != NULL)
        closedir(dir);
    return rc == PILOT_ENOMEM ? rc : 0;
}

int tree_children(struct tree *t, pid_t root)
{
    char text[24];
    int rc;

    t->n = 0;
    snprintf(text, sizeof(text), "%d", (int)root);
    rc = add_children(t, root, text);
    for (size_t i = 0; rc == 0 && i < t->n; i++)
        rc = add_children_of(t, t->procs[i].pid);
    return rc < 0 ? rc : (int)t->n;
}

void tree_signal(const struct tree *t, int sig)
{
    for (size_t i = 0; i < t->n; i++)
        (void)kill(t->procs[i].pid, sig); /* gone meanwhile, or not ours to signal */
}

bool tree_holds_file(pid_t pid, const struct stat *files, size_t n)
{
    const struct dirent *entry;
    char path[32];
    bool holds = false;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    if (dir == NULL)
        return errno == EACCES || errno == EPERM;
    while (!holds && (entry = readdir(dir)) != NULL) {
        struct stat st;

        if (fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
            continue;
        for (size_t i = 0; i < n; i++)
            holds = holds || (st.st_dev == files[i].st_dev && st.st_ino == files[i].st_ino);
    }
    closedir(dir);
    return holds;
}
