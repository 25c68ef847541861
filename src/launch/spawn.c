/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: vfork, everything between it and execve, and the wording of what failed there.
 *
 * vfork, not fork: its cost does not grow with the parent. Not posix_spawn: that cannot set a death
 * signal, nor try a second program. The child runs on the parent's memory while the parent stands
 * still, so it may call nothing but system calls and must not return. The slot blocks every signal
 * and handles none, so no handler can run there, and the child only has to lift the mask. */
#include "launch/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "launch/taskdir.h"

#define FORK_TRIES 6
#define FORK_PAUSE_MS 10 /* doubled after each try: 0.3 s in all */

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

struct spawn_report *spawn_report_create(void)
{
    struct spawn_report *report =
        mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (report == MAP_FAILED)
        return NULL;
    latency_ask(&report->latency, true);
    return report;
}

_Noreturn static void child_fail(struct spawn_report *report, enum spawn_stage stage, int errnum,
                                 const char *subject)
{
    size_t len = strlen(subject);
    size_t cut = len < sizeof(report->subject) ? 0 : len - sizeof(report->subject) + 1;

    memcpy(report->subject, subject + cut, len - cut + 1);
    if (cut > 0)
        memcpy(report->subject, "...", 3);
    report->errnum = errnum;
    report->stage = stage;
    _exit(127);
}

/* O_NONBLOCK: opening a FIFO must not hold up the slot, which waits for us in vfork. */
static void child_stdin(const struct spawn_spec *spec, struct spawn_report *report)
{
    int fd;

    if (spec->in_fd > 0 && dup2(spec->in_fd, STDIN_FILENO) < 0)
        child_fail(report, SPAWN_STDIN, errno, "the caller");
    if (spec->in_fd > 0 || spec->stdin_path == NULL)
        return; /* that of the slot, which is /dev/null */
    fd = open(spec->stdin_path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || dup2(fd, STDIN_FILENO) < 0 || fcntl(STDIN_FILENO, F_SETFL, 0) < 0)
        child_fail(report, SPAWN_STDIN, errno, spec->stdin_path);
}

/* The slot's descriptors are all close-on-exec; this is for one that a library may have opened. */
static void child_close_rest(void)
{
#ifdef SYS_close_range
    (void)syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
#endif
}

/* Before the program is there: the kernel charges memory to the group of whoever executes it. It
 * may fail: the slot watches a task that is outside. */
static void child_join(const struct spawn_spec *spec, struct spawn_report *report)
{
    if (spec->group_fd > 0 && write(spec->group_fd, "0", 1) < 0)
        report->outside = true;
}

_Noreturn static void child_main(const struct spawn_spec *spec, struct spawn_report *report,
                                 pid_t slot)
{
    sigset_t none;
    int errnum;

    /* A group, not a session: with setsid the kernel's autogroups put the child behind whatever
     * spins on its core until the next tick, some ms later, and that is when it would start. The
     * session is the slot's, without a terminal. */
    (void)setpgid(0, 0); /* cannot fail: a new process leads no session */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() != slot)
        _exit(127); /* the slot died before the death signal was set */
    if (dup2(spec->out_fd, STDOUT_FILENO) < 0 || dup2(spec->err_fd, STDERR_FILENO) < 0)
        child_fail(report, SPAWN_OUTPUT, errno, "output files");
    child_stdin(spec, report);
    child_join(spec, report);
    if ((spec->cwd_fd > 0 ? fchdir(spec->cwd_fd) : chdir(spec->cwd)) < 0)
        child_fail(report, SPAWN_CWD, errno, spec->cwd);
    child_close_rest();
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    latency_drop(&report->latency);
    if (spec->argv != NULL) {
        errnum = found_exec(&report->found, spec->path, spec->argv, spec->env);
        if (spec->shell == NULL)
            child_fail(report, SPAWN_EXEC, errnum, spec->argv[0]);
    }
    execve("/bin/sh", spec->shell, spec->env);
    child_fail(report, SPAWN_EXEC, errno, "/bin/sh");
}

pid_t spawn_task(const struct spawn_spec *spec, struct spawn_report *report)
{
    struct timespec pause = {.tv_nsec = FORK_PAUSE_MS * 1000000L};
    pid_t slot = getpid();

    report->stage = SPAWN_OK;
    report->outside = false;
    if (spec->argv != NULL && strchr(spec->argv[0], '/') == NULL)
        found_expect(&report->found, spec->argv[0], spec->path, clock_mono_ms());
    for (int i = 0; i < FORK_TRIES; i++) {
        pid_t pid = vfork(); /* NOLINT: see above */

        if (pid == 0)
            child_main(spec, report, slot);
        if (pid > 0)
            return pid;
        report->errnum = errno;
        if (errno != EAGAIN && errno != ENOMEM)
            break;
        (void)nanosleep(&pause, NULL);
        pause.tv_nsec *= 2;
    }
    report->stage = SPAWN_FORK;
    return 0;
}

void spawn_describe(const struct spawn_report *report, char *dst, size_t size)
{
    const char *why = strerror(report->errnum);

    switch (report->stage) {
    case SPAWN_OK:
        dst[0] = '\0';
        break;
    case SPAWN_FORK:
        snprintf(dst, size, "cannot start a process: %s", why);
        break;
    case SPAWN_CWD:
        snprintf(dst, size, "cannot enter the directory '%s': %s", report->subject, why);
        break;
    case SPAWN_STDIN:
        snprintf(dst, size, "cannot read stdin from '%s': %s", report->subject, why);
        break;
    case SPAWN_OUTPUT:
        snprintf(dst, size, "cannot connect the %s: %s", report->subject, why);
        break;
    case SPAWN_EXEC:
        snprintf(dst, size, "cannot execute '%s': %s%s", report->subject, why,
                 report->errnum == ENOEXEC ? "; give it a #! line"
                 : report->errnum == E2BIG ? "; put the command into a script"
                                           : "");
        break;
    }
}
