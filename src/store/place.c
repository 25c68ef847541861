/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: where the database lies. Its real path, whether that is on a network file system, and the
 * lock that keeps a second pilot away. Must not open the database: in one process, closing any
 * descriptor of that file would drop the locks SQLite holds on it.
 *
 * The lock is an open-file-description lock on FILE.lock. It ends with the process however that
 * ends, works across the mounts of a network file system, and also keeps out a second store of the
 * same process. Such a lock is shared with children of fork() until they exec or end, so processes
 * that must outlive the pilot are forked before the store is opened (the launcher is). The text in
 * the lock file says who holds it: on a network file system nobody else can read the database. A
 * text without a lock means nothing, but for the note in it: when its holder committed last.
 *
 * Where such locks do not work, or may hold on one host only, claim.c has another. */
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

#define NETWORK_CACHE_MS 1500    /* GlusterFS and FUSE remember for 1000 */
#define SILENT_LOCKED_MS 5000    /* another's claim, when the kernel says that its lock is gone */
#define SILENT_UNLOCKED_MS 20000 /* and when there is nothing but the claim */
#define SILENT_WAITING_MS 2000   /* and between two tries to get the lock of a lost host */
#define LOCK_WAIT_MS 180000      /* for the server to give up the lock of a lost host */
#define NOTE_MARK "committed "

/* f_type of file systems whose files more than one host may have open. Some of them (FUSE) can be
 * local: then the only loss is that nobody can look into the database during the run. */
static const uint32_t network_magics[] = {
    0x6969,     /* NFS */
    0x0bd00bd0, /* Lustre */
    0x47504653, /* GPFS */
    0x19830326, /* BeeGFS */
    0x00c36400, /* Ceph */
    0x65735546, /* FUSE: GlusterFS, sshfs, dfuse, virtiofs, ... */
    0x517b,     /* SMB */
    0xff534d42, /* CIFS */
    0xfe534d42, /* SMB 2 */
    0x20030528, /* OrangeFS */
    0x5346414f, /* AFS */
    0x6b414653, /* AFS of the kernel */
    0xaad7aaea, /* PanFS */
    0x01161970, /* GFS2 */
    0x7461636f, /* OCFS2 */
    0xbeefdead, /* StorNext */
    0x01021997, /* 9p */
    0x73757245, /* Coda */
    0xbacbacbc, /* shared folders of virtual machines */
    0x786f4256, /* likewise */
};

bool place_is_network_magic(uint64_t magic)
{
    for (size_t i = 0; i < sizeof(network_magics) / sizeof(network_magics[0]); i++)
        if ((uint32_t)magic == network_magics[i])
            return true;
    return false;
}

/* On these even a byte that has its place on the disk needs room for another one. A store into
 * shared memory of a file cannot fail for want of it: it ends the process (SIGBUS). */
static bool copies_on_write(uint64_t magic)
{
    return (uint32_t)magic == 0x9123683e /* btrfs */ ||
           (uint32_t)magic == 0xca451a4e /* bcachefs */;
}

void place_init(struct place *p)
{
    memset(p, 0, sizeof(*p));
    p->lock_fd = -1;
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* Writes the entry of a file in its directory to the disk. Where that fails, nothing is worse than
 * before: it is not told. */
static void sync_entry(const char *path)
{
    char *dir = directory_of(path);
    int fd = dir != NULL ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(dir);
}

static int make_directory(const char *dir)
{
    if (mkdir(dir, 0777) != 0)
        return errno == EEXIST ? 0 : -1;
    sync_entry(dir);
    return 0;
}

/* Makes dir and what is missing above it. dir is changed and restored meanwhile. */
static int make_directories(char *dir)
{
    for (char *slash = strchr(dir + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        int rc;

        *slash = '\0';
        rc = make_directory(dir);
        *slash = '/';
        if (rc != 0)
            return -1;
    }
    return make_directory(dir);
}

/* The real path of a file that need not exist, in a directory that must. NULL: errno. */
static char *real_path(const char *path, const char *dir)
{
    const char *slash = strrchr(path, '/');
    char *real = realpath(path, NULL);
    char *real_dir, *out = NULL;

    if (real != NULL || errno != ENOENT)
        return real;
    real_dir = realpath(dir, NULL);
    if (real_dir == NULL)
        return NULL;
    if (asprintf(&out, "%s/%s", strcmp(real_dir, "/") == 0 ? "" : real_dir,
                 slash ? slash + 1 : path) < 0) {
        out = NULL;
        errno = ENOMEM;
    }
    free(real_dir);
    return out;
}

static int find_in(struct place *p, char *dir, bool must_exist, struct pilot_error *err)
{
    struct stat st;
    struct statfs fs;

    if (must_exist && stat(p->given, &st) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(err, PILOT_ENOENT,
                       "nothing to resume: there is no %s; start without --resume, or name the "
                       "work directory of the earlier run with --workdir",
                       p->given);
    if (!must_exist && make_directories(dir) != 0)
        return err_set(err, PILOT_ESTORE,
                       "cannot make the directory of the state database %s: %s; choose another "
                       "place with --workdir or --db",
                       p->given, strerror(errno));
    p->file = real_path(p->given, dir);
    if (p->file == NULL || statfs(dir, &fs) != 0)
        return err_set(err, PILOT_ESTORE,
                       "cannot use %s as the state database: %s; choose another file with --db",
                       p->given, strerror(errno));
    p->existed = stat(p->file, &st) == 0;
    if (p->existed && !S_ISREG(st.st_mode))
        return err_set(err, PILOT_ESTORE,
                       "cannot use %s as the state database: it is not a regular file; choose "
                       "another with --db",
                       p->given);
    if (asprintf(&p->lock_path, "%s.lock", p->file) < 0) {
        p->lock_path = NULL;
        return err_set(err, PILOT_ENOMEM, "memory is short");
    }
    p->network = place_is_network_magic((uint64_t)fs.f_type);
    p->copies = copies_on_write((uint64_t)fs.f_type);
    return 0;
}

int place_find(struct place *p, const char *path, bool must_exist, struct pilot_error *err)
{
    char *dir = directory_of(path);
    int rc;

    p->given = strdup(path);
    if (dir == NULL || p->given == NULL)
        rc = err_set(err, PILOT_ENOMEM, "memory is short");
    else
        rc = find_in(p, dir, must_exist, err);
    free(dir);
    return rc;
}

/* The text in the lock file, made fit for a terminal; "" when there is none. */
static void read_holder(const struct place *p, char *text, size_t size)
{
    int fd = open(p->lock_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : pread(fd, text, size - 1, 0);

    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

static int busy_with(const struct place *p, const char *holder, struct pilot_error *err)
{
    return err_set(err, PILOT_EBUSY,
                   "the state database %s is in use by %s%s; wait for its end, or stop it, or "
                   "choose another --workdir",
                   p->given, holder[0] ? "another pilot: " : "another pilot", holder);
}

int place_busy(const struct place *p, struct pilot_error *err)
{
    char holder[HOLDER_MAX];

    if (p->lock_fd >= 0) /* no pilot, then: it would have our lock */
        return err_set(err, PILOT_EBUSY,
                       "the state database %s is locked by another program (a sqlite3 shell?); end "
                       "it, or choose another --workdir",
                       p->given);
    /* Between taking the lock and writing who took it lies a moment, hence a second look. */
    read_holder(p, holder, sizeof(holder));
    for (int i = 0; holder[0] == '\0' && i < 20; i++) {
        usleep(5000);
        read_holder(p, holder, sizeof(holder));
    }
    return busy_with(p, holder, err);
}

/* False when the file was removed by its last holder between our open and our lock. */
static bool still_there(int fd, const char *path)
{
    struct stat ours, now;

    return fstat(fd, &ours) == 0 && stat(path, &now) == 0 && ours.st_dev == now.st_dev &&
           ours.st_ino == now.st_ino;
}

/* A host that looked at the database shortly before its last user, on another host, let go of it
 * may still be shown its old size and content: on GlusterFS a finished run was seen as an empty
 * file for a second, and would have been written over. The lock is ours now, so what is fetched
 * from the server after this is true. */
static void outlive_caches(const struct place *p)
{
    const struct timespec wait = {NETWORK_CACHE_MS / 1000, NETWORK_CACHE_MS % 1000 * 1000000};
    struct statx fresh;

    if (!p->network || !p->existed)
        return;
    nanosleep(&wait, NULL);
    (void)statx(AT_FDCWD, p->file, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &fresh);
}

/* ---- The note ---------------------------------------------------------------------------------
 */

static int write_holder(struct place *p, const char *holder)
{
    char text[HOLDER_MAX + PATH_MAX + 64];
    int len = snprintf(text, sizeof(text), "%s\n" NOTE_MARK, holder);

    p->note_at = len;
    snprintf(text + len, sizeof(text) - (size_t)len, "%020lld\n", (long long)p->noted_ms);
    len += 21;
    if (ftruncate(p->lock_fd, 0) != 0)
        return -1;
    return pwrite(p->lock_fd, text, (size_t)len, 0) == len ? 0 : -1;
}

/* What the last holder noted, if it did not end cleanly. */
static void read_note(struct place *p)
{
    char text[HOLDER_MAX + PATH_MAX + 64];
    ssize_t n = pread(p->lock_fd, text, sizeof(text) - 1, 0);
    const char *mark;

    text[n > 0 ? n : 0] = '\0';
    mark = strstr(text, "\n" NOTE_MARK);
    if (mark != NULL)
        p->noted_ms = strtoll(mark + strlen("\n" NOTE_MARK), NULL, 10);
}

void place_note(struct place *p, int64_t heartbeat_ms)
{
    char text[32];

    snprintf(text, sizeof(text), "%020lld\n", (long long)heartbeat_ms);
    if (p->lock_fd >= 0 && p->note_at > 0 && pwrite(p->lock_fd, text, 21, p->note_at) != 21)
        log_debug("%s: %s", p->lock_path, strerror(errno));
}

/* ---- Locking ----------------------------------------------------------------------------------
 */

/* Locks as SQLite takes them, on a part of the file that nobody uses. Some file systems know the
 * one kind and not the other. Held by another: it works. */
static bool locks_work(int fd)
{
    struct flock far = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1 << 20, .l_len = 1};
    int rc;

    do
        rc = fcntl(fd, F_SETLK, &far);
    while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return errno == EAGAIN || errno == EACCES;
    far.l_type = F_UNLCK;
    return fcntl(fd, F_SETLK, &far) == 0;
}

/* The kernel's lock on the lock file. PILOT_EAGAIN: another has it. Without locks, only opens. */
static int lock_file(struct place *p, struct pilot_error *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    for (;;) {
        int fd = open(p->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0)
            return err_set(err, PILOT_ESTORE,
                           "cannot make %s, which keeps a second pilot away: %s; make its "
                           "directory writable, or choose another place with --workdir or --db",
                           p->lock_path, strerror(errno));
        p->no_locks = !locks_work(fd);
        if (!p->no_locks && fcntl(fd, F_OFD_SETLK, &whole) != 0) {
            int errnum = errno;

            if (errnum == EINTR || errnum == EAGAIN || errnum == EACCES)
                close(fd);
            if (errnum == EINTR)
                continue;
            if (errnum == EAGAIN || errnum == EACCES)
                return PILOT_EAGAIN;
            p->no_locks = true;
        }
        if (p->no_locks || still_there(fd, p->lock_path)) {
            p->lock_fd = fd;
            return 0;
        }
        close(fd);
    }
}

/* Another host has the lock. If its pilot gives no sign of life, the server will find out, too. */
static int lock_after_death(struct place *p, struct pilot_error *err)
{
    int64_t silent_ms = p->claim_silent_ms > 0 ? p->claim_silent_ms : SILENT_LOCKED_MS;
    int64_t end_ms = clock_mono_ms() + LOCK_WAIT_MS;
    char holder[HOLDER_MAX];
    bool silent = true;
    int rc = PILOT_EAGAIN;

    if (!p->network || !claim_is_silent(p->file, silent_ms, holder))
        return PILOT_EAGAIN;
    log_info("%s gives no sign of life; waiting for the file server to give up its lock on %s, "
             "%d s at most",
             holder, p->given, LOCK_WAIT_MS / 1000);
    while (rc == PILOT_EAGAIN && silent && clock_mono_ms() < end_ms) {
        silent = claim_is_silent(p->file, SILENT_WAITING_MS, holder);
        rc = lock_file(p, err);
    }
    if (rc == PILOT_EAGAIN && silent)
        return err_set(err, PILOT_EBUSY,
                       "the state database %s is locked by %s, which gives no sign of life; end "
                       "what is left of it, or let the file server forget that host",
                       p->given, holder);
    return rc;
}

static int make_claim(struct place *p, const char *holder, struct pilot_error *err)
{
    int64_t silent_ms = p->claim_silent_ms;
    char other[HOLDER_MAX];
    int rc;

    if (silent_ms <= 0)
        silent_ms = p->no_locks ? SILENT_UNLOCKED_MS : SILENT_LOCKED_MS;
    rc = claim_take(&p->claim, p->file, holder, silent_ms, other, err);
    return rc == PILOT_EBUSY ? busy_with(p, other, err) : rc;
}

int place_lock(struct place *p, const char *holder, struct pilot_error *err)
{
    int rc = lock_file(p, err);

    if (rc == PILOT_EAGAIN)
        rc = lock_after_death(p, err);
    if (rc == PILOT_EAGAIN)
        return place_busy(p, err);
    if (rc == 0 && (p->network || p->no_locks))
        rc = make_claim(p, holder, err);
    if (rc < 0) {
        /* Not ours to tidy. */
        if (p->lock_fd >= 0)
            close(p->lock_fd);
        p->lock_fd = -1;
        return rc;
    }
    if (p->no_locks)
        log_info("the file system of %s has no working locks; a file with a heartbeat beside it, "
                 "*.claim.*, keeps a second pilot away",
                 p->given);
    outlive_caches(p);
    read_note(p);
    if (write_holder(p, holder) != 0)
        return err_set(err, PILOT_ESTORE,
                       "cannot write %s: %s; make room, or choose another place with --db FILE",
                       p->lock_path, strerror(errno));
    return 0;
}

int place_check(struct place *p, struct pilot_error *err)
{
    if (p->claim == NULL || claim_holds(p->claim))
        return 0;
    p->lost = p->keep_note = true;
    return err_set(err, PILOT_EBUSY,
                   "another pilot has taken over the state database %s, because this one gave no "
                   "sign of life for a while",
                   p->given);
}

void place_sync(const struct place *p)
{
    sync_entry(p->file);
}

void place_fini(struct place *p)
{
    /* Removed while it is locked: see still_there. On a network file system it stays, empty: other
     * hosts remember for a while what it was, and could not open it. */
    if (p->lock_fd >= 0) {
        if (!p->keep_note &&
            (p->network || p->no_locks ? ftruncate(p->lock_fd, 0) : unlink(p->lock_path)) != 0)
            log_debug("%s: %s", p->lock_path, strerror(errno)); /* it does no harm */
        claim_release(p->claim);
        close(p->lock_fd);
    }
    free(p->given);
    free(p->file);
    free(p->lock_path);
    place_init(p);
}
