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
        floor = float(bench.ask(bench.tool("bench_rows"), os.path.join(cwd, "floor.db"), str(tasks)).split()[0])
        seconds, usage = bench.run([bench.tool("pilot-mpi-null"), "--quiet", "tasks.txt"], cwd)
        return {"value": tasks / seconds, "reference": reference, "ratio": tasks / seconds / reference, "floor": floor,
                "cpu_us": 1e6 * (usage.ru_utime + usage.ru_stime) / tasks, "rss_kib": usage.ru_maxrss}

    def note(self, rounds):
        return "SQLite alone, with all columns of the state: {:,.0f}/s".format(statistics.median(r["floor"] for r in rounds))


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


ESTIMATE = 125  # percent of its duration that a task is said to take, where that is known


def mixed(bench, seed, estimate):
    """The longest task is 500 s, and it may start last: with 50,000 tasks that is a third of the whole,
    with a million a fiftieth."""
    return bench.once("mixed %d %d" % (seed, estimate), lambda: words(bench.ask(
        bench.tool("bench_mixed"), str(bench.pick(50000, 1000000)), str(seed), str(estimate))))


class Seeded(Row):
    """Each round is another seed; nothing in it depends on the machine."""
    quick_rounds, rounds_max = 2, 5

    def __init__(self):
        self.seed = 0

    def measure(self, bench):
        self.seed += 1
        return self.of(*(mixed(bench, self.seed, estimate) for estimate in (0, ESTIMATE)))


class Mixed(Seeded):
    key, title = "mixed", "1-64 cores, 5-500 s, heavy tail, 100 nodes x 128: makespan"
    unit, beside, reach_ratio = "h", "max(area, longest)", 0.97

    def of(self, unknown, known):
        value, reference = (float(unknown[name]) / 3600 for name in ("makespan", "bound"))
        return {"value": value, "reference": reference, "ratio": reference / value,
                **{name: float(unknown["bound"]) / float(run[key]) for name, run, key in (
                    ("known", known, "makespan"), ("strict", known, "strict-makespan"), ("backfill", known, "backfill-makespan"))}}

    def note(self, rounds):
        return "with estimates %.3f; plain policies in order %.3f, with backfilling %.3f" % tuple(
            statistics.median(r[name] for r in rounds) for name in ("known", "strict", "backfill"))


class Wait(Seeded):
    key, title = "wait", "the same with time_estimate: longest wait of a task"
    unit, beside, less, reach_value = "x", "its wait under a plain reservation", True, 2

    def of(self, unknown, known):
        worst = float(known["backfill-worst"])
        return {"value": worst, "reference": 1, "ratio": 1 / worst, "unknown": float(unknown["backfill-worst"]),
                "over": int(known["backfill-over-2"]), "strict": float(known["strict-worst"]), "task": known["backfill-task"]}

    def note(self, rounds):
        r = max(rounds, key=lambda r: r["value"])
        _, cores, lasts, ours, plain = r["task"].split(",")
        return ("worst: %s cores, %s s, waited %s s (plain: %s s); over 2x: %d tasks; without estimates %.1f x, against a plain "
                "order without backfilling %.1f x" % (cores, lasts, ours, plain, r["over"], r["unknown"], r["strict"]))
