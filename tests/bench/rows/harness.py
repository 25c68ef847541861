# SPDX-License-Identifier: BSD-3-Clause
"""What all rows share: programs, fresh directories, running things, a row's figures over the rounds.

Each round has work directories of its own and nothing is deleted before the end: a file system that
has just freed many inodes is slower at making new ones (ext4 looks at those freed in the last half
minute), and would be measured instead."""
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time


class Unavailable(Exception):
    """This row cannot be measured here; the text says why."""


class Bench:
    def __init__(self, root, build, quick):
        self.root, self.build, self.quick = root, build, quick
        self.pilot = os.path.join(build, "pilot-mpi")
        self.tools = os.path.join(build, "tests", "bench")
        self.cores = len(os.sched_getaffinity(0))
        self.work = tempfile.mkdtemp(prefix="bench-work.", dir=build)
        self.children, self.closers, self.kept, self.numbers = [], [], {}, 0
        self.env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", LC_ALL="C.UTF-8")

    def pick(self, quick, full):
        return quick if self.quick else full

    def tool(self, name):
        return os.path.join(self.build, "tests", "sim", name) if name.startswith("sim_") else os.path.join(self.tools, name)

    def once(self, name, make):
        """What is made once and used in all rounds."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def fresh(self, name="run"):
        self.numbers += 1
        path = os.path.join(self.work, "%s.%d" % (name, self.numbers))
        os.mkdir(path)
        return path

    def spawn(self, command, cwd, **more):
        out = open(os.path.join(cwd, "out.log"), "ab")
        more = {"stdout": out, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, "env": self.env, **more}
        child = subprocess.Popen(command, cwd=cwd, start_new_session=True, **more)
        out.close()
        self.children.append(child)
        return child

    def finish(self, child, timeout):
        """Waits (without looking again and again, which would be measured); returns its resources."""
        late = threading.Timer(timeout, child.kill)
        late.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        finally:
            late.cancel()  # or it would keep this program until then
        child.returncode = os.waitstatus_to_exitcode(status)
        return usage

    def run(self, command, cwd, timeout=900, **more):
        """Returns (seconds, resources)."""
        begin = time.monotonic()
        child = self.spawn(command, cwd, **more)
        usage = self.finish(child, timeout)
        seconds = time.monotonic() - begin
        if child.returncode != 0:
            with open(os.path.join(cwd, "out.log"), errors="replace") as f:
                last = f.read()[-800:]
            raise RuntimeError("'%s' ended with %d:\n%s" % (" ".join(command), child.returncode, last))
        return seconds, usage

    def ask(self, *command):
        """Standard output of a program that is part of the bench."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.env)
        if done.returncode != 0:
            raise RuntimeError("'%s' ended with %d:\n%s" % (" ".join(command), done.returncode, done.stderr[-800:]))
        return done.stdout

    def stop(self, child, signum=signal.SIGTERM, patience=20):
        """Ends a program; after the patience without asking."""
        if child.returncode is not None or child.poll() is not None:
            return
        child.send_signal(signum)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def close(self):
        for child in self.children:
            self.stop(child)
        for closer in self.closers:
            closer()
        if os.environ.get("PILOT_TEST_KEEP") == "1":
            print("kept: %s" % self.work)
        else:
            shutil.rmtree(self.work, ignore_errors=True)


def wait_for(what, seconds, condition, pause=0.01):
    deadline = time.monotonic() + seconds
    while not (got := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError("after %d s still not: %s" % (seconds, what))
        time.sleep(pause)
    return got


class Row:
    """A line of the table. measure(bench) is one round; it returns a dictionary:

    value      the figure, in `unit`
    reference  what it is measured beside, in the same unit
    ratio      how good that is, more is better: that is what is recorded and must not fall
    ...        whatever else is worth keeping in the JSON
    """
    key = title = unit = beside = ""
    reach_ratio = None   # the ratio to reach, or ...
    reach_value = None   # ... the value, and
    less = False         # is less of it better?
    quick_rounds = 5     # in a quick run
    rounds_max = 1000    # for what is the same in each round

    def measure(self, bench):
        raise NotImplementedError

    def note(self, rounds):
        """A remark beside the figures."""
        return ""

    def summary(self, rounds):
        out = {"title": self.title, "unit": self.unit, "reference": self.beside, "rounds": rounds}
        for name in ("value", "reference", "ratio"):
            numbers = [r[name] for r in rounds if r.get(name) is not None]
            if numbers:
                out[name + "_figures"] = {"median": statistics.median(numbers), "low": min(numbers), "high": max(numbers)}
        out["goal"] = self.goal_text()
        out["reached"] = self.is_reached(out)
        out["note"] = self.note(rounds)
        return out

    def goal_text(self):
        if self.reach_ratio is not None:
            return "%.2f" % self.reach_ratio
        if self.reach_value is not None:
            return "%s%s %s" % ("<= " if self.less else ">= ", number(self.reach_value), self.unit)
        return ""

    def is_reached(self, out):
        ok = True
        if self.reach_ratio is not None:
            ok = out["ratio_figures"]["median"] >= self.reach_ratio
        if self.reach_value is not None:
            median = out["value_figures"]["median"]
            ok = ok and (median <= self.reach_value if self.less else median >= self.reach_value)
        return ok


def number(x):
    if x is None:
        return ""
    if abs(x) >= 1000:
        return "{:,.0f}".format(x)
    return "%.3g" % x if abs(x) < 100 else "%.0f" % x


def write_lines(path, line, count):
    with open(path, "w") as f:
        for start in range(0, count, 100000):
            f.write("".join(line(i) for i in range(start, min(count, start + 100000))))


def load_json(path):
    with open(path) as f:
        return json.load(f)
