# SPDX-License-Identifier: BSD-3-Clause
"""What a task costs from ten thousand to ten million tasks and from ten to ten thousand nodes, as an
SVG. Lines that are flat are the aim."""
import math
import os
import statistics

from rows.core import core_cost
from rows.harness import number

NODES = [10, 100, 1000, 10000]
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 440, 260, 52, 44, 46
COLOURS = ["#0969da", "#1a7f37", "#9a6700", "#cf222e", "#8250df"]

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .head { font-weight: 600 } .small { font-size: 10px; fill: #57606a }
  .grid { stroke: #d0d7de; stroke-width: 1 } polyline { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d }
  }
"""


def null_cost(bench, tasks):
    """Of the whole pilot with agents that answer at once: microseconds a task, state and all."""
    cwd = bench.fresh("flat")
    with open(os.path.join(cwd, "tasks.txt"), "w") as f:
        f.write("true\n" * tasks)
    seconds, _ = bench.run([bench.tool("pilot-mpi-null"), "--quiet", "tasks.txt"], cwd, timeout=1800)
    return seconds / tasks * 1e6


def measure(bench, rounds):
    """{"core": {"nodes,tasks": [us, ...]}, "whole": {"tasks": [us, ...]}}, in rounds that take turns."""
    tasks = bench.pick([10000, 100000], [10000, 100000, 1000000, 10000000])
    nodes = bench.pick([10, 1000], NODES)
    core, whole = {}, {}
    for _ in range(rounds):
        for t in tasks:
            for n in nodes:
                core.setdefault("%d,%d" % (n, t), []).append(core_cost(bench, n, t, max(1, 100000 // t)))
            whole.setdefault(str(t), []).append(null_cost(bench, t))
    return {"core": core, "whole": whole}


def power(x):
    return {4: "10,000", 5: "100,000", 6: "1 million", 7: "10 million", 1: "10", 2: "100", 3: "1,000"}.get(x, "1e%d" % x)


def panel(x, head, below, lines, names, top_us):
    """lines: [(name, [(abscissa, median, low, high)])]"""
    low = min(math.log10(p[0]) for _, ps in lines for p in ps)
    high = max(low + 1, max(math.log10(p[0]) for _, ps in lines for p in ps))

    def px(v):
        return x + LEFT + (WIDTH - LEFT - 90) * (math.log10(v) - low) / (high - low)

    def py(us):
        return TOP + HEIGHT * (1 - us / top_us)

    out = ['<text class="head" x="%d" y="20">%s</text>' % (x, head),
           '<text class="small" x="%d" y="34">microseconds a task; less is better</text>' % x]
    for i in range(6):
        us = top_us * i / 5
        out.append('<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>' % (x + LEFT, py(us), x + WIDTH - 90, py(us)))
        out.append('<text class="small" x="%d" y="%.1f" text-anchor="end">%s</text>' % (x + LEFT - 6, py(us) + 4, number(us) if us else "0"))
    for p in range(round(low), round(high) + 1):
        out.append('<text class="small" x="%.1f" y="%d" text-anchor="middle">%s</text>' % (px(10 ** p), TOP + HEIGHT + 16, power(p)))
    out.append('<text class="small" x="%d" y="%d" text-anchor="middle">%s</text>' % (x + (WIDTH - 40) // 2, TOP + HEIGHT + 34, below))
    for i, (name, points) in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        out.append('<polyline stroke="%s" points="%s"/>' % (colour, " ".join("%.1f,%.1f" % (px(p[0]), py(p[1])) for p in points)))
        for v, median, least, most in points:
            out.append('<line stroke="%s" stroke-width="4" opacity=".4" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>' %
                       (colour, px(v), py(least), px(v), py(min(most, top_us))))
            out.append('<circle fill="%s" cx="%.1f" cy="%.1f" r="3"/>' % (colour, px(v), py(median)))
    at = 0
    for i in sorted(range(len(lines)), key=lambda i: py(lines[i][1][-1][1])):
        at = max(at + 12, py(lines[i][1][-1][1]) + 4)  # names must not lie on each other
        out.append('<text class="small" style="fill: %s" x="%d" y="%.1f">%s</text>' % (COLOURS[i % len(COLOURS)], x + WIDTH - 84, at, names % lines[i][0]))
    return out


def point(v, costs):
    return v, statistics.median(costs), min(costs), max(costs)


def draw(data, path):
    core = {tuple(map(int, k.split(","))): v for k, v in data["core"].items()}
    nodes, tasks = sorted({n for n, _ in core}), sorted({t for _, t in core})
    top = 1.25 * max(statistics.median(v) for v in core.values())
    top = max(1.0, math.ceil(top * 2) / 2)
    by_nodes = [("{:,}".format(n), [point(t, core[n, t]) for t in tasks]) for n in nodes]
    by_tasks = [(power(round(math.log10(t))), [point(n, core[n, t]) for n in nodes]) for t in tasks]
    whole = [("", [point(int(t), v) for t, v in sorted(data["whole"].items(), key=lambda i: int(i[0]))])]
    most = 1.25 * max(p[1] for p in whole[0][1])
    body = (panel(8, "Scheduler core, by tasks", "tasks", by_nodes, "%s nodes", top) +
            panel(8 + WIDTH, "Scheduler core, by nodes", "nodes of 128 cores", by_tasks, "%s tasks", top) +
            panel(8 + 2 * WIDTH, "Whole pilot, state committed, nothing started", "tasks", whole, "%s1 node", math.ceil(most)))
    width, height = 16 + 3 * WIDTH, TOP + HEIGHT + BOTTOM
    with open(path, "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" '
                'aria-label="cost a task, by number of tasks and nodes">\n<style>%s</style>\n%s\n</svg>\n' %
                (width, height, width, height, STYLE, "\n".join(body)))
