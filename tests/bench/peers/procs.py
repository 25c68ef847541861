# SPDX-License-Identifier: BSD-3-Clause
"""Runs a tool with a time limit and leaves nothing of it behind.

The measuring process is a child subreaper: whatever a tool starts (servers, workers, daemons in
sessions of their own) ends up below it, so that it can be found, killed and waited for by its id,
and its CPU time is counted.
"""
import ctypes
import math
import os
import resource
import select
import signal
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants():
    """Of this process, children before grandchildren; zombies left out."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name) as f:
                state, ppid = f.read().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue  # it has ended meanwhile
        if state != "Z":
            children.setdefault(int(ppid), []).append(int(name))
    found, look = [], [os.getpid()]
    while look:
        below = children.get(look.pop(0), [])
        found += below
        look += below
    return found


def reap():
    """Waits for what has ended, without blocking."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def kill_all(proc=None):
    """Kills everything below this process at once, as the crash of a node would."""
    for _ in range(200):
        pids = descendants()
        # Stopped first: what is killed cannot be missed by what would start something in its place.
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
        if proc is not None and proc.returncode is None:
            try:
                proc.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass
        reap()
        if not pids:
            return
        time.sleep(0.01)
    raise RuntimeError("processes that cannot be killed: %s" % descendants())


class Result:
    def __init__(self, status, wall_s, cpu_s):
        self.status = status  # exit status, negative: signal; None: killed by us
        self.wall_s = wall_s
        self.cpu_s = cpu_s


def ends_within(proc, seconds):
    """Popen.wait(timeout) looks with pauses of up to 50 ms; this one wakes at the end."""
    fd = os.pidfd_open(proc.pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0, math.ceil(1000 * seconds))))
    finally:
        os.close(fd)


def run(argv, cwd, log, limit_s, until=None, env=None):
    """Runs argv to its end, or until the time limit or the condition `until`, and then kills what
    is left of it. Output goes to the file `log`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(log, "ab") as out:
        start = time.monotonic()
        proc = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                start_new_session=True, env=env)
        status = None
        while status is None:
            left = start + limit_s - time.monotonic()
            if left <= 0 or (until is not None and until()):
                break
            if ends_within(proc, 0.005 if until is not None else left):
                status = proc.wait()
        wall_s = time.monotonic() - start
    kill_all(proc)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Result(status, wall_s,
                  after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
