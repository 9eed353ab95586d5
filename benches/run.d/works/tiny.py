"""Row 2: answers without a body, or hardly any: HEAD, 304, a few bytes."""

from load import fetch, repeat, wrk, wrk_many
from peers import generic_caches
from stage import SIMPLE_JSON
from turns import Target, in_turns, measured, per_request, row
from works import small

TITLE = "hot HEAD, 304 and tiny answers, 32 connections"
PROGRAMS = ["nginx", "wrk"]
VENVS = []
TARGET = Target(at_least=1.7)
PAGE = {"Accept": SIMPLE_JSON}


def cases(server):
    """Name, method, path, fields, and whether the request is conditional."""
    return [
        ("HEAD of a project page", "HEAD", "/simple/demo/", PAGE, False),
        ("HEAD of a model's file", "HEAD", "/org/demo/resolve/main/config.json", {}, False),
        ("304 to a project page", "GET", "/simple/demo/", PAGE, True),
        ("file of 200 bytes", "GET", server.file("/tiny.bin"), {}, False),
    ]


def run(bench):
    small.put_on(bench.stage)
    many = small.put_on_many(bench)
    with generic_caches(bench, varnish=False) as servers:
        rows = [measure(bench, servers, number) for number in bench.some(range(len(cases(servers[0]))))]
        return [*rows, measure_many(bench, servers, many)]


def measure(bench, servers, number):
    asked = {}
    for server in servers:
        name, method, path, fields, conditional = cases(server)[number]
        small.prime(server, path, fields)
        if conditional:
            fields = {**fields, "If-None-Match": fetch(server.base + path, fields)[1]["ETag"]}
        asked[server.name] = (method, server.base + path, fields)

    def one(server):
        method, url, fields = asked[server.name]
        if method == "GET":
            ask = lambda: wrk(url, small.CONNECTIONS, bench.seconds, fields)
        else:
            ask = lambda: repeat(url, method, small.CONNECTIONS, bench.seconds, fields)
        return per_request(measured(server.process, ask))

    told, machine = in_turns(bench.turns, servers, one)
    return row(2, name, "requests/s", told, machine, ["nginx"], TARGET)


def measure_many(bench, servers, paths):
    """304 to many documents in random order."""
    asked = {}
    for server in servers:
        for path in paths:
            small.prime(server, path, PAGE, times=2)
        asked[server.name] = [(path, fetch(server.base + path, PAGE)[1]["ETag"]) for path in paths]

    def one(server):
        many = asked[server.name]
        ask = lambda: wrk_many(server.base, many, SIMPLE_JSON, small.CONNECTIONS, bench.seconds, bench.place)
        return per_request(measured(server.process, ask))

    told, machine = in_turns(bench.turns, servers, one)
    return row(2, f"304 to {len(paths):,} project pages, at random", "requests/s", told, machine, ["nginx"], TARGET)
