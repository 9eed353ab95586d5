"""Row 13: 1,000 clients that read a large file slowly. What counts is memory."""

from load import crawl, drain
from machine import Failed
from peers import generic_caches
from turns import Target, in_turns, measured, row

TITLE = "1,000 slow clients on large files"
PROGRAMS = ["nginx", "varnishd"]
VENVS = []
CLIENTS = 1000
PACE = 16_384
SECONDS = 10
# Memory is the same each time.
MOST_TURNS = 2


def run(bench):
    clients = CLIENTS // (20 if bench.smoke else 1)
    seconds = 1 if bench.smoke else SECONDS
    bench.stage.random("/large.bin", 500_000_000 // bench.shrink)
    bench.stage.ready()

    def one(server):
        path = server.file("/large.bin")
        sample = measured(server.process, lambda: {"served": crawl(server.port, path, clients, PACE, seconds)})
        if sample["served"] < clients:
            raise Failed(f"{server.name} served {sample['served']} of {clients} clients")
        return {**sample, "value": sample["server_peak_bytes"] / 1e6}

    with generic_caches(bench) as servers:
        for server in servers:
            drain(server.port, [server.file("/large.bin")])
        told, machine = in_turns(min(bench.turns, MOST_TURNS), servers, one)
    return [row(13, f"{clients:,} clients at 16 KB/s", "MB", told, machine, ["nginx", "varnish"], limit=Target(at_most=200))]
