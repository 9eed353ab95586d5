"""What recording and judging cost: Larder as it comes, beside itself without recording pulls, and with 200 rules beside itself with none, in turns."""

from load import wrk, wrk_many
from peers.larder import Larder
from stage import OCI_MANIFEST, SIMPLE_JSON, git_oid
from turns import Target, in_turns, measured, per_request, row
from works import small

TITLE = "recording pulls and judging by 200 rules, 32 connections"
PROGRAMS = ["wrk"]
VENVS = []
MANY = 2000
RULES = 200
TARGET = Target(at_least=0.97)
# Processor time a request: the same cost without what the clients and the rest of the machine did meanwhile.
CPU_TARGET = Target(at_most=1.03)
# One of each kind of condition; none of them holds for what is measured, so that each has to be looked at.
CONDITIONS = [
    'release_age_lt = "7 days"',
    'name_in = ["bad-*", "worse*", "evil"]',
    'license_not_in = ["MIT", "Apache-2.0", "BSD-*", "ISC", "MPL-2.0"]',
    "yanked = true, newer_version = true",
    'format_in = "pickle", publisher_not_in = ["org", "other"]',
    'size_gte = "50 GB"',
    'file_in = ["*.exe", "*setup*.py", "*.msi"]',
    'base_model_in = "base/*", dataset_in = "data/*"',
]


class Unrecorded(Larder):
    name = "larder, not recording"


class Judging(Larder):
    name = "larder, 200 rules"


def run(bench):
    paths = put_on(bench)
    plain = Larder(bench.binary, bench.place / "plain", bench.stage.url)
    unrecorded = Unrecorded(bench.binary, bench.place / "unrecorded", bench.stage.url, {"LARDER_TRACE__PULLS": "0"})
    judging = Judging(bench.binary, bench.place / "judging", bench.stage.url, {"LARDER_POLICY__FILE": str(rules(bench))})
    servers = [plain, unrecorded, judging]
    try:
        rows = [told for case in bench.some(cases()) for told in measure(bench, servers, *case)]
        return [*rows, *measure_many(bench, servers, paths)]
    finally:
        for server in servers:
            server.close()


def rules(bench):
    """A policy file with so many rules."""
    path = bench.place / "policy.toml"
    rule = lambda number: f'[[rule]]\nid = "rule-{number}"\ndeny_if = {{ {CONDITIONS[number % len(CONDITIONS)]} }}\n'
    path.write_text("".join(map(rule, range(RULES))))
    return path


def put_on(bench):
    """A page, a manifest, and a model with many files; answers their paths."""
    stage = bench.stage
    stage.big_page("demo", 52)
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
        ("project page, 20 KB", "/simple/demo/", {"Accept": SIMPLE_JSON}),
        ("manifest, 20 KB", "/v2/library/demo/manifests/latest", {"Accept": OCI_MANIFEST}),
    ]


def measure(bench, servers, name, path, fields):
    for server in servers:
        small.prime(server, path, fields)
    return beside(bench, servers, name, lambda server: wrk(server.base + path, small.CONNECTIONS, bench.seconds, fields))


def measure_many(bench, servers, paths):
    """Many things at random: a share of them goes through the whole pipeline."""
    for server in servers:
        for path in paths:
            small.prime(server, path, {}, times=2)
    asked = [(path, "") for path in paths]
    ask = lambda server: wrk_many(server.base, asked, "*/*", small.CONNECTIONS, bench.seconds, bench.place)
    return beside(bench, servers, f"{len(paths):,} files of a model, at random", ask)


def beside(bench, servers, name, load):
    """Two rows: what recording costs, and what judging does."""
    told, machine = in_turns(bench.turns, servers, lambda server: per_request(measured(server.process, lambda: load(server))))
    plain, unrecorded, judging = (told[server.name] for server in servers)
    recorded = {"larder": plain, Unrecorded.name: unrecorded}
    judged = {"larder": judging, "larder, no rules": plain}
    return [
        row(15, f"{name}: recording", "requests/s", recorded, machine, [Unrecorded.name], TARGET, CPU_TARGET),
        row(16, f"{name}: judging", "requests/s", judged, machine, ["larder, no rules"], TARGET, CPU_TARGET),
    ]
