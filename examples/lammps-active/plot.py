# SPDX-License-Identifier: BSD-3-Clause
"""A plot of displacement against temperature as SVG, without any library."""
import math

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 60  # margins
COARSE_COLOUR, REFINED_COLOUR = "#1f5fa8", "#c8501e"


def nice_step(span, count):
    """1, 2 or 5 times a power of ten, so that about so many of them make up the span."""
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)


def svg(msd, coarse, share):
    """msd: {temperature in K: square Angstrom}; coarse: the grid; share: of the largest, refined above."""
    low, high = min(coarse), max(coarse)
    top = max(msd.values(), default=1) or 1
    step = nice_step(top, 6)
    limit = math.ceil(top * 1.05 / step) * step

    def x(t):
        return LEFT + (WIDTH - LEFT - RIGHT) * (t - low + 2.5) / (high - low + 5)

    def y(m):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * m / limit

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]

    def line(x1, y1, x2, y2, style):
        out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')

    def text(at_x, at_y, words, style=""):
        out.append(f'<text x="{at_x:.1f}" y="{at_y:.1f}" {style}>{words}</text>')

    def point(at_x, at_y, is_coarse):
        if is_coarse:
            out.append(f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="5" fill="{COARSE_COLOUR}"/>')
        else:
            out.append(f'<path d="M{at_x:.1f} {at_y - 6:.1f}l6 6l-6 6l-6 -6z" fill="{REFINED_COLOUR}"/>')

    for i in range(round(limit / step) + 1):
        line(LEFT, y(i * step), WIDTH - RIGHT, y(i * step), 'stroke="#e4e4e4"')
        text(LEFT - 8, y(i * step) + 4, f"{i * step:g}", 'text-anchor="end"')
    for t in coarse:
        line(x(t), y(0), x(t), y(0) + 5, 'stroke="black"')
        text(x(t), y(0) + 20, f"{t:g}", 'text-anchor="middle"')
    line(LEFT, y(0), WIDTH - RIGHT, y(0), 'stroke="black"')
    line(LEFT, y(0), LEFT, TOP, 'stroke="black"')
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, "temperature (K)", 'text-anchor="middle"')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    text(20, middle, "mean square displacement (Å²)", f'text-anchor="middle" transform="rotate(-90 20 {middle:.1f})"')

    line(LEFT, y(share * top), WIDTH - RIGHT, y(share * top), 'stroke="#777" stroke-dasharray="5 4"')
    text(LEFT + 8, y(share * top) - 6, f"{share:g} of the largest", 'fill="#555"')
    path = " ".join(f"{x(t):.1f},{y(msd[t]):.1f}" for t in sorted(msd))
    out.append(f'<polyline points="{path}" fill="none" stroke="#999"/>')
    for t in sorted(msd):
        point(x(t), y(msd[t]), t in coarse)

    point(LEFT + 8, 25, True)
    text(LEFT + 20, 30, f"coarse grid ({sum(t in coarse for t in msd)})")
    point(LEFT + 148, 25, False)
    text(LEFT + 160, 30, f"refined ({sum(t not in coarse for t in msd)})")
    return "\n".join(out + ["</svg>"]) + "\n"
