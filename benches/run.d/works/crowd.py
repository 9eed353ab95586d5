"""Row 6: 50 clients ask at once for a cold file of 250 MB, in the long form of 1 GB. The last of them should be done when one alone would be, and each byte cross upstream once."""

from turns import Target, in_turns, row
from works.cold import Cold, SIZE, generic, larder, of_index, put_on

TITLE = "cold file, 50 clients at once"
PROGRAMS = []
VENVS = []
CLIENTS = 50
# A file of 1 GB takes half a minute each time; ratios are the same with less.
SHORTER = 4


def run(bench):
    size = SIZE // bench.shrink // (1 if bench.long else SHORTER)
    put_on(bench.stage, size)
    rows = []
    for name, address in [("index", of_index), *([("generic", generic)] if bench.long else [])]:
        rows += measure(bench, f"{name}, {size // 1_000_000} MB, origin at 30 MB/s", address, size, 30_000_000, bench.turns, Target(at_most=1.1))
    # What 50 clients take from one core is then the limit, so that there is nothing to be judged.
    return [*rows, *measure(bench, f"index, {size // 1_000_000} MB, origin at 300 MB/s", of_index, size, 300_000_000, 1, None)]


def measure(bench, case, address, size, rate, turns, target):
    bench.stage.manners(total=rate)
    crowd = Cold("larder", lambda: larder(bench), address)
    alone = Cold("larder alone", lambda: larder(bench), address)

    def one(server):
        before = bench.stage.counts()["bytes"]
        sample = server.download(CLIENTS if server is crowd else 1)
        sample["value"] = sample["last"]
        sample["upstream"] = (bench.stage.counts()["bytes"] - before) / size
        return sample

    told, machine = in_turns(turns, [crowd, alone], one)
    crossed = {"larder": [{"value": sample["upstream"]} for sample in told["larder"]]}
    limit = Target(at_most=1.001)
    return [
        row(6, f"{case}, last client", "s", told, machine, ["larder alone"], target),
        row(6, f"{case}, upstream bytes", "x", crossed, machine, [], limit=limit),
    ]
