"""devpi-server with a mirror of the origin's index."""

import base64
import json
import shutil
import subprocess

from load import fetch
from machine import Failed, Process, SERVER_CORE, free_port
from needs import program

USER, PASSWORD = "root", "benches"


class Devpi:
    name = "devpi"

    def __init__(self, place, origin):
        self.place = place / "devpi"
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        data = self.place / "data"
        secret = self.place / "secret"
        for begin in [
            [program("devpi", "devpi-init"), "--serverdir", data, "--no-root-pypi", "--root-passwd", PASSWORD],
            # Without one it waits half a minute at its start, so that its warning is seen.
            [program("devpi", "devpi-gen-secret"), "--secretfile", secret],
        ]:
            subprocess.run([str(part) for part in begin], check=True, capture_output=True)
        command = [
            program("devpi", "devpi-server"), "--serverdir", data, "--host", "127.0.0.1", "--port", self.port, "--threads", "50",
            "--mirror-cache-expiry", "86400", "--secretfile", secret,
        ]
        self.process = Process(command, self.port, SERVER_CORE, self.place, {"NO_PROXY": "*", "no_proxy": "*"}, name="devpi")
        self.mirror(origin)
        self.index = f"{self.base}/{USER}/mirror/+simple/"

    def mirror(self, origin):
        told = self.ask("POST", "/+login", {"user": USER, "password": PASSWORD})
        token = base64.b64encode(f"{USER}:{told['result']['password']}".encode()).decode()
        settings = {"type": "mirror", "mirror_url": f"{origin}/simple/", "volatile": True}
        self.ask("PUT", f"/{USER}/mirror", settings, {"X-Devpi-Auth": token})

    def ask(self, method, path, body, fields=None):
        fields = {"Accept": "application/json", "Content-Type": "application/json", **(fields or {})}
        status, _, answer = fetch(self.base + path, fields, method, json.dumps(body).encode())
        if status not in (200, 201):
            raise Failed(f"devpi answers {path} with {status}: {answer[:500]}")
        return json.loads(answer)

    def close(self):
        self.process.stop()
        shutil.rmtree(self.place, ignore_errors=True)
