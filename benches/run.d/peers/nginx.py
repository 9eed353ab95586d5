"""nginx: `proxy_cache` before the origin, and static files."""

import shutil

from machine import Process, SERVER_CORE, find, free_port
from peers import write_config


class Nginx:
    """A cache of the origin. `static` are further lines of its server block."""

    name = "nginx"

    def __init__(self, place, origin, static="", tls=None, port=None):
        self.place = place / "nginx"
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.port = port or free_port()
        self.tls_port = free_port()
        config = write_config(
            "nginx.conf", self.place, place=self.place, port=self.port, origin_port=origin.rpartition(":")[2], static=static,
            listen_tls=f"listen 127.0.0.1:{self.tls_port} ssl http2 backlog=4096;" if tls else "",
            certificate=tls.certificate if tls else "unused", key=tls.key if tls else "unused",
        )
        if not tls:
            config.write_text("\n".join(line for line in config.read_text().splitlines() if "unused" not in line))
        command = [find("nginx"), "-p", self.place, "-e", "stderr", "-c", config]
        self.process = Process(command, self.port, SERVER_CORE, self.place, name="nginx")
        self.base = f"http://127.0.0.1:{self.port}"

    def file(self, path):
        return path

    def close(self):
        self.process.stop()
        shutil.rmtree(self.place, ignore_errors=True)
