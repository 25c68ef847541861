# SPDX-License-Identifier: BSD-3-Clause
"""Scheduling without starting: the whole pilot with agents that answer at once, the core alone, and
what the order of starts makes of a machine."""
import os
import sqlite3
import statistics
import time

from rows.harness import Row


def words(line):
    """'name number name number ...' as a dictionary."""
    parts = line.split()
    return {parts[i]: parts[i + 1] for i in range(0, len(parts) - 1, 2)}


def bare_rows(path, count):
    """Tasks a second if all that were done is what SQLite must: a row for each when it is added, and
    the task's change and its attempt's row when it ends."""
    begin = time.monotonic()
    db = sqlite3.connect(path)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute("create table tasks(seq integer primary key, id text, status text, exit_code int, finished real)")
    db.execute("create table attempts(id text, attempt int, node text, started real, finished real, "
               "primary key(id, attempt)) without rowid")
    db.executemany("insert into tasks values(?, 'T' || ?, 'pending', null, null)", ((i, i) for i in range(count)))
    db.commit()
    for first in range(0, count, 5000):
        some = range(first, min(count, first + 5000))
        db.executemany("insert into attempts values('T' || ?, 1, 'here', 1.5, 2.5)", ((i,) for i in some))
        db.executemany("update tasks set status = 'completed', exit_code = 0, finished = 2.5 where seq = ?",
                       ((i,) for i in some))
        db.commit()
    db.close()
    return count / (time.monotonic() - begin)


class Null(Row):
    key, title = "null", "scheduling, agents answer at once, state committed"
    unit, beside, reach_value = "tasks/s", "bare SQLite rows", 200000

    def measure(self, bench):
        tasks = bench.pick(100000, 1000000)
        cwd = bench.fresh(self.key)
        with open(os.path.join(cwd, "tasks.txt"), "w") as f:
            f.write("true\n" * tasks)
        reference = bare_rows(os.path.join(cwd, "bare.db"), tasks)
        seconds, usage = bench.run([bench.tool("pilot-mpi-null"), "--quiet", "tasks.txt"], cwd)
        return {"value": tasks / seconds, "reference": reference, "ratio": tasks / seconds / reference,
                "cpu_us": 1e6 * (usage.ru_utime + usage.ru_stime) / tasks, "rss_kib": usage.ru_maxrss}


def core_cost(bench, nodes, tasks, repeat=1):
    """Microseconds a task, inside the core; the median of so many runs."""
    costs = []
    for _ in range(repeat):
        out = bench.ask(bench.tool("sim_bench"), "--mixed", "--deps", "1", "--cores", "128", "--nodes", str(nodes),
                        "--tasks", str(tasks))
        costs.append(float(out.split("cost: ")[1].split()[0]))
    return statistics.median(costs)


class Core(Row):
    key, title = "core", "scheduler core alone, 10,000 nodes, 10,000,000 tasks"
    unit, beside, less, reach_value, reach_ratio = "us a task", "10 nodes, 10,000 tasks", True, 4, 0.5

    def measure(self, bench):
        reference = core_cost(bench, 10, 10000, 9)
        value = core_cost(bench, *bench.pick((2000, 1000000), (10000, 10000000)))
        return {"value": value, "reference": reference, "ratio": reference / value}

    def goal_text(self):
        return "0.50 and under 4 us"


class Mixed(Row):
    key, title = "mixed", "1-64 cores, 5-500 s, heavy tail, 100 nodes x 128: makespan"
    unit, beside, reach_ratio, quick_rounds, rounds_max = "h", "max(area, longest)", 0.97, 2, 5

    def measure(self, bench):
        # The longest task is 500 s, and it may start last: with 50,000 tasks that is a third of the
        # whole, with a million a fiftieth.
        seed = len(bench.kept.setdefault("mixed", [])) + 1
        got = words(bench.ask(bench.tool("bench_mixed"), str(bench.pick(50000, 1000000)), str(seed)))
        bench.kept["mixed"].append(got)
        value, reference = float(got["makespan"]) / 3600, float(got["bound"]) / 3600
        return {"value": value, "reference": reference, "ratio": reference / value, "seed": seed, **got}

    def note(self, rounds):
        return "plain policies: in order %.3f, with backfilling %.3f" % tuple(
            statistics.median(float(r["bound"]) / float(r[p + "-makespan"]) for r in rounds)
            for p in ("strict", "backfill"))


class Wait(Row):
    """Uses what Mixed has measured in the same round."""
    key, title = "wait", "the same: longest wait, in waits under a plain reservation"
    unit, beside, less, reach_value = "x", "first waiting task reserved", True, 2
    quick_rounds, rounds_max = 2, 5

    def measure(self, bench):
        if not bench.kept.get("mixed"):
            Mixed().measure(bench)
        got = bench.kept["mixed"][-1]
        worst = float(got["backfill-worst"])
        return {"value": worst, "reference": 1, "ratio": 1 / worst, **got}

    def note(self, rounds):
        r = max(rounds, key=lambda r: r["value"])
        _, cores, lasts, ours, plain = r["backfill-task"].split(",")
        return ("worst: %s cores, %s s, waited %s s (plain: %s s); over 2x: %s tasks; against a plain order without "
                "backfilling: %s x" % (cores, lasts, ours, plain, r["backfill-over-2"], r["strict-worst"]))
