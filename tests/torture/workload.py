# SPDX-License-Identifier: BSD-3-Clause
"""Owns: the tasks of a torture round, drawn from a seed, and what must become of each.

What must become of a task follows from this file alone and never from what the pilot wrote: a task
of a kind that succeeds at its third attempt completes, however often a node was lost under it,
because losing an attempt never makes it fail (PILOT_ATTEMPT only grows).
"""
import random
import shlex

# kind: share of the tasks
SHARES = {
    "ok": 64, "flaky": 8, "fail": 5, "exhausted": 3, "timeout": 1, "signal": 2, "spawn": 2,
    "daemon": 5, "deaf": 3, "write": 6,
}
# Seconds of sleep; the mean with `scale` 1 is about 0.07.
NAPS = [0, 0, 0, 10, 20, 50, 100, 100, 300]
LONG_NAPS = [1000, 2000, 3000]  # one in a hundred, so that a fault always hits something


class Task:
    """One task: the fields for the task file, and its nature."""

    def __init__(self, task_id, kind, rng, scale):
        nap = rng.choice(LONG_NAPS) if rng.random() < 0.01 else int(rng.choice(NAPS) * scale)
        self.id = task_id
        self.kind = kind
        self.cores = rng.choice([1, 1, 1, 2])
        self.priority = rng.randint(-3, 3)
        self.nap_ms = nap
        self.max_retries = 0
        self.timeout = None
        self.depends_on = []
        self.follow_ups = 0  # that the hook answers with when this one has completed
        self.number = 0  # exit status, signal, or how many attempts fail first
        if kind == "flaky":
            self.number = rng.randint(1, 2)
            self.max_retries = rng.randint(self.number, 3)
        elif kind == "fail":
            self.number = rng.choice([1, 2, 7, 99])
        elif kind == "exhausted":
            self.number = 3
            self.max_retries = 2
        elif kind == "signal":
            self.number = 10  # USR1
        elif kind == "write":
            self.number = rng.choice([1000, 100000, 400000])
        elif kind == "daemon":
            self.number = int(rng.random() < 0.1)  # holds the output open, which costs the grace time
        elif kind == "timeout":
            self.timeout = 0.3
        elif kind == "ok" and rng.random() < 0.3:
            self.max_retries = 2  # some have retries that they do not need

    def words(self, program, journals, mpi_program):
        """The command as a list of arguments."""
        base = [program, journals]
        if self.kind == "spawn":
            return ["/nosuch/program"]
        if self.kind == "mpi":
            return base + ["run", "0", "mpirun", "-np", str(self.cores), mpi_program]
        verb = {"exhausted": "fail", "timeout": "hang"}.get(self.kind, self.kind)
        return base + [verb, str(self.nap_ms), str(self.number)]

    def to_json(self, program, journals, mpi_program):
        words = self.words(program, journals, mpi_program)
        out = {"id": self.id, "command": words, "cores": self.cores, "priority": self.priority}
        if self.nap_ms % 3 == 0:  # a shell in between for some
            out["command"] = " ".join(shlex.quote(w) for w in words)
        if self.kind == "spawn":
            out["command"] = words
        if self.max_retries:
            out["max_retries"] = self.max_retries
        if self.timeout:
            out["timeout"] = self.timeout
        if self.depends_on:
            out["depends_on"] = self.depends_on
        if self.follow_ups:
            out["tags"] = {"follow_ups": self.follow_ups}
        return out

    def natural(self, attempt):
        """(reason, exit code, signal) of an attempt that nobody disturbs."""
        if self.kind == "flaky":
            return ("exit", 1 if attempt <= self.number else 0, None)
        if self.kind in ("fail", "exhausted"):
            return ("exit", self.number, None)
        if self.kind == "timeout":
            return ("timeout", None, None)  # how TERM or KILL ended it is not asked
        if self.kind == "signal":
            return ("signal", None, self.number)
        if self.kind == "spawn":
            return ("spawn", None, None)
        return ("exit", 0, None)

    def completes(self):
        return self.natural(1000000) == ("exit", 0, None)


def draw_tasks(rng, count, scale, prefix="t", mpi=0):
    """`count` tasks; the first `mpi` of a random order are MPI programs."""
    kinds = rng.choices(list(SHARES), list(SHARES.values()), k=count)
    for i in rng.sample(range(count), min(mpi, count)):
        kinds[i] = "mpi"
    tasks = []
    for i, kind in enumerate(kinds):
        task = Task("%s%05d" % (prefix, i), kind, rng, scale)
        if i and rng.random() < 0.25:
            # Mostly on recent ones, so that there are chains; sometimes on any.
            low = max(0, i - 50) if rng.random() < 0.8 else 0
            chosen = rng.sample(range(low, i), min(i - low, rng.randint(1, 3)))
            # A failing dependency skips: allowed, but it must not eat the whole workload.
            task.depends_on = [tasks[j].id for j in sorted(chosen)
                               if tasks[j].completes() or rng.random() < 0.3]
        tasks.append(task)
    return tasks


def draw_follow_ups(rng, tasks, share):
    """Marks tasks whose completion the hook answers with new ones."""
    for task in tasks:
        if rng.random() < share:
            task.follow_ups = rng.randint(1, 3)


def follow_up(parent_id, n):
    """The n-th follow-up of a task; the same whoever makes it (torture_hook.py does, by this)."""
    rng = random.Random("%s/%d" % (parent_id, n))
    return Task("%s.f%d" % (parent_id, n), rng.choice(["ok", "ok", "flaky", "fail"]), rng, 0.3)


def all_follow_ups(tasks):
    return [follow_up(t.id, n) for t in tasks for n in range(t.follow_ups)]


def expected(tasks, own):
    """Final status by id. own(task): how the task ends if it runs: "completed" or "failed".
    `tasks` are in an order in which every task comes after those it depends on."""
    out = {}
    for task in tasks:
        if any(out[d] != "completed" for d in task.depends_on):
            out[task.id] = "skipped"
        else:
            out[task.id] = own(task)
    return out


def predicted(tasks):
    """As nobody's kill -9 has hit a task itself."""
    return expected(tasks, lambda t: "completed" if t.completes() else "failed")
