"""Row 12: the index with 1 and with 10 million entries, by `cargo bench --bench store` and `--bench restart`. This reads what they print."""

import re
import subprocess

from machine import Failed, Watch
from needs import ROOT
from turns import Target, row

TITLE = "the index"
PROGRAMS = []
VENVS = []
ENTRIES = [1_000_000, 10_000_000]
ROUNDS = 5
# What the lines say, the name and unit of the figure, and the target for the largest index.
FIGURES = [
    (r"get, hot: .* p99 ([\d.]+\S+),", "look-up, hot, p99", "us", Target(at_most=50)),
    (r"get, any, again: .* p99 ([\d.]+\S+),", "look-up, any, p99", "us", None),
    (r"writers together, against raw group commit: ([\d.]+)", "64 writers beside raw group commit", "x", Target(at_least=0.9)),
    (r"index bytes per entry: (\d+)", "index of each entry", "bytes", Target(at_most=400)),
    (r"resident after that: (\d+) MiB\s*$", "resident memory", "MiB", Target(at_most=286)),
    (r"first answer after kill -9 in ([\d.]+\S+) ", "first answer after kill -9", "ms", Target(at_most=1000)),
]
SECONDS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def run(bench):
    rows = []
    for entries in [2_000] if bench.smoke else ENTRIES:
        rows += measure(bench, entries)
    return rows


def measure(bench, entries):
    """Once each: the benches repeat what needs repeating."""
    watch = Watch()
    kept = bench.place / "kept"
    said = cargo(bench, "store", bench.place, entries, kept)
    said += cargo(bench, "restart", bench.place, kept, 1 if bench.smoke else ROUNDS).splitlines()[-1]
    machine = watch.end()
    return [figure(said, entries, machine, *about) for about in FIGURES]


def cargo(bench, name, *arguments):
    """The driver holds itself to one core; these are servers and clients at once, and get all there are."""
    profile = ["--profile", "dev"] if bench.smoke else []
    command = ["taskset", "-c", "0-63", "cargo", "bench", "--locked", "--quiet", *profile, "--bench", name, "--", *arguments]
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"cargo bench --bench {name}: {done.stderr[-3000:]}")
    return done.stdout


def figure(said, entries, machine, pattern, name, unit, limit):
    found = re.findall(pattern, said, re.MULTILINE)
    if not found:
        raise Failed(f"no line says {name}:\n{said}")
    told = {"larder": [{"value": number(found[-1], unit)}]}
    return row(12, f"{entries:,} entries, {name}", unit, told, machine, [], limit=limit)


def number(text, unit):
    """As many of that unit; a time says its own."""
    figure, named = re.fullmatch(r"([\d.]+)(\D*)", text).groups()
    return float(figure) * (SECONDS[named] / SECONDS["µs" if unit == "us" else unit] if named else 1)
