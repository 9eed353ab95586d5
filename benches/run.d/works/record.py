"""What recording costs: Larder beside itself with pulls not recorded, in turns, over answers that are pulls."""

from load import wrk, wrk_many
from peers.larder import Larder
from stage import OCI_MANIFEST, git_oid
from turns import Target, in_turns, measured, per_request, row
from works import small

TITLE = "recording of pulls, 32 connections"
PROGRAMS = ["wrk"]
VENVS = []
MANY = 2000
TARGET = Target(at_least=0.97)


class Unrecorded(Larder):
    name = "larder, not recording"


def run(bench):
    files = put_on(bench)
    recording = Larder(bench.binary, bench.place / "on", bench.stage.url)
    unrecorded = Unrecorded(bench.binary, bench.place / "off", bench.stage.url, {"LARDER_TRACE__PULLS": "0"})
    servers = [recording, unrecorded]
    try:
        rows = [measure(bench, servers, *case) for case in bench.some(cases())]
        return [*rows, measure_many(bench, servers, files)]
    finally:
        for server in servers:
            server.close()


def put_on(bench):
    """A manifest, and a model with many files; answers their paths."""
    stage = bench.stage
    stage.image("library/demo", "latest", 128, 64)
    content = b"x" * 2000
    names = [f"part-{number:05}.json" for number in range(MANY // (100 if bench.smoke else 1))]
    stage.repository("org/demo", {name: (len(content), None, git_oid(content)) for name in names})
    stage.bytes("/content", content)
    for name in names:
        stage.resolved("org/demo", name, len(content), git_oid(content), None, stage.routes["/content"]["file"])
    stage.ready()
    return [f"/org/demo/resolve/main/{name}" for name in names]


def cases():
    """Name, path and fields: the same request again and again, which is mostly answered beside the pipeline."""
    return [
        ("a model's file of 2 KB", "/org/demo/resolve/main/part-00000.json", {}),
        ("manifest, 20 KB", "/v2/library/demo/manifests/latest", {"Accept": OCI_MANIFEST}),
    ]


def measure(bench, servers, name, path, fields):
    for server in servers:
        small.prime(server, path, fields)

    def one(server):
        return per_request(measured(server.process, lambda: wrk(server.base + path, small.CONNECTIONS, bench.seconds, fields)))

    told, machine = in_turns(bench.turns, servers, one)
    return row(15, name, "requests/s", told, machine, [Unrecorded.name], TARGET)


def measure_many(bench, servers, paths):
    """Many things at random: most go through the whole pipeline."""
    for server in servers:
        for path in paths:
            small.prime(server, path, {}, times=2)
    asked = [(path, "") for path in paths]

    def one(server):
        ask = lambda: wrk_many(server.base, asked, "*/*", small.CONNECTIONS, bench.seconds, bench.place)
        return per_request(measured(server.process, ask))

    told, machine = in_turns(bench.turns, servers, one)
    return row(15, f"{len(paths):,} files of a model, at random", "requests/s", told, machine, [Unrecorded.name], TARGET)
