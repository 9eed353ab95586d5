"""proxpi, run by gunicorn with threads, as its own image runs it."""

import shutil

from machine import Process, SERVER_CORE, free_port
from needs import program


class Proxpi:
    name = "proxpi"

    def __init__(self, place, origin):
        self.place = place / "proxpi"
        shutil.rmtree(self.place, ignore_errors=True)
        (self.place / "files").mkdir(parents=True)
        self.port = free_port()
        settings = {
            "PROXPI_INDEX_URL": f"{origin}/simple/",
            "PROXPI_INDEX_TTL": "86400",
            "PROXPI_CACHE_DIR": str(self.place / "files"),
            "PROXPI_DOWNLOAD_TIMEOUT": "60",
            "NO_PROXY": "*",
            "no_proxy": "*",
        }
        command = [
            program("proxpi", "gunicorn"), "--preload", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "75",
            "--bind", f"127.0.0.1:{self.port}", "proxpi.server:app",
        ]
        self.process = Process(command, self.port, SERVER_CORE, self.place, settings, name="proxpi")
        self.base = f"http://127.0.0.1:{self.port}"
        self.index = f"{self.base}/index/"

    def close(self):
        self.process.stop()
        shutil.rmtree(self.place, ignore_errors=True)
