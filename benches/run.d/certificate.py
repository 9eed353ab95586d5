"""A certificate for servers on loopback, made anew for each run."""

import pathlib
import subprocess

from machine import find


class Certificate:
    """An ECDSA key, as most servers have today, and its own signature."""

    def __init__(self, place):
        self.certificate, self.key = pathlib.Path(place) / "certificate.pem", pathlib.Path(place) / "key.pem"
        command = [
            find("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.key, "-out", self.certificate,
        ]
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
