"""Varnish: a generic cache that keeps everything in memory."""

import shutil

from machine import Process, SERVER_CORE, find, free_port
from peers import write_config


class Varnish:
    name = "varnish"

    def __init__(self, place, origin, memory="3g"):
        self.place = place / "varnish"
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        # Its worker runs as another user and looks for its own folder.
        self.place.chmod(0o755)
        self.port = free_port()
        vcl = write_config("varnish.vcl", self.place, origin_port=origin.rpartition(":")[2])
        command = [
            find("varnishd"), "-F", "-n", self.place / "work", "-f", vcl, "-s", f"malloc,{memory}", "-a", f"127.0.0.1:{self.port}",
            "-p", "thread_pool_min=50", "-p", "thread_pools=1", "-p", "listen_depth=4096",
        ]
        self.process = Process(command, self.port, SERVER_CORE, self.place, name="varnish")
        self.base = f"http://127.0.0.1:{self.port}"

    def file(self, path):
        return path

    def close(self):
        self.process.stop()
        shutil.rmtree(self.place, ignore_errors=True)
