-- SPDX-License-Identifier: BSD-3-Clause
-- A state database of schema version 5 as a killed pilot left it, which had a hook: that has
-- answered the end of a, but not the end of b; c had just been started for a trial. Recorded: do not change.
BEGIN;
CREATE TABLE tasks (
  seq INTEGER PRIMARY KEY,      -- number of the task, from 0, in the order added
  id TEXT NOT NULL UNIQUE,
  status TEXT NOT NULL,         -- pending running completed failed skipped cancelled
  exit_code INTEGER,            -- of the last attempt, as are node, started_at, finished_at
  attempts INTEGER NOT NULL DEFAULT 0,
  node TEXT,
  started_at REAL,              -- seconds since 1970 UTC: datetime(x, 'unixepoch')
  finished_at REAL,
  reason TEXT,                  -- exit signal timeout spawn lost cancel, or why skipped
  failures INTEGER NOT NULL DEFAULT 0, -- attempts that count against max_retries
  losses INTEGER NOT NULL DEFAULT 0,   -- attempts lost with their node or pilot
  cores INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  timeout REAL,                 -- seconds; NULL: none
  max_retries INTEGER NOT NULL,
  command TEXT,                 -- to read; an argument list is quoted for a shell
  spec TEXT NOT NULL            -- the whole task as JSON
, told INTEGER /* its end, to the hook: 0 not answered yet, 1 answered, NULL nothing to tell */, memory INTEGER /* bytes that it may use; NULL: no limit */, time_estimate REAL /* seconds; NULL: not known */, suspicion INTEGER /* how far it is suspected of having ended the pilot; NULL: not */, trial INTEGER /* of a suspect: 0 waits for its trial, 1 has just been started, NULL neither */);
CREATE TABLE attempts (
  id TEXT NOT NULL,             -- tasks.id
  attempt INTEGER NOT NULL,     -- 1, 2, ...
  node TEXT,
  cpus TEXT,                    -- '0-3,8'; NULL: not pinned, or still running
  started_at REAL,              -- seconds since 1970 UTC
  finished_at REAL,             -- NULL: still running
  exit_code INTEGER,            -- NULL unless it exited
  signal INTEGER,               -- NULL unless a signal ended it
  reason TEXT,                  -- exit signal timeout spawn lost cancel
  user_seconds REAL,            -- CPU time of all its processes
  sys_seconds REAL,
  max_rss_kib INTEGER,          -- of its largest process
  message TEXT,                 -- why it could not be started
  output_dropped INTEGER /* bytes that --max-output cut off; NULL: none */, pack_segment INTEGER /* packed output: file of its last record; NULL: no output, or not packed */, pack_offset INTEGER /* in that file */, stdout_bytes INTEGER /* packed output; NULL: not packed */, stderr_bytes INTEGER /* likewise */,
  PRIMARY KEY (id, attempt)
) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT) WITHOUT ROWID;
CREATE TABLE owner (            -- the pilot that uses this file; empty after a clean end
  one INTEGER PRIMARY KEY CHECK (one = 1),
  host TEXT, pid INTEGER, job TEXT,
  since REAL, heartbeat REAL    -- seconds since 1970 UTC
);
INSERT INTO tasks VALUES (0, 'a', 'completed', 0, 1, 'n1', 1000.5, 1002.0, 'exit', 0, 0, 1, 0, NULL, 0,
  'true', '{"id":"a","command":"true"}', 1, NULL, NULL, NULL, NULL);
INSERT INTO tasks VALUES (1, 'b', 'failed', NULL, 2, 'n2', 1003.0, 1063.25, 'timeout', 2, 0, 2, 5, 60.0, 1,
  'sleep 9', '{"id":"b","command":"sleep 9"}', 0, NULL, NULL, NULL, NULL);
INSERT INTO tasks VALUES (2, 'c', 'running', NULL, 1, 'n1', 1003.0, NULL, NULL, 0, 0, 1, 0, NULL, 0,
  'true', '{"id":"c","command":"true"}', NULL, NULL, NULL, 3, 1);
INSERT INTO attempts VALUES ('a', 1, 'n1', '0', 1000.5, 1002.0, 0, NULL, 'exit', 1.25, 0.5, 2048, NULL, NULL, NULL, NULL, 0, 0);
INSERT INTO attempts VALUES ('b', 1, 'n1', '0-1', 1000.5, 1002.0, 1, NULL, 'exit', 0.1, 0.0, 1024, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO attempts VALUES ('b', 2, 'n2', '2-3', 1003.0, 1063.25, NULL, 9, 'timeout', 0.25, 0.125, 4096, NULL, NULL, 3, 4096, 70000, 12);
INSERT INTO attempts VALUES ('c', 1, 'n1', NULL, 1003.0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO meta VALUES ('pack_run', '1234567');
INSERT INTO owner VALUES (1, 'n1', 99, '', 1000.0, 1000.0);
PRAGMA application_id = 1347244105;
PRAGMA user_version = 5;
COMMIT;
