/* SPDX-License-Identifier: BSD-3-Clause */
/* A file layer for SQLite that passes everything on to the default one and lets the Nth call that
 * can fail fail: "fail the Nth call" testing of the store. Or it is a disk without room, where
 * writes fail and nothing else does. Syncs are counted but not passed on, because the test kills no
 * machine. */
#ifndef TESTS_STORE_FAULTS_H
#define TESTS_STORE_FAULTS_H

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define FAULT_VFS "fault"

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *base;
    atomic_int calls;
    atomic_int fail_at; /* 0: never */
    atomic_bool sticky; /* all calls after that one fail too */
    atomic_bool failed; /* a call was made to fail */
    /* Writes for which there is no room. */
    atomic_int writes;
    atomic_int short_from; /* the first of them; 0: none */
    atomic_int short_count;
    atomic_int short_errnum;
    atomic_int refused; /* so many there were */
    atomic_bool full;   /* every file may be written as far as it goes, and no further */
} faults;

struct fault_file {
    sqlite3_file file;
    sqlite3_file *real; /* lies behind this struct */
};

static void faults_arm(int fail_at, bool sticky)
{
    atomic_store(&faults.calls, 0);
    atomic_store(&faults.failed, false);
    atomic_store(&faults.sticky, sticky);
    atomic_store(&faults.fail_at, fail_at);
}

/* From the first'th write from now on, so many writes find no room. */
static void faults_arm_room(int errnum, int first, int count)
{
    atomic_store(&faults.short_from, 0);
    atomic_store(&faults.writes, 0);
    atomic_store(&faults.refused, 0);
    atomic_store(&faults.short_errnum, errnum);
    atomic_store(&faults.short_count, count);
    atomic_store(&faults.short_from, first);
}

static bool fault_now(void)
{
    int n = atomic_fetch_add(&faults.calls, 1) + 1;
    int at = atomic_load(&faults.fail_at);
    bool now = at > 0 && (n == at || (atomic_load(&faults.sticky) && n > at));

    if (now)
        atomic_store(&faults.failed, true);
    return now;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct fault_file *)f)->real;
}

static int fault_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int fault_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    return fault_now() ? SQLITE_IOERR_READ : real_of(f)->pMethods->xRead(real_of(f), data, n, at);
}

static bool fault_no_room(sqlite3_file *f, sqlite3_int64 end)
{
    int n = atomic_fetch_add(&faults.writes, 1) + 1, from = atomic_load(&faults.short_from);
    sqlite3_int64 size = 0;

    if (atomic_load(&faults.full))
        return real_of(f)->pMethods->xFileSize(real_of(f), &size) == SQLITE_OK && end > size;
    return from > 0 && n >= from && n - from < atomic_load(&faults.short_count);
}

static void faults_fill_disk(bool full)
{
    atomic_store(&faults.refused, 0);
    atomic_store(&faults.short_errnum, ENOSPC);
    atomic_store(&faults.full, full);
}

static int fault_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    if (fault_no_room(f, at + n)) {
        atomic_fetch_add(&faults.refused, 1);
        errno = atomic_load(&faults.short_errnum);
        /* As the default layer has it: a full disk has a code of its own. */
        return errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    if (fault_now()) {
        errno = EIO;
        return SQLITE_IOERR_WRITE;
    }
    return real_of(f)->pMethods->xWrite(real_of(f), data, n, at);
}

static int fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return fault_now() ? SQLITE_IOERR_TRUNCATE : real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int fault_sync(sqlite3_file *f, int flags)
{
    (void)f, (void)flags;
    return fault_now() ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int fault_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return fault_now() ? SQLITE_IOERR_FSTAT : real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int fault_lock(sqlite3_file *f, int level)
{
    return fault_now() ? SQLITE_IOERR_LOCK : real_of(f)->pMethods->xLock(real_of(f), level);
}

static int fault_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int fault_check_lock(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int fault_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int fault_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int fault_device(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int fault_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **out)
{
    if (fault_now())
        return SQLITE_IOERR_SHMMAP;
    return real_of(f)->pMethods->xShmMap(real_of(f), region, size, extend, out);
}

static int fault_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    if ((flags & SQLITE_SHM_LOCK) && fault_now())
        return SQLITE_IOERR_SHMLOCK;
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void fault_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int fault_shm_unmap(sqlite3_file *f, int delete_it)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), delete_it);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = fault_close,
    .xRead = fault_read,
    .xWrite = fault_write,
    .xTruncate = fault_truncate,
    .xSync = fault_sync,
    .xFileSize = fault_size,
    .xLock = fault_lock,
    .xUnlock = fault_unlock,
    .xCheckReservedLock = fault_check_lock,
    .xFileControl = fault_control,
    .xSectorSize = fault_sector,
    .xDeviceCharacteristics = fault_device,
    .xShmMap = fault_shm_map,
    .xShmLock = fault_shm_lock,
    .xShmBarrier = fault_shm_barrier,
    .xShmUnmap = fault_shm_unmap,
};

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct fault_file *file = (struct fault_file *)f;
    int rc;

    (void)vfs;
    file->file.pMethods = NULL;
    if (fault_now())
        return SQLITE_CANTOPEN;
    file->real = (sqlite3_file *)(file + 1);
    memset(file->real, 0, (size_t)faults.base->szOsFile);
    rc = faults.base->xOpen(faults.base, name, file->real, flags, out);
    if (file->real->pMethods != NULL)
        file->file.pMethods = &fault_methods;
    return rc;
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    return fault_now() ? SQLITE_IOERR_DELETE : faults.base->xDelete(faults.base, name, sync);
}

static int faults_register(void)
{
    if (faults.base != NULL)
        return SQLITE_OK;
    faults.base = sqlite3_vfs_find(NULL);
    faults.vfs = *faults.base; /* all that is not replaced below is the default's own */
    faults.vfs.pNext = NULL;
    faults.vfs.zName = FAULT_VFS;
    faults.vfs.szOsFile = (int)sizeof(struct fault_file) + faults.base->szOsFile;
    faults.vfs.xOpen = fault_open;
    faults.vfs.xDelete = fault_delete;
    return sqlite3_vfs_register(&faults.vfs, 0);
}

#endif
