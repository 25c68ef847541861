#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Which temperatures of liquid argon are worth another run? Both halves of the campaign:

    python3 active.py tasks [STEPS] > tasks.json         the coarse grid
    pilot-mpi --on-complete "python3 active.py" tasks.json

As a hook it answers, once all temperatures asked for so far have ended, with those 2.5 K beside each
whose mean square displacement (MSD) is above 0.8 of the largest; and again when these have ended; 20
tasks at most. Decided in such rounds, it does not matter in which order results come in. At the end
it writes msd.svg into the work directory.

It can be killed at any moment: what it knows is in the files that it writes beside the results, and
what follows is computed from them alone. So it simply names everything that is to be run each time;
tasks that are there already are no news to the pilot.
"""
import glob
import json
import os
import shlex
import sys

import plot

COARSE = (80, 90, 100, 110, 120)  # K
STEP = 2.5
SHARE = 0.8
MAX_TASKS = 20
INPUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "in.argon")


def task(temperature, steps):
    return {
        "id": f"T{temperature:g}",
        "command": f"mpirun -np 2 lmp -log none -in {shlex.quote(INPUT)} -var T {temperature:g} -var steps {steps}",
        "cores": 2,
        "timeout": 300,
        "max_retries": 1,
        # A rank that waits lets others have the core: where it has a core of its own that costs
        # next to nothing, and where it has not it is ten times as fast.
        "env": {"OMPI_MCA_mpi_yield_when_idle": "1"},
        "tags": {"T": temperature, "steps": steps},
    }


def plan(msd):
    """All temperatures to run, in rounds, given the MSD of those that have ended (None: it failed)."""
    wanted = list(COARSE)
    while all(t in msd for t in wanted):
        good = {t: msd[t] for t in wanted if msd[t] is not None}
        limit = SHARE * max(good.values(), default=0)
        beside = {t + d for t in good if good[t] > limit for d in (-STEP, STEP)}
        new = sorted(t for t in beside if t not in wanted and COARSE[0] <= t <= COARSE[-1])
        new = new[: MAX_TASKS - len(wanted)]
        if not new:
            break
        wanted += new
    return wanted


def read_msd(path):
    """The last displacement of a complete run of LAMMPS, in square Angstrom; None if there is none."""
    last, value, counts = None, None, False
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            fields = line.split()
            if "c_msd[4]" in fields:
                counts = True  # the table that follows has it in its last column
            elif line.startswith("Loop time") and counts:
                value = last
            elif counts and len(fields) == 6 and fields[0].isdigit():
                last = float(fields[5])
    return value


def record(workdir, result):
    """Keeps what is to be known of a task, whole or not at all."""
    path = os.path.join(workdir, result["task_id"], "msd.json")
    msd = read_msd(result["stdout_file"]) if result["success"] else None
    if msd is None:
        print(f"active.py: no result from {result['task_id']}, see {result['stderr_file']}", file=sys.stderr)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="ascii") as f:
        json.dump(msd, f)
    os.replace(path + ".new", path)


def recorded(workdir):
    """{temperature: MSD or None} of what has ended."""
    msd = {}
    for path in glob.glob(os.path.join(glob.escape(workdir), "T*", "msd.json")):
        with open(path, encoding="ascii") as f:
            msd[float(os.path.basename(os.path.dirname(path))[1:])] = json.load(f)
    return msd


def forget(workdir):
    for path in glob.glob(os.path.join(glob.escape(workdir), "T*", "msd.json")):
        os.remove(path)


def hook():
    workdir = None
    for line in sys.stdin:
        event = json.loads(line)
        if event["event"] == "hello":
            workdir = event["workdir"]
            if event["counts"]["completed"] + event["counts"]["failed"] == 0:
                forget(workdir)  # of an earlier campaign in this directory
        elif event["event"] == "ended":
            record(workdir, event["result"])
            steps = event["task"]["tags"]["steps"]
            tasks = [task(t, steps) for t in plan(recorded(workdir)) if t not in COARSE]
            print(json.dumps({"ack": event["seq"], "tasks": tasks}), flush=True)
        elif event["event"] == "end":
            msd = {t: m for t, m in recorded(workdir).items() if m is not None}
            with open(os.path.join(workdir, "msd.svg"), "w", encoding="utf-8") as f:
                f.write(plot.svg(msd, COARSE, SHARE))
        elif event["event"] == "error":
            print(f"active.py: {event['message']}", file=sys.stderr)


def main():
    if len(sys.argv) == 1:
        hook()
    elif sys.argv[1] == "tasks":
        steps = int(sys.argv[2]) if len(sys.argv) > 2 else 20000
        print("[\n" + ",\n".join("  " + json.dumps(task(t, steps)) for t in COARSE) + "\n]")
    else:
        sys.exit("usage: active.py tasks [STEPS] > tasks.json, or as a hook without arguments")


if __name__ == "__main__":
    main()
