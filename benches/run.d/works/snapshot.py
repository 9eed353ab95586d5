"""Row 10: `snapshot_download` of a model of 6 files of 100 MB that was fetched before, without Xet, into an empty place. Beside olah, and beside nginx, which serves the
same answers as plain files."""

import os
import shutil
import subprocess
import time

from machine import Failed
from needs import program
from peers import started
from peers.larder import Larder
from peers.nginx import Nginx
from peers.olah import Olah
from stage import COMMIT
from turns import Target, in_turns, measured, row

TITLE = "snapshot_download of 6 files of 100 MB, warm"
PROGRAMS = ["nginx"]
VENVS = ["hub", "olah"]
MODEL = "org/large"
FILES = 6
SIZE = 100_000_000
SCRIPT = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], local_dir="out", max_workers=8)
"""


def run(bench):
    size = SIZE // bench.shrink
    files = put_on(bench.stage, size)
    origin = bench.stage.url
    starts = [
        lambda: Larder(bench.binary, bench.place, origin), lambda: Nginx(bench.place, origin, plain(bench.stage, files)),
        lambda: Olah(bench.place, origin),
    ]
    with started(*starts) as servers:
        for server in servers:
            download(bench, server, size)
            download(bench, server, size)
        told, machine = in_turns(bench.turns, servers, lambda server: measured(server.process, lambda: download(bench, server, size)))
    for samples in told.values():
        for sample in samples:
            sample["cpu"] = 1e9 * sample["server_cpu_seconds"] / (FILES * size)
    beside_plain = row(10, "no Xet, beside plain files", "s", told, machine, ["nginx"], Target(at_most=1.2))
    return [beside_plain, row(10, "no Xet, beside olah", "s", told, machine, ["olah"], Target(at_most=1 / 3))]


def put_on(stage, size):
    """The model; answers {path: what the origin sends}."""
    files = {}
    for number in range(FILES):
        path = f"model-{number:05}-of-{FILES:05}.safetensors"
        digest = stage.random(f"/raw/{path}", size)
        stage.resolved(MODEL, path, size, digest[:40], digest, stage.routes[f"/raw/{path}"]["file"])
        files[path] = (size, digest, digest[:40])
    stage.repository(MODEL, files)
    stage.ready()
    return {path: stage.routes[f"/{MODEL}/resolve/{COMMIT}/{path}"] for path in files}


def plain(stage, files):
    """What a server of plain files needs to be told so that the client takes it for a hub: fields, and two answers of its API."""
    blocks = []
    for path, route in files.items():
        fields = "".join(f"add_header {name} '{value}'; " for name, value in route["headers"].items() if name.startswith(("X-", "ETag")))
        for revision in ("main", COMMIT):
            blocks.append(f"location = /{MODEL}/resolve/{revision}/{path} {{ alias {stage.place}/{route['file']}; etag off; {fields}}}")
    for path in (f"/api/models/{MODEL}", f"/api/models/{MODEL}/revision/main", f"/api/models/{MODEL}/tree/{COMMIT}"):
        file = stage.place / stage.routes[path]["file"]
        blocks.append(f"location = {path} {{ alias {file}; default_type application/json; add_header X-Repo-Commit {COMMIT}; }}")
    return "\n        ".join(blocks)


def download(bench, server, size):
    place = bench.place / "trial"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "run.py").write_text(SCRIPT)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(place), "HF_HOME": str(place / "hf"), "HF_ENDPOINT": server.base, "NO_PROXY": "*",
        "no_proxy": "*", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    begun = time.monotonic()
    done = subprocess.run([program("hub", "python"), "run.py", MODEL], cwd=place, env=environment, capture_output=True, text=True)
    took = time.monotonic() - begun
    got = [path.stat().st_size for path in (place / "out").glob("*.safetensors")]
    shutil.rmtree(place / "out", ignore_errors=True)
    if done.returncode or got != [size] * FILES:
        raise Failed(f"snapshot_download from {server.name}: {done.stderr[-3000:]}")
    return {"value": took}
