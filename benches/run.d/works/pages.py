"""Row 8: project pages of thousands of files, warm, as installers ask for them: JSON and HTML, plain and gzip. Beside them nginx sends the very same bytes as a
plain file."""

from load import fetch, wrk
from machine import Failed
from peers import started
from peers.larder import Larder
from peers.nginx import Nginx
from stage import SIMPLE_JSON
from turns import Target, in_turns, measured, per_request, row

TITLE = "big pages, warm, 8 connections"
PROGRAMS = ["nginx", "wrk"]
VENVS = []
TARGET = Target(at_least=0.9)
FORMS = {"JSON": SIMPLE_JSON, "HTML": "text/html"}


def run(bench):
    counts = [400] if bench.smoke else [4000, 8000] if bench.long else [8000]
    for count in counts:
        bench.stage.big_page(f"wide{count}", count)
    bench.stage.ready()
    folder = bench.place / "static"
    folder.mkdir(exist_ok=True)
    static = f"location /static/ {{ alias {folder}/; default_type text/html; }}"
    origin = bench.stage.url
    rows = []
    with started(lambda: Larder(bench.binary, bench.place, origin), lambda: Nginx(bench.place, origin, static)) as (larder, nginx):
        for count in counts:
            for form, media in bench.some(list(FORMS.items())):
                for coding in ("identity", "gzip"):
                    fields = {"Accept": media, "Accept-Encoding": coding}
                    rows.append(measure(bench, larder, nginx, folder, count, form, fields))
    return rows


def measure(bench, larder, nginx, folder, count, form, fields):
    page = f"{larder.base}/simple/wide{count}/"
    coding = fields["Accept-Encoding"]
    # The first answers may be rendered while the next ones are being compressed; what counts is what stays.
    status, head, body = [fetch(page, fields) for _ in range(3)][-1]
    if status != 200 or (coding == "gzip") != (head["Content-Encoding"] == "gzip"):
        raise Failed(f"{page} is answered with {status} {head}")
    name = f"{count}-{form}-{coding}"
    (folder / name).write_bytes(body)
    urls = {"larder": page, "nginx": f"{nginx.base}/static/{name}"}

    def one(server):
        return per_request(measured(server.process, lambda: wrk(urls[server.name], 8, bench.seconds, fields)))

    told, machine = in_turns(bench.turns, [larder, nginx], one)
    case = f"{count:,} files, {form}, {coding}, {len(body) / 1e6:.2f} MB"
    return row(8, case, "requests/s", told, machine, ["nginx"], TARGET)
