"""Row 7: a cold file of 1 GB over a link on which each connection gets 20 MB/s and a round trip takes 50 ms. Parallel ranges help there."""

from peers.direct import Direct
from turns import Target, in_turns, row
from works.cold import Cold, SIZE, generic, larder, of_index, put_on

TITLE = "cold file over a long link"
PROGRAMS = []
VENVS = []
EACH, DELAY = 20_000_000, 0.05


def run(bench):
    size = SIZE // bench.shrink
    put_on(bench.stage, size)
    bench.stage.manners(each=EACH, delay=DELAY)
    direct = Cold("direct", lambda: Direct(bench.stage), generic)
    rows = []
    for name, address in [("index", of_index), *([("generic", generic)] if bench.long else [])]:
        before = bench.stage.counts()["bytes"]
        ours = Cold("larder", lambda: larder(bench), address)
        told, machine = in_turns(bench.turns, [ours, direct], Cold.download)
        crossed = (bench.stage.counts()["bytes"] - before) / size / bench.turns - 1
        rows.append(row(7, f"{name}, {size // 1_000_000} MB, 50 ms and 20 MB/s a connection", "MB/s", told, machine, ["direct"], Target(at_least=4)))
        samples = {"larder": [{"value": crossed}]}
        rows.append(row(7, f"{name}, upstream bytes", "x", samples, machine, [], limit=Target(at_most=1.001)))
    return rows
