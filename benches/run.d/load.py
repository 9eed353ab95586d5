"""Clients: small answers by wrk, large ones by a reader that lets the kernel drop what arrives, TLS by h2load, and heads by `benches/load.rs`."""

import json
import re
import selectors
import socket
import ssl
import statistics
import subprocess
import time
import urllib.error
import urllib.request

from machine import Failed, LOAD_CORE, find
from needs import PLACE, ROOT

BUFFER = bytearray(1 << 22)
STALL = 60


def direct():
    """An opener that heeds no proxy of the environment."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url, headers=None, method="GET", data=None):
    """One answer, whole: (status, headers, body)."""
    request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with direct().open(request, timeout=120) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def fetch_tls(port, path):
    """Has a server fetch a file, whoever signed its certificate."""
    anybody = ssl._create_unverified_context()
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anybody)]
    with urllib.request.build_opener(*handlers).open(f"https://127.0.0.1:{port}{path}", timeout=120) as answer:
        while answer.read(1 << 20):
            pass


def run(command, timeout):
    pinned = ["taskset", "-c", str(LOAD_CORE), *map(str, command)]
    done = subprocess.run(pinned, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise Failed(f"{command[0]}: {done.stdout[-500:]}{done.stderr[-2000:]}")
    return done.stdout


def wrk(url, connections, seconds, headers=None, script=None):
    """Requests a second of GETs."""
    fields = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    fields += ["-s", script] if script else []
    said = run([find("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", *fields, url], seconds + 60)
    if "Non-2xx" in said or "Socket errors" in said:
        raise Failed(f"wrk {url}:\n{said}")
    requests = int(re.search(r"(\d+) requests in", said)[1])
    if not requests:
        raise Failed(f"{url} answered nobody for {seconds} s")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    return {"requests": requests, "rate": rate}


MANY = """
local requests = {}
-- Called when wrk knows its host, and not before.
function init()
    for line in io.lines("%s") do
        local path, etag = line:match("^(%%S+)%%s*(.*)$")
        local fields = {Accept = "%s", Host = wrk.headers["Host"]}
        if etag ~= "" then fields["If-None-Match"] = etag end
        requests[#requests + 1] = wrk.format("GET", path, fields)
    end
    math.randomseed(1)
end
function request() return requests[math.random(#requests)] end
"""


def wrk_many(base, asked, accept, connections, seconds, place):
    """Requests a second of GETs in random order. `asked` are (path, entity tag or an empty text)."""
    lines, script = place / "asked.txt", place / "many.lua"
    lines.write_text("".join(f"{path} {etag}\n" for path, etag in asked))
    script.write_text(MANY % (lines, accept))
    return wrk(base, connections, seconds, script=script)


def build_generator():
    """`benches/load.rs` uses nothing but the standard library, so that it is built at once, without Larder."""
    source, binary = ROOT / "benches/load.rs", PLACE / "load"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        PLACE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["rustc", "--edition", "2024", "-O", "-o", str(binary), str(source)], check=True)
    return binary


def repeat(url, method, connections, seconds, headers=None):
    """Requests a second of any method, from a thread for each connection."""
    host, path = split(url)
    fields = [f"{name}: {value}" for name, value in (headers or {}).items()]
    command = [build_generator(), host, str(connections), str(seconds), method, path, *fields]
    told = json.loads(run(command, seconds + 60))
    if told["failed"]:
        raise Failed(f"{method} {url}: {told}")
    return {"requests": told["requests"], "rate": told["requests"] / told["seconds"]}


def h2load(url, version, connections, seconds):
    """Bytes a second over TLS, by HTTP/1.1 or h2 with windows that limit nothing."""
    protocol = {"h1": ["--h1"], "h2": ["-m1", "-w30", "-W30"]}[version]
    said = run([find("h2load"), *protocol, "-t1", f"-c{connections}", "-D", seconds, url], seconds + 90)
    counts = re.search(r"requests: .* (\d+) failed, (\d+) errored, (\d+) timeout", said)
    total = re.search(r"traffic: \S+ \((\d+)\) total", said)
    rate = re.search(r"finished in ([\d.]+)(m?s)", said)
    requests = re.search(r"status codes: (\d+) 2xx", said)
    if not (counts and total and rate) or any(int(count) for count in counts.groups()):
        raise Failed(f"h2load {url}:\n{said[-2000:]}")
    took = float(rate[1]) / (1000 if rate[2] == "ms" else 1)
    return {"bytes": int(total[1]), "seconds": took, "requests": int(requests[1]) if requests else 0}


def split(url):
    host, _, path = url.removeprefix("http://").partition("/")
    return host, "/" + path


class Reader:
    """A connection that asks for a file and drops its body in the kernel: the copy to a client is no cost of the server's."""

    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = 0
        self.ask_for(None)

    def ask_for(self, path, headers=""):
        self.head, self.left = b"", None
        self.first_byte = self.done_at = None
        if path is not None:
            self.asked_at = time.monotonic()
            self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode())

    def read(self, most=len(BUFFER)):
        """Takes what is there, up to so much; answers whether the answer is whole."""
        if self.left is None:
            return self.read_head()
        count = self.socket.recv_into(BUFFER, min(self.left, most, len(BUFFER)), socket.MSG_TRUNC)
        return self.count(count)

    def read_head(self):
        more = self.socket.recv(4096)
        if not more:
            raise Failed("the server closed a connection before the head of its answer")
        self.head += more
        head, found, body = self.head.partition(b"\r\n\r\n")
        if not found:
            return False
        status = head.split(b" ", 2)[1]
        length = re.search(rb"\r\ncontent-length:\s*(\d+)", head, re.IGNORECASE)
        if status not in (b"200", b"206") or not length:
            raise Failed(f"an answer that was not asked for: {head.decode('latin-1')}")
        self.left = int(length[1])
        return self.count(len(body)) if body else self.left == 0

    def count(self, count):
        if count == 0:
            raise Failed(f"the server closed a connection {self.left} bytes before the end of its answer")
        if self.first_byte is None:
            self.first_byte = time.monotonic() - self.asked_at
        self.received += count
        self.left -= count
        if self.left == 0:
            self.done_at = time.monotonic()
        return self.left == 0

    def close(self):
        self.socket.close()


def drain(port, paths, seconds=None, headers=""):
    """One connection for each path. With `seconds` each is asked for again and again for that long; without, once. Answers bytes, seconds, and for
    each connection the time to its first byte and to its end."""
    begun = time.monotonic()
    deadline = begun + seconds if seconds else None
    received = answers = 0
    firsts, ends = [], []
    with selectors.DefaultSelector() as selector:
        for path in paths:
            reader = Reader(port)
            reader.ask_for(path, headers)
            selector.register(reader.socket, selectors.EVENT_READ, (reader, path))
        while selector.get_map():
            events = selector.select(STALL)
            if not events:
                raise Failed(f"nothing came for {STALL} s")
            if deadline and time.monotonic() > deadline:
                break
            for key, _ in events:
                reader, path = key.data
                if not reader.read():
                    continue
                answers += 1
                firsts.append(reader.first_byte)
                ends.append(reader.done_at - begun)
                if deadline:
                    reader.ask_for(path, headers)
                else:
                    selector.unregister(reader.socket)
                    received += reader.received
                    reader.close()
        took = time.monotonic() - begun
        for key in list(selector.get_map().values()):
            received += key.data[0].received
            key.data[0].close()
    return {"bytes": received, "seconds": took, "answers": answers, "first_byte": statistics.median(firsts) if firsts else 0, "ends": ends}


def crawl(port, path, clients, bytes_a_second, seconds):
    """Clients that take a little of a file each second; answers how many of them were still being served at the end."""
    readers = []
    for _ in range(clients):
        readers.append(Reader(port, receive_buffer=1 << 16))
    for reader in readers:
        reader.ask_for(path)
    for second in range(seconds):
        tick = time.monotonic() + 1
        for reader in readers:
            reader.socket.settimeout(STALL)
            reader.read(bytes_a_second)
        time.sleep(max(tick - time.monotonic(), 0))
    served = sum(reader.received > 0 for reader in readers)
    for reader in readers:
        reader.close()
    return served
