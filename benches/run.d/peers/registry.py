"""docker-registry in proxy mode."""

import shutil

from machine import Process, SERVER_CORE, find, free_port
from peers import write_config


class Registry:
    name = "docker-registry"

    def __init__(self, place, origin):
        self.place = place / "registry"
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.port = free_port()
        config = write_config("registry.yml", self.place, place=self.place, origin=origin, port=self.port)
        environment = {"OTEL_TRACES_EXPORTER": "none"}
        self.process = Process([find("docker-registry"), "serve", config], self.port, SERVER_CORE, self.place, environment, name="docker-registry")
        self.base = f"http://127.0.0.1:{self.port}"

    def close(self):
        self.process.stop()
        shutil.rmtree(self.place, ignore_errors=True)
