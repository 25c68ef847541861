#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The sweep in Python: python3 sweep.py [CORES]; in an allocation the pilot is started through srun."""
import os
import shlex
import sys

from pilot import Pilot, Task

MAX_TASKS = 20
MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.sh")
known = set()


def points(*xs):
    """Tasks for those of xs that are new and within the range, as long as there may be more."""
    tasks = []
    for x in xs:
        if 0 <= x <= 10 and x not in known and len(known) < MAX_TASKS:
            known.add(x)
            tasks.append(Task(id=f"x{x:g}", command=f"sh {shlex.quote(MODEL)} {x:g}", tags={"x": x}))
    return tasks


def refine(task, result, pilot):
    """Called for each task that has ended; what it returns runs next."""
    if not result.success:
        return None
    with open(result.stdout_file, encoding="ascii") as f:
        x, y = map(float, f.read().split())
    return points(x - 0.5, x + 0.5) if y > 0.5 else None


pilot = Pilot(total_cores=int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count())
pilot.on_complete(refine)
pilot.add_tasks(points(*range(11)))
summary = pilot.run()
print(f"{summary['completed']} points, {summary['failed']} failed")
sys.exit(summary["failed"] > 0)
