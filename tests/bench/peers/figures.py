# SPDX-License-Identifier: BSD-3-Clause
"""What the runs amount to: one figure a tool and workload, with median and spread."""
import statistics

OURS, REFERENCE = "pilot-mpi", "bare"
# The start of a tool is taken off what fewer tasks than asked for took; it is not the same each
# time, so what is left must be so many times as long, and it is asked for more.
LEAST_STARTS, ASKED_STARTS = 1.5, 4

# name: (heading, unit, is more better, what of a run)
WORKLOADS = {
    "true": ("/bin/true", "tasks/s", True),
    "spin": ("50 ms of work each", "% of the cores' time", True),
    "dag": ("chain of diamonds", "tasks/s", True),
    "out": ("10 kB of output each", "tasks/s", True),
    "metg": ("METG(50%)", "ms", False),
    "start": ("one task, from start to end", "s", False),
    "resume": ("the second half after kill -9", "s", False),
}


class Figure:
    def __init__(self, values, runs):
        self.median = statistics.median(values)
        self.low, self.high = min(values), max(values)
        self.rounds = len(values)
        self.n = runs[-1]["n"]
        self.lost = max((r.get("lost", 0) for r in runs), default=0)
        self.twice = max((r.get("twice", 0) for r in runs), default=0)


class Figures:
    def __init__(self, results):
        self.results = results
        self.cores = results["machine"]["cores"]
        self.tools = results["tools"]
        self.starts = {}
        for tool in self.tools:
            walls = [r["wall_s"] for r in self.runs(tool, "start")]
            self.starts[tool] = statistics.median(walls) if walls else 0
        self.all = {}
        for tool in self.tools:
            for kind in WORKLOADS:
                runs = self.runs(tool, kind)
                runs = [r for r in runs if not self.is_too_short(r)] or runs
                if runs:
                    self.all[tool, kind] = Figure([self.value(r) for r in runs], runs)

    def runs(self, tool, kind, wrong=False):
        return [r for r in self.results["runs"]
                if r["tool"] == tool and r["workload"] == kind and ("wrong" in r) == wrong]

    def is_reduced(self, kind, n):
        return kind in ("true", "spin", "dag", "out", "resume") and n < self.results["sizes"][kind]

    def is_too_short(self, run):
        start = self.starts[run["tool"]]
        return self.is_reduced(run["workload"], run["n"]) and run["wall_s"] - start < LEAST_STARTS * start

    def value(self, run):
        kind, wall = run["workload"], run["wall_s"]
        if kind == "metg":
            return 1e3 * run["metg_s"]
        # With fewer tasks the start of the tool would weigh more than it does with all.
        if self.is_reduced(kind, run["n"]):
            start = self.starts[run["tool"]]
            wall = max(1e-3, wall - start)
            if kind == "resume":
                return start + wall * self.results["sizes"][kind] / run["n"]
        if kind in ("start", "resume"):
            return wall
        if kind == "spin":
            return 100 * run["n"] * 0.05 / self.cores / wall
        return run["n"] / wall

    def get(self, tool, kind):
        return self.all.get((tool, kind))

    def ranked(self, kind):
        """The tools that did it, the best first."""
        did = [t for t in self.tools if (t, kind) in self.all]
        return sorted(did, key=lambda t: self.all[t, kind].median, reverse=WORKLOADS[kind][2])

    def ahead(self, kind):
        """[(tool, how many times better)] of the peers whose median is better than ours."""
        ours = self.get(OURS, kind)
        if ours is None:
            return []
        found = []
        for tool in self.ranked(kind):
            theirs = self.all[tool, kind].median
            better = theirs / ours.median if WORKLOADS[kind][2] else ours.median / max(theirs, 1e-9)
            if tool not in (OURS, REFERENCE) and better > 1:
                found.append((tool, better))
        return found

    def wrongs(self):
        """[(tool, workload, what)] of what did not work, each once."""
        found = [(t, "all", e["wrong"]) for t, e in self.tools.items() if "wrong" in e]
        for tool in self.tools:
            for kind in WORKLOADS:
                bad = self.runs(tool, kind, wrong=True)
                if bad:
                    found.append((tool, kind, "%d of %d runs: %s" % (
                        len(bad), len(bad) + len(self.runs(tool, kind)), bad[0]["wrong"])))
        return found
