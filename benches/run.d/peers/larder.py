"""Larder itself: its release binary, its defaults."""

import shutil

from machine import Process, SERVER_CORE, free_port
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

    def file(self, path):
        """The address of a file of the origin's: by the mount that any HTTP origin can have."""
        return f"/generic/files{path}"

    def close(self):
        self.process.stop()
        shutil.rmtree(self.place, ignore_errors=True)
