"""What the benches need, installed where it is missing: Debian's packages by apt, Python's by pip with its own index."""

import os
import pathlib
import shutil
import subprocess
import sys

from machine import Failed, paths

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = ROOT / "target" / "benches"
# Programs, and the packages of Debian 12 that have them.
PROGRAMS = {
    "nginx": "nginx-light",
    "varnishd": "varnish",
    "docker-registry": "docker-registry",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
}
# Virtual environments, and what is in each.
VENVS = {
    "devpi": ["devpi-server==6.20.3"],
    "proxpi": ["proxpi==1.3.1", "gunicorn==27.0.1"],
    "olah": ["olah==0.5.4"],
    "uv": ["uv==0.13.8"],
    "hub": ["huggingface_hub==2.4.0", "hf_xet==1.8.0"],
}


def install(programs, venvs):
    """Installs what is missing; what cannot be had is an error, never a row left out."""
    missing = sorted({PROGRAMS[program] for program in programs if shutil.which(program, path=paths()) is None})
    if missing:
        say(f"installing {' '.join(missing)}")
        # The packages' own services are not wanted: everything here is started by hand, on ports of its own.
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        update = ["apt-get", "update", "-qq"]
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        for step in (update, command):
            if subprocess.run(step, env=quiet, stdout=subprocess.DEVNULL).returncode:
                raise Failed(f"{' '.join(step)} failed")
    for name in venvs:
        venv(name, VENVS[name])


def venv(name, packages):
    place = PLACE / name
    marker = place / "installed"
    if marker.exists() and marker.read_text() == " ".join(packages):
        return
    say(f"installing {' '.join(packages)}")
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    command = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    if subprocess.run(command, env=environment).returncode:
        raise Failed(f"pip cannot install {' '.join(packages)}")
    marker.write_text(" ".join(packages))


def program(venv_name, name):
    return PLACE / venv_name / "bin" / name


def versions(programs, venvs):
    """What was measured with: Debian's packages as it calls them, and those of the virtual environments."""
    pinned = [package.replace("==", " ") for name in venvs for package in VENVS[name]]
    packages = sorted({PROGRAMS[name] for name in programs})
    if not packages:
        return pinned
    command = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return pinned + [line.split("+")[0].split("~")[0] for line in lines]


def say(text):
    print(f"benches/run: {text}", flush=True)
