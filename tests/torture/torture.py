#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Owns: the rounds of the torture test. A round draws a workload, a way of starting the pilot and
faults; starts the pilot, does the faults, some while the ranks start, the others when their share of
the tasks has started; resumes whatever ended too early, until everything has ended; and hands what it
knows to the audit.

tests/torture.sh starts this, and brings the cluster up and down.
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import time

import audit
import faults
import workload
from machine import Machine, kill

WAYS = ["srun", "mpirun-nodes", "alone", "srun", "mpirun", "srun-plain"]
CORES = {"alone": 2, "mpirun": 2}  # 8 otherwise
SHOWN = re.compile(r"(?:✓|\bok) (\S+) \(")
UP = re.compile(r"pilot-mpi \d")  # the first line, with the version and the nodes
STARTS_MAX = 15
# Seconds after the last rank has gone in which a launcher is to end. Slurm looks for a node that has
# crashed for SlurmdTimeout, and asks one whose step daemon was killed several times.
LAUNCHER_S = {"srun": 45, "srun-plain": 45}


class Hang(Exception):
    """Nothing happens any more."""


class Round:
    def __init__(self, options, machine, number):
        self.options, self.machine, self.number = options, machine, number
        self.rng = random.Random("%d/%d" % (options.seed, number))
        self.way = options.ways[(number - 1) % len(options.ways)]
        self.lost_after = options.lost_after
        cores = CORES.get(self.way, 8)
        # As long on two cores as on eight.
        self.count = options.tasks if cores == 8 else options.tasks // 2
        scale = (options.scale or min(1, 1500 / options.tasks)) * (1 if cores == 8 else 0.4)
        self.dir = os.path.join(options.base, "round%d" % number)
        self.workdir = os.path.join(self.dir, "runs")
        self.journals = os.path.join(self.dir, "journals")
        self.small_disk = options.small_disk if self.rng.random() < 0.4 else None
        self.db = os.path.join(self.small_disk or self.workdir, "state.db")
        self.hooked = self.rng.random() < 0.3
        self.tasks = workload.draw_tasks(self.rng, self.count, scale, mpi=min(6, self.count // 50))
        if self.hooked:
            workload.draw_follow_ups(self.rng, self.tasks, 0.1)
        self.plan = faults.draw(self.rng, self.way, options.faults)
        self.early = faults.draw_early(self.rng, self.way, options.early)
        self.kept = self.rng.choice(["files", "files", "packed", "packed", "merged"])  # output
        self.killed, self.adds, self.adding, self.broken, self.stops = [], [], [], set(), 0
        self.repairs = []  # (when, what, function)
        self.starts, self.findings, self.done = 0, [], []
        self.struck = []  # the faults of this start
        self.snapshots, self.shown = [], set()
        self.launchers = set()  # pids of mpirun
        self.jobids = set()  # as Open MPI has them in the names of shared memory

    # ---- Files -----------------------------------------------------------------------------------

    def write_tasks(self, path, tasks):
        with open(path, "w") as f:
            f.write(faults.tasks_as_json(tasks, self.options.task, self.journals, self.options.mpi_program))

    def log(self, text):
        with open(os.path.join(self.dir, "log"), "a") as f:
            f.write("%.3f %s\n" % (time.time(), text))

    def progress(self):
        """How many tasks have started, counted without the pilot."""
        return len(os.listdir(self.journals))

    def output(self, number=None):
        return os.path.join(self.dir, "out.%d" % (number or self.starts))

    # ---- Starting --------------------------------------------------------------------------------

    def launcher(self, way):
        node = self.rng.choice([1, 2, 3, 4])
        slurm = ["run", "srun", "-N4", "--ntasks-per-node=1", "--cpus-per-task=2", "--cpu-bind=none"]
        return {
            "alone": ["on", str(node)],
            "mpirun": ["on", str(node), "mpirun", "--oversubscribe", "-np", "3"],
            "mpirun-nodes": ["run", "salloc", "-Q", "-N4", "--ntasks-per-node=1", "--exclusive", "--no-kill",
                             "mpirun", "--enable-recovery", "--bind-to", "none", "-npernode", "1"],
            "srun": slurm + ["--no-kill", "--kill-on-bad-exit=0", "--wait=0"],
            "srun-plain": slurm,
        }[way]

    def pilot_arguments(self):
        args = [self.options.pilot, "--workdir", self.workdir, "--db", self.db, "--verbose", "--grace", "1",
                "--heartbeat", str(self.lost_after / 10), "--lost-after", str(self.lost_after),
                "--output", self.kept]
        if self.hooked:
            hook = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torture_hook.py")
            args += ["--on-complete", "exec python3 %s %s %s" % (hook, self.options.task, self.journals)]
        loaded = bool(self.snapshots and self.snapshots[-1].ids)
        tasks = os.path.join(self.dir, "tasks.json")
        if not loaded:
            return args + (["--fresh"] if os.path.exists(self.db) else []) + [tasks]
        waiting = [a for a in self.adds if not a["confirmed"]]
        return args + ["--resume"] + ([waiting[0]["path"]] if waiting else [])

    def start(self, way=None):
        self.starts += 1
        command = [self.machine.vcluster, *self.launcher(way or self.way), *self.pilot_arguments()]
        self.log("start %d: %s" % (self.starts, " ".join(command)))
        out = open(self.output(), "wb")
        with out:
            return subprocess.Popen(command, env=self.machine.env, cwd=self.dir, stdin=subprocess.DEVNULL,
                                    stdout=out, stderr=out)

    # ---- While it runs ---------------------------------------------------------------------------

    def later(self, seconds, what, function):
        self.repairs.append((time.monotonic() + seconds, what, function))

    def repair(self, all_of_them=False):
        for item in list(self.repairs):
            if all_of_them or item[0] <= time.monotonic():
                self.repairs.remove(item)
                self.log(item[1])
                item[2]()

    def fault(self, name, words=""):
        hit = faults.act(self, name)
        self.log("%s: %s" % (name, hit or "nothing to hit"))
        self.struck.append(name)
        self.done.append("%s%s%s" % (name, words, "" if hit else "(-)"))

    def poll_adds(self):
        for item in list(self.adding):
            process, record = item
            if process.poll() is None:
                continue
            self.adding.remove(item)
            text = process.stdout.read().decode(errors="replace")
            process.stdout.close()
            self.log("add ended with %d: %s" % (process.returncode, text[-200:].strip()))
            record["confirmed"] = process.returncode == 0
            if process.returncode not in (0, 3):
                self.findings.append("add ended with %d: %s" % (process.returncode, text[-300:].strip()))

    def watch(self, process):
        """Until the launcher has ended; with its faults, each at its time."""
        last, moved = None, time.monotonic()
        early, seen = self.early[self.starts - 1] if self.starts <= len(self.early) else None, None
        self.struck = []
        total = len(self.tasks)
        while process.poll() is None:
            time.sleep(0.03)
            self.repair()
            self.poll_adds()
            self.note_launchers(process)
            size = os.path.getsize(self.output())
            share = self.progress() / total
            if (size, share) != last:
                last, moved = (size, share), time.monotonic()
            if self.plan and share >= self.plan[0][0] and self.is_up():
                self.fault(self.plan.pop(0)[1])
                moved = time.monotonic()
            if early and seen is None and self.machine.ranks():
                seen = time.monotonic()
            if early and seen is not None and time.monotonic() >= seen + early[0]:
                self.fault(early[1], "@%.1f" % early[0])
                early, moved = None, time.monotonic()
            silent = time.monotonic() - moved
            if silent > LAUNCHER_S.get(self.way, 8) and not self.machine.ranks():
                self.end_launcher(process)
            if silent > self.options.patience:
                raise Hang("nothing has happened for %d s" % silent)
        return process.returncode

    def note_launchers(self, process):
        """What mpirun leaves when it is killed has its pid or job in the name. vcluster becomes what
        it runs; salloc has mpirun as its child."""
        if not self.way.startswith("mpirun") or len(self.jobids) >= self.starts:
            return
        self.launchers |= {p.pid for p in self.machine.processes()
                           if process.pid in (p.pid, p.ppid) and p.argv[:1] == ["mpirun"]}
        self.jobids |= {"%x" % int(p.variable("PMIX_NAMESPACE", "0")) for p in self.machine.ranks()}

    def is_up(self):
        with open(self.output(), errors="replace") as f:
            return UP.search(f.read(4000)) is not None and self.machine.head() is not None

    def end_launcher(self, process):
        """The ranks have gone and it stays. That mpirun does so when it has lost a node is known; see
        docs/guarantees.md."""
        self.log("the ranks have gone; ending the launcher")
        if not (self.way == "mpirun-nodes" and any(n.startswith(("crash", "cut")) for n in self.struck)):
            self.findings.append("the launcher of start %d does not end; faults in it: %s" %
                                 (self.starts, " ".join(self.struck) or "none"))
        for p in self.machine.processes():
            if os.path.basename((p.argv or [""])[0]) in ("mpirun", "orted", "salloc", "srun"):
                kill(p.pid, 9)
        self.machine.cancel_jobs()
        kill(process.pid, 9)

    # ---- Between two starts ----------------------------------------------------------------------

    def remove_sessions(self):
        """The head of the cluster has the machine's /tmp."""
        for pid in self.launchers:
            shutil.rmtree("/tmp/ompi.vchead.%d/pid.%d" % (os.geteuid(), pid), ignore_errors=True)

    def settle(self):
        """After a start: nothing may be left, and everything is mended for the next."""
        while self.repairs:  # each at its time: what was cut or stopped shall come back by itself
            time.sleep(0.05)
            self.repair()
        deadline = self.lost_after * 2 + 12
        for process, _ in self.adding:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                self.findings.append("add did not end though its pilot had")
                process.kill()
        self.poll_adds()
        # MPI_Init is bounded by more. All this without Slurm's help: it might never be asked.
        left = self.machine.wait_for_none(max(deadline, 8 * self.lost_after + 5, 25))
        if left:
            self.findings += ["process left after start %d: %s" % (self.starts, p.describe()) for p in left[:5]]
            self.machine.kill_all()
        self.machine.cancel_jobs()
        while self.machine.jobs():
            time.sleep(0.2)
            deadline -= 0.2
            if deadline < -60:
                raise RuntimeError("Slurm does not end its job: " + self.machine.cluster("run", "squeue"))
        for node in sorted(self.broken):
            self.log("revive vc%d" % node)
            self.machine.cluster("revive", node, check=True)
        self.broken.clear()
        self.remove_sessions()

    def snapshot(self):
        """What has been committed. Of a copy: reading must not do the pilot's work of recovering."""
        copy = os.path.join(self.dir, "copy.db")
        for suffix in ("", "-wal"):
            if os.path.exists(copy + suffix):
                os.unlink(copy + suffix)
            if os.path.exists(self.db + suffix):
                shutil.copyfile(self.db + suffix, copy + suffix)
        completed, ids = set(), set()
        if os.path.exists(copy):
            try:
                tasks, _ = audit.read_state(copy)
                ids = set(tasks)
                completed = {i for i, row in tasks.items() if row["status"] == "completed"}
            except audit.sqlite3.Error as e:
                self.log("no state yet: %s" % e)
        self.snapshots.append(audit.Snapshot(completed, audit.count_starts(self.journals), ids))
        for record in self.adds:
            known = {t.id for t in record["tasks"]} & ids
            if record["confirmed"] and len(known) < len(record["tasks"]):
                self.findings.append("an add was confirmed, but not all of its tasks are in the state")
            if 0 < len(known) < len(record["tasks"]):
                self.findings.append("an add was done in part")
            record["confirmed"] = record["confirmed"] or len(known) == len(record["tasks"])
        with open(self.output(), errors="replace") as f:
            now_shown = set(SHOWN.findall(f.read()))
        for task_id in now_shown - completed:
            self.findings.append("%s was shown as completed, but start %d had not committed it" %
                                 (task_id, self.starts))
        self.shown |= now_shown
        self.log("start %d: %d in the state, %d completed" % (self.starts, len(ids), len(completed)))

    # ---- The whole -------------------------------------------------------------------------------

    def run(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.journals)
        if self.small_disk:
            for name in os.listdir(self.small_disk):
                os.unlink(os.path.join(self.small_disk, name))
        self.write_tasks(os.path.join(self.dir, "tasks.json"), self.tasks)
        self.log("plan: %s %s" % (self.way, self.plan))
        while self.starts < STARTS_MAX:
            faults_left = len(self.plan)
            process = self.start()
            try:
                status = self.watch(process)
            except Hang as e:
                self.findings.append("%s in start %d" % (e, self.starts))
                self.log("hang: " + "; ".join(p.describe() for p in self.machine.processes()[:40]))
                self.machine.kill_all()
                status = process.wait()
            self.log("start %d ended with %d" % (self.starts, status))
            self.settle()
            self.snapshot()
            ended = status in (0, 1) and self.all_ended()
            if ended and all(a["confirmed"] for a in self.adds):
                self.check_status(status, disturbed=len(self.plan) < faults_left)
                break
        else:
            self.findings.append("%d starts were not enough" % self.starts)
        self.sweep()
        self.read_outputs()
        self.judge()
        return self.findings

    def all_ended(self):
        tasks, _ = audit.read_state(self.db)
        return bool(tasks) and all(t["status"] not in ("pending", "running") for t in tasks.values())

    def check_status(self, status, disturbed):
        """(A launcher that lost something, or was killed, has a status of its own.)"""
        tasks, _ = audit.read_state(self.db)
        wanted = 0 if all(t["status"] == "completed" for t in tasks.values()) else 1
        if status != wanted and not disturbed and self.way != "mpirun-nodes":
            self.findings.append("exit status %d, not %d" % (status, wanted))

    def sweep(self):
        """One more start, on all nodes: it has nothing to do, must do nothing, and removes what the
        killed ones left there."""
        before = self.progress()
        status = self.start("srun").wait(120)
        tasks, _ = audit.read_state(self.db)
        self.settle()
        self.snapshot()
        wanted = 0 if all(t["status"] == "completed" for t in tasks.values()) else 1
        if status != wanted or self.progress() != before:
            self.findings.append("a resume with nothing to do ended with %d, not %d, and started %d tasks" %
                                 (status, wanted, self.progress() - before))

    def read_outputs(self):
        """Some of those that wrote: it is all there, however it is kept."""
        tasks, _ = audit.read_state(self.db)
        wrote = [t for t in self.tasks if t.kind == "write" and tasks.get(t.id, {}).get("status") == "completed"]
        for task in self.rng.sample(wrote, min(10, len(wrote))):
            done = subprocess.run([self.machine.pilot, "logs", task.id, "--workdir", self.workdir, "--db", self.db],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
            if done.returncode != 0 or done.stdout != b"x" * task.number:
                self.findings.append("what %s wrote (%d bytes, --output=%s) is not what can be read: status %d, %d bytes, %r" %
                                     (task.id, task.number, self.kept, done.returncode, len(done.stdout), done.stdout[-150:]))

    def judge(self):
        record = audit.Record(list(self.tasks), self.workdir, self.db, self.journals)
        for added in self.adds:
            record.tasks += added["tasks"]
        record.killed, record.hooked = set(self.killed), self.hooked
        record.small_disk = self.small_disk is not None
        record.snapshots, record.shown = self.snapshots, self.shown
        self.findings += audit.audit(record)
        self.findings += audit.files_left(self.workdir, self.db, self.small_disk)
        self.findings += ["left: %s" % p for p in self.machine.temporary_files() if not self.of_launcher(p)]
        self.machine.remove_temporary_files()

    def of_launcher(self, path):
        """Is this of an mpirun or a step daemon that we have killed, for the pilot's own ranks? (Of a killed
        whole it is one of those killed.) That of the tasks' own is not excused: they are the pilot's to end in order."""
        parts = path.split("/")
        killed = any(n.startswith(("kill-launcher", "kill-all")) for n in self.done)
        if parts[2].startswith("spmix_appdir_"):
            return killed
        if parts[2] == "shm" or len(parts) > 3 and parts[3].startswith("vader_segment."):
            return killed and parts[3].split(".")[3] in self.jobids
        if not parts[2].startswith("ompi."):
            return False
        return len(parts) < 4 or parts[3].startswith("jf.") or parts[3] in ["pid.%d" % n for n in self.launchers]


def parse(argv):
    p = argparse.ArgumentParser()
    p.add_argument("--minutes", type=float, required=True)
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--tasks", type=int, default=10000)
    p.add_argument("--scale", type=float, help="of the tasks' sleeps; by the number of tasks")
    p.add_argument("--lost-after", type=float, default=4.0)
    p.add_argument("--patience", type=float, default=90)
    p.add_argument("--round", type=int, help="only this one")
    p.add_argument("--ways", type=lambda text: text.split(","), default=WAYS, help="of starting the pilot")
    p.add_argument("--faults", type=lambda text: text.split(","), help="these, at moments by the seed")
    p.add_argument("--early", type=lambda text: text.split(","), help="these, each while the ranks of a start start")
    for name in ("pilot", "task", "mpi-program", "base", "small-disk", "vcluster", "cluster-dir", "marker"):
        p.add_argument("--" + name, required=True)
    return p.parse_args(argv)


def main():
    options = parse(sys.argv[1:])
    machine = Machine(options.pilot, options.marker, options.base, options.vcluster, options.cluster_dir)
    end = time.monotonic() + options.minutes * 60
    number, bad, longest = options.round or 1, 0, 0.0
    while True:
        rnd, begin = Round(options, machine, number), time.monotonic()
        findings = rnd.run()
        seconds = time.monotonic() - begin
        longest = max(longest, seconds)
        print("round %d seed %d %s%s%s %d tasks: %s: %d starts, %.0f s: %s" %
              (number, options.seed, rnd.way, " hook" if rnd.hooked else "",
               (" small-disk" if rnd.small_disk else "") + " " + rnd.kept,
               len(rnd.tasks), " ".join(rnd.done + ["not reached: " + n for _, n in rnd.plan]) or "no fault",
               rnd.starts, seconds, "ok" if not findings else "%d FINDINGS" % len(findings)), flush=True)
        for line in findings[:12]:
            print("    " + line, flush=True)
        if findings:
            bad += 1
            print("    evidence: %s; again: --seed %d --round %d" % (rnd.dir, options.seed, number), flush=True)
        else:
            shutil.rmtree(rnd.dir)
        number += 1
        # No round is begun that would not end in time.
        if options.round or time.monotonic() + longest * 0.8 > end:
            break
    print("torture: %d rounds, %d with findings" % (number - (options.round or 1), bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
