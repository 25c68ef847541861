#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Owns: the audit of a torture round. It believes the tasks' own journals and the task files, and
checks the pilot's state against them. Each check returns a list of findings, sentences.

What a round hands over is a Record; nothing here looks at the machine but at the round's files.
"""
import collections
import os
import sqlite3

import workload

REASONS = {"exit", "signal", "timeout", "spawn", "lost", "cancel", "stop", "memory", "disk"}
SLACK = 0.002  # seconds: the state keeps milliseconds

Start = collections.namedtuple("Start", "attempt node at told allowed pid")
End = collections.namedtuple("End", "attempt node at status pid")


class Record:
    """All that is known about a round."""

    def __init__(self, tasks, workdir, db, journals, pinned=True):
        self.tasks = tasks  # workload.Task, those that were added later too
        self.workdir = workdir
        self.db = db
        self.journals = journals
        self.pinned = pinned
        self.killed = set()  # (id, attempt) that the test has killed itself
        self.max_lost = 3
        self.snapshots = []  # after each start but the last: Snapshot
        self.shown = set()  # ids with a check mark on some start's output
        self.hooked = False
        self.small_disk = False  # a disk was full at times


class Snapshot:
    """What was committed when a pilot had gone, and what had run until then."""

    def __init__(self, completed, starts, ids):
        self.completed = completed  # ids
        self.starts = starts  # id: number of starts in the journal
        self.ids = ids  # all ids in the state


# ---- Reading ---------------------------------------------------------------------------------------


def read_journal(path):
    starts, ends = [], []
    with open(path) as f:
        for line in f:
            words = line.split()
            if words[0] == "start" and len(words) == 7:
                starts.append(Start(int(words[1]), words[2], float(words[3]), words[4], words[5], int(words[6])))
            elif words[0] == "end" and len(words) == 6:
                ends.append(End(int(words[1]), words[2], float(words[3]), int(words[4]), int(words[5])))
            else:
                raise ValueError("%s: not a line of a journal: %r" % (path, line))
    return starts, ends


def read_journals(directory):
    return {name.replace("%", "/"): read_journal(os.path.join(directory, name)) for name in os.listdir(directory)}


def count_starts(directory):
    return {task_id: len(j[0]) for task_id, j in read_journals(directory).items()}


def read_state(path):
    """(tasks by id, attempts by id in order). The pilot must have gone."""
    db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    db.row_factory = sqlite3.Row
    try:
        tasks = {r["id"]: dict(r) for r in db.execute("select * from tasks")}
        attempts = collections.defaultdict(list)
        for r in db.execute("select * from attempts order by id, attempt"):
            attempts[r["id"]].append(dict(r))
    finally:
        db.close()
    return tasks, attempts


def cpu_set(text):
    out = set()
    for part in text.split(",") if text and text != "-" else []:
        first, _, last = part.partition("-")
        out.update(range(int(first), int(last or first) + 1))
    return out


# ---- What each attempt may be ----------------------------------------------------------------------


def attempt_allowed(record, task, row):
    """Is this how an attempt of that task can end, given what was done to it?"""
    reason, code, number = row["reason"], row["exit_code"], row["signal"]
    if reason in ("lost", "stop") or reason == "disk" and record.small_disk:
        return True
    if (task.id, row["attempt"]) in record.killed and (reason, number) == ("signal", 9):
        return True
    natural = task.natural(row["attempt"])
    if natural[0] != reason:
        return False
    return natural[0] in ("timeout", "spawn") or natural == (reason, code, number)


def is_failure(row):
    return row["reason"] in ("signal", "timeout", "spawn", "memory") or (row["reason"] == "exit" and row["exit_code"])


def judged(record, task, rows):
    """What the attempts mean by the rules: completed, failed, or None (it should have gone on)."""
    failures = 0
    for i, row in enumerate(rows):
        if row["reason"] == "exit" and row["exit_code"] == 0:
            return "completed" if i == len(rows) - 1 else None
        failures += 1 if is_failure(row) else 0
        if failures > task.max_retries:
            return "failed" if i == len(rows) - 1 else None
    lost = sum(r["reason"] == "lost" for r in rows)
    if record.max_lost and lost >= record.max_lost and rows and rows[-1]["reason"] == "lost":
        return "failed"
    return None


# ---- Checks ----------------------------------------------------------------------------------------


def check_attempts(record, tasks, attempts, _journals):
    """Every attempt that was started is closed, numbered in order, and ended as it could."""
    found = []
    for task in record.tasks:
        rows, row = attempts.get(task.id, []), tasks.get(task.id)
        if row is None:
            continue  # check_statuses says so
        numbers = [r["attempt"] for r in rows]
        if numbers != list(range(1, row["attempts"] + 1)):
            found.append("%s: %d attempts, but the rows are %s" % (task.id, row["attempts"], numbers))
        for r in rows:
            name = "%s.%d" % (task.id, r["attempt"])
            if r["finished_at"] is None:
                found.append("%s was never closed" % name)
            elif r["reason"] not in REASONS:
                found.append("%s ended for the unknown reason %r" % (name, r["reason"]))
            elif r["started_at"] is not None and r["finished_at"] < r["started_at"] - SLACK:
                found.append("%s ended before it started" % name)
            elif not attempt_allowed(record, task, r):
                found.append("%s (%s) ended with %s, exit code %s, signal %s" %
                             (name, task.kind, r["reason"], r["exit_code"], r["signal"]))
        failures = sum(1 for r in rows if is_failure(r))
        if row["failures"] != failures:
            found.append("%s: %d failures counted, %d seen" % (task.id, row["failures"], failures))
    return found


def check_statuses(record, tasks, attempts, _journals):
    """Each task has ended, as its file foretold, or as what was done to it explains."""
    found = []
    disturbed = {task_id for task_id, _ in record.killed}
    disturbed |= {i for i, rows in attempts.items() if record.max_lost and
                  sum(r["reason"] == "lost" for r in rows) >= record.max_lost}

    def own(task):
        if task.id in disturbed:
            return judged(record, task, attempts.get(task.id, [])) or "(not ended)"
        return "completed" if task.completes() else "failed"

    asked = list(record.tasks)
    wanted = workload.expected(asked, own)
    if record.hooked:
        for task in workload.all_follow_ups([t for t in asked if wanted[t.id] == "completed"]):
            record.tasks.append(task)
            wanted[task.id] = own(task)
    for task_id, status in wanted.items():
        got = tasks[task_id]["status"] if task_id in tasks else "not there"
        if got != status:
            found.append("%s is %s, not %s" % (task_id, got, status))
    for task_id in tasks.keys() - wanted.keys():
        found.append("%s is in the state, but nobody asked for it" % task_id)
    for task in record.tasks:
        rows = attempts.get(task.id, [])
        status = wanted.get(task.id)
        if status in ("completed", "failed") and task.id in tasks and judged(record, task, rows) != status:
            found.append("%s is %s, but its attempts mean %s" % (task.id, status, judged(record, task, rows)))
        if status == "skipped" and rows:
            found.append("%s was skipped and has %d attempts" % (task.id, len(rows)))
    return found


def check_journals(record, tasks, attempts, journals):
    """The state and the tasks say the same: what completed has run, to its end; what is recorded as
    having run has written its journal; nothing has run that the state does not know."""
    found = []
    kinds = {t.id: t.kind for t in record.tasks}
    for task_id, (starts, ends) in journals.items():
        if task_id not in tasks:
            found.append("%s has run, but is not in the state" % task_id)
            continue
        row = tasks[task_id]
        if row["status"] == "skipped":
            found.append("%s was skipped, but has run" % task_id)
        # An attempt whose start was not committed when the pilot was killed has its number again.
        unknown = {s.attempt for s in starts} - {r["attempt"] for r in attempts.get(task_id, [])}
        if unknown:
            found.append("%s has run attempts %s, which the state does not know" % (task_id, sorted(unknown)))
        if len(ends) > len(starts):
            found.append("%s has ended more often than started" % task_id)
    for task_id, rows in attempts.items():
        starts, ends = journals.get(task_id, ([], []))
        for r in rows:
            if kinds.get(task_id) == "spawn" or r["reason"] in ("lost", "stop", "disk"):
                continue
            name = "%s.%d" % (task_id, r["attempt"])
            if not any(s.attempt == r["attempt"] and s.node == r["node"] for s in starts):
                # Killed by us or at its timeout, it may not have come to its first line.
                if (task_id, r["attempt"]) not in record.killed and r["reason"] != "timeout":
                    found.append("%s is recorded on %s, but did not run there" % (name, r["node"]))
            elif r["reason"] == "exit" and not any(
                    e.attempt == r["attempt"] and e.node == r["node"] and e.status == r["exit_code"] for e in ends):
                found.append("%s is recorded with exit code %s, but did not end so" % (name, r["exit_code"]))
    return found


def check_once(record, tasks, _attempts, journals):
    """What was committed or shown as completed stays so and does not run again."""
    found = []
    for number, snap in enumerate(record.snapshots, 1):
        for task_id in snap.ids - tasks.keys():
            found.append("%s was in the state after start %d and is no more" % (task_id, number))
        for task_id in snap.completed:
            starts = len(journals.get(task_id, ([], []))[0])
            if starts != snap.starts.get(task_id, 0):
                found.append("%s had completed after start %d (%d starts) and ran again (%d starts)" %
                             (task_id, number, snap.starts.get(task_id, 0), starts))
            if task_id in tasks and tasks[task_id]["status"] != "completed":
                found.append("%s had completed after start %d and is %s" % (task_id, number, tasks[task_id]["status"]))
    for task_id in record.shown:
        if tasks.get(task_id, {"status": "not there"})["status"] != "completed":
            found.append("%s was shown as completed and is %s" % (task_id, tasks.get(task_id, {}).get("status")))
    for task_id, (starts, ends) in journals.items():
        good = [e for e in ends if e.status == 0]
        seen = {(e.attempt, e.node, e.pid) for e in good}
        if len(seen) != len(good):
            found.append("%s wrote the same end twice" % task_id)
    return found


def check_alone(_record, _tasks, _attempts, journals):
    """No task ran twice at a time: what runs elsewhere after a loss had ended where it was lost."""
    found = []
    for task_id, (starts, ends) in journals.items():
        until = {(e.attempt, e.node, e.pid): e.at for e in ends}
        for s in starts:
            for other in starts:
                end = until.get((other.attempt, other.node, other.pid))
                if other != s and end is not None and other.at <= s.at < end - SLACK:
                    found.append("%s.%d started on %s at %.3f, and %s.%d ran on %s until %.3f" %
                                 (task_id, s.attempt, s.node, s.at, task_id, other.attempt, other.node, end))
    return found


def intervals(record, attempts, journals):
    """(node, cpu, from, to, name) for all attempts whose journal has both ends, and for those that
    the state has timed and the journal has not (killed at their timeout, by a signal)."""
    out = []
    cores = {t.id: t.cores for t in record.tasks}
    for task_id, (starts, ends) in journals.items():
        timed = {(e.attempt, e.node, e.pid): e.at for e in ends}
        rows = {(r["attempt"], r["node"]): r for r in attempts.get(task_id, [])}
        for s in starts:
            to = timed.get((s.attempt, s.node, s.pid))
            row = rows.get((s.attempt, s.node))
            if to is None and row and row["reason"] in ("signal", "timeout") and row["started_at"] <= s.at:
                to = row["finished_at"]
            for cpu in cpu_set(s.allowed):
                out.append((s.node, cpu, s.at, to if to is not None else s.at, "%s.%d" % (task_id, s.attempt)))
            width = len(cpu_set(s.allowed))
            if width != cores.get(task_id):
                out.append((s.node, None, width, cores.get(task_id), "%s.%d" % (task_id, s.attempt)))
            elif cpu_set(s.told) != cpu_set(s.allowed):
                out.append((s.node, None, s.told, s.allowed, "%s.%d" % (task_id, s.attempt)))
    return out


def check_cores(record, _tasks, attempts, journals):
    """No CPU of a node was two tasks' at the same time; each had as many as it asked for."""
    if not record.pinned:
        return []
    found, held = [], collections.defaultdict(list)
    for node, cpu, start, end, name in intervals(record, attempts, journals):
        if cpu is None:
            found.append("%s on %s: CPUs %s instead of %s" % (name, node, start, end))
        else:
            held[node, cpu].append((start, end, name))
    for (node, cpu), spans in held.items():
        spans.sort()
        until, holder = 0, None
        for start, end, name in spans:
            if start < until - SLACK:
                found.append("%s CPU %d: %s until %.3f, %s from %.3f" % (node, cpu, holder, until, name, start))
            if end > until:
                until, holder = end, name
    return found


CHECKS = [check_statuses, check_attempts, check_journals, check_once, check_alone, check_cores]


def audit(record):
    """All findings."""
    tasks, attempts = read_state(record.db)
    journals = read_journals(record.journals)
    if not tasks or not journals:
        return ["nothing to audit: %d tasks, %d journals" % (len(tasks), len(journals))]
    return [line for check in CHECKS for line in check(record, tasks, attempts, journals)]


def files_left(workdir, db, small_disk):
    """What a pilot that has ended cleanly must not leave beside its results."""
    found, known = [], {"summary.json", ".pilot", os.path.basename(db)}
    for directory in (os.path.dirname(db), workdir):
        for name in os.listdir(directory):
            if name.startswith(os.path.basename(db) + "-") or name.endswith((".tmp", ".lock", ".pid")):
                found.append("left: %s" % os.path.join(directory, name))
            elif directory == small_disk and name not in known:
                found.append("left: %s" % os.path.join(directory, name))
    for top, _, names in os.walk(os.path.join(workdir, ".pilot")):
        for name in names:
            # The topology files of a node's cores are made once and used by every start. Packs are results.
            if not (name.startswith("cpus-") and name.endswith(".xml") or
                    name.startswith("output-") and name.endswith(".pack")):
                found.append("left: %s" % os.path.join(top, name))
    return found
