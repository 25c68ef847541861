/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the tables, the version of their layout, and the steps from every older version to this
 * one. docs/state.md describes the result for people: change both together.
 *
 * To change the schema, append a step; never edit one that was released, because databases that
 * went through it exist. A new database goes through all steps too, so that there is one way only
 * to arrive at a layout. The comments inside the SQL are kept by SQLite: `.schema` shows them. */
#include "store/internal.h"

#include <stdio.h>

#include "common/error.h"

/* seq is the rowid, so that an update by task number is one search. attempts is ordered by
 * (id, attempt) and has no rowid: the question people ask ("where id = 'x'") is a search too, and
 * there is no second index to keep up while running. */
static const char step_0_to_1[] =
    "CREATE TABLE tasks (\n"
    "  seq INTEGER PRIMARY KEY,      -- number of the task, from 0, in the order added\n"
    "  id TEXT NOT NULL UNIQUE,\n"
    "  status TEXT NOT NULL,         -- pending running completed failed skipped cancelled\n"
    "  exit_code INTEGER,            -- of the last attempt, as are node, started_at, finished_at\n"
    "  attempts INTEGER NOT NULL DEFAULT 0,\n"
    "  node TEXT,\n"
    "  started_at REAL,              -- seconds since 1970 UTC: datetime(x, 'unixepoch')\n"
    "  finished_at REAL,\n"
    "  reason TEXT,                  -- exit signal timeout spawn lost cancel, or why skipped\n"
    "  failures INTEGER NOT NULL DEFAULT 0, -- attempts that count against max_retries\n"
    "  losses INTEGER NOT NULL DEFAULT 0,   -- attempts lost with their node or pilot\n"
    "  cores INTEGER NOT NULL,\n"
    "  priority INTEGER NOT NULL,\n"
    "  timeout REAL,                 -- seconds; NULL: none\n"
    "  max_retries INTEGER NOT NULL,\n"
    "  command TEXT,                 -- to read; an argument list is quoted for a shell\n"
    "  spec TEXT NOT NULL            -- the whole task as JSON\n"
    ");\n"
    "CREATE TABLE attempts (\n"
    "  id TEXT NOT NULL,             -- tasks.id\n"
    "  attempt INTEGER NOT NULL,     -- 1, 2, ...\n"
    "  node TEXT,\n"
    "  cpus TEXT,                    -- '0-3,8'; NULL: not pinned, or still running\n"
    "  started_at REAL,              -- seconds since 1970 UTC\n"
    "  finished_at REAL,             -- NULL: still running\n"
    "  exit_code INTEGER,            -- NULL unless it exited\n"
    "  signal INTEGER,               -- NULL unless a signal ended it\n"
    "  reason TEXT,                  -- exit signal timeout spawn lost cancel\n"
    "  user_seconds REAL,            -- CPU time of all its processes\n"
    "  sys_seconds REAL,\n"
    "  max_rss_kib INTEGER,          -- of its largest process\n"
    "  message TEXT,                 -- why it could not be started\n"
    "  PRIMARY KEY (id, attempt)\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT) WITHOUT ROWID;\n"
    "CREATE TABLE owner (            -- the pilot that uses this file; empty after a clean end\n"
    "  one INTEGER PRIMARY KEY CHECK (one = 1),\n"
    "  host TEXT, pid INTEGER, job TEXT,\n"
    "  since REAL, heartbeat REAL    -- seconds since 1970 UTC\n"
    ");\n";

/* No index on it: store_load reads every row in any case. */
static const char step_1_to_2[] =
    "ALTER TABLE tasks ADD COLUMN told INTEGER"
    " /* its end, to the hook: 0 not answered yet, 1 answered, NULL nothing to tell */";

static const char step_2_to_3[] =
    "ALTER TABLE tasks ADD COLUMN memory INTEGER"
    " /* bytes that it may use; NULL: no limit */;\n"
    "ALTER TABLE tasks ADD COLUMN time_estimate REAL /* seconds; NULL: not known */;\n"
    "ALTER TABLE attempts ADD COLUMN output_dropped INTEGER"
    " /* bytes that --max-output cut off; NULL: none */";

static const char step_3_to_4[] =
    "ALTER TABLE attempts ADD COLUMN pack_segment INTEGER"
    " /* packed output: file of its last record; NULL: no output, or not packed */;\n"
    "ALTER TABLE attempts ADD COLUMN pack_offset INTEGER /* in that file */;\n"
    "ALTER TABLE attempts ADD COLUMN stdout_bytes INTEGER /* packed output; NULL: not packed */;\n"
    "ALTER TABLE attempts ADD COLUMN stderr_bytes INTEGER /* likewise */";

static const char step_4_to_5[] =
    "ALTER TABLE tasks ADD COLUMN suspicion INTEGER"
    " /* how far it is suspected of having ended the pilot; NULL: not */;\n"
    "ALTER TABLE tasks ADD COLUMN trial INTEGER"
    " /* of a suspect: 0 waits for its trial, 1 has just been started, NULL neither */";

const char *const schema_steps[] = {
    step_0_to_1, step_1_to_2, step_2_to_3, step_3_to_4, step_4_to_5,
};
const int schema_step_count = sizeof(schema_steps) / sizeof(schema_steps[0]);

int schema_check(struct store *s, int step_count, struct pilot_error *err)
{
    int64_t application, version, objects;
    int rc;

    if ((rc = sql_int(s, "PRAGMA application_id", &application, err)) < 0 ||
        (rc = sql_int(s, "PRAGMA user_version", &version, err)) < 0 ||
        (rc = sql_int(s, "SELECT count(*) FROM sqlite_master", &objects, err)) < 0)
        return rc;
    if (application == 0 && version == 0 && objects == 0)
        return 0; /* a new file */
    if (application != SCHEMA_APPLICATION_ID)
        return err_set(err, PILOT_EPROTO,
                       "%s is a database of another program, not the state of a pilot-mpi; it was "
                       "left as it is: choose another file with --db FILE",
                       s->place.given);
    if (version > step_count)
        return err_set(err, PILOT_EPROTO,
                       "%s was written by a newer pilot-mpi (its schema has version %lld, this one "
                       "knows up to %d); use the newer pilot-mpi, or another file with --db FILE",
                       s->place.given, (long long)version, step_count);
    return 0;
}

int schema_migrate(struct store *s, const char *const *steps, int step_count,
                   struct pilot_error *err)
{
    char sql[96];
    int64_t version;
    int rc = sql_int(s, "PRAGMA user_version", &version, err);

    if (rc < 0 || version >= step_count)
        return rc;
    for (; version < step_count; version++)
        if ((rc = sql_exec(s, steps[version], "bring to this version", err)) < 0)
            return rc;
    snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d",
             SCHEMA_APPLICATION_ID, step_count);
    return sql_exec(s, sql, "bring to this version", err);
}
