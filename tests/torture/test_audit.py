#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The audit of the torture test, audited: a round in which all is well has no finding, and each way
of tampering with its evidence has one, by the check that it is meant for."""
import os
import random
import sqlite3
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import audit  # noqa: E402
import workload  # noqa: E402

SCHEMA = """
create table tasks (id text, status text, attempts int, failures int, losses int);
create table attempts (id text, attempt int, node text, cpus text, started_at real, finished_at real,
                       exit_code int, signal int, reason text);
"""


class World:
    """A made-up round, played by the rules on one node with two cores, a task after the other."""

    def __init__(self, directory):
        self.journals = os.path.join(directory, "journals")
        os.mkdir(self.journals)
        self.path = os.path.join(directory, "state.db")
        self.db = sqlite3.connect(self.path)
        self.db.executescript(SCHEMA)
        rng = random.Random(7)
        self.tasks = workload.draw_tasks(rng, 200, 1.0)
        workload.draw_follow_ups(rng, self.tasks, 0.1)
        self.now = 1000.0
        status = workload.predicted(self.tasks)
        self.extra = workload.all_follow_ups([t for t in self.tasks if status[t.id] == "completed"])
        for task in self.extra:
            status[task.id] = "completed" if task.completes() else "failed"
        for task in self.tasks + self.extra:
            self.play(task, status[task.id])
        self.db.commit()

    def play(self, task, status):
        attempt = failures = 0
        while status != "skipped":
            attempt += 1
            row = dict(zip(("reason", "exit_code", "signal"), task.natural(attempt)))
            self.attempt(task, attempt, row)
            if row["reason"] == "exit" and row["exit_code"] == 0:
                break
            failures += 1
            if failures > task.max_retries:
                break
        self.db.execute("insert into tasks values (?, ?, ?, ?, 0)", (task.id, status, attempt, failures))

    def attempt(self, task, attempt, row):
        begin, end = self.now, self.now + 1
        self.now += 1.5
        cpus = ",".join(str(c) for c in range(task.cores))
        self.db.execute("insert into attempts values (?, ?, 'n1', ?, ?, ?, ?, ?, ?)",
                        (task.id, attempt, cpus, begin, end, row["exit_code"], row["signal"], row["reason"]))
        if row["reason"] == "spawn":
            return
        self.write(task.id, "start %d n1 %.6f %s %s %d" % (attempt, begin + 0.1, cpus, cpus, attempt))
        if row["reason"] == "exit":
            self.write(task.id, "end %d n1 %.6f %d %d" % (attempt, end - 0.1, row["exit_code"], attempt))

    def write(self, task_id, line):
        with open(os.path.join(self.journals, task_id), "a") as f:
            f.write(line + "\n")

    def of_kind(self, kind, test=lambda task: True):
        return next(t for t in self.tasks if t.kind == kind and not t.depends_on and test(t))

    def sql(self, text, *values):
        self.db.execute(text, values)
        self.db.commit()

    def record(self):
        r = audit.Record(list(self.tasks), "", self.path, self.journals)
        r.hooked = True
        done = {i for i, in self.db.execute("select id from tasks where status = 'completed'")}
        ids = {i for i, in self.db.execute("select id from tasks")}
        r.snapshots = [audit.Snapshot(done, audit.count_starts(self.journals), ids)]
        r.shown = set(done)
        return r


class Audit(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.world = World(self.directory.name)
        self.addCleanup(self.world.db.close)
        self.ok = self.world.of_kind("ok")

    def findings(self, record=None):
        return audit.audit(record or self.world.record())

    def found(self, text, record=None):
        lines = self.findings(record)
        self.assertTrue(any(text in line for line in lines), "%r is not among %s" % (text, lines[:5]))

    def test_all_well(self):
        self.assertEqual(self.findings(), [])
        kinds = {t.kind for t in self.world.tasks}
        self.assertEqual(kinds, set(workload.SHARES), "kinds of tasks that are not in the example")
        self.assertTrue(self.world.extra)

    def test_a_task_that_has_not_ended(self):
        self.world.sql("update tasks set status = 'pending' where id = ?", self.ok.id)
        self.found("%s is pending, not completed" % self.ok.id)

    def test_a_task_that_is_gone(self):
        self.world.sql("delete from tasks where id = ?", self.ok.id)
        self.found("%s is not there, not completed" % self.ok.id)

    def test_a_task_that_nobody_asked_for(self):
        self.world.sql("insert into tasks values ('stray', 'completed', 0, 0, 0)")
        self.found("stray is in the state, but nobody asked for it")

    def test_a_follow_up_that_is_gone(self):
        self.world.sql("delete from tasks where id = ?", self.world.extra[0].id)
        self.found("%s is not there" % self.world.extra[0].id)

    def test_a_failure_taken_for_a_success(self):
        bad = self.world.of_kind("fail")
        self.world.sql("update tasks set status = 'completed', failures = 0 where id = ?", bad.id)
        self.world.sql("update attempts set exit_code = 0 where id = ?", bad.id)
        self.found("%s is completed, not failed" % bad.id)
        self.found("%s.1 (fail) ended with exit, exit code 0" % bad.id)
        self.found("%s.1 is recorded with exit code 0, but did not end so" % bad.id)

    def test_a_loss_that_counted_as_a_failure(self):
        self.world.sql("update attempts set reason = 'lost', exit_code = null where id = ?", self.ok.id)
        self.world.sql("update tasks set status = 'failed' where id = ?", self.ok.id)
        self.found("%s is failed, not completed" % self.ok.id)

    def test_a_task_given_up_after_losses_is_in_order(self):
        for attempt in range(1, 4):
            self.world.sql("insert or replace into attempts values (?, ?, 'n1', null, 1, 2, null, null, 'lost')",
                           self.ok.id, attempt)
        self.world.sql("delete from attempts where id = ? and reason = 'exit'", self.ok.id)
        self.world.sql("update tasks set status = 'failed', attempts = 3 where id = ?", self.ok.id)
        users = [t.id for t in self.world.tasks if self.ok.id in t.depends_on]
        lines = [x for x in self.findings() if x.split()[0] not in users]
        self.assertFalse([x for x in lines if x.startswith(self.ok.id + " is") and "after start" not in x
                          and "shown" not in x], lines)

    def test_an_attempt_left_open(self):
        self.world.sql("update attempts set finished_at = null where id = ?", self.ok.id)
        self.found("%s.1 was never closed" % self.ok.id)

    def test_an_attempt_missing(self):
        flaky = self.world.of_kind("flaky")
        self.world.sql("delete from attempts where id = ? and attempt = 1", flaky.id)
        self.found("%s: %d attempts, but the rows are" % (flaky.id, flaky.number + 1))

    def test_an_unknown_reason(self):
        self.world.sql("update attempts set reason = 'whim' where id = ?", self.ok.id)
        self.found("%s.1 ended for the unknown reason 'whim'" % self.ok.id)

    def test_a_signal_that_nobody_sent(self):
        self.world.sql("update attempts set reason = 'signal', signal = 9, exit_code = null where id = ?", self.ok.id)
        self.found("%s.1 (ok) ended with signal" % self.ok.id)

    def test_a_signal_of_ours_makes_it_fail(self):
        task = self.world.of_kind("ok", lambda t: t.max_retries == 0)
        self.world.sql("update attempts set reason = 'signal', signal = 9, exit_code = null where id = ?", task.id)
        self.world.sql("update tasks set failures = 1 where id = ?", task.id)
        record = self.world.record()
        record.killed = {(task.id, 1)}
        self.found("%s is completed, not failed" % task.id, record)

    def test_failures_counted_wrongly(self):
        self.world.sql("update tasks set failures = 5 where id = ?", self.ok.id)
        self.found("%s: 5 failures counted, 0 seen" % self.ok.id)

    def test_a_retry_too_many(self):
        bad = self.world.of_kind("fail")
        self.world.attempt(bad, 2, {"reason": "exit", "exit_code": bad.number, "signal": None})
        self.world.sql("update tasks set attempts = 2, failures = 2 where id = ?", bad.id)
        self.found("%s is failed, but its attempts mean None" % bad.id)

    def test_a_completion_run_again(self):
        record = self.world.record()
        self.world.write(self.ok.id, "start 1 n1 9000 0 0 77")
        self.found("%s had completed after start 1 (1 starts) and ran again (2 starts)" % self.ok.id, record)

    def test_a_completion_taken_back(self):
        record = self.world.record()
        self.world.sql("update tasks set status = 'failed' where id = ?", self.ok.id)
        self.found("%s had completed after start 1 and is failed" % self.ok.id, record)
        self.found("%s was shown as completed and is failed" % self.ok.id, record)

    def test_a_task_lost_between_starts(self):
        record = self.world.record()
        self.world.sql("delete from tasks where id = ?", self.ok.id)
        self.found("%s was in the state after start 1 and is no more" % self.ok.id, record)

    def test_a_start_that_the_state_does_not_know(self):
        self.world.write(self.ok.id, "start 2 n1 9000 0 0 77")
        self.found("%s has run attempts [2], which the state does not know" % self.ok.id)

    def test_a_recorded_attempt_that_did_not_run(self):
        os.unlink(os.path.join(self.world.journals, self.ok.id))
        self.found("%s.1 is recorded on n1, but did not run there" % self.ok.id)

    def test_a_skipped_task_that_ran(self):
        skipped = self.world.db.execute("select id from tasks where status = 'skipped'").fetchone()[0]
        self.world.write(skipped, "start 1 n1 9000 0 0 77")
        self.found("%s was skipped, but has run" % skipped)

    def test_a_core_given_twice(self):
        first, second = [t for t in self.world.tasks if t.kind == "ok" and not t.depends_on][:2]
        at = audit.read_journal(os.path.join(self.world.journals, first.id))[0][0].at
        cpus = ",".join(str(c) for c in range(second.cores))
        os.unlink(os.path.join(self.world.journals, second.id))
        self.world.write(second.id, "start 1 n1 %.6f %s %s 1" % (at + 0.2, cpus, cpus))
        self.world.write(second.id, "end 1 n1 %.6f 0 1" % (at + 0.4))
        self.found("n1 CPU 0: %s.1 until" % first.id)

    def test_a_task_that_ran_twice_at_a_time(self):
        at = audit.read_journal(os.path.join(self.world.journals, self.ok.id))[0][0].at
        self.world.write(self.ok.id, "start 2 n2 %.6f 0 0 99" % (at + 0.3))
        self.found("%s.2 started on n2" % self.ok.id)

    def test_fewer_cores_than_asked_for(self):
        wide = self.world.of_kind("ok", lambda t: t.cores == 2)
        os.unlink(os.path.join(self.world.journals, wide.id))
        self.world.write(wide.id, "start 1 n1 9000 0 0 1")
        self.world.write(wide.id, "end 1 n1 9000.5 0 1")
        self.found("%s.1 on n1: CPUs 1 instead of 2" % wide.id)

    def test_files_left(self):
        work = os.path.join(self.directory.name, "runs")
        os.makedirs(os.path.join(work, ".pilot", "n1"))
        state = os.path.join(work, "state.db")
        for name in ("state.db", "summary.json", ".pilot/n1/cpus-0.xml"):
            open(os.path.join(work, name), "w").close()
        self.assertEqual(audit.files_left(work, state, None), [])
        for name in ("state.db-wal", "state.db.lock", "summary.json.tmp", ".pilot/n1/socket", ".pilot/inbox"):
            open(os.path.join(work, name), "w").close()
        self.assertEqual(len(set(audit.files_left(work, state, None))), 5)


if __name__ == "__main__":
    unittest.main()
