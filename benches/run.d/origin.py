"""The origin: every server under test is in front of this one. A program of its own, started as `origin.py PORT FOLDER`.

It serves the files that `FOLDER/routes.json` names, with strong validators and ranges, and counts what it sends. Its manners change while it runs, by
`POST /-/manners` with any of

    total      bytes a second of all connections together; 0 is no limit
    each       bytes a second of one connection; 0 is no limit
    silent     whether it takes requests and says nothing
    delay      seconds between a request and the first byte of its answer, and once more for a new connection: a round trip

`GET /-/counts` answers how many requests and bytes of bodies there were. Routes may end in `*`, so that one file has any number of addresses. A thread for each
connection and `sendfile`: cheap enough beside a load generator on the same core.
"""

import json
import os
import pathlib
import re
import socket
import sys
import threading
import time
import urllib.parse

PIECE = 1 << 18
MANNERS = {"total": 0, "each": 0, "delay": 0.0, "silent": False}


class Origin:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.manners = dict(MANNERS)
        self.lock = threading.Lock()
        self.requests = 0
        self.bytes = 0
        # When the next byte may leave by the limit on all connections together.
        self.due = 0.0
        self.load()

    def load(self):
        routes = json.loads((self.folder / "routes.json").read_text())
        self.exact = {path: route for path, route in routes.items() if not path.endswith("*")}
        self.starts = {path[:-1]: route for path, route in routes.items() if path.endswith("*")}

    def route(self, path):
        path = path.partition("?")[0]
        # Some mirrors ask with a slash at the end.
        found = self.exact.get(path) or self.exact.get(path.rstrip("/"))
        if found:
            return found
        return next((route for start, route in self.starts.items() if path.startswith(start)), None)

    def serve(self, connection):
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            time.sleep(self.manners["delay"])
            pending = b""
            try:
                while True:
                    while b"\r\n\r\n" not in pending:
                        more = connection.recv(1 << 16)
                        if not more:
                            return
                        pending += more
                    head, _, pending = pending.partition(b"\r\n\r\n")
                    method, path, fields = parsed(head)
                    length = int(fields.get("content-length", "0"))
                    while len(pending) < length:
                        pending += connection.recv(1 << 16)
                    body, pending = pending[:length], pending[length:]
                    self.answer(connection, method, path, fields, body)
            except OSError:
                return  # Whoever asked has left.

    def answer(self, connection, method, path, fields, body):
        if path.startswith("/-/"):
            return self.told(connection, path, body)
        while self.manners["silent"]:
            time.sleep(0.05)
        time.sleep(self.manners["delay"])
        with self.lock:
            self.requests += 1
        route = self.route(path)
        if route is None:
            return send(connection, 404, {"Content-Length": "0"})
        if route.get("selects"):
            return self.select(connection, route, body)
        headers = dict(route["headers"])
        status, begin, end = 200, 0, route["size"]
        if headers.get("ETag") in fields.get("if-none-match", "").split(", ") and "ETag" in headers:
            return send(connection, 304, headers)
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", fields.get("range", ""))
        if wanted and fields.get("if-range", headers.get("ETag")) == headers.get("ETag"):
            begin, end = span(wanted, route["size"])
            status, headers["Content-Range"] = 206, f"bytes {begin}-{end - 1}/{route['size']}"
        headers["Content-Length"] = str(end - begin)
        send(connection, status, headers)
        if method == "GET":
            self.stream(connection, self.folder / route["file"], begin, end)

    def select(self, connection, route, body):
        """Of a tree the entries that a form names: what some mirrors ask before they fetch a file."""
        wanted = set(urllib.parse.parse_qs(body.decode()).get("paths", []))
        entries = json.loads((self.folder / route["file"]).read_text())
        text = json.dumps([entry for entry in entries if entry["path"] in wanted]).encode()
        send(connection, 200, {**route["headers"], "Content-Length": str(len(text))}, text)

    def stream(self, connection, path, begin, end):
        with open(path, "rb") as file:
            # This connection's own pace.
            due = time.monotonic()
            while begin < end:
                size = min(PIECE, end - begin)
                due = self.pace(size, due)
                sent = os.sendfile(connection.fileno(), file.fileno(), begin, size)
                begin += sent
                with self.lock:
                    self.bytes += sent

    def pace(self, size, due):
        """Waits until as much may be sent; answers when the next piece may."""
        total, each = self.manners["total"], self.manners["each"]
        now = time.monotonic()
        until = now
        if each:
            due = max(due, now - 0.05) + size / each
            until = due
        if total:
            with self.lock:
                self.due = max(self.due, now - 0.05) + size / total
                until = max(until, self.due)
        if until > now:
            time.sleep(until - now)
        return due

    def told(self, connection, path, body):
        answer = {}
        if path == "/-/manners":
            self.manners = {**MANNERS, **json.loads(body)}
        elif path == "/-/routes":
            self.load()
        elif path == "/-/counts":
            answer = {"requests": self.requests, "bytes": self.bytes}
        text = json.dumps(answer).encode()
        send(connection, 200, {"Content-Type": "application/json", "Content-Length": str(len(text))}, text)


def parsed(head):
    request, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = request.split(" ")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return method, path, fields


def span(wanted, size):
    first, last = wanted.groups()
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1 if last else size, size)


def send(connection, status, headers, body=b""):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(f"HTTP/1.1 {status} -\r\n{lines}\r\n".encode() + body)


def main():
    origin = Origin(sys.argv[2])
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=origin.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
