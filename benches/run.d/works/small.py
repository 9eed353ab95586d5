"""Row 1: small documents that everybody asks for, hot, on 32 connections. Also what a plain file of the same size costs."""

from load import fetch, wrk, wrk_many
from machine import Failed
from peers import generic_caches
from stage import OCI_MANIFEST, SIMPLE_JSON, git_oid
from turns import Target, in_turns, measured, per_request, row

TITLE = "hot small documents, 32 connections"
PROGRAMS = ["nginx", "varnishd", "wrk"]
VENVS = []
CONNECTIONS = 32
MANY = 2000
TARGET = Target(at_least=1.7)


def put_on(stage):
    """A page, a manifest and a tree of some 20 KB each, and a file of that size."""
    stage.big_page("demo", 52)
    stage.image("library/demo", "latest", 128, 64)
    small = b"{}"
    files = {f"folder/part-{number:05}-of-00160.json": (len(small), None, git_oid(small)) for number in range(160)}
    files["config.json"] = (len(small), None, git_oid(small))
    stage.repository("org/demo", files)
    stage.bytes("/config", small)
    stage.resolved("org/demo", "config.json", len(small), git_oid(small), None, stage.routes["/config"]["file"])
    stage.random("/small.bin", 20_000)
    stage.random("/tiny.bin", 200)
    stage.ready()


def cases(server):
    """Name, path and fields of each request."""
    return [
        ("project page, 20 KB", "/simple/demo/", {"Accept": SIMPLE_JSON}),
        ("manifest, 20 KB", "/v2/library/demo/manifests/latest", {"Accept": OCI_MANIFEST}),
        ("tree, 20 KB", "/api/models/org/demo/tree/main?recursive=true", {}),
        ("file, 20 KB", server.file("/small.bin"), {}),
    ]


def run(bench):
    put_on(bench.stage)
    many = put_on_many(bench)
    with generic_caches(bench) as servers:
        rows = [measure(bench, servers, number) for number in bench.some(range(len(cases(servers[0]))))]
        return [*rows, measure_many(bench, servers, many)]


def measure(bench, servers, number):
    for server in servers:
        name, path, fields = cases(server)[number]
        prime(server, path, fields)

    def one(server):
        _, path, fields = cases(server)[number]
        return per_request(measured(server.process, lambda: wrk(server.base + path, CONNECTIONS, bench.seconds, fields)))

    told, machine = in_turns(bench.turns, servers, one)
    return row(1, name, "requests/s", told, machine, ["nginx", "varnish"], TARGET)


def put_on_many(bench):
    """Pages of many projects; answers their paths."""
    projects = [f"demo{number}" for number in range(MANY // (100 if bench.smoke else 1))]
    for project in projects:
        bench.stage.big_page(project, 52)
    bench.stage.ready()
    return [f"/simple/{project}/" for project in projects]


def measure_many(bench, servers, paths):
    """The same work spread over many documents, so that no server lives on the one that it has just served."""
    for server in servers:
        for path in paths:
            prime(server, path, {"Accept": SIMPLE_JSON}, times=2)
    asked = [(path, "") for path in paths]

    def one(server):
        ask = lambda: wrk_many(server.base, asked, SIMPLE_JSON, CONNECTIONS, bench.seconds, bench.place)
        return per_request(measured(server.process, ask))

    told, machine = in_turns(bench.turns, servers, one)
    return row(1, f"{len(paths):,} project pages of 20 KB, at random", "requests/s", told, machine, ["nginx", "varnish"], TARGET)


def prime(server, path, fields, times=3):
    """Has it kept, and sees that it is answered."""
    for _ in range(times):
        status, _, body = fetch(server.base + path, fields)
    if status != 200:
        raise Failed(f"{server.name} answers {path} with {status}: {body[:300]}")
