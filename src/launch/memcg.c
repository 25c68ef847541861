/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: every path and file format of control groups. Must not decide how much a task may have, nor
 * whom to kill.
 *
 *                 version 1                           version 2
 *     limit       memory.limit_in_bytes               memory.max
 *     swap        memory.memsw.limit_in_bytes (sum)   memory.swap.max = 0
 *     who dies    one process; the slot ends the rest memory.oom.group = 1: all
 *     kills       memory.oom_control, oom_kill        memory.events, oom_kill
 *     most used   memory.max_usage_in_bytes           memory.peak (Linux 5.19)
 *
 * Each task has a fresh group: the counts begin at zero, and pages that an earlier task left in the
 * cache are not charged to it. Counts are read through descriptors that are opened with the group,
 * so that they are those of this group even if its name should come to stand for another. */
#include "launch/memcg.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UNLIMITED (INT64_C(1) << 60) /* version 1 has no word for it, but a number like this */
#define REMOVE_TRIES 20 /* 1 ms apart: a process that was reaped may still be leaving */

/* ---- Files ----------------------------------------------------------------------------------- */

/* The first bytes of a file; false: it cannot be read. */
static bool read_fd(int fd, char *text, size_t size)
{
    ssize_t len = pread(fd, text, size - 1, 0);

    if (len < 0)
        return false;
    text[len] = '\0';
    return true;
}

static bool read_file(const char *dir, const char *name, char *text, size_t size)
{
    char path[MEMCG_PATH_MAX + 160];
    bool ok;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ok = read_fd(fd, text, size);
    close(fd);
    return ok;
}

/* 0, or an errno value. */
static int write_file(const char *dir, const char *name, const char *text)
{
    char path[MEMCG_PATH_MAX + 160];
    int fd, errnum = 0;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (write(fd, text, strlen(text)) < 0)
        errnum = errno;
    close(fd);
    return errnum;
}

static bool has_word(const char *text, const char *word, const char *separators)
{
    size_t len = strlen(word);

    for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
        size_t n = strcspn(text, separators);

        if (n == len && memcmp(text, word, len) == 0)
            return true;
        text += n;
    }
    return false;
}

/* The number behind "oom_kill " at the beginning of a line. */
static int64_t kills_in(const char *text)
{
    static const char name[] = "oom_kill ";

    for (; text != NULL; text = strchr(text, '\n')) {
        text += *text == '\n';
        if (strncmp(text, name, sizeof(name) - 1) == 0)
            return strtoll(text + sizeof(name) - 1, NULL, 10);
    }
    return 0;
}

/* ---- The group of this process --------------------------------------------------------------- */

/* Finds the mount: 1 for one with the memory controller of version 1, 2 for version 2, 0. top is
 * the group that is seen at the mount point. */
static int find_mount(const char *root, char *point, char *top, size_t size)
{
    char path[MEMCG_PATH_MAX], line[4096];
    int version = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root);
    f = fopen(path, "re");
    while (f != NULL && version != 1 && fgets(line, sizeof(line), f) != NULL) {
        char where[1024], inside[1024], type[32], super[1024];
        const char *rest = strstr(line, " - ");

        if (rest == NULL || sscanf(line, "%*s %*s %*s %1023s %1023s", inside, where) != 2 ||
            sscanf(rest, " - %31s %*s %1023s", type, super) != 2)
            continue;
        if (strcmp(type, "cgroup") == 0 && has_word(super, "memory", ","))
            version = 1;
        else if (strcmp(type, "cgroup2") == 0 && version == 0)
            version = 2;
        else
            continue;
        snprintf(point, size, "%s%s", root, where);
        snprintf(top, size, "%s", inside);
    }
    if (f != NULL)
        fclose(f);
    return version;
}

/* The path of our group of that version, as the kernel names it. */
static bool find_path(const char *root, int version, char *path, size_t size)
{
    char file[MEMCG_PATH_MAX], line[4096];
    bool found = false;
    FILE *f;

    snprintf(file, sizeof(file), "%s/proc/self/cgroup", root);
    f = fopen(file, "re");
    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
        char *controllers = strchr(line, ':');
        char *end = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

        if (end == NULL)
            continue;
        *end++ = '\0';
        end[strcspn(end, "\n")] = '\0';
        found = version == 1 ? has_word(controllers + 1, "memory", ",") : controllers[1] == '\0';
        if (found)
            snprintf(path, size, "%s", end);
    }
    if (f != NULL)
        fclose(f);
    return found;
}

bool memcg_find(struct memcg *m, const char *root)
{
    char point[1024], top[1024], path[1024];
    const char *below = path;
    size_t top_len;
    struct stat st;
    int version = find_mount(root, point, top, sizeof(point));

    memset(m, 0, sizeof(*m));
    if (version == 0 || !find_path(root, version, path, sizeof(path)))
        return false;
    top_len = strcmp(top, "/") == 0 ? 0 : strlen(top);
    if (strncmp(path, top, top_len) == 0)
        below = path + top_len;
    if (strcmp(below, "/") == 0)
        below = "";
    m->mount_len = strlen(point);
    snprintf(m->dir, sizeof(m->dir), "%s%s", point, below);
    /* In a container the name may be one of outside: then what is mounted is our group. */
    if (stat(m->dir, &st) < 0)
        m->dir[m->mount_len] = '\0';
    if (stat(m->dir, &st) < 0)
        return false;
    m->version = version;
    return true;
}

int64_t memcg_limit(const struct memcg *m)
{
    const char *name = m->version == 1 ? "memory.limit_in_bytes" : "memory.max";
    int64_t limit = MEMCG_NO_LIMIT;
    char dir[MEMCG_PATH_MAX], text[64];

    if (m->version == 0)
        return limit;
    memcpy(dir, m->dir, sizeof(dir));
    for (;;) {
        char *slash = strrchr(dir + m->mount_len, '/');

        if (read_file(dir, name, text, sizeof(text)) && text[0] >= '0' && text[0] <= '9') {
            int64_t bytes = strtoll(text, NULL, 10);

            if (bytes < UNLIMITED && bytes < limit)
                limit = bytes;
        }
        if (slash == NULL)
            return limit;
        *slash = '\0';
    }
}

static const char *kills_file(int version)
{
    return version == 1 ? "memory.oom_control" : "memory.events";
}

int64_t memcg_oom_kills(const struct memcg *m)
{
    char text[1024];

    if (m->version == 0 || !read_file(m->dir, kills_file(m->version), text, sizeof(text)))
        return 0;
    return kills_in(text);
}

/* ---- Groups below it ------------------------------------------------------------------------- */

/* Whether nobody else is in our group. */
static bool are_alone(const struct memcg *m, pid_t other)
{
    char text[4096], *p = text;

    if (!read_file(m->dir, "cgroup.procs", text, sizeof(text)))
        return false;
    while (*p != '\0') {
        long pid = strtol(p, &p, 10);

        p += strspn(p, "\n");
        if (pid != getpid() && pid != other)
            return false;
    }
    return true;
}

static bool move_to(const char *dir, pid_t pid)
{
    char text[24];

    snprintf(text, sizeof(text), "%d", (int)pid);
    return write_file(dir, "cgroup.procs", text) == 0;
}

static bool hand_down(const struct memcg *m)
{
    return write_file(m->dir, "cgroup.subtree_control", "+memory") == 0;
}

/* Version 2: lets groups below ours have the controller. */
static bool delegate(const struct memcg *m, pid_t other)
{
    char text[512], own[MEMCG_PATH_MAX + 80];

    if (!read_file(m->dir, "cgroup.controllers", text, sizeof(text)) ||
        !has_word(text, "memory", " \n"))
        return false;
    if (read_file(m->dir, "cgroup.subtree_control", text, sizeof(text)) &&
        has_word(text, "memory", " \n"))
        return true;
    if (hand_down(m))
        return true;
    snprintf(own, sizeof(own), "%s/%s-self", m->dir, m->tag);
    if (!are_alone(m, other) || mkdir(own, 0755) < 0)
        return false;
    if (move_to(own, other) && move_to(own, getpid()) && hand_down(m))
        return true;
    (void)move_to(m->dir, other);
    (void)move_to(m->dir, getpid());
    (void)rmdir(own);
    return false;
}

/* pid 0: of all that live no more. */
static void sweep(const struct memcg *m, pid_t pid)
{
    DIR *dir = opendir(m->dir);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char *end;
        long of;

        if (strncmp(entry->d_name, "pilot-", 6) != 0)
            continue;
        of = strtol(entry->d_name + 6, &end, 10);
        if (of > 0 && *end == '-' &&
            (pid > 0 ? of == pid : kill((pid_t)of, 0) < 0 && errno == ESRCH))
            (void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    }
    if (dir != NULL)
        closedir(dir);
}

void memcg_sweep(const struct memcg *m, pid_t pid)
{
    if (m->version != 0)
        sweep(m, pid);
}

void memcg_prepare(struct memcg *m, pid_t other)
{
    struct timespec now;

    if (m->version == 0 || access(m->dir, W_OK) < 0)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(m->tag, sizeof(m->tag), "pilot-%d-%llx", (int)getpid(),
             (unsigned long long)now.tv_sec * 1000000000 + (unsigned long long)now.tv_nsec);
    sweep(m, 0);
    m->usable = m->version == 1 || delegate(m, other);
}

/* ---- The group of one task ------------------------------------------------------------------- */

void memcg_task_init(struct memcg_task *t)
{
    t->procs_fd = t->events_fd = t->peak_fd = -1;
    t->dir[0] = '\0';
}

static int open_in(const struct memcg_task *t, const char *name, int flags)
{
    char path[sizeof(t->dir) + 64];

    snprintf(path, sizeof(path), "%s/%s", t->dir, name);
    return open(path, flags | O_CLOEXEC);
}

static bool set_limit(const struct memcg_task *t, int version, int64_t limit)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)limit);
    if (version == 1) {
        if (write_file(t->dir, "memory.limit_in_bytes", text) != 0)
            return false;
        (void)write_file(t->dir, "memory.memsw.limit_in_bytes", text); /* where swap is counted */
        return true;
    }
    (void)write_file(t->dir, "memory.swap.max", "0");
    return write_file(t->dir, "memory.oom.group", "1") == 0 &&
           write_file(t->dir, "memory.max", text) == 0;
}

bool memcg_task_make(struct memcg_task *t, const struct memcg *m, int64_t limit)
{
    memcg_task_init(t);
    if (!m->usable)
        return false;
    snprintf(t->dir, sizeof(t->dir), "%s/%s-%d", m->dir, m->tag, (int)getpid());
    if (mkdir(t->dir, 0755) < 0) {
        t->dir[0] = '\0';
        return false;
    }
    t->procs_fd = open_in(t, "cgroup.procs", O_WRONLY);
    t->events_fd = open_in(t, kills_file(m->version), O_RDONLY);
    t->peak_fd =
        open_in(t, m->version == 1 ? "memory.max_usage_in_bytes" : "memory.peak", O_RDONLY);
    if (t->procs_fd >= 0 && t->events_fd >= 0 && set_limit(t, m->version, limit))
        return true;
    memcg_task_remove(t);
    return false;
}

bool memcg_task_killed(const struct memcg_task *t)
{
    char text[1024];

    return t->events_fd >= 0 && read_fd(t->events_fd, text, sizeof(text)) && kills_in(text) > 0;
}

int64_t memcg_task_peak(const struct memcg_task *t)
{
    char text[64];

    return t->peak_fd >= 0 && read_fd(t->peak_fd, text, sizeof(text)) ? strtoll(text, NULL, 10) : 0;
}

static void close_one(int fd)
{
    if (fd >= 0)
        close(fd);
}

void memcg_task_remove(struct memcg_task *t)
{
    struct timespec pause = {.tv_nsec = 1000000};

    close_one(t->procs_fd);
    close_one(t->events_fd);
    close_one(t->peak_fd);
    for (int i = 0; t->dir[0] != '\0' && rmdir(t->dir) < 0 && errno == EBUSY; i++) {
        if (i == REMOVE_TRIES)
            break;
        (void)nanosleep(&pause, NULL);
    }
    memcg_task_init(t);
}
