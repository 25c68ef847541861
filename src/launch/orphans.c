/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: telling the orphans of tasks from the other children of the agent. Its rule makes one
 * demand on the rest of the program: a process that the agent starts without a launcher stays in
 * the agent's session. Guardians of other launchers are known by their marks. */
#include "launch/orphans.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"

#define PAUSE_FIRST_MS 2  /* between two looks at what is left; doubled each time ... */
#define PAUSE_LAST_MS 100 /* ... up to this */

static struct guardian_mark *marks;

void guardian_mark_add(struct guardian_mark *m, pid_t pid)
{
    m->pid = pid;
    m->next = marks;
    marks = m;
}

void guardian_mark_remove(struct guardian_mark *m)
{
    for (struct guardian_mark **link = &marks; *link != NULL; link = &(*link)->next) {
        if (*link == m) {
            *link = m->next;
            return;
        }
    }
}

bool guardian_mark_any(void)
{
    return marks != NULL;
}

static bool is_guardian(pid_t pid)
{
    for (const struct guardian_mark *m = marks; m != NULL; m = m->next)
        if (m->pid == pid)
            return true;
    return false;
}

/* Finds what came to us from a dead guardian, into t: every child in another session than
 * ours and younger than the guardian, but for other guardians, and all that descends from those. No
 * process of a task can be in our session: each began in its slot's, and nobody joins a session
 * later. */
static int find_orphans(struct tree *t, unsigned long long started)
{
    pid_t self = getpid();
    pid_t session = getsid(0);
    pid_t *others;
    size_t n = 0;
    int rc = tree_find(t, self, NULL, 0);

    if (rc <= 0)
        return rc;
    others = calloc((size_t)rc, sizeof(*others));
    if (others == NULL)
        return PILOT_ENOMEM;
    for (size_t i = 0; i < t->n; i++) {
        const struct tree_proc *p = &t->procs[i];

        if (p->ppid == self && (p->sid == session || p->start < started || is_guardian(p->pid)))
            others[n++] = p->pid;
    }
    rc = tree_find(t, self, others, n);
    free(others);
    return rc;
}

/* Our own children first, which are slots mostly: one that sees its task die before it dies itself
 * would report that as the task's own doing. (By pid, a task comes before its slot once the numbers
 * have wrapped around.) */
static void kill_found(const struct tree *t)
{
    pid_t self = getpid();

    for (size_t i = 0; i < t->n; i++)
        if (t->procs[i].ppid == self)
            (void)kill(t->procs[i].pid, SIGKILL);
    tree_signal(t, SIGKILL);
}

void orphans_kill(struct tree *t, unsigned long long started, int64_t bound_ms)
{
    int64_t deadline_ms = clock_mono_ms() + bound_ms;
    siginfo_t ignored;

    if (waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT) < 0)
        return; /* no child at all */
    while (find_orphans(t, started) > 0 && clock_mono_ms() < deadline_ms) {
        kill_found(t);
        (void)poll(NULL, 0, 1);
        for (size_t i = 0; i < t->n; i++)
            (void)waitpid(t->procs[i].pid, NULL, WNOHANG); /* fails for those not ours */
    }
}

void orphans_signal(struct tree *t, pid_t self, pid_t leader, int sig)
{
    if (tree_find(t, self, NULL, 0) >= 0)
        tree_signal(t, sig);
    else if (leader > 0)
        (void)kill(-leader, sig);
}

void orphans_end(struct tree *t, pid_t self, pid_t leader, int sigfd)
{
    struct pollfd child = {.fd = sigfd, .events = POLLIN};
    struct signalfd_siginfo info;
    int64_t pause_ms = PAUSE_FIRST_MS;

    for (;;) {
        pid_t pid;

        do {
            pid = waitpid(-1, NULL, WNOHANG);
        } while (pid > 0);
        if (pid < 0)
            return;
        orphans_signal(t, self, leader, SIGKILL);
        if (poll(&child, 1, (int)pause_ms) > 0)
            (void)!read(sigfd, &info, sizeof(info));
        if (pause_ms < PAUSE_LAST_MS)
            pause_ms *= 2;
    }
}
