#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How fast pilot-mpi is, each figure beside a bare reference that is measured in the same run: the
table of docs/performance.md, and the alarm when something has become slower.

    python3 tests/bench/table.py                  everything in full size, 5 rounds (half an hour)
    python3 tests/bench/table.py --quick          small sizes, under 2 minutes
    python3 tests/bench/table.py --rows 'true|core'
    python3 tests/bench/table.py --final          all of it, on a quiet machine: full size, plot, page, what
                                                  is recorded in full and quick size (three quarters of an hour)
    python3 tests/bench/table.py --again 'true|next'     these rows of what --final wrote anew, with their version

The rows take turns within each round, and a row's reference stands beside it. A ratio says how good a
row is in terms of its reference: more is better. Where the goal is an amount (bytes, seconds), the
figure itself must reach it; the ratio is still what is recorded."""
import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

from rows import cluster, core, flat, start, state  # noqa: E402
from rows.harness import Bench, Unavailable, load_json, number  # noqa: E402

ROWS = [start.True_, start.Packed, start.Shell, core.Null, core.Core, state.Memory, state.ReadArray, state.ReadLines,
        state.Resume, start.Next, cluster.Depend, cluster.Idle, cluster.Wide, core.Mixed, core.Wait]
RECORDED = os.path.join(HERE, "recorded.json")
PAGE = os.path.join(ROOT, "docs", "performance.md")
BEGIN, END = "<!-- bench: measured part, written by tests/bench/table.py --page -->", "<!-- bench: end -->"
QUICK_SECONDS = 75
FALL = 2 / 3  # of what is recorded: below that, --check fails


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="small sizes, fewer rounds of what is slow")
    p.add_argument("--rows", default="", metavar="REGEX", help="only rows whose name matches: " + ", ".join(r.key for r in ROWS))
    p.add_argument("--rounds", type=int, default=0, metavar="N", help="of every row (default: 5; fewer of what is slow)")
    p.add_argument("--json", metavar="FILE", help="write all figures there")
    p.add_argument("--check", nargs="?", const=RECORDED, metavar="FILE",
                   help="exit status 1 when a ratio is more than a third below what is recorded (tests/bench/recorded.json)")
    p.add_argument("--record", nargs="?", const=RECORDED, metavar="FILE", help="record the ratios of this run")
    p.add_argument("--plot", action="store_true", help="measure the cost a task over tasks and nodes, too, and draw it")
    p.add_argument("--page", action="store_true", help="write table and plot into docs/performance.md")
    p.add_argument("--final", action="store_true", help="--record --plot --page --json docs/performance-table.json, then --quick --record")
    p.add_argument("--again", metavar="REGEX", help="--rows REGEX --record --page into what --final has written, and --quick --record")
    p.add_argument("--build", default=os.environ.get("PILOT_BUILD") or os.path.join(ROOT, "build"), help="build directory")
    return p.parse_args()


class Measured:
    """A row and its rounds; after something went wrong, why there are no more."""

    def __init__(self, row, bench, rounds):
        self.row, self.rounds, self.problem, self.missing = row, [], None, None
        self.wanted = min(rounds or (row.quick_rounds if bench.quick else 5), row.rounds_max)

    def round(self, bench):
        if self.problem or self.missing or len(self.rounds) >= self.wanted:
            return
        began = time.monotonic()
        try:
            self.rounds.append(self.row.measure(bench))
            self.rounds[-1]["took_s"] = round(time.monotonic() - began, 1)
        except Unavailable as e:
            self.missing = str(e)
        except Exception as e:  # a row that fails must not cost the others
            self.problem = str(e) or type(e).__name__
            traceback.print_exc()
        if sys.stderr.isatty() or os.environ.get("BENCH_PROGRESS"):
            print("  %-10s %5.1f s  %s" % (self.row.key, time.monotonic() - began, self.brief()), file=sys.stderr)

    def brief(self):
        if not self.rounds:
            return self.missing or self.problem or ""
        r = self.rounds[-1]
        return "%s %s, reference %s, ratio %.3f" % (number(r["value"]), self.row.unit, number(r.get("reference")), r["ratio"])

    def summary(self):
        if self.problem:
            return {"title": self.row.title, "failed": self.problem}
        if not self.rounds:
            return {"title": self.row.title, "not_available": self.missing}
        return self.row.summary(self.rounds)


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*:\s*(.*)", f.read())
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"cpu": model.group(1) if model else platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(), "date": time.strftime("%Y-%m-%d"), "version": git.stdout.strip()}


def spread(f):
    return "%s (%s-%s)" % tuple(number(f[k]) for k in ("median", "low", "high"))


def table(rows):
    """Lines of cells."""
    out = [["what", "figure", "reference", "ratio", "goal", ""]]
    for key, r in rows.items():
        if "value_figures" not in r:
            out.append([r["title"], "failed" if "failed" in r else "not available", "", "", "",
                        (r.get("failed") or r["not_available"] or "").strip().split("\n")[-1][:100]])
            continue
        out.append([r["title"], "%s %s" % (spread(r["value_figures"]), r["unit"]),
                    "%s: %s" % (r["reference"], number(r["reference_figures"]["median"])), spread(r["ratio_figures"]),
                    r["goal"] + (" yes" if r["reached"] else " NO"), r["note"]])
    return out


def print_table(cells):
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    for line in cells:
        print("  ".join(c.ljust(w) for c, w in zip(line, widths + [0])).rstrip())


def markdown(cells):
    lines = ["| %s |" % " | ".join(line) for line in cells]
    return "\n".join([lines[0], "|" + " --- |" * len(cells[0])] + lines[1:])


def good_round(rounds):
    """The ratio of the second best of many rounds: what disturbs the pilot makes others worse, and a
    disturbed reference can make one far too good."""
    ratios = sorted(r["ratio"] for r in rounds)
    return ratios[-2] if len(ratios) > 3 else ratios[-1]


def fallen(bench, measured, recorded):
    """What to say of rows whose good rounds are too far below what is recorded. Who fell is measured
    anew first: on a machine that does other things, one bad minute is no news."""
    bad = []
    for m in measured:
        was = recorded.get(m.row.key)
        if was is None or m.missing:
            continue
        if not m.problem and good_round(m.rounds) < was * FALL:
            m.wanted += 2
            while len(m.rounds) < m.wanted and not m.problem:
                m.round(bench)
        if m.problem:
            bad.append("%s could not be measured: %s" % (m.row.key, m.problem.split("\n")[0]))
        elif (ratio := good_round(m.rounds)) < was * FALL:
            bad.append("%s: the ratio is %.3f in a good round; recorded are %.3f" % (m.row.key, ratio, was))
    return bad


def record(path, mode, rows):
    all_modes = load_json(path) if os.path.exists(path) else {}
    into = all_modes.setdefault(mode, {})
    for key, r in rows.items():
        if "ratio_figures" in r:
            into[key] = float("%.3g" % r["ratio_figures"]["median"])
    with open(path, "w") as f:
        json.dump(all_modes, f, indent=2)
        f.write("\n")


def merged(old, new):
    """The rows of new, and those of old that were not measured; each with the version it is of."""
    rows = {}
    for row in ROWS:
        of = new if row.key in new["rows"] else old
        if row.key in of["rows"]:
            rows[row.key] = {"version": of["machine"]["version"], "date": of["machine"]["date"], **of["rows"][row.key]}
    return {**old, **new, "rows": rows}


def versions(result):
    """What was measured when, in words."""
    m, by = result["machine"], {}
    for key, r in result["rows"].items():
        by.setdefault((r.get("version", m["version"]), r.get("date", m["date"])), []).append(key)
    most = max(by, key=lambda v: len(by[v]))
    rest = ["; %s, %s: %s" % (*v, ", ".join("`%s`" % key for key in keys)) for v, keys in by.items() if v != most]
    return ", ".join(most) + "".join(rest)


def write_page(result, cells, drawn):
    with open(PAGE) as f:
        text = f.read()
    head, rest = text.split(BEGIN, 1)
    m = result["machine"]
    part = "\n%s, %d cores, Linux %s; %s. Median and spread (lowest-highest) of the rounds.\n\n%s\n" % (
        m["cpu"], m["cores"], m["kernel"], versions(result), markdown(cells))
    if drawn:
        part += "\n![cost a task, by number of tasks and nodes](performance-flat.svg)\n"
    with open(PAGE, "w") as f:
        f.write(head + BEGIN + part + END + rest.split(END, 1)[1])


def measure_all(bench, args):
    chosen = [r for r in ROWS if re.search(args.rows, r.key)] if args.rows else ROWS
    measured = [Measured(r(), bench, args.rounds) for r in chosen]
    # A quick run has promised to be quick, whatever else the machine does: fewer rounds then.
    until = time.monotonic() + (QUICK_SECONDS if args.quick and not args.rounds else float("inf"))
    for done in range(max((m.wanted for m in measured), default=0)):
        for m in measured:
            if done == 0 or time.monotonic() < until:
                m.round(bench)
    return measured


def run(args):
    bench = Bench(ROOT, args.build, args.quick)
    try:
        return run_in(bench, args)
    finally:
        bench.close()


def run_in(bench, args):
    measured = measure_all(bench, args)
    mode = "quick" if args.quick else "full"
    bad = fallen(bench, measured, load_json(args.check).get(mode, {})) if args.check else []
    result = {"mode": mode, "machine": machine(), "rows": {m.row.key: m.summary() for m in measured}}
    print_table(table(result["rows"]))
    if args.plot:
        result["flat"] = flat.measure(bench, args.rounds or bench.pick(1, 3))
        flat.draw(result["flat"], os.path.join(ROOT, "docs", "performance-flat.svg") if args.page
                  else os.path.join(bench.build, "performance-flat.svg"))
    if args.record:
        record(args.record, mode, result["rows"])
    if args.again and os.path.exists(args.json):
        result = merged(load_json(args.json), result)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(result, f, indent=1)
    if args.page:
        write_page(result, table(result["rows"]), os.path.exists(os.path.join(ROOT, "docs", "performance-flat.svg")))
    for line in bad:
        print("FELL  " + line)
    return 1 if bad or any(m.problem for m in measured) else 0


def main():
    args = options()
    args.build = os.path.abspath(args.build)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, frame: sys.exit(128 + number))
    if not os.access(os.path.join(args.build, "tests", "bench", "bench_spawn"), os.X_OK):
        sys.exit("table.py: no programs in %s; build with -DPILOT_TESTS=ON first" % args.build)
    if not args.final and not args.again:
        return run(args)
    args.record, args.json = args.record or RECORDED, os.path.join(ROOT, "docs", "performance-table.json")
    args.plot, args.page, args.rows = args.final, True, args.again or args.rows
    status = run(args)
    args.quick, args.plot, args.page, args.json, args.again = True, False, False, None, None
    return run(args) or status


if __name__ == "__main__":
    sys.exit(main())
