# SPDX-License-Identifier: BSD-3-Clause
"""Owns: finding the processes of a torture run, and the virtual cluster's command.

Processes are known by a word in their environment, which the pilot hands on to tasks, or, for
daemons that have cleared theirs, by the directory of the round in their command line. All nodes of
the virtual cluster share the machine's process table, so one look sees everything.
"""
import os
import subprocess
import time


class Process:
    def __init__(self, pid):
        self.pid = pid
        with open("/proc/%d/stat" % pid, "rb") as f:
            rest = f.read().rpartition(b") ")[2].split()
        self.state, self.ppid, self.session = rest[0].decode(), int(rest[1]), int(rest[3])
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            self.argv = [a.decode(errors="replace") for a in f.read().split(b"\0")[:-1]]
        with open("/proc/%d/environ" % pid, "rb") as f:
            self.environ = f.read()
        try:
            self.exe = os.readlink("/proc/%d/exe" % pid)
            self.net = os.stat("/proc/%d/ns/net" % pid).st_ino
        except OSError:
            self.exe, self.net = "", 0

    def variable(self, name, default=None):
        key = name.encode() + b"="
        for entry in self.environ.split(b"\0"):
            if entry.startswith(key):
                return entry[len(key):].decode(errors="replace")
        return default

    def describe(self):
        return "%d (parent %d, %s) %s" % (self.pid, self.ppid, self.state, " ".join(self.argv)[:150])


def kill(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


class Machine:
    """The processes of this test and the cluster under it."""

    def __init__(self, pilot, marker, base, vcluster, cluster_dir):
        self.pilot = os.path.realpath(pilot)
        self.marker = ("TEST_MARKER=" + marker).encode()
        self.base = base  # of all rounds
        self.vcluster = vcluster
        self.cluster_dir = cluster_dir
        self.env = dict(os.environ, VCLUSTER_DIR=cluster_dir, TEST_MARKER=marker)
        tag = subprocess.run(["cksum"], input=cluster_dir.encode(), capture_output=True, check=True)
        self.tag = "vc" + tag.stdout.decode().split()[0]

    # ---- Processes -------------------------------------------------------------------------------

    def processes(self):
        """All of ours that live."""
        out = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                p = Process(int(name))
            except (OSError, IndexError, ValueError):
                continue
            by_path = len(p.argv) > 2 and p.argv[1].startswith(self.base) and p.argv[2] == "stay"
            if p.state != "Z" and (self.marker in p.environ or by_path):
                out.append(p)
        return out

    def pilots(self, found=None):
        """(process, role) of those whose program is the pilot. A rank's parent is none; guardians
        are the children of ranks, slots those of guardians."""
        found = self.processes() if found is None else found
        mine = {p.pid: p for p in found if p.exe == self.pilot and "add" not in p.argv[1:2]}
        out = []
        for p in mine.values():
            depth, up = 0, p
            while up.ppid in mine:
                depth, up = depth + 1, mine[up.ppid]
            out.append((p, ["rank", "guardian", "slot"][min(depth, 2)]))
        return out

    @staticmethod
    def rank_of(p):
        return int(p.variable("OMPI_COMM_WORLD_RANK") or p.variable("SLURM_PROCID") or 0)

    def ranks(self):
        return [p for p, role in self.pilots() if role == "rank"]

    def head(self):
        """The process of rank 0; None when there is none."""
        for p in self.ranks():
            if self.rank_of(p) == 0 and p.session != p.pid or self.has_state(p):
                return p
        return None

    @staticmethod
    def has_state(p):
        try:
            return any("state.db" in os.readlink("/proc/%d/fd/%s" % (p.pid, fd))
                       for fd in os.listdir("/proc/%d/fd" % p.pid))
        except OSError:
            return False

    def tasks(self):
        """Main processes of tasks: (process, id, attempt)."""
        found = self.processes()
        slots = {p.pid for p, role in self.pilots(found) if role == "slot"}
        out = []
        for p in found:
            task_id = p.variable("PILOT_TASK_ID")
            if p.ppid in slots and task_id and p.exe != self.pilot:
                out.append((p, task_id, int(p.variable("PILOT_ATTEMPT", "0"))))
        return out

    def wait_for_none(self, seconds):
        """Those that are left after so many seconds."""
        end = time.monotonic() + seconds
        while True:
            left = self.processes()
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.1)

    def kill_all(self):
        for _ in range(50):
            left = self.processes()
            if not left:
                return
            for p in left:
                kill(p.pid, 18)
                kill(p.pid, 9)
            time.sleep(0.1)

    def step_daemons(self):
        """Slurm's processes for the steps on our nodes. They have no marker: Slurm starts them."""
        out = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                p = Process(int(name))
            except (OSError, IndexError, ValueError):
                continue
            if p.state != "Z" and p.argv and p.argv[0].startswith("slurmstepd") and self.node_of(p):
                out.append(p)
        return out

    # ---- The cluster -----------------------------------------------------------------------------

    def cluster(self, *args, check=False, timeout=120, **more):
        """Runs a command of vcluster; its output as text. The cluster's daemons, which `revive`
        starts, must not look like something of ours that was left."""
        env = {k: v for k, v in self.env.items() if k != "TEST_MARKER"}
        done = subprocess.run([self.vcluster, *map(str, args)], env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=timeout,
                              check=False, **more)
        text = done.stdout.decode(errors="replace")
        if check and done.returncode != 0:
            raise RuntimeError("vcluster %s: %s" % (" ".join(map(str, args)), text))
        return text

    def node_of(self, p):
        """Number of the node that a process is on; 0: none."""
        for n in range(1, 5):
            try:
                if os.stat("/run/netns/%s-%d" % (self.tag, n)).st_ino == p.net:
                    return n
            except OSError:
                pass
        return 0

    def jobs(self):
        return self.cluster("run", "squeue", "-h", "-o", "%A").split()

    def cancel_jobs(self):
        jobs = self.jobs()
        if jobs:
            self.cluster("run", "scancel", *jobs)
        return jobs

    def temporary_files(self):
        """What pilots, MPI and tasks have left in the nodes' own /tmp and /dev/shm."""
        out = []
        for n in range(1, 5):
            text = self.cluster("on", n, "find", "/tmp", "/dev/shm", "-mindepth", "1", "-maxdepth", "2", "-xdev")
            out += ["vc%d:%s" % (n, line) for line in text.splitlines()]
        return out

    def remove_temporary_files(self):
        for n in range(1, 5):
            self.cluster("on", n, "find", "/tmp", "/dev/shm", "-mindepth", "1", "-xdev", "-delete")
