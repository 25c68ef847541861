# SPDX-License-Identifier: BSD-3-Clause
"""Runs plan.json on QCG-PilotJob: a manager on this machine, a job of one core a task."""
import glob
import json
import os
import sys

from qcg.pilotjob.api.job import Jobs
from qcg.pilotjob.api.manager import LocalManager


def main():
    plan = json.load(open("plan.json"))
    args = ["--log", "error", "--nodes", str(plan["cores"]), "--wd", os.getcwd()]
    again = "resume" in sys.argv
    if again:
        # Where the killed one kept its track.
        args += ["--resume", sorted(glob.glob(os.path.join(os.getcwd(), ".qcgpjm-service-*")))[0]]
    manager = LocalManager(args, {"log_file": "api.log"})
    if not again:
        jobs = Jobs()
        for number, (argv, deps) in enumerate(plan["tasks"]):
            more = {"stdout": "%s/%d" % (plan["out"], number)} if plan["out"] else {}
            if deps:
                more["after"] = ["t%d" % d for d in deps]
            jobs.add(name="t%d" % number, exec=argv[0], args=argv[1:], numCores={"exact": 1}, **more)
        manager.submit(jobs)
    manager.wait4all()
    names = list(manager.list())
    states = manager.status(names)["jobs"].values()
    manager.finish()
    manager.cleanup()
    return 0 if all(s["data"]["status"] == "SUCCEED" for s in states) else 1


if __name__ == "__main__":
    sys.exit(main())
