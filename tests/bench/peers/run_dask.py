# SPDX-License-Identifier: BSD-3-Clause
"""Runs plan.json on Dask: a scheduler and single-threaded workers on this machine."""
import json
import subprocess
import sys

from distributed import Client, LocalCluster


def task(argv, out, deps):
    if out is None:
        return subprocess.run(argv, stdin=subprocess.DEVNULL).returncode
    with open(out, "wb") as f:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=f).returncode


def main():
    plan = json.load(open("plan.json"))
    with LocalCluster(n_workers=plan["cores"], threads_per_worker=1, dashboard_address=None,
                      host="127.0.0.1") as cluster, Client(cluster) as client:
        if any(deps for _, deps in plan["tasks"]):
            futures = []
            for argv, deps in plan["tasks"]:
                futures.append(client.submit(task, argv, None, [futures[d] for d in deps], pure=False))
        else:
            outs = ["%s/%d" % (plan["out"], i) if plan["out"] else None
                    for i in range(len(plan["tasks"]))]
            futures = client.map(task, [t[0] for t in plan["tasks"]], outs,
                                 [[]] * len(plan["tasks"]), pure=False)
        return 1 if any(client.gather(futures)) else 0


if __name__ == "__main__":
    sys.exit(main())
