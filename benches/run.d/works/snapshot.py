"""Row 10: `snapshot_download` of a model of 6 files of 100 MB that was fetched before, into an empty place, without Xet and with it. Beside olah, which knows no Xet, and
beside nginx with plain files: the model's own, and for Xet the descriptions and xorbs that Larder gave, so that it is a storage for Xet that has nothing to compute."""

import json
import os
import shutil
import subprocess
import time

from load import fetch
from machine import Failed, free_port
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
WITHOUT = {"HF_HUB_DISABLE_XET": "1"}
SCRIPT = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], local_dir="out", max_workers=8)
"""


def run(bench):
    size = SIZE // bench.shrink
    files = put_on(bench.stage, size)
    origin, port = bench.stage.url, free_port()
    with started(lambda: Larder(bench.binary, bench.place, origin)) as (larder,):
        download(bench, larder, size, WITHOUT)
        captured = capture(bench, larder, files, port)
        blocks = plain(bench.stage, files, port) + captured
        with started(lambda: Nginx(bench.place, origin, blocks, port=port), lambda: Olah(bench.place, origin)) as (nginx, olah):
            without = measure(bench, [larder, nginx, olah], size, WITHOUT)
            xet = measure(bench, [larder, nginx], size, {})
    return [
        row(10, "without Xet, beside plain files", "s", *without, ["nginx"], Target(at_most=1.2)),
        row(10, "without Xet, beside olah", "s", *without, ["olah"], Target(at_most=1 / 3)),
        row(10, "with Xet, beside plain files of a storage", "s", *xet, ["nginx"], Target(at_most=1.2)),
        silence(bench, size),
    ]


def measure(bench, servers, size, environment):
    for server in servers:
        download(bench, server, size, environment)
    one = lambda server: measured(server.process, lambda: download(bench, server, size, environment))
    told, machine = in_turns(bench.turns, servers, one)
    for samples in told.values():
        for sample in samples:
            sample["cpu"] = 1e9 * sample["server_cpu_seconds"] / (FILES * size)
    return told, machine


def silence(bench, size):
    """What it costs that the hub takes requests and says nothing, when it is time to ask it where the branch leads."""
    life = 1

    def one(state):
        bench.stage.manners(silent=state.silent)
        # Longer than a branch is trusted, and than a host that failed is left alone at first.
        time.sleep(life + 2)
        return download(bench, larder, size, WITHOUT)

    with started(lambda: Larder(bench.binary, bench.place, bench.stage.url, {"LARDER_HUGGINGFACE__REF_TTL": f"{life}s"})) as (larder,):
        download(bench, larder, size, WITHOUT)
        told, machine = in_turns(min(bench.turns, 3), [State("silent", True), State("well", False)], one)
    bench.stage.manners()
    longer = [{"value": silent["value"] - well["value"]} for silent, well in zip(told["silent"], told["well"])]
    return row(10, "longer while the hub says nothing", "s", {"larder": longer}, machine, [], limit=Target(at_most=2))


class State:
    """How the hub is during a turn."""

    def __init__(self, name, silent):
        self.name, self.silent = name, silent


def capture(bench, larder, files, port):
    """Takes what Larder says of each file, and the xorbs themselves; answers the lines that make nginx say the same."""
    place = bench.place / "storage"
    for folder in ("v2/reconstructions", "xorb"):
        (place / folder).mkdir(parents=True)
    token = json.loads(fetch(f"{larder.base}/api/models/{MODEL}/xet-read-token/{COMMIT}")[2])
    fields = {"Authorization": f"Bearer {token['accessToken']}"}
    base = f"http://127.0.0.1:{port}"
    for route in files.values():
        path = f"v2/reconstructions/{route['headers']['X-Xet-Hash']}"
        status, _, body = fetch(f"{token['casUrl']}/{path}", fields)
        if status != 200:
            raise Failed(f"Larder describes no file: {body[:500]}")
        described = json.loads(body)
        for name, (fetched,) in described["xorbs"].items():
            (place / "xorb" / name).write_bytes(fetch(fetched["url"])[2])
            fetched["url"] = f"{base}/xorb/{name}"
        (place / path).write_text(json.dumps(described))
    (place / "token").write_text(json.dumps({**token, "casUrl": base}))
    told = {"Cas-Url": base, "Access-Token": token["accessToken"], "Token-Expiration": token["exp"]}
    told = "".join(f"add_header X-Xet-{name} '{value}'; " for name, value in told.items())
    return f"""
        location = /api/models/{MODEL}/xet-read-token/{COMMIT} {{ alias {place}/token; default_type application/json; {told}}}
        location /v2/reconstructions/ {{ alias {place}/v2/reconstructions/; default_type application/json; max_ranges 0; }}
        location /xorb/ {{ alias {place}/xorb/; }}"""


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


def plain(stage, files, port):
    """What a server of plain files needs to be told so that the client takes it for a hub: fields, and two answers of its API."""
    blocks = []
    leads = f"<http://127.0.0.1:{port}/api/models/{MODEL}/xet-read-token/{COMMIT}>; rel=\"xet-auth\""
    for path, route in files.items():
        fields = "".join(f"add_header {name} '{value}'; " for name, value in route["headers"].items() if name.startswith(("X-", "ETag")))
        fields += f"add_header Link '{leads}'; "
        for revision in ("main", COMMIT):
            blocks.append(f"location = /{MODEL}/resolve/{revision}/{path} {{ alias {stage.place}/{route['file']}; etag off; {fields}}}")
    for path in (f"/api/models/{MODEL}", f"/api/models/{MODEL}/revision/main", f"/api/models/{MODEL}/tree/{COMMIT}"):
        file = stage.place / stage.routes[path]["file"]
        blocks.append(f"location = {path} {{ alias {file}; default_type application/json; add_header X-Repo-Commit {COMMIT}; }}")
    return "\n        ".join(blocks)


def download(bench, server, size, more):
    place = bench.place / "trial"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "run.py").write_text(SCRIPT)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(place), "HF_HOME": str(place / "hf"), "HF_ENDPOINT": server.base, "NO_PROXY": "*",
        "no_proxy": "*", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **more,
    }
    begun = time.monotonic()
    done = subprocess.run([program("hub", "python"), "run.py", MODEL], cwd=place, env=environment, capture_output=True, text=True)
    took = time.monotonic() - begun
    got = [path.stat().st_size for path in (place / "out").glob("*.safetensors")]
    shutil.rmtree(place / "out", ignore_errors=True)
    if done.returncode or got != [size] * FILES:
        raise Failed(f"snapshot_download from {server.name}: {done.stderr[-3000:]}")
    return {"value": took}
