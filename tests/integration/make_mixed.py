#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes a task file of COUNT mixed tasks and what must become of each.

    make_mixed.py DIR [COUNT [SEED]]      writes DIR/tasks.json and DIR/expected.txt

Cores 1 or 2, priorities, dependencies, tasks that fail for good, that need retries, that run into
their timeout, that are killed by a signal, that cannot be started; the final status of each
follows from the file alone, however it is scheduled. Each task records the CPUs that it could run
on, at its start and from a child, in its standard output.
"""
import json
import os
import random
import sys

RECORD = (
    'sed -n "s/^Cpus_allowed_list:[[:space:]]*/cpus /p" /proc/self/status; '
    'echo "told ${PILOT_CPUS:-none}"; echo "host $(hostname)"; '
)


def build(count, seed):
    rng = random.Random(seed)
    tasks, status = [], {}
    for i in range(count):
        task_id = "t%03d" % i
        kind = rng.choices(
            ["ok", "fail", "flaky", "exhausted", "timeout", "signal", "spawn"],
            [70, 6, 10, 4, 4, 3, 3],
        )[0]
        seconds = rng.choice([0, 0, 0.05, 0.1, 0.2])
        task = {"id": task_id, "cores": rng.choice([1, 1, 1, 2]), "priority": rng.randint(-3, 3)}
        end = "sleep %s" % seconds
        own = "completed"
        if kind == "fail":
            end, own = end + "; exit %d" % rng.randint(1, 99), "failed"
        elif kind == "flaky":
            fails = rng.randint(1, 2)
            end += "; [ $PILOT_ATTEMPT -gt %d ]" % fails
            task["max_retries"] = rng.randint(fails, 3)
        elif kind == "exhausted":
            end, own = end + "; [ $PILOT_ATTEMPT -gt 3 ]", "failed"
            task["max_retries"] = 2
        elif kind == "timeout":
            end, own = "sleep 600", "failed"
            task["timeout"] = 0.5
        elif kind == "signal":
            end, own = "kill -USR1 $$; sleep 600", "failed"
        if kind == "spawn":
            task["command"], own = ["/nosuch/program"], "failed"
        else:
            task["command"] = RECORD + end
        if i and rng.random() < 0.35:
            chosen = rng.sample(range(i), min(i, rng.randint(1, 3)))
            task["depends_on"] = ["t%03d" % j for j in sorted(chosen)]
            if any(status["t%03d" % j] != "completed" for j in chosen):
                own = "skipped"
        status[task_id] = own
        tasks.append(task)
    return tasks, status


def main():
    directory = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    tasks, status = build(count, seed)
    with open(os.path.join(directory, "tasks.json"), "w") as f:
        json.dump({"tasks": tasks}, f, indent=1)
    with open(os.path.join(directory, "expected.txt"), "w") as f:
        f.writelines("%s %s\n" % pair for pair in sorted(status.items()))
    by_status = {s: list(status.values()).count(s) for s in set(status.values())}
    print("seed", seed, by_status)


if __name__ == "__main__":
    main()
