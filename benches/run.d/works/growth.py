"""How cost grows: with connections from 1 to 10,000 and with the size of what is served, 1 KB to 10 GB. Larder beside nginx. What it costs with the size of the index is
measured by `cargo bench --bench store`."""

import resource
import shutil

from load import drain, wrk
from machine import Failed
from peers import started
from peers.larder import Larder
from peers.nginx import Nginx
from turns import in_turns, measured, per_gigabyte, per_request, row

TITLE = "growth"
PROGRAMS = ["nginx", "wrk"]
VENVS = []
CONNECTIONS = [1, 10, 100, 1000, 10_000]
SIZES = [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000]
# What one measurement of a large file must move at least.
LARGE = 100_000_000
# The origin has it, Larder, nginx, and what must stay free.
COPIES = 3.5
# The shape is what counts here.
MOST_TURNS = 1


def run(bench):
    sizes = SIZES[:1] if bench.smoke else [size for size in SIZES if COPIES * size < shutil.disk_usage(bench.place).free]
    connections = CONNECTIONS[1:2] if bench.smoke else [*CONNECTIONS[:-1], min(CONNECTIONS[-1], possible())]
    origin = bench.stage.url
    rows = []
    with started(lambda: Larder(bench.binary, bench.place, origin), lambda: Nginx(bench.place, origin)) as servers:
        bench.stage.random("/grown.bin", 20_000)
        bench.stage.ready()
        rows += [of_connections(bench, servers, count) for count in connections]
        for size in sizes:
            # One at a time: the largest is there three times while it is measured.
            name = bench.stage.random("/sized.bin", size)
            bench.stage.ready()
            rows.append(of_size(bench, servers, size, f"/sized.bin?{name}"))
            bench.stage.forget("/sized.bin")
    return rows


def possible():
    """Larder takes as many connections as it has descriptors for two each."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 1000


def of_connections(bench, servers, count):
    # Ten thousand connections take more than a second to be opened.
    seconds = max(bench.seconds, count // 2000 + 1)

    def one(server):
        url = server.base + server.file("/grown.bin")
        return per_request(measured(server.process, lambda: wrk(url, count, seconds)))

    told, machine = in_turns(min(bench.turns, MOST_TURNS), servers, one)
    return {**row(0, f"{count:,} connections, 20 KB", "requests/s", told, machine, ["nginx"]), "connections": count}


def of_size(bench, servers, size, path):
    """Up to a megabyte wrk asks on eight connections; beyond, readers that drop what comes, on as many as a second has use for."""
    for server in servers:
        drain(server.port, [server.file(path)])
        if server.name == "larder":
            server.wait_until_kept(server.file(path))

    def small(server):
        sample = measured(server.process, lambda: wrk(server.base + server.file(path), 8, bench.seconds))
        return per_request({**sample, "rate": sample["requests"] / sample["server_seconds"]})

    def large(server):
        paths = [server.file(path)] * (8 if size < LARGE else 2)
        return per_gigabyte(measured(server.process, lambda: drain(server.port, paths, bench.seconds)))

    told, machine = in_turns(min(bench.turns, MOST_TURNS), servers, small if size < 100_000 else large)
    unit = "requests/s" if size < 100_000 else "MB/s"
    found = row(0, f"{shown(size)}, {'8' if size < LARGE else '2'} connections", unit, told, machine, ["nginx"])
    return {**found, "size": size}


def shown(size):
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= bytes_each:
            return f"{size // bytes_each} {unit}"
    raise Failed(f"{size} bytes are too few")
