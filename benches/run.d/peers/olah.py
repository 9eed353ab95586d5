"""olah, a mirror of the hub."""

import shutil

from machine import Process, SERVER_CORE, free_port
from needs import program


class Olah:
    name = "olah"

    def __init__(self, place, origin):
        self.place = place / "olah"
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.port = free_port()
        upstream = origin.removeprefix("http://")
        ours = f"127.0.0.1:{self.port}"
        command = [
            program("olah", "olah-cli"), "--host", "127.0.0.1", "--port", self.port, "--hf-scheme", "http", "--hf-netloc", upstream,
            "--hf-lfs-netloc", upstream, "--mirror-scheme", "http", "--mirror-netloc", ours, "--mirror-lfs-netloc", ours,
            "--repos-path", self.place / "repos", "--log-path", self.place / "logs", "--metadata-cache-ttl", "3600",
        ]
        self.process = Process(command, self.port, SERVER_CORE, self.place, {"NO_PROXY": "*", "no_proxy": "*"}, name="olah")
        self.base = f"http://{ours}"

    def close(self):
        self.process.stop()
        shutil.rmtree(self.place, ignore_errors=True)
