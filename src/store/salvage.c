/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: getting rows out of a damaged database. SQLite does the reading: of each table through its
 * tree, stepping over what is damaged; then, if anything was, of every page of the file that looks
 * like a leaf, for the rows that no tree leads to any more. Both through imposter tables, which are
 * SQLite's way of reading any page as the root of any table; so the file's own list of tables need
 * not be readable. */
#include "store/salvage.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"

#define MISSES_MAX 200000 /* numbers tried in vain when nothing says where the table ends */
#define NAMES_MAX 1024    /* of all columns of a table, as text */
#define ROW_BYTES_MIN 32  /* of a task; bounds the numbers that a file of some size can hold */

/* Where things begin in every database of ours, for when its list of tables cannot be read. */
enum { ROOT_TASKS = 2, ROOT_IDS, ROOT_ATTEMPTS, ROOT_META, ROOT_OWNER };

struct salvage {
    sqlite3 *from;
    int fd; /* the same file, for the types of its pages */
    uint32_t page_size, pages;
    unsigned char *unused; /* by page: on the list of free pages */
    struct store *to;
    const struct store_recover_hooks *hooks;
    struct store_recovered *out;
    sqlite3_stmt *put_task, *put_attempt, *has_task, *note_gone;
    bool damaged;     /* something could not be read through the trees */
    int64_t seq_max;  /* no number of a task can be higher */
    int64_t last;     /* the highest number that there is known to have been; -1 */
    bool end_known;   /* there was none behind `last` */
    int64_t read_seq; /* the number that the scan in hand gave last */
    int rc;           /* negative: memory, or the new database; ends all */
    struct pilot_error *err;
};

static void __attribute__((format(printf, 2, 3))) tell(struct salvage *v, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    v->hooks->tell(v->hooks->arg, text);
}

/* ---- Reading any page as any table ------------------------------------------------------------
 */

static void run_quietly(sqlite3 *db, const char *sql)
{
    sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* Lets the table "imposter", with this text behind its name, begin at page root. All statements
 * must be finalized. */
static bool impose(struct salvage *v, uint32_t root, const char *layout)
{
    char *sql = sqlite3_mprintf("CREATE TABLE imposter %s", layout);
    int rc;

    if (sql == NULL || root > INT32_MAX)
        return false;
    sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, v->from, "main", 0, 1);
    run_quietly(v->from, "SELECT count(*) FROM sqlite_master"); /* may be damaged: no matter */
    sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, v->from, "main", 1, (int)root);
    rc = sqlite3_exec(v->from, sql, NULL, NULL, NULL);
    sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, v->from, "main", 0, 0);
    sqlite3_free(sql);
    return rc == SQLITE_OK;
}

/* A statement on the imposter; NULL: it cannot be read at all, which is noted. */
static sqlite3_stmt *look(struct salvage *v, const char *sql)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v2(v->from, sql, -1, &stmt, NULL) != SQLITE_OK)
        v->damaged = true;
    return stmt;
}

/* The next row? Damage is noted. */
static bool next_row(struct salvage *v, sqlite3_stmt *stmt)
{
    int step = stmt != NULL && v->rc == 0 ? sqlite3_step(stmt) : SQLITE_DONE;

    if (step == SQLITE_NOMEM)
        v->rc = err_set(v->err, PILOT_ENOMEM, "memory is short for what is left of the database");
    else if (step != SQLITE_ROW && step != SQLITE_DONE)
        v->damaged = true;
    return step == SQLITE_ROW;
}

/* Where a table or an index begins: as the file says, or where it does in all of ours. */
static uint32_t root_of(struct salvage *v, const char *name, uint32_t usual)
{
    sqlite3_stmt *stmt = NULL;
    uint32_t root = usual;

    if (sqlite3_prepare_v2(v->from, "SELECT rootpage FROM sqlite_master WHERE name = ?1", -1, &stmt,
                           NULL) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int64(stmt, 0) > 1 &&
            sqlite3_column_int64(stmt, 0) <= v->pages)
            root = (uint32_t)sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return root;
}

/* ---- Writing ----------------------------------------------------------------------------------
 */

static void prepare(struct salvage *v, sqlite3_stmt **stmt, const char *sql)
{
    if (v->rc == 0)
        v->rc = sql_prepare(v->to, sql, stmt, v->err);
}

static void exec(struct salvage *v, const char *sql)
{
    if (v->rc == 0)
        v->rc = sql_exec(v->to, sql, "write to", v->err);
}

/* Runs stmt once. False: a key in it is there already. */
static bool put(struct salvage *v, sqlite3_stmt *stmt)
{
    int step = sqlite3_step(stmt);

    if (step != SQLITE_DONE && (sqlite3_errcode(v->to->db) & 0xff) != SQLITE_CONSTRAINT)
        v->rc = sql_fail(v->to, v->err, "write to");
    sqlite3_reset(stmt);
    return step == SQLITE_DONE && sqlite3_changes(v->to->db) == 1;
}

static void bind_row(sqlite3_stmt *stmt, sqlite3_stmt *row)
{
    for (int i = 0; i < sqlite3_column_count(row); i++)
        sqlite3_bind_value(stmt, i + 1, sqlite3_column_value(row, i));
}

/* This task is known to have been. told: the person knows already that it is lost. */
static void note_gone(struct salvage *v, int64_t seq, const char *id, bool told)
{
    if (seq > v->last)
        v->last = seq;
    sqlite3_bind_int64(v->note_gone, 1, seq);
    sqlite3_bind_text(v->note_gone, 2, id, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int(v->note_gone, 3, told);
    put(v, v->note_gone);
}

/* ---- Tasks ------------------------------------------------------------------------------------
 */

/* 0: it has no such task; 1: from the tree; 2: from a page by itself. */
static int has_task(struct salvage *v, int64_t seq)
{
    int found = 0;

    sqlite3_bind_int64(v->has_task, 1, seq);
    if (sqlite3_step(v->has_task) == SQLITE_ROW)
        found = 1 + sqlite3_column_int(v->has_task, 0);
    sqlite3_reset(v->has_task);
    return found;
}

/* A row that no tree leads to. Two that differ: one is old, and nobody knows which. */
static void take_orphan(struct salvage *v, sqlite3_stmt *row)
{
    int64_t seq = sqlite3_column_int64(row, T_SEQ);
    const char *status = salvage_text(row, T_STATUS);
    enum task_status known;
    char sql[96];
    int found;

    if (status == NULL || !task_status_parse(status, &known) || seq < 0 || seq > v->seq_max ||
        salvage_wrong(v->hooks, row) != NULL)
        return;
    found = has_task(v, seq);
    if (found == 1)
        return;
    bind_row(v->put_task, row);
    if (found == 0 && put(v, v->put_task)) {
        snprintf(sql, sizeof(sql), "INSERT INTO temp.orphans VALUES (%lld)", (long long)seq);
        exec(v, sql);
        if (seq > v->last)
            v->last = seq;
    } else if (found == 2) {
        tell(v, "task number %lld '%.200s': there is more than one such row", (long long)seq,
             salvage_text(row, T_ID));
        note_gone(v, seq, salvage_text(row, T_ID), true);
        snprintf(sql, sizeof(sql), "DELETE FROM tasks WHERE seq = %lld", (long long)seq);
        exec(v, sql);
    }
}

static void take_task(struct salvage *v, sqlite3_stmt *row)
{
    int64_t seq = sqlite3_column_int64(row, T_SEQ);
    const char *wrong = salvage_wrong(v->hooks, row), *id = salvage_text(row, T_ID);
    const char *status = salvage_text(row, T_STATUS);
    enum task_status known;

    if (seq < 0 || seq > v->seq_max)
        return;
    if (wrong == NULL) {
        bind_row(v->put_task, row);
        if (status == NULL || !task_status_parse(status, &known)) {
            tell(v, "task '%.200s': its status cannot be read; it is pending, and will run again",
                 id);
            v->out->doubtful++;
            sqlite3_bind_text(v->put_task, T_STATUS + 1, "pending", -1, SQLITE_STATIC);
        }
        if (!put(v, v->put_task))
            wrong = "another task has its id";
    }
    if (wrong != NULL) {
        tell(v, "task number %lld%s%.200s%s: %s", (long long)seq, id ? " '" : "", id ? id : "",
             id ? "'" : "", wrong);
        note_gone(v, seq, id, true);
    }
    if (seq > v->last)
        v->last = seq;
}

/* A number that is not higher than the one before it: one of the two is damaged. True: the older
 * one, which goes; false: the new one. */
static bool older_is_wrong(struct salvage *v, int64_t before, int64_t older, int64_t seq)
{
    char sql[96];

    v->damaged = true;
    if (seq <= before || seq == older)
        return false;
    snprintf(sql, sizeof(sql), "DELETE FROM tasks WHERE seq = %lld", (long long)older);
    exec(v, sql);
    return true;
}

/* From number `first` on, up to damage. True: to the end. */
static bool scan_tasks(struct salvage *v, sqlite3_stmt *range, int64_t first)
{
    bool before = v->damaged, whole;
    int64_t previous = first - 1;

    v->damaged = false;
    v->read_seq = first - 1;
    sqlite3_bind_int64(range, 1, first);
    while (next_row(v, range)) {
        int64_t seq = sqlite3_column_int64(range, T_SEQ);

        if (seq > v->read_seq)
            previous = v->read_seq;
        else if (!older_is_wrong(v, previous, v->read_seq, seq))
            continue;
        v->read_seq = seq;
        take_task(v, range);
    }
    whole = sqlite3_reset(range) == SQLITE_OK;
    v->damaged = before || v->damaged;
    return whole;
}

/* Takes the next task from number `from` on that can be read by itself. Returns where to go on; -1:
 * there is none. */
static int64_t take_next_readable(struct salvage *v, sqlite3_stmt *point, int64_t from)
{
    int64_t to = v->end_known ? v->last : from + MISSES_MAX;
    bool found = false;
    int64_t seq;

    for (seq = from; !found && seq <= to && v->rc == 0; seq++) {
        sqlite3_bind_int64(point, 1, seq);
        found = next_row(v, point);
        if (found)
            take_task(v, point);
        sqlite3_reset(point);
    }
    return found ? seq : -1;
}

static void find_last(struct salvage *v)
{
    sqlite3_stmt *stmt = look(v, "SELECT seq FROM imposter ORDER BY seq DESC");

    if (next_row(v, stmt) && sqlite3_column_int64(stmt, 0) <= v->seq_max) {
        v->last = sqlite3_column_int64(stmt, 0);
        v->end_known = true;
    }
    sqlite3_finalize(stmt);
}

static void read_tasks(struct salvage *v, const char *layout)
{
    sqlite3_stmt *range, *point;

    if (!impose(v, root_of(v, "tasks", ROOT_TASKS), layout)) {
        v->damaged = true;
        return;
    }
    find_last(v);
    range = look(v, "SELECT * FROM imposter WHERE seq >= ?1 ORDER BY seq");
    point = look(v, "SELECT * FROM imposter WHERE seq = ?1");
    for (int64_t at = 0; range != NULL && point != NULL && at >= 0 && v->rc == 0;)
        at = scan_tasks(v, range, at) ? -1 : take_next_readable(v, point, v->read_seq + 1);
    sqlite3_finalize(range);
    sqlite3_finalize(point);
}

/* The index has the ids of tasks whose rows are gone. */
static void read_ids(struct salvage *v)
{
    static const char *const orders[] = {"SELECT id, seq FROM imposter ORDER BY id, seq",
                                         "SELECT id, seq FROM imposter ORDER BY id DESC, seq DESC"};

    if (!impose(v, root_of(v, "sqlite_autoindex_tasks_1", ROOT_IDS),
                "(id, seq, PRIMARY KEY (id, seq)) WITHOUT ROWID"))
        return;
    v->damaged = false;
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *stmt = look(v, orders[i]);

        while (next_row(v, stmt)) {
            const char *id = salvage_text(stmt, 0);
            int64_t seq = sqlite3_column_int64(stmt, 1);

            if (id != NULL && salvage_is_count(stmt, 1) && seq <= v->seq_max && !has_task(v, seq))
                note_gone(v, seq, id, false);
        }
        sqlite3_finalize(stmt);
        if (!v->damaged)
            break;
    }
    v->end_known = v->end_known || !v->damaged;
    v->damaged = true;
}

/* ---- Attempts and the rest --------------------------------------------------------------------
 */

static void take_attempt(struct salvage *v, sqlite3_stmt *row)
{
    if (!salvage_is_attempt(row))
        return;
    bind_row(v->put_attempt, row);
    put(v, v->put_attempt);
}

/* Each task's by itself, around what is damaged. */
static void read_attempts_of_tasks(struct salvage *v)
{
    sqlite3_stmt *ids = NULL, *stmt = look(v, "SELECT * FROM imposter WHERE id = ?1");

    prepare(v, &ids, "SELECT id FROM tasks WHERE attempts > 0");
    while (stmt != NULL && v->rc == 0 && sqlite3_step(ids) == SQLITE_ROW) {
        sqlite3_bind_value(stmt, 1, sqlite3_column_value(ids, 0));
        while (next_row(v, stmt))
            take_attempt(v, stmt);
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(ids);
    sqlite3_finalize(stmt);
}

/* True: to the end. */
static bool read_attempts(struct salvage *v, const char *layout)
{
    sqlite3_stmt *stmt;
    bool before = v->damaged, whole;

    v->damaged = false;
    if (impose(v, root_of(v, "attempts", ROOT_ATTEMPTS), layout)) {
        stmt = look(v, "SELECT * FROM imposter");
        while (next_row(v, stmt))
            take_attempt(v, stmt);
        sqlite3_finalize(stmt);
        if (v->damaged)
            read_attempts_of_tasks(v);
    } else {
        v->damaged = true;
    }
    whole = !v->damaged;
    v->damaged = before || !whole;
    return whole;
}

static void read_meta(struct salvage *v)
{
    sqlite3_stmt *stmt = NULL, *add = NULL;
    bool before = v->damaged;

    v->damaged = false;
    prepare(v, &add, "INSERT OR IGNORE INTO meta (key, value) VALUES (?1, ?2)");
    if (impose(v, root_of(v, "meta", ROOT_META), "(key, value, PRIMARY KEY (key)) WITHOUT ROWID"))
        stmt = look(v, "SELECT key, value FROM imposter");
    while (add != NULL && next_row(v, stmt)) {
        if (salvage_text(stmt, 0) == NULL)
            continue;
        bind_row(add, stmt);
        put(v, add);
    }
    sqlite3_finalize(stmt);
    sqlite3_finalize(add);
    if (v->damaged)
        tell(v, "some facts about the run (the table meta)");
    v->damaged = v->damaged || before;
}

/* When the last commit was that is in it; see place.c. */
static void read_owner(struct salvage *v)
{
    sqlite3_stmt *stmt = NULL;
    bool before = v->damaged;

    if (impose(v, root_of(v, "owner", ROOT_OWNER),
               "(one INTEGER PRIMARY KEY, host, pid, job, since, heartbeat)"))
        stmt = look(v, "SELECT heartbeat FROM imposter");
    if (next_row(v, stmt))
        v->out->heartbeat_ms = (int64_t)(sqlite3_column_double(stmt, 0) * 1e3 + 0.5);
    sqlite3_finalize(stmt);
    v->damaged = before;
}

/* ---- Pages that no tree leads to --------------------------------------------------------------
 */

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* What they hold was deleted once. The list: a chain of pages with the numbers of others. */
static void mark_unused(struct salvage *v)
{
    unsigned char *page = malloc(v->page_size);
    uint32_t at = 0;

    if (page != NULL && pread(v->fd, page, 36, 0) == 36)
        at = be32(page + 32);
    while (at > 1 && at <= v->pages && !v->unused[at] &&
           pread(v->fd, page, v->page_size, (off_t)(at - 1) * v->page_size) ==
               (ssize_t)v->page_size) {
        uint32_t count = be32(page + 4);

        v->unused[at] = 1;
        for (uint32_t i = 0; i < count && i < v->page_size / 4 - 2; i++)
            if (be32(page + 8 + 4 * i) <= v->pages)
                v->unused[be32(page + 8 + 4 * i)] = 1;
        at = be32(page);
    }
    free(page);
}

/* Hands the rows of each page of one of these types to take. */
static void read_pages(struct salvage *v, const char *types, const char *layout,
                       void (*take)(struct salvage *, sqlite3_stmt *))
{
    for (uint32_t n = 2; n <= v->pages && v->rc == 0; n++) {
        sqlite3_stmt *stmt;
        char type;

        if (v->unused[n] || pread(v->fd, &type, 1, (off_t)(n - 1) * v->page_size) != 1 ||
            type == 0 || strchr(types, type) == NULL || !impose(v, n, layout))
            continue;
        stmt = look(v, "SELECT * FROM imposter");
        while (next_row(v, stmt))
            take(v, stmt);
        sqlite3_finalize(stmt);
    }
}

/* ---- All of it --------------------------------------------------------------------------------
 */

/* Tells which numbers are missing, with their ids where those are known. */
static void tell_missing(struct salvage *v, int64_t from, int64_t to)
{
    sqlite3_stmt *stmt = NULL;
    int64_t unknown = from; /* from here on neither id nor told */

    prepare(v, &stmt, "SELECT seq, id, told FROM temp.gone WHERE seq BETWEEN ?1 AND ?2 ORDER BY 1");
    if (v->rc < 0)
        return;
    sqlite3_bind_int64(stmt, 1, from);
    sqlite3_bind_int64(stmt, 2, to);
    for (bool more = true; more;) {
        int64_t seq = to + 1;

        more = sqlite3_step(stmt) == SQLITE_ROW;
        if (more)
            seq = sqlite3_column_int64(stmt, 0);
        if (seq == unknown + 1)
            tell(v, "task number %lld, of unknown id", (long long)unknown);
        else if (seq > unknown)
            tell(v, "tasks number %lld to %lld, of unknown ids", (long long)unknown,
                 (long long)seq - 1);
        if (more && !sqlite3_column_int(stmt, 2))
            tell(v, "task number %lld '%.200s'", (long long)seq,
                 (const char *)sqlite3_column_text(stmt, 1));
        unknown = seq + 1;
    }
    sqlite3_finalize(stmt);
    v->out->lost += to + 1 - from;
}

/* Numbers must have no gap: those behind one move up. */
static void number_anew(struct salvage *v)
{
    sqlite3_stmt *stmt = NULL, *move = NULL;
    int64_t next = 0, expected = 0;

    prepare(v, &stmt, "SELECT seq FROM tasks WHERE seq >= ?1 ORDER BY seq LIMIT 1");
    prepare(v, &move, "UPDATE tasks SET seq = ?2 WHERE seq = ?1");
    while (v->rc == 0) {
        int64_t seq;

        sqlite3_bind_int64(stmt, 1, expected);
        if (sqlite3_step(stmt) != SQLITE_ROW)
            break;
        seq = sqlite3_column_int64(stmt, 0);
        sqlite3_reset(stmt);
        if (seq > expected)
            tell_missing(v, expected, seq - 1);
        if (seq != next) {
            sqlite3_bind_int64(move, 1, seq);
            sqlite3_bind_int64(move, 2, next);
            put(v, move);
        }
        expected = seq + 1;
        next++;
    }
    if (v->rc == 0 && v->last >= expected)
        tell_missing(v, expected, v->last);
    if (v->rc == 0 && v->damaged && !v->end_known)
        tell(v, "perhaps tasks behind number %lld: nothing says how many there were",
             (long long)v->last);
    sqlite3_finalize(stmt);
    sqlite3_finalize(move);
}

static void count(struct salvage *v, const char *sql, int64_t *out)
{
    if (v->rc == 0)
        v->rc = sql_int(v->to, sql, out, v->err);
}

/* The columns of a table of ours behind the first, as ", b, c", and a mark for each as "?, ?, ?".
 */
static void columns_of(struct salvage *v, const char *table, char names[NAMES_MAX],
                       char marks[NAMES_MAX])
{
    sqlite3_stmt *stmt = NULL;
    size_t n = 0, m = 0;

    prepare(v, &stmt, "SELECT name FROM pragma_table_info(?1) ORDER BY cid");
    if (v->rc == 0)
        sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    names[0] = marks[0] = '\0';
    while (v->rc == 0 && sqlite3_step(stmt) == SQLITE_ROW && n < NAMES_MAX && m < NAMES_MAX) {
        if (m > 0)
            n += (size_t)snprintf(names + n, NAMES_MAX - n, ", %s", sqlite3_column_text(stmt, 0));
        m += (size_t)snprintf(marks + m, NAMES_MAX - m, "%s?", m > 0 ? ", " : "");
    }
    sqlite3_finalize(stmt);
}

static void salvage_rows(struct salvage *v)
{
    char names[NAMES_MAX], marks[NAMES_MAX], sql[NAMES_MAX + 300];
    char tasks[NAMES_MAX + 40], attempts[NAMES_MAX + 60];
    bool whole;

    columns_of(v, "tasks", names, marks);
    snprintf(tasks, sizeof(tasks), "(seq INTEGER PRIMARY KEY%s)", names);
    snprintf(sql, sizeof(sql), "INSERT INTO tasks VALUES (%s)", marks);
    prepare(v, &v->put_task, sql);
    columns_of(v, "attempts", names, marks);
    snprintf(attempts, sizeof(attempts), "(id%s, PRIMARY KEY (id, attempt)) WITHOUT ROWID", names);
    snprintf(sql, sizeof(sql),
             "INSERT OR IGNORE INTO attempts SELECT * FROM (VALUES (%s)) WHERE EXISTS"
             " (SELECT 1 FROM tasks WHERE id = ?1 AND ?2 BETWEEN 1 AND attempts AND (?2 < attempts"
             " OR (node IS ?3 AND finished_at IS ?6 AND exit_code IS ?7)))",
             marks); /* the task has the end of its last attempt, too */
    prepare(v, &v->put_attempt, sql);
    if (v->rc < 0)
        return;
    read_owner(v);
    v->damaged = false;
    read_tasks(v, tasks);
    if (v->damaged) {
        read_pages(v, "\x0d", tasks, take_orphan);
        read_ids(v);
    }
    whole = read_attempts(v, attempts);
    if (!whole)
        read_pages(v, "\x0a\x02", attempts, take_attempt);
    read_meta(v);
    number_anew(v);
    count(v, "SELECT count(*) FROM tasks", &v->out->tasks);
    count(v, "SELECT count(*) FROM tasks WHERE status = 'completed'", &v->out->completed);
    count(v, "SELECT count(*) FROM attempts", &v->out->attempts);
    count(v, "SELECT coalesce(sum(attempts), 0) FROM tasks", &v->out->lost_attempts);
    v->out->lost_attempts -= v->out->attempts;
}

static bool learn_file(struct salvage *v, const char *path)
{
    sqlite3_stmt *stmt = NULL;
    off_t size;

    v->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (v->fd < 0 || sqlite3_prepare_v2(v->from, "PRAGMA page_size", -1, &stmt, NULL) != SQLITE_OK)
        return false;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        v->page_size = (uint32_t)sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    size = lseek(v->fd, 0, SEEK_END);
    if (v->page_size == 0 || size < 0)
        return false;
    v->pages = (uint32_t)(size / v->page_size);
    v->seq_max = size / ROW_BYTES_MIN;
    v->unused = calloc(1, (size_t)v->pages + 1);
    if (v->unused == NULL)
        return false;
    mark_unused(v);
    return true;
}

int salvage_all(sqlite3 *from, const char *path, struct store *to,
                const struct store_recover_hooks *hooks, struct store_recovered *out,
                struct pilot_error *err)
{
    struct salvage v = {
        .from = from, .fd = -1, .to = to, .hooks = hooks, .out = out, .last = -1, .err = err};

    if (!learn_file(&v, path))
        v.rc = err_set(err, PILOT_ESTORE, "cannot read %s, the copy to work on", path);
    exec(&v, "PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE;"
             "CREATE TEMP TABLE orphans (seq INTEGER PRIMARY KEY);"
             "CREATE TEMP TABLE gone (seq INTEGER PRIMARY KEY, id TEXT, told INTEGER)");
    prepare(&v, &v.has_task,
            "SELECT EXISTS (SELECT 1 FROM temp.orphans WHERE seq = ?1) FROM tasks WHERE seq = ?1");
    prepare(&v, &v.note_gone, "INSERT OR IGNORE INTO temp.gone VALUES (?1, ?2, ?3)");
    if (v.rc == 0)
        salvage_rows(&v);
    sqlite3_finalize(v.put_task);
    sqlite3_finalize(v.put_attempt);
    sqlite3_finalize(v.has_task);
    sqlite3_finalize(v.note_gone);
    exec(&v, "COMMIT; DROP TABLE temp.orphans; DROP TABLE temp.gone");
    if (v.rc < 0)
        sql_rollback(to);
    if (v.fd >= 0)
        close(v.fd);
    free(v.unused);
    return v.rc;
}
