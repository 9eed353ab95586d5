"""Row 4: the small page, and files of 1 MB and 100 MB, over TLS 1.3 by HTTP/1.1 and by h2.

The client deciphers what the server enciphers, which is as much work, so that the client's core may be the one that is full: the processor time of the
server is the figure to look at then, and where its core was not full the target is held against that.
"""

from certificate import Certificate
from load import fetch_tls, h2load
from peers import generic_caches
from turns import Target, in_turns, measured, per_gigabyte, per_request, row
from works import small

TITLE = "hot, over TLS 1.3"
PROGRAMS = ["nginx", "h2load", "openssl"]
VENVS = []
TARGET, CPU_TARGET = Target(at_least=1.1), Target(at_most=1 / 1.1)
SIZES = {"file of 1 MB": 1_000_000, "file of 100 MB": 100_000_000}


def run(bench):
    small.put_on(bench.stage)
    for size in SIZES.values():
        bench.stage.random(f"/{size}.bin", size // bench.shrink)
    bench.stage.ready()
    rows = []
    with generic_caches(bench, tls=Certificate(bench.place), varnish=False) as servers:
        for version in ("h1", "h2"):
            cases = [("file, 20 KB", "/small.bin", small.CONNECTIONS), *((name, f"/{size}.bin", 8) for name, size in SIZES.items())]
            for name, path, connections in bench.some(cases):
                rows.append(measure(bench, servers, name, path, connections, version))
    return rows


def measure(bench, servers, name, path, connections, version):
    is_small = connections == small.CONNECTIONS
    for server in servers:
        fetch_tls(server.tls_port, server.file(path))

    def one(server):
        url = f"https://127.0.0.1:{server.tls_port}{server.file(path)}"
        sample = measured(server.process, lambda: h2load(url, version, connections, bench.seconds))
        sample["rate"] = sample["requests"] / sample["seconds"]
        return per_request(sample) if is_small else per_gigabyte(sample)

    told, machine = in_turns(bench.turns, servers, one)
    unit = "requests/s" if is_small else "MB/s"
    return row(4, f"{name}, {version}", unit, told, machine, ["nginx"], TARGET, CPU_TARGET)
