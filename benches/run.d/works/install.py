"""Row 9: uv installs 60 packages from an index that has had them before, into an empty place with an empty cache. Beside devpi and proxpi, nginx serves the same
index as plain files."""

import os
import shutil
import subprocess
import sys
import time

import wheels
from machine import Failed
from needs import program
from peers import started
from peers.devpi import Devpi
from peers.larder import Larder
from peers.nginx import Nginx
from peers.proxpi import Proxpi
from stage import SIMPLE_JSON
from turns import Target, in_turns, measured, median, row

TITLE = "uv pip install of 60 packages, warm"
PROGRAMS = ["nginx"]
VENVS = ["uv", "devpi", "proxpi"]


def run(bench):
    static = bench.place / "index"
    wheels.put_on(bench.stage, static)
    origin = bench.stage.url
    blocks = f"""
        location /static/simple/ {{ alias {static}/simple/; index index.json; types {{ }} default_type {SIMPLE_JSON}; }}
        location /static/files/ {{ alias {static}/files/; }}"""
    starts = [
        lambda: Larder(bench.binary, bench.place, origin), lambda: Nginx(bench.place, origin, blocks),
        lambda: Devpi(bench.place, origin), lambda: Proxpi(bench.place, origin),
    ]
    with started(*starts) as servers:
        larder, nginx, *_ = servers
        larder.index, nginx.index = f"{larder.base}/simple/", f"{nginx.base}/static/simple/"
        for server in servers:
            install(bench, server)
            install(bench, server)
        told, machine = in_turns(bench.turns, servers, lambda server: measured(server.process, lambda: install(bench, server)))
    for samples in told.values():
        for sample in samples:
            sample["cpu"] = sample["server_cpu_seconds"]
    plain = row(9, "beside plain files", "s", told, machine, ["nginx"], Target(at_most=1.1))
    peers = row(9, "beside caches of an index", "s", told, machine, ["devpi", "proxpi"], Target(at_most=0.5))
    peers["met"] = max(peers["ratios"].values()) <= 0.5
    return [plain, {**peers, "note": f"Processor time is the server's for one installation; uv itself took {median(told['larder'], 'client_seconds'):.2f} s of its core."}]


def install(bench, server):
    place = bench.place / "trial"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    command = [
        program("uv", "uv"), "pip", "install", "--quiet", "--python", sys.executable, "--target", "site", "--cache-dir", "cache", "--no-config",
        "--default-index", server.index, *wheels.names(),
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "NO_PROXY": "*"}
    before = os.times()
    begun = time.monotonic()
    done = subprocess.run([str(part) for part in command], cwd=place, env=environment, capture_output=True, text=True)
    took = time.monotonic() - begun
    after = os.times()
    if done.returncode or len(list((place / "site").glob("sample_*-*.dist-info"))) != wheels.COUNT:
        raise Failed(f"uv with {server.name}: {done.stderr[-3000:]}")
    client = after.children_user + after.children_system - before.children_user - before.children_system
    return {"value": took, "client_seconds": client}
