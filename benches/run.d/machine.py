"""The machine: which core runs what, processes that are measured, and what the machine did meanwhile."""

import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import time

# The server under test has a core of its own; load generators and origins share the other one.
SERVER_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
# A work during which others used more than this of one core is marked as measured on a busy machine.
BUSY = 0.15


class Failed(Exception):
    """Something that had to work did not; the message is for the person who runs the benches."""


def pin(core):
    """Holds this process, and what it starts from now on, to one core."""
    os.sched_setaffinity(0, {core})


def paths():
    return os.environ["PATH"] + ":/usr/sbin:/sbin"


def find(program):
    found = shutil.which(program, path=paths())
    if found is None:
        raise Failed(f"{program} is not installed")
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class Process:
    """A process with all its descendants: started on a core, waited for until its port accepts, measured, ended."""

    def __init__(self, command, port, core, place, environment=None, name=None):
        self.name = name or pathlib.Path(command[0]).name
        self.port = port
        self.log = pathlib.Path(place) / f"{self.name}.log"
        full = {**os.environ, "PATH": paths(), **(environment or {})}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], cwd=place, env=full, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
        deadline = time.monotonic() + 90
        while not accepts(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Failed(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.02)

    def pids(self):
        return tree(self.process.pid)

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def forget_peak(self):
        """Begins to count the peak of memory anew."""
        for pid in self.pids():
            try:
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                pass  # It has just ended.

    def peak_bytes(self):
        """The highest resident memory since the peak was forgotten, summed over the processes."""
        found = [re.search(r"VmHWM:\s+(\d+) kB", read(f"/proc/{pid}/status")) for pid in self.pids()]
        return sum(int(match[1]) << 10 for match in found if match)

    def stop(self):
        """Ends it politely, then for good, with all that it started."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # It took its children with it.


def tree(root):
    """A process and all that descend from it."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = stat(entry.name)
            if fields:
                parents[int(entry.name)] = int(fields[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def cpu_seconds(root):
    """Processor time of a process and its descendants so far. Those that have ended count for whoever waited for them."""
    return sum(int(field) for pid in tree(root) for field in stat(pid)[11:15]) / TICKS


def stat(pid):
    """The fields after the name, which may hold anything."""
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def read(path, default=""):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return default


class Usage:
    """What a server used between two moments."""

    def __init__(self, server):
        self.server = server
        server.forget_peak()
        self.before = server.cpu_seconds()
        self.begun = time.monotonic()

    def end(self):
        seconds = time.monotonic() - self.begun
        return {
            "seconds": seconds,
            "cpu_seconds": self.server.cpu_seconds() - self.before,
            "peak_bytes": self.server.peak_bytes(),
        }


def describe():
    """The machine, for the results."""
    model = re.search(r"model name\s*:\s*(.+)", read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))
    return {
        "processor": model[1].strip() if model else platform.machine(),
        "processors": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / (1 << 20), 1),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
    }


class Watch:
    """What else the machine did meanwhile: processor time of all processes but this one and those that it started."""

    def __init__(self):
        self.load_before = os.getloadavg()[0]
        self.others_before, self.begun = self.others(), time.monotonic()

    @staticmethod
    def others():
        fields = [int(field) for field in read("/proc/stat").splitlines()[0].split()[1:]]
        # All but idle and waiting for the disk; a guest's time is counted within user time.
        busy = (sum(fields[:8]) - fields[3] - fields[4]) / TICKS
        return busy - cpu_seconds(os.getpid())

    def end(self):
        """What it was, and whether the figures are to be trusted."""
        seconds = time.monotonic() - self.begun
        others = max(self.others() - self.others_before, 0) / seconds
        return {
            "load_before": round(self.load_before, 2),
            "others_percent_of_a_core": round(100 * others),
            "busy": others > BUSY,
        }
