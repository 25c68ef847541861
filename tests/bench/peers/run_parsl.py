# SPDX-License-Identifier: BSD-3-Clause
"""Runs plan.json on Parsl: the HighThroughputExecutor on this machine, a bash app a task."""
import json
import shlex
import sys

import parsl
from parsl.app.app import bash_app
from parsl.config import Config
from parsl.dataflow.memoization import BasicMemoizer
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
from parsl.utils import get_all_checkpoints

plan = json.load(open("plan.json"))
keep = plan["kind"] == "resume"


def memoizer():
    if not keep:
        return BasicMemoizer(memoize=False)
    return BasicMemoizer(checkpoint_mode="task_exit",
                         checkpoint_files=get_all_checkpoints() if "resume" in sys.argv else None)


@bash_app(cache=keep, ignore_for_cache=["inputs"])
def task(line, inputs=(), stdout=None):
    return line


config = Config(
    executors=[HighThroughputExecutor(
        address="127.0.0.1", max_workers_per_node=plan["cores"], cores_per_worker=1,
        prefetch_capacity=plan["cores"], encrypted=False,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1))],
    memoizer=memoizer(), strategy="none", initialize_logging=False)

with parsl.load(config):
    futures = []
    for number, (argv, deps) in enumerate(plan["tasks"]):
        out = "%s/%d" % (plan["out"], number) if plan["out"] else None
        futures.append(task(shlex.join(argv), inputs=[futures[d] for d in deps], stdout=out))
    failed = sum(1 for f in futures if f.exception() is not None)
sys.exit(1 if failed else 0)
