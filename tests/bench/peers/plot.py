# SPDX-License-Identifier: BSD-3-Clause
"""The figures as an SVG: a panel for each workload, a line for each tool, median and spread on a
logarithmic axis. Colours follow the reader's light or dark scheme."""
import math
from xml.sax.saxutils import escape

from figures import OURS, REFERENCE, WORKLOADS

PANELS = ["true", "dag", "out", "metg"]
WIDTH, LABEL, ROW, TOP, GAP = 460, 150, 18, 44, 26

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .head { font-weight: 600 } .small { font-size: 10px; fill: #57606a }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .spread { stroke-width: 3; stroke-linecap: round; opacity: .45 }
  .peer { fill: #57606a; stroke: #57606a } .ours { fill: #0969da; stroke: #0969da }
  .bare { fill: none; stroke: #57606a; stroke-width: 2 }
  text.ours { stroke: none; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d }
    .peer { fill: #9198a1; stroke: #9198a1 } .ours { fill: #4493f8; stroke: #4493f8 }
    .bare { stroke: #9198a1 } text.ours { fill: #4493f8 }
  }
"""


def short(value):
    return "%.0f" % value if value >= 10 else "%.2g" % value


def panel(figures, kind, x, y):
    head, unit, more = WORKLOADS[kind]
    ranked = figures.ranked(kind)
    values = [v for t in ranked for v in (figures.get(t, kind).low, figures.get(t, kind).high)]
    low = math.floor(math.log10(max(1e-9, min(values))))
    high = max(low + 1, math.ceil(math.log10(max(values))))
    span = WIDTH - LABEL - 60

    def at(value):
        return x + LABEL + span * (math.log10(max(1e-9, value)) - low) / (high - low)

    out = ['<text class="head" x="%d" y="%d">%s, %s</text>' % (x, y + 14, escape(head[0].upper() + head[1:]), escape(unit)),
           '<text class="small" x="%d" y="%d">%s is better</text>' % (x, y + 28, "more" if more else "less")]
    bottom = y + TOP + ROW * len(ranked)
    for power in range(low, high + 1):
        gx = at(10 ** power)
        out.append('<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>' % (gx, y + TOP - 4, gx, bottom))
        out.append('<text class="small" x="%.1f" y="%d" text-anchor="middle">%s</text>' %
                   (gx, bottom + 12, short(10 ** power)))
    for row, tool in enumerate(ranked):
        f, ty = figures.get(tool, kind), y + TOP + ROW * row + 9
        style = "ours" if tool == OURS else "bare" if tool == REFERENCE else "peer"
        out.append('<text class="%s" x="%d" y="%d" text-anchor="end">%s</text>' % (
            "ours" if tool == OURS else "", x + LABEL - 8, ty + 4, escape(figures.tools[tool]["title"])))
        out.append('<line class="spread %s" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>' %
                   (style, at(f.low), ty, at(f.high), ty))
        out.append('<circle class="%s" cx="%.1f" cy="%d" r="4"/>' % (style, at(f.median), ty))
        out.append('<text class="small" x="%.1f" y="%d">%s</text>' % (at(f.high) + 8, ty + 4, short(f.median)))
    return out, TOP + ROW * len(ranked) + GAP


def draw(figures, path):
    kinds = [k for k in PANELS if figures.ranked(k)]
    body, y = [], 8
    for first in range(0, len(kinds), 2):
        heights = []
        for column, kind in enumerate(kinds[first:first + 2]):
            lines, height = panel(figures, kind, 8 + column * (WIDTH + 24), y)
            body += lines
            heights.append(height)
        y += max(heights) + 8
    width = 16 + WIDTH * 2 + 24
    with open(path, "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
                'role="img" aria-label="pilot-mpi and other tools, by workload">\n<style>%s</style>\n%s\n</svg>\n'
                % (width, y, width, y, STYLE, "\n".join(body)))
