/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: making a copy of a damaged database such that SQLite opens it: its log is taken in, and a
 * first page that is no use is replaced by one that lists no tables. */
#include "store/salvage.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(unsigned char *p, uint32_t x)
{
    p[0] = (unsigned char)(x >> 24);
    p[1] = (unsigned char)(x >> 16);
    p[2] = (unsigned char)(x >> 8);
    p[3] = (unsigned char)x;
}

static bool is_page_size(uint32_t size)
{
    return size >= 512 && size <= 32768 && (size & (size - 1)) == 0;
}

/* Databases of ours have pages of SCHEMA_PAGE_BYTES, unless somebody has rebuilt them, or they are
 * old: then of these. */
#define PAGE_OLD 4096

/* Is the header as SQLite makes it? An odd size of pages counts if it fits the size of the file,
 * one of ours unless the other one does. */
static bool header_is_right(int fd)
{
    unsigned char head[100] = {0};
    uint32_t size;
    off_t pages;
    off_t end = lseek(fd, 0, SEEK_END);

    if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return false;
    size = (uint32_t)head[16] << 8 | head[17];
    if (memcmp(head, "SQLite format 3", 16) != 0 || !is_page_size(size) || head[20] != 0 ||
        head[21] != 64 || head[22] != 32 || head[23] != 32 || be32(head + 56) != 1)
        return false;
    pages = be32(head + 28); /* as many as before what is in the log */
    if (size == SCHEMA_PAGE_BYTES || size == PAGE_OLD)
        return pages * size == end || pages * (SCHEMA_PAGE_BYTES + PAGE_OLD - size) != end;
    return pages * size == end;
}

/* How many pages there are the header says, too, and SQLite looks at none beyond; unless this
 * number of the last change to it is not that of the last change of all. Then it is as many as the
 * file has. */
static void doubt_page_count(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char changes[4];

    if (fd < 0)
        return;
    if (pread(fd, changes, 4, 24) == 4) {
        ssize_t put;

        put_be32(changes, be32(changes) + 1);
        put = pwrite(fd, changes, 4, 92);
        (void)put; /* the count stays: fewer rows may be found */
    }
    close(fd);
}

static uint32_t be16(const unsigned char *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

/* The header of a page of a table or an index: https://www.sqlite.org/fileformat.html#b_tree_pages
 */
static bool begins_a_page(const unsigned char head[8])
{
    uint32_t cells = be16(head + 3), content = be16(head + 5);

    return (head[0] == 2 || head[0] == 5 || head[0] == 10 || head[0] == 13) && cells > 0 &&
           content >= 8 + 2 * cells && content < PAGE_OLD && be16(head + 1) < PAGE_OLD &&
           head[7] <= 60;
}

/* By what stands where only small pages begin: of small ones about as many tables' pages as
 * elsewhere, though where rows are long most pages are overflow pages; of large ones next to none,
 * as neither text nor unused space looks like the header of a page. */
static uint32_t page_size_by_content(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned begin[2] = {0, 0}; /* large or small, small only */
    unsigned char head[8];
    off_t at = PAGE_OLD;

    if (fd < 0)
        return SCHEMA_PAGE_BYTES;
    for (; pread(fd, head, sizeof(head), at) == (ssize_t)sizeof(head); at += PAGE_OLD)
        begin[at % SCHEMA_PAGE_BYTES != 0] += begins_a_page(head);
    close(fd);
    return begin[1] > begin[0] / 8 ? PAGE_OLD : SCHEMA_PAGE_BYTES;
}

/* As the log says, else as it looks. */
static uint32_t page_size_of(const char *path)
{
    unsigned char log[32] = {0};
    char log_path[PATH_MAX];
    int fd;

    snprintf(log_path, sizeof(log_path), "%.4000s-wal", path);
    fd = open(log_path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = pread(fd, log, sizeof(log), 0);

        close(fd);
        if (n == (ssize_t)sizeof(log) && is_page_size(be32(log + 8)))
            return be32(log + 8);
    }
    return page_size_by_content(path);
}

/* A first page that lists no tables, in the place of one that cannot be used. */
static int make_first_page(const char *path, bool with_log)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char page[32768] = "SQLite format 3";
    uint32_t size;
    struct stat st;
    int rc = -1;

    if (fd < 0)
        return -1;
    size = page_size_of(path);
    if (fstat(fd, &st) == 0) {
        uint32_t pages = (uint32_t)((st.st_size + size - 1) / size);

        page[16] = (unsigned char)(size >> 8);
        page[17] = (unsigned char)size;
        page[18] = page[19] = with_log ? 2 : 1;
        page[21] = 64, page[22] = page[23] = 32;
        put_be32(page + 24, 1);
        put_be32(page + 28, pages ? pages : 1);
        put_be32(page + 40, 1);
        put_be32(page + 44, 4);
        put_be32(page + 56, 1);
        put_be32(page + 92, 1);
        page[100] = 13; /* a leaf without cells */
        page[105] = (unsigned char)(size >> 8);
        page[106] = (unsigned char)size;
        rc = pwrite(fd, page, size, 0) == (ssize_t)size ? 0 : -1;
    }
    close(fd);
    return rc;
}

static bool runs(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static sqlite3 *open_copy(const char *path)
{
    sqlite3 *db = NULL;

    /* Nobody else has it: no locks, and no shared memory. */
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, "unix-none") ==
            SQLITE_OK &&
        runs(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA writable_schema = ON;"
                 "PRAGMA cell_size_check = ON; PRAGMA synchronous = OFF;"
                 "PRAGMA cache_size = -65536; SELECT count(*) FROM sqlite_master;"
                 "PRAGMA wal_checkpoint; SELECT count(*) FROM sqlite_master"))
        return db;
    sqlite3_close(db);
    return NULL;
}

sqlite3 *salvage_open(const char *path, bool with_log, struct pilot_error *err)
{
    sqlite3 *db = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool right = fd >= 0 && header_is_right(fd);

    if (fd >= 0)
        close(fd);
    /* SQLite would throw the log of an empty file away. */
    if (right) {
        doubt_page_count(path);
        db = open_copy(path);
    }
    for (int log = with_log; db == NULL && log >= 0; log--)
        if (make_first_page(path, log) == 0)
            db = open_copy(path);
    if (db == NULL)
        err_set(err, PILOT_ESTORE,
                "cannot read %s, the copy to work on; make room, or choose "
                "another place for the new file with -o",
                path);
    return db;
}
