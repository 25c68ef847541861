# SPDX-License-Identifier: BSD-3-Clause
"""Owns: what is done to a running pilot. A fault is a function of the round; it does its harm at
once, says in a word what it hit, and leaves what undoes it (SIGCONT, heal, room on the disk) with
round.later(). When there is nothing to hit any more it returns None.
"""
import json
import os
import signal
import subprocess
import time

import workload
from machine import kill


def pick(rnd, things):
    """One of them, by the seed as far as it is the same list again."""
    return things[rnd.rng.randrange(len(things))] if things else None


def by_role(rnd, role):
    return sorted((p for p, r in rnd.machine.pilots() if r == role), key=lambda p: p.pid)


# ---- Processes ---------------------------------------------------------------------------------------


def kill_head(rnd):
    p = rnd.machine.head()
    return p and kill(p.pid, signal.SIGKILL) and "rank 0"


def other_ranks(rnd):
    head = rnd.machine.head()
    return [p for p in by_role(rnd, "rank") if head and p.pid != head.pid
            and rnd.machine.rank_of(p) > 0 and p.session != p.pid]


def kill_agent(rnd):
    p = pick(rnd, other_ranks(rnd))
    return p and kill(p.pid, signal.SIGKILL) and "rank %d" % rnd.machine.rank_of(p)


def kill_guardian(rnd):
    p = pick(rnd, by_role(rnd, "guardian"))
    return p and kill(p.pid, signal.SIGKILL) and "of rank %d" % rnd.machine.rank_of(p)


def kill_slot(rnd):
    p = pick(rnd, by_role(rnd, "slot"))
    return p and kill(p.pid, signal.SIGKILL) and "pid %d" % p.pid


def kill_task(rnd):
    """From the pilot's view a task that died of a signal: a failure like any other. Written down
    first, so that the audit knows which attempts may end so."""
    end, found = time.monotonic() + 3, None
    while not found and time.monotonic() < end:  # most are over sooner than they are found
        found = pick(rnd, sorted(rnd.machine.tasks(), key=lambda t: t[1]))
    if not found:
        return None
    p, task_id, attempt = found
    rnd.killed.append((task_id, attempt))
    return kill(p.pid, signal.SIGKILL) and "%s.%d" % (task_id, attempt)


def stop_agent(rnd, seconds):
    p = pick(rnd, other_ranks(rnd))
    if not p or not kill(p.pid, signal.SIGSTOP):
        return None
    rnd.later(seconds, "wake", lambda: kill(p.pid, signal.SIGCONT))
    return "rank %d for %.1f s" % (rnd.machine.rank_of(p), seconds)


def stop_agent_short(rnd):
    return stop_agent(rnd, rnd.lost_after * rnd.rng.uniform(0.2, 0.6))


def stop_agent_long(rnd):
    return stop_agent(rnd, rnd.lost_after * rnd.rng.uniform(1.5, 2.0))


def kill_whole(rnd):
    """Everything at once, tasks too, as the end of a container does. The pilots are stopped first:
    else one of them could still report the death of a task as that task's own."""
    pilots = rnd.machine.pilots()
    for p, _ in pilots:
        kill(p.pid, signal.SIGSTOP)
    for p in rnd.machine.processes():
        kill(p.pid, signal.SIGKILL)
    return pilots and "%d pilots" % len(pilots)


def launchers(rnd):
    names = ("mpirun", "orterun", "orted", "srun", "salloc")
    return [p for p in rnd.machine.processes()
            if os.path.basename(p.argv[0] if p.argv else "") in names and not p.variable("PILOT_TASK_ID")]


def kill_launcher(rnd):
    """All of mpirun's or srun's own processes, on all nodes. Nobody says anything to Slurm."""
    hit = launchers(rnd) + rnd.machine.step_daemons()
    for p in hit:
        kill(p.pid, signal.SIGKILL)
    return hit and " ".join(sorted({os.path.basename(p.argv[0]).strip(":") for p in hit}))


def kill_srun(rnd):
    """Only what the user has started: the step goes on without it. The job is cancelled a moment later,
    as its user would."""
    hit = launchers(rnd)
    for p in hit:
        kill(p.pid, signal.SIGKILL)
    rnd.later(rnd.rng.uniform(0, 2), "scancel", rnd.machine.cancel_jobs)
    return hit and " ".join(sorted({os.path.basename(p.argv[0]) for p in hit}))


# ---- Signals ---------------------------------------------------------------------------------------


def signal_head(rnd, number):
    p = rnd.machine.head()
    if not p or not kill(p.pid, number):
        return None
    rnd.stops += 1
    return "rank 0"


def term(rnd):
    return signal_head(rnd, signal.SIGTERM)


def usr1(rnd):
    return signal_head(rnd, signal.SIGUSR1)


def interrupt(rnd):
    return signal_head(rnd, signal.SIGINT)


def term_mpirun(rnd):
    """It passes the signal on, waits a second and kills."""
    p = pick(rnd, [p for p in rnd.machine.processes() if os.path.basename((p.argv or [""])[0]) == "mpirun"
                   and not p.variable("PILOT_TASK_ID")])
    return p and kill(p.pid, signal.SIGTERM) and "mpirun"


def scancel(rnd):
    rnd.stops += 1
    return rnd.machine.cancel_jobs() and "the job"


def scancel_term(rnd):
    """TERM to every process of the step, the tasks too, in no order."""
    jobs = rnd.machine.jobs()
    rnd.stops += 1
    for job in jobs:
        rnd.machine.cluster("run", "scancel", "--signal=TERM", job + ".0")
    return jobs and "TERM to the step"


# ---- Nodes -----------------------------------------------------------------------------------------


def choose_node(rnd, of_head):
    head = rnd.machine.head()
    if not head:
        return None
    n = rnd.machine.node_of(head)
    if of_head:
        return n or None
    others = sorted({rnd.machine.node_of(p) for p in by_role(rnd, "rank")} - {0, n} - rnd.broken)
    return pick(rnd, others)


def crash(rnd, of_head=False):
    n = choose_node(rnd, of_head)
    if not n:
        return None
    # A real crash is one moment; here it takes some, in which a pilot could still report the death
    # of a task as that task's own.
    for p, _ in rnd.machine.pilots():
        if rnd.machine.node_of(p) == n:
            kill(p.pid, signal.SIGSTOP)
    rnd.machine.cluster("crash", n)
    rnd.broken.add(n)
    return "vc%d" % n


def crash_head(rnd):
    return crash(rnd, True)


def cut(rnd, seconds, of_head=False):
    n = choose_node(rnd, of_head)
    if not n:
        return None
    rnd.machine.cluster("cut", n, check=True)
    rnd.later(seconds, "heal", lambda: rnd.machine.cluster("heal", n, check=True))
    return "vc%d for %.1f s" % (n, seconds)


def cut_short(rnd):
    return cut(rnd, rnd.lost_after * rnd.rng.uniform(0.2, 0.6))


def cut_long(rnd):
    return cut(rnd, rnd.lost_after * rnd.rng.uniform(1.3, 2.0))


def cut_head(rnd):
    return cut(rnd, rnd.lost_after * rnd.rng.uniform(0.2, 2.0), True)


# ---- Disks -----------------------------------------------------------------------------------------


def full_disk(rnd):
    """Fills the file system of the state, and makes room again later."""
    if not rnd.small_disk:
        return None
    path = os.path.join(rnd.small_disk, "ballast")
    try:
        with open(path, "wb", buffering=0) as f:
            while f.write(b"\0" * 65536) == 65536:
                pass
            f.write(b"\0" * 4096)
    except OSError:
        pass
    seconds = rnd.rng.uniform(0.3, 4)

    def clear():
        if os.path.exists(path):
            os.unlink(path)

    rnd.later(seconds, "room", clear)
    return "for %.1f s" % seconds


# ---- More tasks ------------------------------------------------------------------------------------


def add_tasks(rnd):
    """As from a login node. What is not confirmed is added again later: it must change nothing."""
    number = len(rnd.adds)
    tasks = workload.draw_tasks(rnd.rng, max(3, rnd.count // 200), 0.5, "a%d_" % number)
    path = os.path.join(rnd.dir, "add%d.json" % number)
    rnd.write_tasks(path, tasks)
    rnd.adds.append({"path": path, "tasks": tasks, "confirmed": False})
    done = subprocess.Popen(
        [rnd.machine.vcluster, "run", rnd.machine.pilot, "add", "--workdir", rnd.workdir,
         "--db", rnd.db, path],
        env=rnd.machine.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    rnd.adding.append((done, rnd.adds[-1]))
    return "%d tasks" % len(tasks)


# Which faults may hit which way of starting it.
ANY = [("kill-rank0", kill_head, 2), ("kill-guardian", kill_guardian, 2), ("kill-slot", kill_slot, 3),
       ("kill-task", kill_task, 3), ("kill-all", kill_whole, 1), ("term", term, 1), ("usr1", usr1, 1),
       ("int", interrupt, 1), ("full-disk", full_disk, 2), ("add", add_tasks, 2),
       ("crash-rank0", crash_head, 1)]
MPIRUN = [("kill-launcher", kill_launcher, 2), ("term-mpirun", term_mpirun, 2), ("kill-agent", kill_agent, 1)]
NODES = [("kill-agent", kill_agent, 3), ("stop-short", stop_agent_short, 2), ("stop-long", stop_agent_long, 2),
         ("crash", crash, 3), ("cut-short", cut_short, 2), ("cut-long", cut_long, 2), ("cut-rank0", cut_head, 1)]
SLURM = [("kill-launcher", kill_launcher, 2), ("kill-srun", kill_srun, 1), ("scancel", scancel, 1), ("scancel-term", scancel_term, 1)]

MENUS = {
    "alone": ANY,
    "mpirun": ANY + MPIRUN,
    "mpirun-nodes": ANY + MPIRUN + NODES,
    "srun": ANY + SLURM + NODES,
    "srun-plain": ANY + SLURM + NODES,
}


# What is of no use, or has nothing to hit, while the ranks start.
LATE_ONLY = {"kill-slot", "kill-task", "full-disk", "add"}
EARLY_STARTS, EARLY_S = 3, 2.0  # how many starts may have one, how long the ranks start


def draw_early(rng, way, names=None):
    """For each of the first starts (seconds after its first rank has appeared, name), or None."""
    menu = [m for m in MENUS[way] if m[0] not in LATE_ONLY]
    if names:
        return [(rng.uniform(0, EARLY_S), name) for name in names]
    return [(rng.uniform(0, EARLY_S), rng.choices([m[0] for m in menu], [m[2] for m in menu])[0])
            if rng.random() < 0.4 else None for _ in range(EARLY_STARTS)]


def draw(rng, way, names=None):
    """[(at, name)]: at which share of the tasks started, what."""
    menu = MENUS[way]
    names = names or rng.choices([m[0] for m in menu], [m[2] for m in menu], k=rng.randint(2, 5))
    return sorted((round(rng.uniform(0.02, 0.9), 3), name) for name in names)


def act(rnd, name):
    return {m[0]: m[1] for menu in MENUS.values() for m in menu}[name](rnd)


def tasks_as_json(tasks, program, journals, mpi_program):
    return json.dumps([t.to_json(program, journals, mpi_program) for t in tasks], indent=0)
