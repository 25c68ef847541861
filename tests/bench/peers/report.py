# SPDX-License-Identifier: BSD-3-Clause
"""Writes the measured part of docs/performance.md (between its two marks), the plot and a copy of the
results beside it. Exit status 1: pilot-mpi failed in something, or a peer is ahead and nobody has
written why (REASONS)."""
import argparse
import json
import os
import statistics
import sys

import plot
from figures import Figures, OURS, WORKLOADS

BEGIN, END = "<!-- peers: measured part, written by tests/bench/peers.sh -->", "<!-- peers: end -->"

# Why a peer is ahead: by tool and workload, else by workload, else by tool. Only what was looked
# into; a missing one is printed as such.
NOTHING_KEPT = ("Keeps nothing of a task: no state, no directory and output files, no cores of its own, "
                "no watch over what a task leaves behind")
BY_FILES = NOTHING_KEPT + "; goes on by the files that tasks make"
ONE_PROCESS = ("One process waits for a task and starts the next, with nothing between. In pilot-mpi the end of a "
               "task is seen by the slot that ran it, told to the agent and the head, which finds what may run now "
               "and tells another slot: processes must wake up one after the other, and the state is written "
               "beside it")
REASONS = {
    "xargs": NOTHING_KEPT,
    "parallel-pipe": "Whole blocks of commands go to a shell, which forks them without telling anybody; "
                     "nothing is known of a single task",
    "make": BY_FILES,
    "ninja": BY_FILES,
    ("make", "dag"): ONE_PROCESS,
    ("ninja", "dag"): ONE_PROCESS,
    "task-spooler": "State is in the memory of its server; what is killed with it is forgotten",
    "hyperqueue": "Tasks and results live in memory only (the wheel has no journal)",
    "hyperqueue-quiet": "Tasks and results live in memory only, and no output is kept",
    "start": "pilot-mpi makes its work directory and database, looks at the machine's cores, and has the "
             "last state on disk before it ends",
}


def number(value):
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return "%.*f" % (digits, value)


def spread(f):
    if f.rounds == 1:
        return number(f.median)
    return "%s (%s–%s)" % (number(f.median), number(f.low), number(f.high))


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def name_of(figures, tool):
    title = figures.tools[tool]["title"]
    return "**%s**" % title if tool == OURS else title


def title_of(head):
    return "`%s`" % head if head.startswith("/") else head[0].upper() + head[1:]


def conditions(figures):
    r, m = figures.results, figures.results["machine"]
    rounds = max([f.rounds for f in figures.all.values()] or [0])
    others = [run["others"] for run in r["runs"] if "wrong" not in run]
    share = 100 * statistics.median(others) if others else 0
    text = ["Measured on %s: %d cores (%s), Linux %s. %d round%s; medians, and the least and the greatest "
            "in brackets. Other processes had %.0f %% of the machine in the median run." % (
                m["date"], m["cores"], m["cpu"], m["kernel"], rounds, "" if rounds == 1 else "s", share)]
    if share > 10:
        text.append("**The machine was not quiet: take the order for a hint and the numbers for nothing.**")
    if r["quick"]:
        text.append("**A quick look with small sizes, in which starting the tools weighs most.**")
    return text


def summary(figures):
    kinds = ["true", "spin", "dag", "out", "metg", "start"]
    rows = []
    order = figures.ranked("true") + [t for t in figures.tools if not figures.get(t, "true")]
    for tool in order:
        if not any(figures.get(tool, k) for k in kinds):
            continue
        cells = [name_of(figures, tool)]
        for kind in kinds:
            f = figures.get(tool, kind)
            mark = "" if f is None or not figures.is_reduced(kind, f.n) else " *"
            cells.append("–" if f is None else number(f.median) + mark)
        f = figures.get(tool, "resume")
        cells.append("–" if f is None else "%d / %d" % (f.lost, f.twice))
        rows.append(cells)
    s = figures.results["sizes"]
    lines = table(["", "`/bin/true`, tasks/s", "50 ms of work, % of the cores", "diamonds, tasks/s",
                   "10 kB of output, tasks/s", "METG(50%), ms", "start and end, s",
                   "after kill -9: lost / twice"], rows)
    return lines + ["", "Tasks: %d, %d, %d, %d. \"–\": it cannot do that, or not here. \\*: fewer tasks, since "
                    "all would have taken too long; their rate is without the start of the tool (below, the time of a "
                    "second half is what it would be with all)." % (
                        s["true"], s["spin"], s["dag"], s["out"])]


def in_full(figures, kind):
    head, unit, _ = WORKLOADS[kind]
    ours = figures.get(OURS, kind)
    rows = []
    for tool in figures.ranked(kind):
        f = figures.get(tool, kind)
        mark = " *" if figures.is_reduced(kind, f.n) else ""
        row = [name_of(figures, tool), str(f.n) + mark if kind != "metg" else "", spread(f), str(f.rounds),
               "%.2f" % (f.median / ours.median) if ours else ""]
        rows.append(row + (["%d" % f.lost, "%d" % f.twice] if kind == "resume" else []))
    more = ["lost", "run twice"] if kind == "resume" else []
    return ["", "### %s" % title_of(head), ""] + \
        table(["", "tasks", unit, "rounds", "to pilot-mpi's"] + more, rows)


def losses(figures):
    """Lines, and how many reasons are missing."""
    lines, missing = [], 0
    for kind, (head, unit, _) in WORKLOADS.items():
        by_reason = {}
        for tool, better in figures.ahead(kind):
            reason = REASONS.get((tool, kind)) or REASONS.get(kind) or REASONS.get(tool)
            missing += reason is None
            by_reason.setdefault(reason, []).append("%s (%s times)" % (
                figures.tools[tool]["title"], number(better)))
        for reason, names in by_reason.items():
            lines.append("- %s, %s: %s. %s." % (title_of(head), unit, ", ".join(names),
                                                reason or "**No reason is written yet**"))
    return lines or ["- In none of these workloads."], missing


def tools_table(figures):
    rows = [[name_of(figures, t), e["version"] or "", e["how"].replace("|", "\\|"), e["keeps"]]
            for t, e in figures.tools.items() if "wrong" not in e]
    return table(["", "version", "as run here", "on disk of an ended task"], rows)


def written(figures, image):
    lost, missing = losses(figures)
    lines = conditions(figures) + [""] + summary(figures) + ["", "![the same as a plot](%s)" % image, ""]
    lines += ["### Where a peer is ahead", ""] + lost + ["", "### Versions and commands", ""]
    lines += tools_table(figures)
    wrongs = figures.wrongs()
    lines += ["", "### Not measured", ""]
    lines += ["- %s, %s: %s." % (figures.tools[t]["title"], kind, what) for t, kind, what in wrongs]
    lines += ["- %s: %s." % (name, why) for name, why in figures.results["left_out"]]
    for kind in WORKLOADS:
        if figures.ranked(kind):
            lines += in_full(figures, kind)
    ours_failed = any(t == OURS and kind != "metg" for t, kind, _ in wrongs)
    return "\n".join(lines), missing, ours_failed


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--results", required=True)
    p.add_argument("--page", required=True)
    p.add_argument("--template", help="the page whose other parts are taken")
    args = p.parse_args()
    try:
        with open(args.results) as f:
            figures = Figures(json.load(f))
    except FileNotFoundError:
        sys.exit("peers: no results in %s; run tests/bench/peers.sh without --report first" % args.results)
    stem = os.path.splitext(args.page)[0] + "-peers"
    with open(args.template or args.page) as f:
        page = f.read()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit("peers: %s does not have the two marks of the measured part" % (args.template or args.page))
    text, missing, ours_failed = written(figures, os.path.basename(stem) + ".svg")
    with open(args.page, "w") as f:
        f.write(page.split(BEGIN)[0] + BEGIN + "\n\n" + text + "\n\n" + END + page.split(END)[1])
    plot.draw(figures, stem + ".svg")
    with open(stem + ".json", "w") as f:
        json.dump(figures.results, f, indent=1)
        f.write("\n")
    print("\n".join(summary(figures)))
    print("written: %s, %s.svg, %s.json" % (args.page, stem, stem))
    if missing:
        print("peers: %d times a peer is ahead without a reason (REASONS in report.py)" % missing, file=sys.stderr)
    if ours_failed:
        print("peers: pilot-mpi did not do all its work; see 'Not measured'", file=sys.stderr)
    sys.exit(1 if missing or ours_failed else 0)


if __name__ == "__main__":
    main()
