# SPDX-License-Identifier: BSD-3-Clause
"""Runs plan.json on HyperQueue: its own server and one worker, both out of the Python package."""
import json
import logging
import sys

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

plan = json.load(open("plan.json"))
logging.disable(logging.INFO)
job = Job(max_fails=None)
made = []
for argv, deps in plan["tasks"]:
    options = {}
    if plan["out"]:
        options = {"stdout": "%s/%d" % (plan["out"], len(made)), "stderr": "%s/%d.err" % (plan["out"], len(made))}
    elif "quiet" in sys.argv:
        options = {"stdout": None, "stderr": None}
    made.append(job.program(argv, deps=[made[d] for d in deps], **options))
with LocalCluster(worker_config=WorkerConfig(cores=plan["cores"])) as cluster:
    client = cluster.client()
    ok = client.wait_for_jobs([client.submit(job)], raise_on_error=False)
sys.exit(0 if ok else 1)
