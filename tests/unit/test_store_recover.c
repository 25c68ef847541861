/* SPDX-License-Identifier: BSD-3-Clause */
/* Damage of many kinds, drawn from seeds: each is noticed at the start, and a recovery keeps all
 * that is readable, invents nothing, says what is missing, and can be gone on with.
 *
 * PILOT_TEST_SEEDS: how many of each kind (12); PILOT_TEST_SEED: the first. */
#include "store_helpers.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "input/taskfile.h"

enum {
    TASKS = 3000,
    PAGE = SCHEMA_PAGE_BYTES,
    ROWS_A_PAGE = PAGE / 100,
    ATTEMPTS_A_PAGE = PAGE / 27
};

static char original[64], damaged[64], made[64];
static char truth[64]; /* the original, to be looked into: that takes its log in */
static unsigned told;
static bool long_rows; /* most of the file are overflow pages */

static void on_told(void *arg, const char *what)
{
    (void)arg;
    told++;
    if (getenv("PILOT_TEST_VERBOSE"))
        print_message("  %s\n", what);
}

static const struct store_recover_hooks hooks = {.parse = task_spec_from_json, .tell = on_told};

/* ---- The truth --------------------------------------------------------------------------------
 */

static void put_full(struct store *s, task_id_t n)
{
    static char command[16384];
    char id[32], *argv[] = {"./run", "--case", id, NULL}, *json;
    struct task_spec spec = {.id = id, .cores = 1 + n % 4};

    snprintf(id, sizeof(id), "case-%u", n * 7919 % TASKS);
    snprintf(command, sizeof(command), "./simulate --seed %u --out result.dat # %0*u", n,
             (int)(n % 60 + 1 + long_rows * (n * 37 % 8000)), n);
    if (n % 3 == 0)
        spec.argv = argv;
    else
        spec.command = command;
    spec.priority = (int)(n % 5) - 2;
    spec.max_retries = n % 3;
    spec.timeout_ms = n % 7 == 0 ? 1500 : 0;
    spec.memory = n % 11 == 0 ? 1 << 30 : 0;
    json = task_spec_to_json(&spec);
    assert_non_null(json);
    store_put_task(s, n, &spec, json, TASK_PENDING);
    free(json);
}

/* A run that was killed, with its log, or one that ended. */
static void make_original(bool killed)
{
    pid_t pid = fork_child();
    int status;

    if (pid == 0) {
        struct store *s = start_store(STORE_FRESH);

        for (task_id_t n = 0; n < TASKS; n++)
            put_full(s, n);
        commit(s);
        for (task_id_t n = 0; n < TASKS; n++) {
            if (n % 3 == 1)
                end(s, n, 1, REASON_EXIT, 1, TASK_PENDING);
            if (n % 4 != 3)
                end(s, n, 1 + (n % 3 == 1), REASON_EXIT, 0, TASK_COMPLETED);
            if (n % 500 == 499)
                commit(s);
        }
        store_put_meta(s, "fact", "value");
        commit(s);
        if (!killed)
            close_store(s);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void copy_file(const char *from, const char *to, const char *tail)
{
    char sh[512];

    snprintf(sh, sizeof(sh), "rm -f '%s%s'; [ ! -e '%s%s' ] || cp '%s%s' '%s%s'", to, tail, from,
             tail, from, tail, to, tail);
    assert_int_equal(system(sh), 0);
}

static off_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

/* ---- Damage -----------------------------------------------------------------------------------
 */

static unsigned seed;
static unsigned page_bytes;

static unsigned draw(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

static void overwrite(const char *path, off_t at, size_t len, bool zeros)
{
    unsigned char bytes[2 * PAGE];
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0 && len <= sizeof(bytes));
    for (size_t i = 0; i < len; i++)
        bytes[i] = zeros ? 0 : (unsigned char)draw(256);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

/* Each returns how many pages are hit at most. */
static unsigned random_pages(void)
{
    unsigned pages = (unsigned)(size_of(damaged) / page_bytes), count = 1 + draw(6);

    for (unsigned i = 0; i < count; i++)
        overwrite(damaged, (off_t)draw(pages) * page_bytes, page_bytes, draw(2));
    return count;
}

static unsigned random_bytes(void)
{
    unsigned count = 1 + draw(20);

    for (unsigned i = 0; i < count; i++)
        overwrite(damaged, (off_t)draw((unsigned)size_of(damaged) - 64), 1 + draw(64), false);
    return 2 * count;
}

static unsigned first_page(void)
{
    if (draw(2))
        overwrite(damaged, 0, 100 + draw(page_bytes - 100), draw(2));
    else
        overwrite(damaged, draw(40), 1 + draw(8), false);
    return 1;
}

/* The roots of the tables, which all their rows hang on. */
static unsigned root_pages(void)
{
    overwrite(damaged, (off_t)(1 + draw(4)) * page_bytes, page_bytes, draw(2));
    if (draw(2))
        overwrite(damaged, 0, page_bytes, true);
    return 2;
}

static unsigned truncated(void)
{
    off_t size = size_of(damaged);
    off_t keep = size / 4 + draw((unsigned)(size * 3 / 4));

    assert_int_equal(truncate(damaged, keep), 0);
    return (unsigned)((size - keep) / page_bytes + 1);
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Old versions of all pages of tasks but one lie about, to which no tree leads; the one is damaged,
 * and with it the list of unused pages. What the trees lead to counts. */
static unsigned stale_pages(void)
{
    unsigned pages = (unsigned)(size_of(damaged) / page_bytes), hit = 0, count = pages;
    unsigned char page[PAGE], *word;
    int fd = open(damaged, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    for (unsigned i = draw(pages / 2) + 6; i < pages && hit == 0; i++) {
        assert_int_equal(pread(fd, page, page_bytes, (off_t)i * page_bytes), page_bytes);
        if (page[0] == 13)
            hit = i;
    }
    for (unsigned i = 6; i < pages; i++) {
        assert_int_equal(pread(fd, page, page_bytes, (off_t)i * page_bytes), page_bytes);
        if (i == hit || page[0] != 13)
            continue;
        while ((word = memmem(page, page_bytes, "completed", 9)) != NULL)
            memcpy(word, "cancelled", 9);
        assert_int_equal(pwrite(fd, page, page_bytes, (off_t)count++ * page_bytes), page_bytes);
    }
    assert_int_equal(pread(fd, page, 100, 0), 100);
    assert_int_equal(be32(page + 28), pages);
    for (int i = 0; i < 4; i++)
        page[28 + i] = (unsigned char)(count >> (24 - 8 * i));
    assert_int_equal(pwrite(fd, page, 100, 0), 100);
    close(fd);
    overwrite(damaged, (off_t)hit * page_bytes, page_bytes, false);
    return 1;
}

static unsigned damaged_log(void)
{
    char log[160];
    off_t size;

    snprintf(log, sizeof(log), "%s-wal", damaged);
    size = size_of(log);
    assert_true(size > page_bytes);
    if (draw(3) == 0)
        assert_int_equal(unlink(log), 0);
    else if (draw(2))
        assert_int_equal(truncate(log, size / 2), 0);
    else
        overwrite(log, 32 + draw((unsigned)size - 200), 64, false);
    return UINT32_MAX; /* tables may be a mix of old pages and new */
}

static unsigned empty_with_log(void)
{
    assert_int_equal(truncate(damaged, 0), 0);
    return UINT32_MAX;
}

/* ---- The audit --------------------------------------------------------------------------------
 */

/* All rows of the new database are those of the truth, but for numbers and what a resume changes;
 * damage of the log may show an older truth. */
static int64_t audit(bool older)
{
    sqlite3 *db = NULL;
    char sql[1024];
    int64_t tasks;

    assert_int_equal(sqlite3_open(made, &db), SQLITE_OK);
    assert_string_equal(ask(db, "PRAGMA integrity_check"), "ok\n");
    snprintf(sql, sizeof(sql), "ATTACH '%s' AS truth", truth);
    assert_string_equal(ask(db, sql), "");
    assert_string_equal(
        ask(db,
            "SELECT t.spec, t.command, u.spec FROM main.tasks t LEFT JOIN truth.tasks u USING (id)"
            " WHERE u.spec IS NOT t.spec OR u.cores IS NOT t.cores OR u.command IS NOT"
            " t.command OR u.priority IS NOT t.priority OR u.timeout IS NOT t.timeout"),
        "");
    if (!older) {
        assert_string_equal(ask(db, "SELECT t.id, t.status, u.status, t.attempts, u.attempts"
                                    " FROM main.tasks t LEFT JOIN truth.tasks u USING (id)"
                                    " WHERE (t.status, t.attempts, t.failures, t.losses, t.told)"
                                    " IS NOT (u.status, u.attempts, u.failures, u.losses, u.told)"
                                    " AND t.status <> 'pending'"),
                            "");
        /* Of earlier attempts than the last nothing else tells how they were. */
        assert_string_equal(
            ask(db, "SELECT a.id, a.attempt, a.node, b.node, a.exit_code, b.exit_code"
                    " FROM main.attempts a JOIN main.tasks t USING (id) LEFT JOIN truth.attempts b"
                    " ON a.id = b.id AND a.attempt = b.attempt WHERE b.id IS NULL OR"
                    " (a.attempt = t.attempts AND (a.node, a.finished_at, a.exit_code)"
                    " IS NOT (b.node, b.finished_at, b.exit_code))"),
            "");
    }
    /* In the order of before, without a gap. */
    assert_string_equal(ask(db, "SELECT count(*) - 1 - max(seq), min(seq) FROM main.tasks"),
                        "0|0\n");
    assert_string_equal(ask(db, "SELECT count(*) FROM (SELECT u.seq < lag(u.seq) OVER (ORDER BY"
                                " t.seq) AS wrong FROM main.tasks t JOIN truth.tasks u USING (id))"
                                " WHERE wrong"),
                        "0\n");
    tasks = atoll(ask(db, "SELECT count(*) FROM main.tasks"));
    sqlite3_close(db);
    return tasks;
}

static int ignore_task(void *arg, const struct store_task *t, struct pilot_error *e)
{
    struct task_spec spec;

    (void)arg;
    if (task_spec_from_json(t->spec_json, &spec, e) < 0)
        return PILOT_EINVAL;
    task_spec_fini(&spec);
    return 0;
}

static void resume_made(void)
{
    struct store *s = NULL;

    if (store_open(&s, made, STORE_RESUME, &me, &err) < 0 ||
        store_load(s, ignore_task, NULL, &err) < 0)
        fail_msg("%s", err.text);
    close_store(s);
}

static int one_round(unsigned (*damage)(void), bool log)
{
    struct store_recovered r;
    unsigned pages;
    int64_t kept;
    struct store *s = NULL;
    int rc;

    copy_file(original, damaged, "");
    copy_file(original, damaged, "-wal");
    copy_file(original, damaged, ".lock");
    unlink(made);
    pages = damage();
    told = 0;
    rc = store_recover(damaged, made, &me, &hooks, &r, &err);
    if (rc < 0) { /* nothing left: of a file that has lost its log before the first checkpoint */
        assert_true(log);
        return 0;
    }
    kept = audit(log);
    assert_int_equal(kept, r.tasks);
    if (kept < TASKS && !log)
        assert_true(told > 0);
    if (!log && pages != UINT32_MAX && kept + (int64_t)pages * ROWS_A_PAGE < TASKS)
        fail_msg("only %lld of %d tasks were kept, with %u pages damaged", (long long)kept, TASKS,
                 pages);
    if (!log && r.lost_attempts > (int64_t)pages * ATTEMPTS_A_PAGE)
        fail_msg("%lld attempts were lost, with %u pages damaged", (long long)r.lost_attempts,
                 pages);
    resume_made();
    /* What lost something that counts is not gone on with as if nothing was. */
    rc = store_open(&s, damaged, STORE_RESUME, &me, &err);
    if (rc == 0)
        rc = store_load(s, ignore_task, NULL, &err);
    store_close(s, NULL);
    /* But for bytes that were changed and still are a value: there are no checksums. */
    if (rc == 0 && (kept < TASKS || r.newest_lost) && damage != random_bytes)
        fail_msg("damage that lost %lld tasks was not noticed", (long long)(TASKS - kept));
    return rc < 0;
}

/* As earlier versions made it. */
static void make_old_pages(void)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(original, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "PRAGMA journal_mode = DELETE; PRAGMA page_size = 4096; VACUUM",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void rounds(const char *what, unsigned (*damage)(void), bool log, unsigned bytes)
{
    unsigned count = getenv("PILOT_TEST_SEEDS") ? (unsigned)atoi(getenv("PILOT_TEST_SEEDS")) : 12;
    unsigned first = getenv("PILOT_TEST_SEED") ? (unsigned)atoi(getenv("PILOT_TEST_SEED")) : 1;
    unsigned noticed = 0;

    snprintf(original, sizeof(original), "%.40s/state.db", dir);
    snprintf(damaged, sizeof(damaged), "%.40s/damaged.db", dir);
    snprintf(made, sizeof(made), "%.40s/made.db", dir);
    snprintf(truth, sizeof(truth), "%.40s/truth.db", dir);
    make_original(log);
    page_bytes = bytes;
    if (bytes != PAGE)
        make_old_pages();
    copy_file(original, truth, "");
    copy_file(original, truth, "-wal");
    for (unsigned i = first; i < first + count; i++) {
        seed = i * 1000003;
        print_message("%s, seed %u\n", what, i);
        noticed += (unsigned)one_round(damage, log);
    }
    print_message("%s: %u of %u noticed at the start\n", what, noticed, count);
    assert_true(noticed > 0);
}

#define ROUNDS(name, log)                                                                          \
    static void name##_recovered(void **state)                                                     \
    {                                                                                              \
        (void)state;                                                                               \
        rounds(#name, name, log, PAGE);                                                            \
    }
ROUNDS(random_pages, false)
ROUNDS(random_bytes, false)
ROUNDS(first_page, false)
ROUNDS(root_pages, false)
ROUNDS(truncated, false)
ROUNDS(stale_pages, false)
ROUNDS(damaged_log, true)
ROUNDS(empty_with_log, true)

static void first_page_of_an_old_state_recovered(void **state)
{
    (void)state;
    rounds("first_page of an old state", first_page, false, 4096);
}

static void first_page_before_long_rows_recovered(void **state)
{
    (void)state;
    long_rows = true;
    rounds("first_page before long rows", first_page, false, PAGE);
    rounds("first_page of an old state with long rows", first_page, false, 4096);
    long_rows = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(random_pages_recovered),
        TEST(random_bytes_recovered),
        TEST(first_page_recovered),
        TEST(root_pages_recovered),
        TEST(truncated_recovered),
        TEST(stale_pages_recovered),
        TEST(damaged_log_recovered),
        TEST(empty_with_log_recovered),
        TEST(first_page_of_an_old_state_recovered),
        TEST(first_page_before_long_rows_recovered),
    };

    return cmocka_run_group_tests_name("store_recover", tests, NULL, NULL);
}
