"""Row 3: files of 1 MB and 100 MB, hot, on 8 connections whose bodies the kernel drops at once."""

from load import drain
from peers import generic_caches
from turns import Target, in_turns, measured, per_gigabyte, row

TITLE = "hot files, 8 connections"
PROGRAMS = ["nginx", "varnishd"]
VENVS = []
CONNECTIONS = 8
TARGET, CPU_TARGET = Target(at_least=1.0), Target(at_most=1.0)
SIZES = {"1 MB": 1_000_000, "100 MB": 100_000_000}


def run(bench):
    for name, size in SIZES.items():
        bench.stage.random(f"/{size}.bin", size // bench.shrink)
    bench.stage.ready()
    with generic_caches(bench) as servers:
        return [measure(bench, servers, name, size) for name, size in bench.some(list(SIZES.items()))]


def measure(bench, servers, name, size):
    for server in servers:
        drain(server.port, [server.file(f"/{size}.bin")])

    def one(server):
        paths = [server.file(f"/{size}.bin")] * CONNECTIONS
        return per_gigabyte(measured(server.process, lambda: drain(server.port, paths, bench.seconds)))

    told, machine = in_turns(bench.turns, servers, one)
    return row(3, f"file of {name}", "MB/s", told, machine, ["nginx", "varnish"], TARGET, CPU_TARGET)
