"""Row 11: an image pulled by 8 clients at once, warm: manifest, then its blobs, three at a time, as container clients do. A client here neither verifies nor unpacks: that
is its own work, and it would hide the server's. Also the first pull of an image of 1 GB beside one from the registry itself."""

import concurrent.futures
import time

from load import drain, fetch
from machine import Failed
from peers import started
from peers.direct import Direct
from peers.larder import Larder
from peers.registry import Registry
from stage import OCI_MANIFEST
from turns import Target, in_turns, measured, per_gigabyte, row

TITLE = "image pull"
PROGRAMS = ["docker-registry"]
VENVS = []
CLIENTS = 8
IMAGE = "library/demo"


def run(bench):
    _, blobs = bench.stage.image(IMAGE, "warm", 6, 50_000_000 // bench.shrink)
    _, big = bench.stage.image(IMAGE, "cold", 4, 250_000_000 // bench.shrink)
    bench.stage.ready()
    return [warm(bench, blobs), cold(bench, big)]


def pull(server, tag, blobs, clients=1):
    """The manifest of each client, then all its blobs at once."""
    begun = time.monotonic()
    ask_manifests(server, tag, clients)
    told = drain(server.port, [path for _ in range(clients) for path in blobs])
    return {**told, "seconds": time.monotonic() - begun}


def ask_manifests(server, tag, clients):
    def one(_):
        status, _, body = fetch(f"{server.base}/v2/{IMAGE}/manifests/{tag}", {"Accept": OCI_MANIFEST})
        if status != 200:
            raise Failed(f"{server.name} answers a manifest with {status}: {body[:300]}")

    if clients == 1:
        return one(0)
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(clients)))


def warm(bench, blobs):
    with started(lambda: Larder(bench.binary, bench.place, bench.stage.url), lambda: Registry(bench.place, bench.stage.url)) as servers:
        for server in servers:
            pull(server, "warm", blobs)
            wait_until_kept(bench, server, blobs)
        one = lambda server: per_gigabyte(measured(server.process, lambda: pull(server, "warm", blobs, CLIENTS)))
        told, machine = in_turns(bench.turns, servers, one)
    return row(11, "300 MB in 6 layers, warm, 8 clients", "MB/s", told, machine, ["docker-registry"], Target(at_least=2))


def wait_until_kept(bench, server, blobs):
    """Some servers store after they have answered. Asking whether a tag still stands is no sign of that."""
    deadline = time.monotonic() + 60
    while True:
        before = bench.stage.counts()["bytes"]
        pull(server, "warm", blobs)
        if bench.stage.counts()["bytes"] - before < 1000:
            return
        if time.monotonic() > deadline:
            raise Failed(f"{server.name} does not keep blobs")


class Fresh:
    """A server begun anew for each turn."""

    def __init__(self, name, start):
        self.name, self.start = name, start

    def pull(self, blobs):
        server = self.start()
        try:
            sample = per_gigabyte(measured(server.process, lambda: pull(server, "cold", blobs)))
            return {**sample, "value": sample["seconds"]}
        finally:
            server.close()


def cold(bench, blobs):
    origin = bench.stage.url
    servers = [
        Fresh("larder", lambda: Larder(bench.binary, bench.place, origin)),
        Fresh("direct", lambda: Direct(bench.stage)),
        Fresh("docker-registry", lambda: Registry(bench.place, origin)),
    ]
    bench.stage.manners(total=300_000_000)
    told, machine = in_turns(bench.turns, servers, lambda server: server.pull(blobs))
    bench.stage.manners()
    peers = ["direct", "docker-registry"]
    return row(11, "1 GB in 4 layers, cold, origin at 300 MB/s", "s", told, machine, peers, Target(at_most=1.05))
