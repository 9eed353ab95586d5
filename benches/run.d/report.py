"""What becomes of the rows: a table to read, `results.json`, the table in README.md, and the charts."""

import datetime
import json

import chart
from machine import describe
from needs import ROOT

RESULTS = ROOT / "benches/results.json"
README = ROOT / "benches/README.md"
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
HEADER = ["", "Larder", "peer", "ratio", "target", "CPU, Larder", "CPU, peer", "memory, Larder", "memory, peer", "turns", "run"]


def tell(title, rows, judge):
    """Prints a work's rows, a line for each peer."""
    print(f"\n{title}")
    if not judge:
        rows = [{key: value for key, value in row.items() if key not in ("target", "cpu_target")} for row in rows]
    lines = [cells[:-1] for row in rows for cells in lines_of(row, "")]
    table = [HEADER[:-1], *lines]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())
    print(flush=True)


def lines_of(row, day):
    """The cells of a row, a line for each peer; without peers one."""
    ours = row["servers"]["larder"]
    for number, peer in enumerate(list(row["ratios"]) or [None]):
        theirs = row["servers"].get(peer, {})
        target = mark(row, "target", "met") if number == 0 else ""
        cpu = cpu_target(row) if number == 0 else ""
        yield [
            row["case"] + (", others were busy" if row["busy"] else ""),
            f"{shown(ours['value'])} {row['unit']}",
            f"{peer} {shown(theirs['value'])}" if peer else "",
            f"{row['ratios'][peer]:.2f}" if peer else "",
            target,
            shown(ours.get("cpu")) + cpu,
            shown(theirs.get("cpu")),
            memory(ours),
            memory(theirs),
            str(row["turns"]),
            day,
        ]


def mark(row, key, met):
    return f"{row[key]} {'yes' if row[met] else '**no**'}" if key in row else ""


def cpu_target(row):
    found = mark(row, "cpu_target", "cpu_met")
    ratios = row.get("cpu_ratios", {})
    return f" ({next(iter(ratios.values())):.2f}, {found})" if found else ""


def shown(value):
    """Three figures are enough, and more than a virtual machine gives."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def memory(server):
    return f"{server['peak_mib']:.0f} MiB" if server.get("peak_mib") else ""


def write(name, title, rows, order, versions):
    """Replaces a work's rows in the results, and writes again all that is made of them. `order` has the names of all works."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"works": {}}
    results["machine"] = describe()
    results["versions"] = sorted({*results.get("versions", []), *versions})
    results["works"][name] = {"title": title, "run": datetime.date.today().isoformat(), "rows": rows}
    results["works"] = {name: results["works"][name] for name in order if name in results["works"]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    chart.write(results)
    README.write_text(before + BEGIN + "\n" + "\n".join(table(results)) + "\n" + END + after)


def table(results):
    about = results["machine"]
    # The charts are there by now, as far as their works have run.
    for picture, title in ((chart.RATIOS, "Ratios beside their targets"), (chart.GROWTH, "How cost grows")):
        if picture.exists():
            yield f"![{title}]({picture.name})"
            yield ""
    yield f"{about['processor']}, {about['processors']} processors, Linux {about['kernel']}; {', '.join(results['versions'])}."
    for work in results["works"].values():
        yield ""
        yield f"**{work['title']}**"
        yield ""
        yield "| " + " | ".join(HEADER) + " |"
        yield "| --- |" + " ---: |" * (len(HEADER) - 1)
        for row in work["rows"]:
            for cells in lines_of(row, work["run"]):
                yield "| " + " | ".join(cells) + " |"
        for note in dict.fromkeys(row["note"] for row in work["rows"] if "note" in row):
            yield ""
            yield note
