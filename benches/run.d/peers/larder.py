"""Larder itself: its release binary, its defaults."""

import shutil
import time

from load import fetch, fetch_tls
from machine import Failed, Process, SERVER_CORE, free_port
from peers import write_config


class Larder:
    name = "larder"

    def __init__(self, binary, place, origin, settings=None, tls=None):
        self.place = place / "larder"
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.port = free_port()
        config = write_config("larder.toml", self.place, origin=origin)
        environment = dict(settings or {})
        if tls:
            environment.update(LARDER_TLS__CERTIFICATE=str(tls.certificate), LARDER_TLS__KEY=str(tls.key))
        command = [binary, "serve", "--config", config, "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.place / "data"]
        self.process = Process(command, self.port, SERVER_CORE, self.place, environment, name="larder")
        # With a certificate this listener speaks TLS and nothing else.
        self.tls_port = self.port
        self.base = f"http://127.0.0.1:{self.port}"
        # It listens before it has opened its data, and whoever comes meanwhile waits. What that takes is no part of a download.
        if tls:
            fetch_tls(self.port, "/-/health")
        else:
            fetch(f"{self.base}/-/health")

    def file(self, path):
        """The address of a file of the origin's: by the mount that any HTTP origin can have."""
        return f"/generic/files{path}"

    def wait_until_kept(self, path):
        """Until a file just fetched is on the disk, and served from there."""
        deadline = time.monotonic() + 120
        while "hit" not in fetch(self.base + path, method="HEAD")[1].get("Cache-Status", ""):
            if time.monotonic() > deadline:
                raise Failed(f"{path} is not kept")
            time.sleep(0.02)

    def close(self):
        self.process.stop()
        shutil.rmtree(self.place, ignore_errors=True)
