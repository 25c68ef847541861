/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: a lock made of a file, FILE.claim.N, that its holder writes to every second. It is the only
 * one where the file system has no locks. Where it has, and more than one host may use it, it says
 * whether whoever has the kernel's lock still lives, and keeps two hosts apart whose locks hold on
 * one host only (Lustre with localflock, NFS with nolock).
 *
 * Making the file is what takes the lock: O_EXCL lets one of many win, on every file system. A
 * claim whose holder is dead is not removed to be made again, since two could do that one after the
 * other; it is outbidden with the next number, and whoever finds a number above his own steps back.
 * Only the highest bidder removes the lower ones. So there is one of the highest number at any
 * time, and it is the holder's. Since numbers start again after a clean end, a bidder looks, once
 * its own claim stands, whether the one that it outbids is still the dead one that it saw.
 *
 * Dead is: on this host, no such process (or one that started at another time); on another host, no
 * beat for a while, by this host's clock alone. A holder that was only stopped finds out before its
 * next commit that it was outbidden (claim_holds), and does not make it. */
#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

#define BEAT_MS 1000
#define LOOK_MS 200      /* between two looks at another's claim */
#define FRESH_MS 5000    /* an own beat so young needs no look before a commit */
#define PATIENCE_MS 2500 /* after so long the person is told what is waited for */
#define CLAIM_MAX 2048   /* bytes of a claim */

struct claim {
    char *file;
    unsigned number;
    char path[PATH_MAX];
    char text[CLAIM_MAX]; /* all but the beat */
    pthread_t thread;
    bool threaded;
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    bool stop;
    bool lost;
    uint64_t beats;
    int64_t beaten_ms; /* 0: not yet */
};

static void path_of(const char *file, unsigned number, char path[PATH_MAX])
{
    if (snprintf(path, PATH_MAX, "%s.claim.%u", file, number) >= PATH_MAX)
        path[0] = '\0';
}

/* ---- Who is it? -------------------------------------------------------------------------------
 */

static void read_line(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

/* When a process started, in ticks since the boot; 0: there is none. */
static unsigned long long started_at(long pid)
{
    char path[64], text[1024], *at;
    unsigned long long ticks = 0;

    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    read_line(path, text, sizeof(text));
    at = strrchr(text, ')'); /* its name may hold anything */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at != NULL)
        sscanf(at, " %llu", &ticks);
    return ticks;
}

/* One host, one boot, one numbering of processes: words that are equal nowhere else. */
static void describe_place(char *text, size_t size)
{
    char boot[64], pids[64] = "";
    struct utsname host;

    if (uname(&host) != 0)
        snprintf(host.nodename, sizeof(host.nodename), "unknown");
    read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
    if (readlink("/proc/self/ns/pid", pids, sizeof(pids) - 1) < 0)
        pids[0] = '\0';
    snprintf(text, size, "%s/%s/%s", host.nodename, boot, pids);
}

enum verdict { ALIVE, DEAD, GONE, UNKNOWN };

/* What can be said of the claim with this text at once. */
static enum verdict judge(const char *text)
{
    char here[512], there[512];
    unsigned long long ticks;
    const char *line = strstr(text, "\nprocess ");
    long pid;

    if (line == NULL || sscanf(line, "\nprocess %ld %llu %511s", &pid, &ticks, there) != 3)
        return UNKNOWN;
    describe_place(here, sizeof(here));
    if (strcmp(here, there) != 0)
        return UNKNOWN;
    return started_at(pid) == ticks ? ALIVE : DEAD;
}

/* ---- Others' claims ---------------------------------------------------------------------------
 */

/* The highest number of a claim on the file; 0: there is none. */
static unsigned newest(const char *file)
{
    const char *slash = strrchr(file, '/'), *name = slash + 1;
    size_t len = strlen(name);
    char dir[PATH_MAX];
    unsigned best = 0;
    DIR *d;

    snprintf(dir, sizeof(dir), "%.*s", slash == file ? 1 : (int)(slash - file), file);
    d = opendir(dir);
    for (struct dirent *e = d ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        unsigned number;
        char end;

        if (strncmp(e->d_name, name, len) == 0 &&
            sscanf(e->d_name + len, ".claim.%u%c", &number, &end) == 1 && number > best)
            best = number;
    }
    if (d != NULL)
        closedir(d);
    return best;
}

/* Opened anew each time: that is when network file systems ask their server. False: it is gone. */
static bool read_claim(const char *path, char text[CLAIM_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return errno != ENOENT && (text[0] = '\0', true);
    n = pread(fd, text, CLAIM_MAX - 1, 0);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return true;
}

/* Its first line. */
static void holder_of(const char *text, char holder[HOLDER_MAX])
{
    snprintf(holder, HOLDER_MAX, "%.*s", (int)strcspn(text, "\n"), text);
    for (char *c = holder; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

static void nap(int64_t ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

/* Looks until it is known: it beats, or has not for silent_ms, or is gone. What it said at first is
 * left in `first`. */
static enum verdict watch(const char *path, int64_t silent_ms, char first[CLAIM_MAX],
                          char holder[HOLDER_MAX])
{
    char now[CLAIM_MAX];
    int64_t start_ms = clock_mono_ms();
    enum verdict verdict;
    bool told = false;

    if (!read_claim(path, first))
        return GONE;
    holder_of(first, holder);
    for (verdict = judge(first); verdict == UNKNOWN; verdict = judge(now)) {
        int64_t waited_ms = clock_mono_ms() - start_ms;

        if (waited_ms >= silent_ms)
            return DEAD;
        if (waited_ms >= PATIENCE_MS && !told) {
            log_info("%s gives no sign of life; it counts as dead in %lld s",
                     holder[0] ? holder : "another pilot",
                     (long long)(silent_ms - waited_ms + 999) / 1000);
            told = true;
        }
        nap(LOOK_MS);
        if (!read_claim(path, now))
            return GONE;
        holder_of(now, holder);
        if (strcmp(first, now) != 0)
            return ALIVE;
    }
    return verdict;
}

bool claim_is_silent(const char *file, int64_t silent_ms, char holder[HOLDER_MAX])
{
    unsigned number = newest(file);
    char path[PATH_MAX], text[CLAIM_MAX];

    holder[0] = '\0';
    path_of(file, number, path);
    return number > 0 && watch(path, silent_ms, text, holder) != ALIVE;
}

/* ---- The own one ------------------------------------------------------------------------------
 */

/* One beat; finds out whether the claim was outbidden. With the lock held. */
static void beat(struct claim *c)
{
    char next[PATH_MAX], text[CLAIM_MAX + 32], there[CLAIM_MAX] = "";
    int len =
        snprintf(text, sizeof(text), "%sbeat %llu\n", c->text, (unsigned long long)(c->beats + 1));
    int fd = open(c->path, O_RDWR | O_CLOEXEC);
    bool done;

    path_of(c->file, c->number + 1, next);
    if ((fd < 0 && errno == ENOENT) || access(next, F_OK) == 0)
        c->lost = true;
    /* Numbers start again after a clean end: is it still the same claim? */
    if (fd >= 0 && pread(fd, there, sizeof(there) - 1, 0) > 0 &&
        strncmp(there, c->text, strlen(c->text)) != 0)
        c->lost = true;
    done = fd >= 0 && !c->lost && pwrite(fd, text, (size_t)len, 0) == len;
    if (fd >= 0 && close(fd) != 0)
        done = false;
    if (done) {
        c->beats++;
        c->beaten_ms = clock_mono_ms();
    }
}

static void *beat_on(void *arg)
{
    struct claim *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->stop && !c->lost) {
        int64_t due_ms = clock_mono_ms() + BEAT_MS;
        struct timespec until = {due_ms / 1000, due_ms % 1000 * 1000000};

        pthread_cond_timedwait(&c->wake, &c->lock, &until);
        if (!c->stop)
            beat(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

bool claim_holds(struct claim *c)
{
    bool holds;

    pthread_mutex_lock(&c->lock);
    if (!c->lost && clock_mono_ms() - c->beaten_ms > FRESH_MS)
        beat(c);
    holds = !c->lost;
    pthread_mutex_unlock(&c->lock);
    return holds;
}

static struct claim *claim_new(const char *file, const char *text)
{
    struct claim *c = calloc(1, sizeof(*c));
    pthread_condattr_t attr;
    char here[512];

    if (c == NULL)
        return NULL;
    describe_place(here, sizeof(here));
    snprintf(c->text, sizeof(c->text), "%.*s\nprocess %ld %llu %s\n", (int)strcspn(text, "\n"),
             text, (long)getpid(), started_at(getpid()), here);
    c->file = strdup(file);
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attr);
    pthread_condattr_destroy(&attr);
    return c;
}

/* Takes the own claim away, but not what another has made of that name since. */
static void withdraw(const struct claim *c)
{
    char there[CLAIM_MAX];

    if (read_claim(c->path, there) &&
        (there[0] == '\0' || strncmp(there, c->text, strlen(c->text)) == 0) && unlink(c->path) != 0)
        log_debug("%s: %s", c->path, strerror(errno));
}

/* Makes claim `number`, and removes the lower ones, of which the highest said `dead` (number > 1).
 * PILOT_EAGAIN: somebody was there before. */
static int bid(struct claim *c, unsigned number, const char *dead, struct pilot_error *err)
{
    char lower[PATH_MAX], there[CLAIM_MAX];
    int fd;

    c->number = number;
    path_of(c->file, number, c->path);
    fd = open(c->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return PILOT_EAGAIN;
    if (fd >= 0)
        close(fd);
    beat(c);
    if (fd < 0 || (!c->lost && c->beats == 0)) {
        int errnum = errno;

        if (fd >= 0)
            unlink(c->path);
        return err_set(err, PILOT_ESTORE,
                       "cannot write %s, which keeps a second pilot away: %s; make room, or choose "
                       "another place with --workdir or --db",
                       c->path, strerror(errnum));
    }
    path_of(c->file, number - 1, lower);
    if (c->lost || newest(c->file) != number ||
        (number > 1 && !(read_claim(lower, there) && strcmp(there, dead) == 0))) {
        withdraw(c);
        c->lost = false;
        c->beats = 0;
        return PILOT_EAGAIN;
    }
    for (unsigned i = number - 1; i > 0 && number - i < 100; i--) {
        path_of(c->file, i, lower);
        if (unlink(lower) != 0)
            break;
    }
    return 0;
}

static void claim_free(struct claim *c)
{
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c->file);
    free(c);
}

int claim_take(struct claim **out, const char *file, const char *text, int64_t silent_ms,
               char holder[HOLDER_MAX], struct pilot_error *err)
{
    struct claim *c = claim_new(file, text);
    sigset_t all, before;
    int rc = PILOT_EAGAIN;

    holder[0] = '\0';
    if (c == NULL || c->file == NULL)
        rc = err_set(err, PILOT_ENOMEM, "memory is short");
    while (rc == PILOT_EAGAIN) {
        unsigned number = newest(file);
        char path[PATH_MAX], seen[CLAIM_MAX];
        enum verdict verdict = DEAD;

        path_of(file, number, path);
        if (number > 0)
            verdict = watch(path, silent_ms, seen, holder);
        if (verdict == DEAD)
            rc = bid(c, number + 1, seen, err);
        else if (verdict != GONE) /* else the next look may find another's */
            rc = PILOT_EBUSY;
    }
    if (rc < 0) {
        if (c != NULL)
            claim_free(c);
        return rc;
    }
    /* Signals belong to the caller's loop. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    c->threaded = pthread_create(&c->thread, NULL, beat_on, c) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    *out = c;
    if (!c->threaded) {
        claim_release(c);
        *out = NULL;
        return err_set(err, PILOT_ESYS, "cannot start the thread that keeps the claim on %s", file);
    }
    return 0;
}

void claim_release(struct claim *c)
{
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_mutex_unlock(&c->lock);
    pthread_cond_signal(&c->wake);
    if (c->threaded)
        pthread_join(c->thread, NULL);
    if (!c->lost)
        withdraw(c);
    claim_free(c);
}
