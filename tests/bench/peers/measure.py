# SPDX-License-Identifier: BSD-3-Clause
"""Measures all tools in turn, round after round, and keeps every run in a JSON file.

Started by tests/bench/peers.sh, which has the options. The tools take turns within each workload of
each round, in an order that moves on by one from round to round, so that what else happens on the
machine meets all of them. The file is written after every run: a measurement that was stopped can
be gone on with (--add), and rounds can be added on another day.

What the runs write stays until the next measurement begins (in five rounds about 3 GB): for a
minute after many files were removed, and were removed on the disk too, an ext4 without a journal is
slow to make new ones, as it steps over their inodes one by one (recently_deleted() in
fs/ext4/ialloc.c), and whoever happens to run then pays for it.
"""
import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time

import procs
import tools
import workloads
from figures import ASKED_STARTS

SIZES = {"start": 1, "true": 10000, "spin": 2000, "dag": 5000, "out": 5000, "metg": 0, "resume": 2000}
QUICK = {"start": 1, "true": 200, "spin": 40, "dag": 100, "out": 100, "metg": 0, "resume": 120}
METG_EVALS = 5
METG_MOST_S = 1  # a longer one is not searched for


class Measurement:
    def __init__(self, args):
        self.args = args
        self.cores = args.cores
        self.sizes = dict(QUICK if args.quick else SIZES)
        self.results = {"format": 1, "runs": [], "tools": {}}
        if args.add and os.path.exists(args.results):
            with open(args.results) as f:
                self.results = json.load(f)
            if self.results["sizes"] != self.sizes:
                sys.exit("peers: %s has other sizes (--quick?); without --add it is begun anew" % args.results)
        self.first_round = 1 + max((r["round"] for r in self.results["runs"]), default=0)
        self.tools = tools.make(args.tools, args.root, args.build, args.venv)
        self.task_s = {}  # seconds a task costs beside its own work, in core time, about
        self.link_s = {}  # seconds that a task of the diamonds takes
        self.start_s = {}
        self.failures = {}
        self.jobs = 0
        self.results.update(sizes=self.sizes, quick=args.quick, machine=machine(self.cores),
                            left_out=tools.LEFT_OUT)

    # ---- One run ---------------------------------------------------------------------------------

    def job(self, name, kind, n, spin_us=workloads.SPIN_US):
        self.jobs += 1
        where = os.path.join(self.args.work, "%d-%s-%s" % (self.jobs, name, kind))
        os.makedirs(where)
        job = workloads.Job(kind, n, where, self.cores, self.args.peer_task, spin_us)
        if job.out:
            os.makedirs(job.out)
        self.tools[name].prepare(job)
        return job

    def limit_s(self, name, job):
        """A run may take four times as long as it should."""
        expected = self.start_s.get(name, 10) + job.n * self.each_s(name, job.kind, job.spin_us)
        return min(self.args.timeout, 30 + 4 * expected)

    def each_s(self, name, kind, spin_us):
        """By how much a task more makes a run longer."""
        if kind == "dag":
            return self.link_s.get(name, 0.5)
        return (self.task_s.get(name, 0.5) + spin_us / 1e6) / self.cores

    def go(self, name, job, resume=False, until=None):
        tool = self.tools[name]
        argv = tool.resume_argv(job) if resume else tool.argv(job)
        os.sync()  # what an earlier run wrote is not this one's burden
        # Where temporary files are on this machine, but one place that can be removed.
        with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as tmp:
            busy, began = busy_s(), time.monotonic()
            result = procs.run(argv, job.dir, os.path.join(job.dir, "tool.log"), self.limit_s(name, job),
                               until, dict(tool.env(job), TMPDIR=tmp))
            passed = time.monotonic() - began
        others = (busy_s() - busy - result.cpu_s) / passed / (os.cpu_count() or 1)
        result.others = min(1.0, max(0.0, others))
        return result

    def complaint(self, job, result):
        if result.status is None:
            return "did not end in %.0f s" % result.wall_s
        if result.status != 0:
            return "exit status %d: %s" % (result.status, last_line(os.path.join(job.dir, "tool.log")))
        return job.complaint(result.cpu_s)

    def once(self, name, kind, n, round_no, spin_us=workloads.SPIN_US):
        """Runs a workload once; the record of it."""
        job = self.job(name, "true" if kind == "start" else kind, n, spin_us)
        result = self.go(name, job)
        record = {"tool": name, "workload": kind, "round": round_no, "n": n,
                  "wall_s": round(result.wall_s, 4), "cpu_s": round(result.cpu_s, 3),
                  "others": round(result.others, 3)}
        wrong = self.complaint(job, result)
        if wrong:
            record["wrong"] = wrong
        return record

    # ---- Before the first round ------------------------------------------------------------------

    def probe(self, name):
        """Is it there, does it run every task once, and what does it cost, about?"""
        tool = self.tools[name]
        entry = {"title": tool.title, "slow": tool.slow, "kinds": sorted(tool.kinds),
                 "keeps": tool.keeps, "how": tool.how, "version": tool.version()}
        self.results["tools"][name] = entry
        if entry["version"] is None:
            entry["wrong"] = "is not installed"
            return False
        check = self.once(name, "check", 12, 0)
        if "wrong" in check:
            entry["wrong"] = check["wrong"]
            return False
        start = self.once(name, "start", 1, 0)
        n = 20 if tool.slow else 100
        while True:
            many = self.once(name, "true", n, 0)
            if "wrong" in many:
                entry["wrong"] = many["wrong"]
                return False
            # Long enough for clients that look for the end once a second.
            if n > 1000 or many["wall_s"] - start["wall_s"] > 1.5:
                break
            n *= 3
        self.start_s[name] = start["wall_s"]
        self.task_s[name] = max(1e-4, self.cores * (many["wall_s"] - start["wall_s"]) / many["n"])
        if "dag" in tool.kinds and "dag" in self.args.workloads:
            chain = self.once(name, "dag", 60, 0)
            if "wrong" in chain:
                entry["wrong"] = chain["wrong"]
                return False
            self.link_s[name] = max(1e-4, (chain["wall_s"] - start["wall_s"]) / chain["n"])
        return True

    def size(self, name, kind):
        """The full size, or as many tasks as the time for a slow tool is enough for."""
        if kind == "start":
            return 1
        spin_us = {"spin": workloads.SPIN_US, "resume": workloads.RESUME_SPIN_US}.get(kind, 0)
        each = self.each_s(name, kind, spin_us)
        limit = self.args.cap if self.tools[name].slow else self.args.long_cap
        limit = max(limit, ASKED_STARTS * self.start_s[name])
        n = min(self.sizes[kind], max(20, int(limit / each)))
        return n - n % 10 if n < self.sizes[kind] else n

    # ---- The smallest useful task, and resuming --------------------------------------------------

    def metg(self, name, round_no):
        """METG(50%): the task length at which half of the cores' time is work of tasks.

        Were the cost of a task the same at every length, the length at which the efficiency is a
        half would be that cost, length * (1 - e) / e; so that is tried next, until e is a half. The
        time of starting the tool is taken off, as it is a matter of the size of the campaign."""
        length = self.previous_metg(name) or self.task_s[name]
        best, seen = None, []
        for _ in range(METG_EVALS):
            us = max(20, int(length * 1e6))
            # As long as the start at least, as that is taken off and is never quite the same.
            span_s = max(self.args.metg_s, self.start_s[name])
            n = max(4 * self.cores, int(span_s * self.cores / (self.task_s[name] + us / 1e6)))
            record = self.once(name, "spin", n, round_no, us)
            if "wrong" in record:
                return dict(record, workload="metg")
            work = n * us / 1e6
            e = min(0.98, work / self.cores / max(1e-3, record["wall_s"] - self.start_s[name]))
            seen.append([us, round(e, 3)])
            cost = us / 1e6 * (1 - e) / e
            if best is None or abs(e - 0.5) < abs(best[1] - 0.5):
                best = (cost, e)
            if abs(e - 0.5) < 0.03:
                break
            # Longer tasks, and no better: it is not the tool that takes the time.
            if len(seen) > 1 and us > 1.5 * seen[-2][0] and e < seen[-2][1] + 0.01:
                break
            length = min(max(cost, us / 8e6), us * 8e-6, METG_MOST_S)
        if abs(best[1] - 0.5) > 0.1:
            return dict(record, workload="metg", efficiency=seen, wrong="no length found that uses half of "
                        "the cores: %s (us, share); is the machine busy?" % seen)
        return dict(record, workload="metg", metg_s=round(best[0], 6), efficiency=seen)

    def previous_metg(self, name):
        known = [r["metg_s"] for r in self.results["runs"] if r["tool"] == name and "metg_s" in r]
        return known[-1] if known else None

    def resume(self, name, n, round_no):
        """Everything killed at the half, then gone on with."""
        job = self.job(name, "resume", n)
        half = sum(len("%d\n" % i) for i in range(n // 2))

        def half_done():
            try:
                return os.stat(job.marks).st_size >= half
            except FileNotFoundError:
                return False

        first = self.go(name, job, until=half_done)
        before = len(job.done())
        record = {"tool": name, "workload": "resume", "round": round_no, "n": n, "before": before}
        if first.status is not None or not half_done():
            return dict(record, wall_s=round(first.wall_s, 4), others=first.others,
                        wrong="could not be killed at the half: %s" % self.complaint(job, first))
        second = self.go(name, job, resume=True)
        marks = job.done()
        record.update(wall_s=round(second.wall_s, 4), cpu_s=round(second.cpu_s, 3),
                      others=round(second.others, 3), lost=n - len(set(marks)),
                      twice=len(marks) - len(set(marks)))
        wrong = self.complaint(job, second)
        return dict(record, wrong=wrong) if wrong else record

    # ---- All of it -------------------------------------------------------------------------------

    def measure(self, name, kind, round_no):
        if kind == "metg":
            return self.metg(name, round_no)
        n = self.size(name, kind)
        return self.resume(name, n, round_no) if kind == "resume" else self.once(name, kind, n, round_no)

    def wanted(self, name, kind, round_no):
        tool = self.tools[name]
        if kind in ("dag", "resume") and kind not in tool.kinds:
            return False
        if {"start": "true", "metg": "spin"}.get(kind, kind) not in tool.kinds:
            return False
        return self.failures.get((name, kind), 0) < 2

    def save(self):
        with open(self.args.results + ".new", "w") as f:
            json.dump(self.results, f, indent=1)
            f.write("\n")
        os.replace(self.args.results + ".new", self.args.results)

    def all_rounds(self):
        names = [name for name in self.tools if self.probe(name) or self.probe(name)]
        for name, entry in self.results["tools"].items():
            print("%-18s %s" % (name, entry.get("wrong", entry["version"])), flush=True)
        self.save()
        for round_no in range(self.first_round, self.first_round + self.args.rounds):
            for kind in self.args.workloads:
                by = round_no % max(1, len(names))
                for name in names[by:] + names[:by]:
                    if self.wanted(name, kind, round_no):
                        self.keep(self.measure(name, kind, round_no))

    def keep(self, record):
        name, kind = record["tool"], record["workload"]
        if "wrong" in record:
            self.failures[name, kind] = self.failures.get((name, kind), 0) + 1
        if kind == "start" and "wrong" not in record:
            self.start_s[name] = statistics.median(
                [r["wall_s"] for r in self.results["runs"] + [record]
                 if (r["tool"], r["workload"]) == (name, kind) and "wrong" not in r])
        self.results["runs"].append(record)
        self.save()
        print(line_of(record), flush=True)


def line_of(r):
    text = "%d %-7s %-18s n=%-6d %8.2f s  others %3.0f %%" % (
        r["round"], r["workload"], r["tool"], r["n"], r["wall_s"], 100 * r["others"])
    if "metg_s" in r:
        text += "  METG %.2f ms %s" % (1e3 * r["metg_s"], r["efficiency"])
    if "twice" in r:
        text += "  lost %d, twice %d" % (r["lost"], r["twice"])
    return text + ("  WRONG: " + r["wrong"] if "wrong" in r else "")


def busy_s():
    """CPU time that all processes of the machine have used."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


def last_line(path):
    with open(path, errors="replace") as f:
        lines = [line.strip() for line in f if line.strip()]
    return lines[-1][:200] if lines else "(it said nothing)"


def machine(cores):
    with open("/proc/cpuinfo") as f:
        model = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    return {"cores": cores, "cpu": model[0] if model else platform.machine(),
            "kernel": platform.release(), "date": datetime.date.today().isoformat(),
            "python": platform.python_version()}


def parse():
    p = argparse.ArgumentParser()
    for name in ("root", "build", "venv", "work", "results", "peer-task"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--cores", type=int, required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--add", action="store_true")
    p.add_argument("--tools", default=",".join(tools.TOOLS))
    p.add_argument("--workloads", default=",".join(SIZES))
    p.add_argument("--cap", type=float)
    p.add_argument("--long-cap", type=float)
    p.add_argument("--timeout", type=float, default=600)
    args = p.parse_args()
    args.tools = args.tools.split(",")
    args.workloads = args.workloads.split(",")
    for given, known in ((args.tools, tools.TOOLS), (args.workloads, SIZES)):
        for name in given:
            if name not in known:
                print("peers: '%s' is not known; there are: %s" % (name, ", ".join(known)), file=sys.stderr)
                sys.exit(2)
    args.cap = args.cap or (3 if args.quick else 15)
    args.long_cap = args.long_cap or (5 if args.quick else 120)
    args.metg_s = 1 if args.quick else 4
    return args


def main():
    args = parse()
    procs.become_subreaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.path.exists(args.work):
        shutil.rmtree(args.work)
        os.sync()
        time.sleep(65)
    os.makedirs(args.work)
    try:
        Measurement(args).all_rounds()
    finally:
        procs.kill_all()


if __name__ == "__main__":
    main()
