# SPDX-License-Identifier: BSD-3-Clause
"""What the tools are given to do, and how it is seen that they did it."""
import os

OUT_BYTES = 10240
SPIN_US = 50000
RESUME_SPIN_US = 5000


class Task:
    def __init__(self, number, argv, deps=()):
        self.number = number
        self.argv = argv
        self.deps = list(deps)


class Job:
    """One run of one workload by one tool, in a directory of its own."""

    def __init__(self, kind, n, where, cores, peer_task, spin_us=SPIN_US):
        self.kind = kind
        self.n = n
        self.dir = where
        self.cores = cores
        self.marks = os.path.join(where, "marks")
        self.out = os.path.join(where, "out") if kind == "out" else None
        self.spin_us = spin_us if kind == "spin" else RESUME_SPIN_US if kind == "resume" else 0
        self.tasks = [self._task(i, peer_task) for i in range(n)]

    def _task(self, i, peer_task):
        if self.kind == "true":
            return Task(i, ["/bin/true"])
        if self.kind == "spin":
            return Task(i, [peer_task, "spin", str(self.spin_us)])
        if self.kind == "out":
            return Task(i, [peer_task, "out", str(OUT_BYTES)])
        argv = [peer_task, "mark", self.marks, str(i)]
        if self.kind == "resume":
            argv.append(str(RESUME_SPIN_US))
        return Task(i, argv, diamond_deps(i) if self.kind == "dag" else ())

    @property
    def has_deps(self):
        return self.kind == "dag"

    def done(self):
        """The marks, in the order in which they were made."""
        try:
            with open(self.marks) as f:
                return [int(line) for line in f if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def complaint(self, cpu_s):
        """What shows that not all was done, or None."""
        if self.kind in ("dag", "check"):
            return marks_complaint(self.done(), self.tasks)
        if self.kind == "spin" and cpu_s < 0.98 * self.n * self.spin_us / 1e6:
            return "%.2f s of CPU time is less than the tasks need" % cpu_s
        if self.kind == "out":
            size = bytes_below(self.out)
            if size < self.n * OUT_BYTES:
                return "%d bytes of output kept, of %d" % (size, self.n * OUT_BYTES)
        return None


def diamond_deps(i):
    """A chain of diamonds: 0 before 1 and 2, these before 3, which begins the next one."""
    if i == 0:
        return []
    return [[i - 1, i - 2], [i - 1], [i - 2]][i % 3]


def diamond_levels(n):
    """So many tasks must run one after the other."""
    level = []
    for i in range(n):
        level.append(1 + max((level[d] for d in diamond_deps(i)), default=0))
    return max(level)


def marks_complaint(marks, tasks):
    at = {number: place for place, number in enumerate(marks)}
    if len(at) != len(tasks):
        return "%d of %d tasks ran" % (len(at), len(tasks))
    if len(marks) != len(at):
        return "%d tasks ran twice" % (len(marks) - len(at))
    for task in tasks:
        if any(at[d] > at[task.number] for d in task.deps):
            return "task %d ran before one that it depends on" % task.number
    return None


def bytes_below(directory):
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            total += os.lstat(os.path.join(where, name)).st_size
    return total
