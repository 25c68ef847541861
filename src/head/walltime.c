/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: asking the batch system when the allocation ends. Must not wait for long, nor leave a
 * process or a zombie behind: what is asked is put in a process group of its own, given a time, and
 * killed. */
#include "head/walltime.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"

#define LONGEST_S 100000000000LL /* since 1970: the year 5138 */
#define DEATH_MS 1000 /* for a killed program to be gone; one that hangs in the kernel is left */

const char *walltime_text(int64_t ms, char *buf, size_t size)
{
    long long s = (long long)(ms > 0 ? (ms + 500) / 1000 : 0);

    if (s < 120)
        snprintf(buf, size, "%lld s", s);
    else
        snprintf(buf, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    return buf;
}

/* ---- Asking a program ------------------------------------------------------------------------ */

static pid_t start(const char *const *argv, char *const *env, int *out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int fds[2];
    pid_t pid = -1;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, fds[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    if (posix_spawnp(&pid, argv[0], &files, &attr, (char *const *)argv, env) != 0)
        pid = -1;
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    close(fds[1]);
    *out = fds[0];
    if (pid < 0)
        close(fds[0]);
    return pid;
}

/* Reads the first line, without its end. False: time is over, or there is none. */
static bool read_line(int fd, char *line, size_t size, int64_t until_ms)
{
    size_t len = 0;

    while (len < size - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left_ms = until_ms - clock_mono_ms();
        int ready = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
        ssize_t got;

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        got = read(fd, line + len, size - 1 - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
        if (memchr(line, '\n', len) != NULL)
            break;
    }
    line[len] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return true;
}

static void end(pid_t pid)
{
    int64_t until_ms = clock_mono_ms() + DEATH_MS;

    (void)kill(-pid, SIGKILL);
    while (waitpid(pid, NULL, WNOHANG) == 0 && clock_mono_ms() < until_ms)
        poll(NULL, 0, 1);
}

/* The first line of what the program writes. */
static bool ask(const char *const *argv, char *const *env, int64_t ask_ms, char *line, size_t size)
{
    int64_t until_ms = clock_mono_ms() + ask_ms;
    bool answered;
    int fd;
    pid_t pid = start(argv, env, &fd);

    if (pid < 0) {
        log_warn(
            "the end of the allocation is not known: %s cannot be run; --walltime TIME says it",
            argv[0]);
        return false;
    }
    answered = read_line(fd, line, size, until_ms);
    if (!answered)
        log_warn("the end of the allocation is not known: %s did not answer within %lld s; "
                 "--walltime TIME says it",
                 argv[0], (long long)ask_ms / 1000);
    close(fd);
    end(pid);
    return answered;
}

static void warn_of_answer(const char *who, const char *answer)
{
    log_warn("the end of the allocation is not known: %s says %s%.60s%s; --walltime TIME says it",
             who, answer[0] ? "'" : "nothing", answer, answer[0] ? "'" : "");
}

/* ---- The batch systems ----------------------------------------------------------------------- */

static bool set(struct walltime *w, int64_t left_ms, const char *source)
{
    w->left_ms = left_ms;
    w->source = source;
    return true;
}

/* Seconds since 1970. One that lies in the past is left over from another job, or the job has been
 * given more time since. */
static bool by_slurm_variable(struct walltime *w, char *const *env)
{
    const char *text = strv_value(env, "SLURM_JOB_END_TIME");
    long long end_s = text != NULL ? strtoll(text, NULL, 10) : 0;
    int64_t left_ms;

    if (end_s <= 0 || end_s > LONGEST_S)
        return false;
    left_ms = end_s * 1000 - clock_wall_ms();
    return left_ms > 0 && set(w, left_ms, "SLURM_JOB_END_TIME");
}

static bool by_squeue(struct walltime *w, char *const *env, int64_t ask_ms)
{
    const char *job = strv_value(env, "SLURM_JOB_ID");
    const char *argv[] = {"squeue", "-h", "-j", job, "-o", "%L", NULL};
    char line[80];
    int64_t left_ms;

    if (job == NULL || job[0] == '\0' || !ask(argv, env, ask_ms, line, sizeof(line)))
        return false;
    if (strcmp(line, "UNLIMITED") == 0)
        return false;
    if (units_parse_time(line, &left_ms))
        return set(w, left_ms, "squeue");
    warn_of_answer("squeue", line);
    return false;
}

/* Seconds of the whole job. Nobody says when it began, so it is taken to begin with the pilot. */
static bool by_pbs(struct walltime *w, char *const *env)
{
    const char *text = strv_value(env, "PBS_WALLTIME");
    int64_t left_ms;

    if (text == NULL || text[0] == '\0')
        return false;
    if (units_parse_time(text, &left_ms) && left_ms > 0)
        return set(w, left_ms, "PBS_WALLTIME");
    warn_of_answer("PBS_WALLTIME", text);
    return false;
}

/* bjobs says "2:05 L", hours and minutes: L for a limit, E for the user's own estimate, X for one
 * that is over; "-" when there is neither. */
static bool by_lsf(struct walltime *w, char *const *env, int64_t ask_ms)
{
    const char *job = strv_value(env, "LSB_JOBID"), *index = strv_value(env, "LSB_JOBINDEX");
    bool element = index != NULL && strcmp(index, "0") != 0 && index[0] != '\0';
    char name[80], line[80], kind = '\0';
    const char *argv[] = {"bjobs", "-noheader", "-o", "time_left", name, NULL};
    long long hours, minutes;

    if (job == NULL || job[0] == '\0')
        return false;
    snprintf(name, sizeof(name), element ? "%.30s[%.30s]" : "%.30s", job, element ? index : "");
    if (!ask(argv, env, ask_ms, line, sizeof(line)) || line[0] == '-')
        return false;
    if (sscanf(line, "%9lld:%2lld %c", &hours, &minutes, &kind) >= 2 && hours >= 0 &&
        minutes >= 0) {
        if (kind == 'X')
            return false;
        return set(w, (hours * 60 + minutes) * 60000, "bjobs");
    }
    warn_of_answer("bjobs", line);
    return false;
}

void walltime_find(struct walltime *out, int64_t option_ms, char *const *env, int64_t ask_ms)
{
    *out = (struct walltime){.left_ms = WALLTIME_UNKNOWN};
    if (option_ms > 0)
        set(out, option_ms, "--walltime");
    else if (!by_slurm_variable(out, env) && !by_squeue(out, env, ask_ms) && !by_pbs(out, env))
        by_lsf(out, env, ask_ms);
}
