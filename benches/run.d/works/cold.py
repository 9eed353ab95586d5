"""Row 5: a file of 1 GB that nobody has asked for before, one client. Larder hashes and stores it on the way; the peers only store it.

Every turn begins with a new server on empty data. `index` is a file whose digest its index has named, `generic` one of any origin's.
"""

import json
from urllib.parse import urljoin

import limits
from load import drain, fetch
from peers.direct import Direct
from peers.larder import Larder
from peers.nginx import Nginx
from stage import SIMPLE_JSON
from turns import Target, in_turns, measured, per_gigabyte, row

TITLE = "cold file of 1 GB, one client"
PROGRAMS = ["nginx"]
VENVS = []
SIZE = 1_000_000_000
SLOW = 300_000_000
WHEEL = "big-1.0-py3-none-any.whl"


class Cold:
    """A server that is begun anew for each turn; `address` is where the file is then."""

    def __init__(self, name, start, address):
        self.name, self.start, self.address = name, start, address

    def download(self, clients=1):
        server = self.start()
        try:
            path = self.address(server)
            sample = measured(server.process, lambda: self.drained(server, path, clients))
            sample["last"] = max(sample["ends"])
            return per_gigabyte(sample)
        finally:
            server.close()

    def drained(self, server, path, clients):
        told = drain(server.port, [path] * clients)
        if self.name.startswith("larder"):
            # What is done after the last byte belongs to the work, too.
            server.wait_until_kept(path)
        return told


def put_on(stage, size):
    digest = stage.random(f"/files/big/{WHEEL}", size)
    stage.routes["/parts.bin"] = stage.routes[f"/files/big/{WHEEL}"]
    stage.page("big", [(WHEEL, size, digest)])
    stage.ready()


def larder(bench, settings=None):
    return Larder(bench.binary, bench.place, bench.stage.url, settings)


def of_index(server):
    """The file's address, as an installer learns it."""
    page = f"{server.base}/simple/big/"
    listed = json.loads(fetch(page, {"Accept": SIMPLE_JSON})[2])
    return urljoin(page, listed["files"][0]["url"]).removeprefix(server.base)


def generic(server):
    return server.file(f"/files/big/{WHEEL}")


def run(bench):
    size = SIZE // bench.shrink
    put_on(bench.stage, size)
    direct = Cold("direct", lambda: Direct(bench.stage), generic)
    index = Cold("larder", lambda: larder(bench), of_index)
    mount = Cold("larder", lambda: larder(bench), generic)
    nginx = Cold("nginx", lambda: Nginx(bench.place, bench.stage.url), generic)
    rows = []
    for name, ours, peers in [("index", index, [direct]), ("generic", mount, [direct, nginx])]:
        bench.stage.manners(total=SLOW)
        told, machine = in_turns(bench.turns, [ours, *peers], Cold.download)
        order = [peer.name for peer in peers]
        rows.append(row(5, f"{name}, origin at 300 MB/s", "MB/s", told, machine, order, Target(at_least=0.97)))
        rows.append(first_byte(name, told, machine))
        bench.stage.manners()
        told, machine = in_turns(bench.turns, [ours, *peers], Cold.download)
        rows.append(row(5, f"{name}, unthrottled", "MB/s", told, machine, order))
        rows.append(parts(bench, name, ours, size))
    return rows


def first_byte(name, told, machine):
    later = [1000 * (ours["first_byte"] - direct["first_byte"]) for ours, direct in zip(told["larder"], told["direct"])]
    samples = {"larder": [{"value": value} for value in later]}
    return row(5, f"{name}, first byte after direct's", "ms", samples, machine, [], limit=Target(at_most=5))


def parts(bench, name, ours, size):
    """Processor time beside that of receiving, hashing, writing and sending, each measured alone."""

    class Parts:
        name = "parts"

        def download(self):
            steps = limits.measure(size, bench.stage.port, bench.place)
            return {"value": sum(steps.values()), **steps}

    def one(server):
        sample = server.download()
        return sample if server.name == "parts" else {"value": sample["cpu"], "server_peak_bytes": sample["server_peak_bytes"]}

    told, machine = in_turns(bench.turns, [ours, Parts()], one)
    found = row(5, f"{name}, unthrottled, CPU", "s/GB", told, machine, ["parts"], Target(at_most=1.15))
    middle = sorted(told["parts"], key=lambda sample: sample["value"])[len(told["parts"]) // 2]
    steps = ", ".join(f"{step} {middle[step]:.2f}" for step in limits.STEPS)
    return {**found, "note": f"Parts alone, in seconds of processor time a gigabyte: {steps}."}
