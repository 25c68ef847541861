# SPDX-License-Identifier: BSD-3-Clause
"""Four nodes: a virtual cluster with a real Slurm (tests/cluster/vcluster) on this machine."""
import json
import math
import os
import shlex
import sqlite3
import statistics
import subprocess
import time

from rows.harness import Row, Unavailable, wait_for
from rows import marks

NODES = 4
# One rank a node that may use the whole node.
SRUN = ["srun", "-N", str(NODES), "--ntasks-per-node=1", "--cpu-bind=none", "--no-kill", "--kill-on-bad-exit=0", "--wait=0"]


class Cluster:
    """Started by the first row that needs it, taken down at the end of the bench."""

    def __init__(self, bench):
        self.program = os.path.join(bench.root, "tests", "cluster", "vcluster")
        # A short name, for it is part of sockets'; and one that the integration tests sweep away if
        # this process is killed.
        self.dir = "/var/tmp/pilot-test-%d/vc" % os.getpid()
        self.env = dict(bench.env, VCLUSTER_DIR=self.dir, VCLUSTER_SHARE="%s:%s" % (bench.root, bench.build))
        self.srun = SRUN + ["--cpus-per-task=%d" % bench.cores]
        check = self.call("check")
        if check.returncode != 0:
            raise Unavailable(check.stdout.strip() or "no virtual cluster")
        bench.closers.append(self.down)
        up = self.call("up", str(NODES), str(bench.cores))
        if up.returncode != 0:
            raise RuntimeError("the virtual cluster did not start:\n" + up.stdout[-1500:])

    def call(self, *words):
        return subprocess.run([self.program, *words], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, text=True)

    def down(self):
        self.call("down")
        if os.path.isdir(os.path.dirname(self.dir)):
            os.rmdir(os.path.dirname(self.dir))


def cluster(bench):
    def start():
        try:
            return Cluster(bench)
        except Unavailable as e:
            return e
    got = bench.once("cluster", start)
    if isinstance(got, Unavailable):
        raise got
    return got


def pilot_on(bench, cwd, tasks, *options):
    """The command line, and what it needs around it."""
    c = cluster(bench)
    with open(os.path.join(cwd, "tasks.json"), "w") as f:
        f.write("".join(json.dumps(t) + "\n" for t in tasks))
    return [c.program, "run", *c.srun, bench.pilot, "--quiet", *options, "tasks.json"], c.env


class Depend(Row):
    key, title = "depend", "end on one node to the start of what waited for it on another"
    unit, beside, less, reach_value = "us", "bare loop, cores busy", True, 600

    def measure(self, bench):
        """Fillers fill the first node, half of the second, and both real cores. The tasks of a chain
        have in turn one core, which is free beside a filler, and two, which are not: each starts
        on another node than the one that it waited for. (Pairs that do not are left out.)"""
        length = bench.pick(200, 2000)
        cwd = bench.fresh(self.key)
        stop, ours, bare = (os.path.join(cwd, n) for n in ("stop", "ours", "bare"))
        mark, quoted = bench.tool("bench_mark"), shlex.quote(stop)
        tasks = [{"id": "busy%d" % i, "command": "while [ ! -e %s ]; do :; done" % quoted, "priority": 9}
                 for i in range(bench.cores)]
        tasks.append({"id": "idle", "command": "while [ ! -e %s ]; do sleep 0.1; done" % quoted, "priority": 9})
        for i in range(length):
            tasks.append({"id": "c%d" % i, "command": "%s %s 500 %d" % (mark, ours, i), "cores": 1 + i % 2 * (bench.cores - 1)})
            if i:
                tasks[-1]["depends_on"] = ["c%d" % (i - 1)]
        tasks.append({"id": "last", "command": "touch " + quoted, "depends_on": ["c%d" % (length - 1)]})
        command, env = pilot_on(bench, cwd, tasks)
        reference = statistics.median(marks.gaps_us(self.bare(bench, cwd, bare, mark)))
        bench.run(command, cwd, env=env)
        chain = sorted(marks.read(ours), key=lambda m: m.number)
        gaps = sorted((b.start - a.end) / 1e3 for a, b in zip(chain, chain[1:]) if a.node != b.node)
        if len(chain) != length or len(gaps) < length // 2:
            raise RuntimeError("%d of %d ran, %d on another node than the one before" % (len(chain), length, len(gaps)))
        value = statistics.median(gaps)
        return {"value": value, "reference": reference, "ratio": reference / value, "pairs": len(gaps),
                "p90": gaps[len(gaps) * 9 // 10]}

    @staticmethod
    def bare(bench, cwd, path, mark):
        """The same program started by a bare loop beside as many spinning processes as cores."""
        spin = [bench.spawn(["sh", "-c", "while :; do :; done"], cwd) for _ in range(bench.cores)]
        try:
            bench.ask(bench.tool("bench_spawn"), "400", "1", mark, path, "500", "0")
        finally:
            for child in spin:
                bench.stop(child)
        return marks.read(path)

    def note(self, rounds):
        return "90 %%: %.0f us" % statistics.median(r["p90"] for r in rounds)


class Idle(Row):
    key, title = "idle", "head, agent, launcher, while a sleep runs on each of 4 nodes"
    unit, beside, less, reach_value, quick_rounds, rounds_max = "% of a core", "the goal", True, 0.2, 1, 3

    def measure(self, bench):
        watch = bench.pick(6, 60)
        cwd = bench.fresh(self.key)
        mark = "bench-%d-%d" % (os.getpid(), bench.numbers)
        tasks = [{"id": "s%d" % i, "command": "touch up%d; exec sleep 1000" % i, "cores": bench.cores, "workdir": cwd}
                 for i in range(NODES)]
        command, env = pilot_on(bench, cwd, tasks, "--grace", "1")
        child = bench.spawn(command, cwd, env=dict(env, BENCH_MARK=mark))
        wait_for("a task on each node", 60, lambda: all(os.path.exists("%s/up%d" % (cwd, i)) for i in range(NODES)))
        time.sleep(1)  # the start is over; what is measured is time
        roles = {pid: role for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                 if (role := self.role(bench, pid, mark))}
        if len(roles) < 3 * NODES:
            raise RuntimeError("only %d processes of the pilot: %s" % (len(roles), sorted(roles.values())))
        first = {pid: self.cpu_ns(pid) for pid in roles}
        begin = time.monotonic()
        time.sleep(watch)
        seconds = time.monotonic() - begin
        shares = {}
        for pid, role in roles.items():
            share = (self.cpu_ns(pid) - first[pid]) / 1e7 / seconds
            shares[role] = shares.get(role, 0) + share
        bench.stop(child)
        kinds = {}
        for (kind, _), share in shares.items():
            kinds[kind] = max(kinds.get(kind, 0), share)
        value = max(kinds.values())
        return {"value": value, "reference": self.reach_value, "ratio": self.reach_value / max(value, 1e-6), **kinds}

    @staticmethod
    def role(bench, pid, mark):
        """(kind, rank) of a process of this run: all of a rank's launcher counts as one."""
        try:
            with open("/proc/%d/environ" % pid, "rb") as f:
                env = f.read().split(b"\0")
            with open("/proc/%d/comm" % pid) as f:
                comm = f.read().strip()
            if b"BENCH_MARK=" + mark.encode() not in env or not os.path.samefile("/proc/%d/exe" % pid, bench.pilot):
                return None
        except OSError:
            return None
        rank = next((e[10:].decode() for e in env if e.startswith(b"PMIX_RANK=")), "")
        if comm != "pilot-mpi":
            return "launcher", rank
        return "head" if rank == "0" else "agent", rank

    @staticmethod
    def cpu_ns(pid):
        total = 0
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, thread)) as f:
                total += int(f.read().split()[0])
        return total

    def note(self, rounds):
        return ", ".join("%s %.2f %%" % (kind, statistics.median(r[kind] for r in rounds))
                         for kind in ("head", "agent", "launcher"))


class Wide(Row):
    key, title = "sleepers", "4 nodes x 128 virtual cores, sleep 1"
    unit, beside, reach_ratio, quick_rounds = "s", "ideal makespan", 0.95, 1

    def measure(self, bench):
        count, cores = bench.pick(2048, 20000), NODES * 128
        cwd = bench.fresh(self.key)
        command, env = pilot_on(bench, cwd, ({"command": "sleep 1"} for _ in range(count)), "--cores", str(cores))
        seconds, _ = bench.run(command, cwd, env=env)
        db = sqlite3.connect("file:%s/pilot_runs/state.db?mode=ro" % cwd, uri=True)
        first, last, done = db.execute("select min(started_at), max(finished_at), sum(status = 'completed') from tasks").fetchone()
        db.close()
        if done != count:
            raise RuntimeError("%d of %d completed" % (done, count))
        ideal = math.ceil(count / cores)
        return {"value": last - first, "reference": ideal, "ratio": ideal / (last - first), "whole_s": seconds}

    def note(self, rounds):
        return "from the first start to the last end; the whole program %.1f s" % statistics.median(r["whole_s"] for r in rounds)
