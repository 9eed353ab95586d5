"""The charts, as SVG written by hand: every ratio beside its target, and how cost grows. They are read in light and in dark."""

import html
import math

from needs import ROOT

RATIOS = ROOT / "benches/results.svg"
STYLE = """<style>
text { font: 12px sans-serif; fill: #444 } .small { font-size: 10px } .line { stroke: #999; stroke-width: 1 } .grid { stroke: #9994; stroke-width: 1 }
.met { fill: #2a9d5c } .missed { fill: #d1602f } .plain { fill: #7a8aa0 } .target { stroke: #b8860b; stroke-width: 2 }
.a { stroke: #2a9d5c; fill: none; stroke-width: 2 } .b { stroke: #4a7fc1; fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #ccc } }
</style>"""
LABEL, WIDTH, STEP = 330, 360, 18


def write(results):
    rows = [row for work in results["works"].values() for row in work["rows"] if row["ratios"]]
    RATIOS.write_text(ratios(rows))


def ratios(rows):
    """A bar for each row, from 1 to its ratio, on a scale on which twice and half are as far from 1."""
    lines = []
    lowest, highest = -2.0, 4.0

    def x(ratio):
        return LABEL + WIDTH * (min(max(math.log2(max(ratio, 1e-9)), lowest), highest) - lowest) / (highest - lowest)

    for number, row in enumerate(rows):
        peer, ratio = next(iter(row["ratios"].items()))
        y = 30 + STEP * number
        state = {True: "met", False: "missed", None: "plain"}[row.get("met")]
        left, right = sorted((x(1), x(ratio)))
        lines.append(f'<text x="{LABEL - 8}" y="{y + 11}" text-anchor="end">{html.escape(row["case"])}</text>')
        lines.append(f'<rect class="{state}" x="{left:.1f}" y="{y + 2}" width="{max(right - left, 1):.1f}" height="{STEP - 6}"/>')
        if "target" in row:
            target = x(float(row["target"].split()[1]))
            lines.append(f'<line class="target" x1="{target:.1f}" x2="{target:.1f}" y1="{y}" y2="{y + STEP - 2}"/>')
        lines.append(f'<text class="small" x="{LABEL + WIDTH + 8}" y="{y + 11}">{ratio:.2f} x {html.escape(peer)}</text>')
    height = 40 + STEP * len(rows)
    for power in range(int(lowest), int(highest) + 1):
        at, named = x(2.0**power), f"{2.0**power:g} x"
        kind = "line" if power == 0 else "grid"
        lines.insert(0, f'<line class="{kind}" x1="{at:.1f}" x2="{at:.1f}" y1="24" y2="{height - 10}"/>')
        lines.append(f'<text class="small" x="{at:.1f}" y="16" text-anchor="middle">{named}</text>')
    return picture(LABEL + WIDTH + 110, height, lines)


def picture(width, height, lines):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    return "\n".join([head, STYLE, *lines, "</svg>"]) + "\n"
