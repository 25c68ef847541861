#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Proves from what was recorded that cores were given exclusively and kept to.

    check_cores.py WORKDIR [DB] [--nodes N]

1. From the table attempts: on no node was a CPU part of two attempts at the same time, and every
   pinned attempt has as many CPUs as its task has cores (threads of a core count together).
2. From the tasks' own standard output (make_mixed.py): what the kernel allowed each task is
   exactly what it was told and what was recorded.
3. With --nodes N: N nodes ran attempts.
"""
import os
import sqlite3
import sys


def cpu_set(text):
    out = set()
    for part in text.split(",") if text else []:
        first, _, last = part.partition("-")
        out.update(range(int(first), int(last or first) + 1))
    return out


def threads_of_a_core():
    try:
        with open("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list") as f:
            return len(cpu_set(f.read().strip()))
    except OSError:
        return 1


def overlaps(rows):
    """Pairs of attempts that held a CPU of a node at the same time."""
    events, found = {}, []
    for row in rows:
        for cpu in cpu_set(row["cpus"]):
            events.setdefault((row["node"], cpu), []).append(row)
    for (node, cpu), held in events.items():
        held.sort(key=lambda r: (r["started_at"], r["finished_at"]))
        for before, after in zip(held, held[1:]):
            if after["started_at"] < before["finished_at"]:
                found.append(
                    "%s CPU %d: %s.%d until %.3f, %s.%d from %.3f"
                    % (node, cpu, before["id"], before["attempt"], before["finished_at"],
                       after["id"], after["attempt"], after["started_at"])
                )
    return found


def check_output(workdir, row, problems):
    """The last attempt's stdout.txt against its row."""
    try:
        with open(os.path.join(workdir, row["id"], "stdout.txt")) as f:
            said = dict(line.split(" ", 1) for line in f.read().splitlines() if " " in line)
    except OSError as e:
        problems.append("%s: %s" % (row["id"], e))
        return 0
    if "cpus" not in said:
        return 0
    for what in ("cpus", "told"):
        if cpu_set(said[what].strip()) != cpu_set(row["cpus"]):
            problems.append("%s: recorded on %s, but %s %s" % (row["id"], row["cpus"], what, said[what]))
    return 1


def main():
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    nodes_wanted = 0
    if "--nodes" in sys.argv:
        nodes_wanted = int(args.pop())
    workdir = args[0]
    db = sqlite3.connect("file:%s?mode=ro" % (args[1] if len(args) > 1 else workdir + "/state.db"), uri=True)
    db.row_factory = sqlite3.Row
    rows = db.execute(
        "select a.*, t.cores, t.attempts from attempts a join tasks t using (id)"
        " where a.finished_at is not null and a.reason != 'spawn' order by a.started_at"
    ).fetchall()
    problems = overlaps([r for r in rows if r["cpus"]])
    threads = threads_of_a_core()
    compared = 0
    for row in rows:
        if not row["cpus"]:
            problems.append("%s.%d: not pinned" % (row["id"], row["attempt"]))
        elif len(cpu_set(row["cpus"])) != row["cores"] * threads:
            problems.append("%s.%d: %d cores on CPUs %s" % (row["id"], row["attempt"], row["cores"], row["cpus"]))
        if row["cpus"] and row["attempt"] == row["attempts"]:
            compared += check_output(workdir, row, problems)
    nodes = {r["node"] for r in rows}
    if nodes_wanted and len(nodes) != nodes_wanted:
        problems.append("%d nodes ran tasks (%s), not %d" % (len(nodes), ", ".join(sorted(nodes)), nodes_wanted))
    if not rows or not compared:
        problems.append("nothing to check: %d attempts, %d outputs" % (len(rows), compared))
    for line in problems[:20]:
        print("  " + line)
    print("%d attempts on %d nodes, %d outputs compared: %s"
          % (len(rows), len(nodes), compared, "%d problems" % len(problems) if problems else "exclusive, and kept to"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
