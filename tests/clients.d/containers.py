"""Drives real container clients through Larder on a real registry with real images, and cuts that registry off.

A kind of `tests/clients`. The registry is Debian's docker-registry; the images are made here, in every form that it takes. Between Larder and it
stands a gate that passes bytes on, and on demand refuses connections, accepts them and says nothing, or answers 503 or 429. Every pull starts with
nothing: a new place, and for those that need one a new daemon. Needs root, as the daemons do.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

import clients
from clients import Failed, attempt, say

# What Debian 12 has of each; the engine's package has the name of the hub's host.
PACKAGES = [
    "skopeo", "podman", "buildah", "containerd", "runc", "docker-registry", "busybox-static", "dock" + "er.io",
]
PROGRAMS = ["skopeo", "podman", "buildah", "containerd", "ctr", "runc", "docker-registry", "busybox", "dockerd", "docker"]
RUST_PROJECT = clients.ROOT / "tests/clients.d/oci-client"
RUST_CLIENT = clients.CLIENTS / "oci-client"
HUB = "hub.test"
OUTAGES = ["refused", "black-holed", "503", "429", "tag deleted"]
STATES = ["direct", "cold", "warm", "8 at once", *OUTAGES, "denied"]
# What an outage may cost a whole pull of four images, beside the noise of the machine, in seconds.
MOST_EXTRA = 2.0
CROWD = 8
ACCEPT = ", ".join(
    f"application/vnd.{name}+json"
    for name in [
        "oci.image.index.v1", "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2",
    ]
)


def prepare():
    """Installs what is missing: Debian's packages by apt, the Rust client by cargo."""
    if not all(shutil.which(program, path=paths()) for program in PROGRAMS):
        say("installing container clients")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES], check=True, env=quiet)
    say("building the client in Rust")
    command = ["cargo", "build", "--quiet", "--locked", "--manifest-path", str(RUST_PROJECT / "Cargo.toml")]
    subprocess.run([*command, "--target-dir", str(RUST_CLIENT)], check=True)


def paths():
    return os.environ["PATH"] + ":/usr/sbin:/sbin"


# --- the registry, and the gate before it ------------------------------------------------------------------------------


class Registry:
    """A docker-registry with images in it. Its log says what it was asked."""

    def __init__(self, place):
        self.place = place
        self.port = free_port()
        config = place / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: false}}\n"
            f"storage: {{filesystem: {{rootdirectory: {place / 'registry'}}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '127.0.0.1:{self.port}'}}\n"
        )
        self.log = place / "registry.log"
        self.process = Daemon(["docker-registry", "serve", str(config)], self.log, lambda: answers(self.url("/v2/")))

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def digests(self, tag):
        """The digest that a tag of `library/demo` leads to, and that of the manifest for this platform."""
        request = urllib.request.Request(self.url(f"/v2/library/demo/manifests/{tag}"), headers={"Accept": ACCEPT})
        with opener().open(request, timeout=10) as answer:
            named, manifest = answer.headers["Docker-Content-Digest"], json.load(answer)
        ours = [child["digest"] for child in manifest.get("manifests", []) if child["platform"]["architecture"] == "amd64"]
        return named, ours[0] if ours else named

    def requests(self):
        """What it was asked so far, as (method, path, status)."""
        found = re.findall(r'"(GET|HEAD|POST|PUT) (\S+) HTTP/[\d.]+" (\d{3})', self.log.read_text())
        return [(method, path, int(status)) for method, path, status in found if path != "/v2/"]

    def tags(self):
        return self.place / "registry/docker/registry/v2/repositories/library/demo/_manifests/tags"

    def delete_tags(self):
        """Takes the tags away; manifests and blobs stay, as after a deletion in any registry."""
        self.tags().rename(self.place / "deleted")

    def restore_tags(self):
        (self.place / "deleted").rename(self.tags())

    def close(self):
        self.process.stop()


class Images:
    """The images that are pulled, by tag, and what each is."""

    TAGS = {"index": "OCI index", "list": "schema 2 list", "single": "schema 2", "zstd": "zstd layers"}

    def __init__(self, place, registry):
        """Makes them, each of file systems of its own with BusyBox and random bytes, so that no two share a layer."""
        self.place = place
        self.target = f"docker://127.0.0.1:{registry.port}/library/demo"
        self.chance = random.Random(1)
        for tag in ["index", "list"]:
            self.buildah("manifest", "create", tag)
            for architecture in ["amd64", "arm64"]:
                self.commit(f"{tag}-{architecture}", architecture, "--manifest", tag)
        insecure = "--tls-verify=false"
        self.buildah("manifest", "push", "--all", insecure, "index", f"{self.target}:index")
        self.buildah("manifest", "push", "--all", insecure, "--format", "v2s2", "list", f"{self.target}:list")
        for tag, options in {"single": ["--format", "v2s2"], "zstd": ["--format", "oci", "--compression-format", "zstd"]}.items():
            self.commit(tag, "amd64")
            self.buildah("push", insecure, *options, tag, f"{self.target}:{tag}")
        shutil.rmtree(place / "storage")
        self.digests = {tag: registry.digests(tag) for tag in self.TAGS}

    def commit(self, name, architecture, *options):
        """An image of two layers."""
        rootfs = self.place / name
        (rootfs / "bin").mkdir(parents=True)
        shutil.copy(shutil.which("busybox", path=paths()), rootfs / "bin/busybox")
        (rootfs / "bin/sh").symlink_to("busybox")
        (rootfs / "random").write_bytes(self.chance.randbytes(3 << 20))
        base = self.buildah("from", "--arch", architecture, "scratch").strip()
        self.buildah("copy", base, str(rootfs), "/")
        self.buildah("config", "--arch", architecture, "--os", "linux", "--cmd", "/bin/sh", base)
        self.buildah("commit", base, f"base-{name}")
        top = self.buildah("from", "--arch", architecture, "--pull-never", f"base-{name}").strip()
        (rootfs / "name").write_text(name)
        self.buildah("copy", top, str(rootfs / "name"), "/etc/name")
        self.buildah("commit", *options, top, name)

    def buildah(self, *rest):
        storage = self.place / "storage"
        places = ["--root", str(storage / "root"), "--runroot", str(storage / "run")]
        return tool(["buildah", "--storage-driver", "vfs", *places, *rest], self.place)


class Gate:
    """Passes connections on to the registry, or does not."""

    def __init__(self, port):
        self.target = port
        self.mode = "open"
        self.sockets = set()
        self.lock = threading.Lock()
        # Bound and never listening: keeps the port ours while connections are refused.
        self.reservation = clients.bound(("127.0.0.1", 0))
        self.port = self.reservation.getsockname()[1]
        self.listen()

    def set(self, mode):
        """Changes what happens to every connection from now on, and ends those that are open."""
        if mode == self.mode:
            return
        if self.mode == "refused":
            self.listen()
        self.mode = mode
        if mode == "refused":
            self.end(self.listener)
        with self.lock:
            for connection in list(self.sockets):
                self.end(connection)

    def listen(self):
        self.listener = clients.bound(("127.0.0.1", self.port))
        self.listener.listen(256)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                listener.close()
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with self.lock:
            self.sockets.add(connection)
        try:
            if self.mode == "open":
                self.forward(connection)
            elif self.mode == "black-holed":
                while connection.recv(1 << 16):
                    pass
            elif self.mode in ("503", "429"):
                self.refuse(connection, self.mode)
        except OSError:
            pass  # Ended by the other side, or by a change of mode.
        finally:
            with self.lock:
                self.sockets.discard(connection)
            connection.close()

    def forward(self, connection):
        with socket.create_connection(("127.0.0.1", self.target)) as registry:
            with self.lock:
                self.sockets.add(registry)
            back = threading.Thread(target=self.pump, args=(registry, connection), daemon=True)
            back.start()
            self.pump(connection, registry)
            back.join()
            with self.lock:
                self.sockets.discard(registry)

    def pump(self, source, sink):
        try:
            while piece := source.recv(1 << 18):
                sink.sendall(piece)
        except OSError:
            pass  # Either side is gone; so will be the other.
        self.end(sink)

    @staticmethod
    def refuse(connection, status):
        with connection.makefile("rb") as lines:
            while line := lines.readline():
                if line == b"\r\n":
                    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"no"}]}'
                    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                    connection.sendall(head.encode() + body)

    @staticmethod
    def end(connection):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # Has ended already.

    def close(self):
        self.set("refused")
        self.reservation.close()


class Daemon:
    """A process in the background; `is_ready` says when it can be used."""

    def __init__(self, command, log, is_ready):
        self.log = open(log, "w")
        environment = {**os.environ, "PATH": paths(), "OTEL_TRACES_EXPORTER": "none"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True, env=environment
        )
        deadline = time.monotonic() + 60
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Failed(f"{command[0]} did not start:\n{pathlib.Path(log).read_text()[-3000:]}")
            time.sleep(0.02)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def opener():
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(address):
    try:
        opener().open(address, timeout=5).close()
        return True
    except OSError:
        return False


def tool(command, place):
    """Runs a program with nothing of this machine's settings; answers what it printed."""
    environment = {"PATH": paths(), "HOME": str(place), "LANG": "C.UTF-8", "TMPDIR": str(place), "XDG_RUNTIME_DIR": str(place)}
    done = subprocess.run(
        command, cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=clients.LONGEST_RUN
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout


# --- clients -----------------------------------------------------------------------------------------------------------


class Client:
    """A way of pulling. Opened with a new place and the port of a registry, or of Larder."""

    tags = list(Images.TAGS)
    # Knows an image by the digest of its platform's manifest, and forgets the index that led to it.
    forgets_index = False
    # Whether many of them can be run beside each other.
    crowds = True

    def __init__(self, name):
        self.name = name

    def open(self, place, port):
        """Starts what it needs."""

    def pull(self, place, port, prefix, tag):
        """Pulls a tag of `library/demo`; answers the digests that it then knows the image by."""
        raise NotImplementedError

    def close(self, place):
        """Ends what was started."""


class Skopeo(Client):
    def __init__(self, name, *options):
        super().__init__(name)
        self.options = options

    def pull(self, place, port, prefix, tag):
        source = f"docker://127.0.0.1:{port}/{prefix}library/demo:{tag}"
        options = ["--quiet", "--src-tls-verify=false", "--preserve-digests", *self.options]
        tool(["skopeo", "--insecure-policy", "copy", *options, source, f"dir:{place / tag}"], place)
        return {"sha256:" + hashlib.sha256((place / tag / "manifest.json").read_bytes()).hexdigest()}


class SkopeoOne(Skopeo):
    """One platform."""

    forgets_index = True


class Podman(Client):
    """By the name of the registry before the image's."""

    program = "podman"

    def command(self, place, *rest, environment=()):
        storage = ["--storage-driver", "vfs", "--root", str(place / "root"), "--runroot", str(place / "run")]
        return tool(["env", *environment, self.program, *storage, *rest], place)

    def pull(self, place, port, prefix, tag):
        reference = f"127.0.0.1:{port}/{prefix}library/demo:{tag}"
        self.command(place, "pull", "--quiet", "--tls-verify=false", reference)
        return self.digests(place, reference)

    def digests(self, place, reference):
        return digests(self.command(place, "image", "inspect", "--format", "{{json .RepoDigests}}", reference))


class Buildah(Podman):
    program = "buildah"
    forgets_index = True

    def digests(self, place, reference):
        return digests(self.command(place, "inspect", "--type", "image", "--format", "{{.FromImageDigest}}", reference))


class PodmanMirror(Podman):
    """With a mirror for a name that leads nowhere else."""

    def pull(self, place, port, prefix, tag):
        config = place / "registries.conf"
        location = f"127.0.0.1:{port}/{prefix}".rstrip("/")
        config.write_text(f'[[registry]]\nprefix = "{HUB}"\nlocation = "{location}"\ninsecure = true\n')
        reference = f"{HUB}/library/demo:{tag}"
        self.command(place, "pull", "--quiet", reference, environment=[f"CONTAINERS_REGISTRIES_CONF={config}"])
        return self.digests(place, reference)


class Containerd(Client):
    """With a mirror in `hosts.toml`: every request says `?ns=`."""

    crowds = False

    def open(self, place, port):
        self.socket = place / "c.sock"
        hosts = place / "certs.d" / HUB
        hosts.mkdir(parents=True)
        server = f"http://127.0.0.1:{port}"
        (hosts / "hosts.toml").write_text(f'server = "{server}"\n[host."{server}"]\ncapabilities = ["pull", "resolve"]\n')
        config = place / "containerd.toml"
        plugins = ["grpc.v1.cri", "internal.v1.opt", *(f"snapshotter.v1.{kind}" for kind in ["btrfs", "zfs", "devmapper", "aufs"])]
        config.write_text(
            f'version = 2\nroot = "{place / "root"}"\nstate = "{place / "state"}"\n'
            f'disabled_plugins = {json.dumps(["io.containerd." + plugin for plugin in plugins])}\n'
            f'[grpc]\naddress = "{self.socket}"\n[ttrpc]\naddress = "{self.socket}.ttrpc"\n'
        )
        self.daemon = Daemon(["containerd", "-c", str(config)], place / "containerd.log", self.socket.exists)

    def pull(self, place, port, prefix, tag):
        ctr = ["ctr", "-a", str(self.socket), "images"]
        reference = f"{HUB}/library/demo:{tag}"
        options = ["--snapshotter", "native", "--platform", "linux/amd64", "--hosts-dir", str(place / "certs.d")]
        tool([*ctr, "pull", *options, reference], place)
        return digests(tool([*ctr, "ls"], place))

    def close(self, place):
        self.daemon.stop()


class Engine(Client):
    """Docker's engine, with a mirror for names without a registry."""

    # It learnt to read zstd later.
    tags = ["index", "list", "single"]
    crowds = False

    def open(self, place, port):
        self.socket = place / "d.sock"
        config = place / "daemon.json"
        config.write_text(json.dumps({"registry-mirrors": [f"http://127.0.0.1:{port}"]}))
        options = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false", "--storage-driver=vfs"]
        places = ["--data-root", str(place / "root"), "--exec-root", str(place / "exec"), "--pidfile", str(place / "pid")]
        command = ["dockerd", "--config-file", str(config), *options, *places, "-H", f"unix://{self.socket}"]
        self.daemon = Daemon(command, place / "dockerd.log", self.is_ready)

    def is_ready(self):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in probe.recv(100)
            except OSError:
                return False

    def pull(self, place, port, prefix, tag):
        try:
            return self.pulled(place, f"demo:{tag}")
        except Failed as failed:
            # Whatever a mirror answers, the engine asks the hub itself next, and shows that error alone; the mirror's is in its log.
            raise Failed(f"{failed}\n{(place / 'dockerd.log').read_text()[-3000:]}") from None

    def pulled(self, place, reference):
        docker = ["docker", "-H", f"unix://{self.socket}"]
        tool([*docker, "pull", "--quiet", reference], place)
        return digests(tool([*docker, "image", "inspect", "--format", "{{json .RepoDigests}}", reference], place))

    def close(self, place):
        self.daemon.stop()
        # Its name space for networks stays mounted.
        subprocess.run(["umount", str(place / "exec/netns/default")], stderr=subprocess.DEVNULL, check=False)


class EngineByName(Engine):
    """Docker's engine, by the name of the registry before the image's."""

    def pull(self, place, port, prefix, tag):
        return self.pulled(place, f"127.0.0.1:{port}/{prefix}library/demo:{tag}")


class RustClient(Client):
    def pull(self, place, port, prefix, tag):
        said = tool([str(RUST_CLIENT / "debug/pull"), f"127.0.0.1:{port}/{prefix}library/demo:{tag}"], place)
        return digests(said)


def digests(text):
    return set(re.findall(r"sha256:[0-9a-f]{64}", text))


def every_client():
    return [
        SkopeoOne("skopeo"),
        Skopeo("skopeo --all", "--all"),
        Podman("podman"),
        PodmanMirror("podman, mirror"),
        Buildah("buildah"),
        Containerd("containerd, mirror"),
        Engine("dockerd, mirror"),
        EngineByName("dockerd"),
        RustClient("oci-client (Rust)"),
    ]


# --- what is tried -----------------------------------------------------------------------------------------------------


class Trial:
    """One client between a registry and Larder."""

    def __init__(self, binary, registry, client, digests):
        self.binary, self.registry, self.client, self.digests = binary, registry, client, digests

    def larder(self, gate, tag_ttl, more=()):
        registry = f'upstream = "http://127.0.0.1:{gate.port}", namespace = "library", tag_ttl = "{tag_ttl}"'
        settings = {"LARDER_OCI__DEFAULT": HUB, "LARDER_OCI__REGISTRIES": f'{{ "{HUB}" = {{ {registry} }} }}'}
        return clients.Larder(self.binary, {**settings, **dict(more)})

    def pull(self, port, prefix):
        """Pulls every image into a new place; answers seconds. Digests must be those of the registry."""
        with tempfile.TemporaryDirectory(prefix="larder-pull-") as folder:
            place = pathlib.Path(folder)
            self.client.open(place, port)
            try:
                begun = time.monotonic()
                for tag in self.client.tags:
                    named, ours = self.digests[tag]
                    found = self.client.pull(place, port, prefix, tag)
                    if (ours if self.client.forgets_index else named) not in found:
                        raise Failed(f"{tag}: {named} ({ours}) is not among {sorted(found)}")
                return time.monotonic() - begun
            except subprocess.TimeoutExpired as expired:
                raise Failed(str(expired)) from None
            finally:
                self.client.close(place)

    def through(self, larder):
        return self.pull(larder.base.rsplit(":", 1)[1], f"{HUB}/")

    def direct(self):
        return self.pull(self.registry.port, "")

    def cold_and_warm(self, gate, results):
        """A tag that is trusted for long: warm pulls ask nothing."""
        with self.larder(gate, "1h") as larder:
            results["cold"] = attempt(lambda: self.once(lambda: self.through(larder)))
            asked = len(self.registry.requests())
            results["warm"] = attempt(lambda: self.through(larder))
            more = self.registry.requests()[asked:]
            if more:
                results["warm"] = f"asked upstream {len(more)} times: {more[:5]}"

    def refused(self, gate):
        """A rule of Larder's refuses the image: the client must fail, and show which rule and where more is said."""
        with tempfile.TemporaryDirectory(prefix="larder-policy-") as folder:
            policy = pathlib.Path(folder) / "policy.toml"
            policy.write_text('[[rule]]\nid = "no-demo"\ndeny_if = { name_in = "*/demo" }\n')
            with self.larder(gate, "1h", {"LARDER_POLICY__FILE": str(policy)}) as larder:
                begun = time.monotonic()
                try:
                    self.through(larder)
                except Failed as failed:
                    said = str(failed)
                    if "refused by rule no-demo" not in said or "/-/why/" not in said:
                        raise Failed(f"no reason is shown:\n{said}") from None
                    return time.monotonic() - begun
                raise Failed("it was pulled although a rule refuses it")

    def crowd(self, gate):
        """Many cold pulls at once."""
        with self.larder(gate, "1h") as larder, concurrent.futures.ThreadPoolExecutor(CROWD) as pool:
            pulls = lambda: max(pool.map(lambda _: self.through(larder), range(CROWD)))
            return self.once(pulls)

    def once(self, action):
        """Every manifest and every blob crosses once, a tag twice at most: once to resolve it, once to fetch what is new."""
        before = len(self.registry.requests())
        seconds = action()
        asked = self.registry.requests()[before:]
        for request in set(asked):
            method, path, _ = request
            if method == "GET" and asked.count(request) > 1:
                raise Failed(f"{path} was fetched {asked.count(request)} times")
        return seconds

    def outages(self, gate, outages, results):
        """A tag that is trusted for a moment, and a registry that is away when the moment is over."""
        with self.larder(gate, "1s") as larder:
            primed = attempt(lambda: self.through(larder))
            if not isinstance(primed, float):
                results.update({outage: primed for outage in outages})
                return
            for outage in outages:
                # Longer than the tag is trusted; a new process remembers nothing of upstream's health.
                time.sleep(1.1)
                larder.restart()
                self.begin(gate, outage)
                try:
                    results[outage] = self.bounded(larder, results.get("warm"))
                finally:
                    self.end(gate, outage)

    def begin(self, gate, outage):
        self.registry.delete_tags() if outage == "tag deleted" else gate.set(outage)

    def end(self, gate, outage):
        self.registry.restore_tags() if outage == "tag deleted" else gate.set("open")

    def bounded(self, larder, warm):
        """The quickest of a few pulls: the noise of a machine is not Larder's."""
        allowed = warm + MOST_EXTRA if isinstance(warm, float) else float("inf")
        best = None
        for _ in range(clients.TRIES):
            result = attempt(lambda: self.through(larder))
            if not isinstance(result, float):
                return result
            best = min(best or result, result)
            if best <= allowed:
                return best
            larder.restart()
        return f"{best:.1f} s, warm took {warm:.1f} s"


def try_client(binary, registry, client, digests, outages, crowd=True):
    """One client in every state; answers {state: seconds or what went wrong}."""
    trial = Trial(binary, registry, client, digests)
    gate = Gate(registry.port)
    results = {}
    try:
        results["direct"] = attempt(trial.direct)
        trial.cold_and_warm(gate, results)
        if client.crowds and crowd:
            results["8 at once"] = attempt(lambda: trial.crowd(gate))
        trial.outages(gate, outages, results)
        results["denied"] = attempt(lambda: trial.refused(gate))
    finally:
        gate.close()
    return results


class Stage:
    """A registry with images in it, for as long as it is used."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="larder-registry-")
        place = pathlib.Path(self.folder.name)
        self.registry = Registry(place)
        try:
            return self.registry, Images(place, self.registry).digests
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.registry.close()
        self.folder.cleanup()


def sample(binary, chance):
    client, outage = chance.choice(every_client()), chance.choice(OUTAGES)
    say(f"{client.name} pulls, then with the registry {outage}")
    with Stage() as (registry, digests):
        return clients.tell({client.name: try_client(binary, registry, client, digests, [outage], crowd=False)})


def matrix(binary, only):
    results = {}
    with Stage() as (registry, digests):
        for client in every_client():
            if only and client.name not in only:
                continue
            say(f"{client.name}: {', '.join(Images.TAGS[tag] for tag in client.tags)}")
            results[client.name] = try_client(binary, registry, client, digests, OUTAGES)
            clients.tell({client.name: results[client.name]})
    title = f"{versions()}; seconds in which {', '.join(Images.TAGS.values())} are pulled one after the other into an empty place:"
    clients.write_report("containers", title, STATES, results, [client.name for client in every_client()])
    return clients.tell(results, quiet=True)


def versions():
    """What Debian says that its packages are."""
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${binary:Package} ${Version}\n", *PACKAGES], capture_output=True, text=True, check=True
    )
    # The engine's package is called by the name of a host, which no file here names.
    named = [line.replace("dock" + "er.io", "dockerd").split("+")[0].split("~")[0] for line in shown.stdout.splitlines()]
    return ", ".join(line for line in named if not line.startswith("busybox"))
