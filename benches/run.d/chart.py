"""The charts, as SVG written by hand: every ratio beside its target, and how cost grows. They are read in light and in dark."""

import html
import math

from needs import ROOT

RATIOS = ROOT / "benches/results.svg"
GROWTH = ROOT / "benches/growth.svg"
STYLE = """<style>
text { font: 12px sans-serif; fill: #444 } .small { font-size: 10px } .line { stroke: #999; stroke-width: 1 } .grid { stroke: #9994; stroke-width: 1 }
.met { fill: #2a9d5c } .missed { fill: #d1602f } .plain { fill: #7a8aa0 } .target { stroke: #b8860b; stroke-width: 2 }
.a { stroke: #2a9d5c; fill: none; stroke-width: 2 } .b { stroke: #4a7fc1; fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #ccc } }
</style>"""
LABEL, WIDTH, STEP = 330, 360, 18


def write(results):
    works = dict(results["works"])
    grown = works.pop("growth", None)
    RATIOS.write_text(ratios([row for work in works.values() for row in work["rows"] if row["ratios"]]))
    if grown:
        GROWTH.write_text(growth(grown["rows"]))


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


def growth(rows):
    """Four panels: what is served and how much memory it takes, against connections and against size."""
    of_connections = [(row["connections"], row) for row in rows if "connections" in row]
    of_size = [(row["size"], row) for row in rows if "size" in row]
    rate = lambda row, server: row["servers"][server]["value"]
    # One measure for all sizes: where requests were counted, the bytes that they carried.
    bytes_rate = lambda row, server: rate(row, server) * (row["size"] / 1e6 if row["unit"] == "requests/s" else 1)
    memory = lambda row, server: row["servers"][server]["peak_mib"]
    panels = [
        ("requests/s of 20 KB by connections", of_connections, rate), ("peak memory, MiB, by connections", of_connections, memory),
        ("MB/s by size in bytes", of_size, bytes_rate), ("peak memory, MiB, by size in bytes", of_size, memory),
    ]
    lines = []
    for number, (title, points, value) in enumerate(panels):
        lines += panel(title, points, value, 60 + 400 * (number % 2), 30 + 230 * (number // 2))
    lines.append('<text x="60" y="486">Larder: green. nginx: blue.</text>')
    return picture(830, 500, lines)


def panel(title, points, value, left, top):
    """Both axes are logarithmic, so that what grows in proportion is a straight line."""
    width, height = 300, 160
    values = [value(row, server) for _, row in points for server in ("larder", "nginx")]
    low, high = math.floor(math.log10(max(min(values), 1e-3))), math.ceil(math.log10(max(values)) + 1e-9)
    first, last = (math.log10(points[at][0]) for at in (0, -1))
    x = lambda at: left + width * (math.log10(at) - first) / max(last - first, 1e-9)
    y = lambda at: top + height - height * (math.log10(max(at, 1e-3)) - low) / max(high - low, 1)
    yield f'<text x="{left}" y="{top - 10}">{html.escape(title)}</text>'
    for power in range(low, high + 1):
        yield f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y(10.0**power):.1f}" y2="{y(10.0**power):.1f}"/>'
        yield f'<text class="small" x="{left - 6}" y="{y(10.0**power) + 4:.1f}" text-anchor="end">{short(10.0**power)}</text>'
    for at, _ in points:
        yield f'<text class="small" x="{x(at):.1f}" y="{top + height + 14}" text-anchor="middle">{short(at)}</text>'
    for server, kind in (("nginx", "b"), ("larder", "a")):
        path = " ".join(f"{x(at):.1f},{y(value(row, server)):.1f}" for at, row in points)
        yield f'<polyline class="{kind}" points="{path}"/>'


def short(number):
    for unit, each in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= each:
            return f"{number / each:g}{unit}"
    return f"{number:g}"


def picture(width, height, lines):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    return "\n".join([head, STYLE, *lines, "</svg>"]) + "\n"
