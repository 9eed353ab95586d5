"""What the machine itself takes for each step of keeping a file, each alone on the server's core: the floor under every design that does all four.

`limits.py STEP BYTES PORT FOLDER` is the program; it prints processor seconds. The other end of a socket is on the other core.
"""

import hashlib
import os
import pathlib
import resource
import socket
import subprocess
import sys

PIECE = 1 << 18
BUFFER = bytearray(1 << 22)
STEPS = ["receive", "hash", "write", "send"]
HERE = pathlib.Path(__file__).resolve()


def measure(size, port, place):
    """Seconds of processor time for a gigabyte by step. `port` is an origin's that answers `/parts.bin` with so many bytes."""
    from machine import Failed, SERVER_CORE

    seconds = {}
    for step in STEPS:
        command = [sys.executable, HERE, step, size, port, place]
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE})
        )
        if done.returncode:
            raise Failed(f"measuring how long it takes to {step}: {done.stderr[-2000:]}")
        seconds[step] = float(done.stdout) * 1e9 / size
    return seconds


def receive(size, port, _):
    buffer = bytearray(PIECE)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /parts.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        begun = spent()
        left = size
        while left > 0:
            count = connection.recv_into(buffer)
            if count == 0:
                raise SystemExit("the origin ended early")
            left -= count
        return spent() - begun


def digest(size, _, __):
    piece = os.urandom(PIECE)
    hasher = hashlib.sha256()
    begun = spent()
    for _ in range(size // PIECE):
        hasher.update(piece)
    return spent() - begun


def write(size, _, folder):
    piece = os.urandom(PIECE)
    path = pathlib.Path(folder) / "part"
    with open(path, "wb", buffering=0) as file:
        begun = spent()
        for _ in range(size // PIECE):
            file.write(piece)
        os.fdatasync(file.fileno())
        took = spent() - begun
    path.unlink()
    return took


def send(size, _, __):
    """To a reader on the other core that drops what it gets."""
    piece = os.urandom(PIECE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # A process of its own: its time is not this one's.
        reader = os.fork()
        if reader == 0:
            os.sched_setaffinity(0, {max(os.cpu_count() - 1, 0)})
            drop(listener.getsockname())
        connection, _ = listener.accept()
        with connection:
            begun = spent()
            for _ in range(size // PIECE):
                connection.sendall(piece)
            took = spent() - begun
        os.waitpid(reader, 0)
        return took


def drop(address):
    with socket.create_connection(address) as connection:
        while connection.recv_into(BUFFER, len(BUFFER), socket.MSG_TRUNC):
            pass
    os._exit(0)


def spent():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    step, size, port, folder = sys.argv[1:]
    print({"receive": receive, "hash": digest, "write": write, "send": send}[step](int(size), int(port), folder))
