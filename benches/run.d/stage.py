"""What the origin serves: files made on the spot, and the addresses that a hub, an index and a registry would give them."""

import hashlib
import json
import pathlib
import random
import shutil
import sys

from load import fetch
from machine import LOAD_CORE, Process, free_port

HERE = pathlib.Path(__file__).resolve().parent
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Everything is fresh for as long as the benches run.
FRESH = {"Cache-Control": "public, max-age=86400", "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}
PIECE = 1 << 22


class Stage:
    """The origin with its files. Whatever is put on after it has started is served, too."""

    def __init__(self, place):
        self.place = place / "origin"
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.routes = {}
        # How many random files there are.
        self.made = 0
        self.chance = random.Random(1)
        self.write_routes()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, HERE / "origin.py", self.port, self.place]
        self.process = Process(command, self.port, LOAD_CORE, self.place, name="origin")

    def close(self):
        self.process.stop()
        shutil.rmtree(self.place, ignore_errors=True)

    # --- files ---------------------------------------------------------------------------------------------------------

    def bytes(self, path, content, media="application/octet-stream", **headers):
        """A file with this content at this address; answers its sha256."""
        digest = hashlib.sha256(content).hexdigest()
        name = digest[:32]
        (self.place / name).write_bytes(content)
        self.route(path, name, len(content), digest, media, headers)
        return digest

    def random(self, path, size, **headers):
        """A file of random bytes at this address; answers its sha256. Large ones repeat a random piece."""
        piece = self.chance.randbytes(min(size, PIECE))
        hasher, left = hashlib.sha256(), size
        self.made += 1
        name = f"random-{self.made}"
        with open(self.place / name, "wb") as file:
            while left:
                part = piece[:left]
                file.write(part)
                hasher.update(part)
                left -= len(part)
        digest = hasher.hexdigest()
        self.route(path, name, size, digest, "application/octet-stream", headers)
        return digest

    def route(self, path, name, size, digest, media, headers):
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        fields = {"Content-Type": media, "ETag": f'"{digest[:32]}"', "Accept-Ranges": "bytes", **FRESH, **named}
        self.routes[path] = {"file": name, "size": size, "headers": fields}

    def forget(self, path):
        """Takes a file away."""
        (self.place / self.routes.pop(path)["file"]).unlink()

    def write_routes(self):
        (self.place / "routes.json").write_text(json.dumps(self.routes))

    def ready(self):
        """Makes the origin read what has been put on."""
        self.write_routes()
        fetch(f"{self.url}/-/routes", method="POST")

    # --- manners ---------------------------------------------------------------------------------------------------------

    def manners(self, **limits):
        """Bytes a second in `total` and on `each` connection, and seconds of `delay`; what is not named is unlimited."""
        fetch(f"{self.url}/-/manners", method="POST", data=json.dumps(limits).encode())

    def counts(self):
        return json.loads(fetch(f"{self.url}/-/counts")[2])

    # --- what the ecosystems say -----------------------------------------------------------------------------------------

    def page(self, project, files):
        """A project's page in JSON. `files` are (name, size, sha256)."""
        listed = [
            {
                "filename": name,
                "url": f"{self.url}/files/{project}/{name}",
                "hashes": {"sha256": digest},
                "size": size,
                "requires-python": ">=3.9",
                "upload-time": "2026-01-02T03:04:05.678901Z",
                "yanked": False,
                "core-metadata": False,
            }
            for name, size, digest in files
        ]
        versions = sorted({name.split("-")[1] for name, _, _ in files})
        page = {"meta": {"api-version": "1.1"}, "name": project, "versions": versions, "files": listed}
        content = json.dumps(page).encode()
        self.bytes(f"/simple/{project}/", content, SIMPLE_JSON)
        return len(content)

    def big_page(self, project, count):
        """A page of made-up files."""
        digest = lambda number: hashlib.sha256(f"{project} {number}".encode()).hexdigest()
        names = [f"{project}-1.{number // 8}.{number % 8}-cp312-cp312-manylinux_2_28_x86_64.whl" for number in range(count)]
        return self.page(project, [(name, 1_000_000 + number, digest(number)) for number, name in enumerate(names)])

    def repository(self, id, files):
        """A model with these files: {path: (size, sha256 or None, git's name)}. They are put on one by one under `resolve`."""
        info = {
            "_id": "0" * 24, "id": id, "modelId": id, "sha": COMMIT, "private": False, "gated": False, "disabled": False,
            "lastModified": "2026-01-02T03:04:05.000Z", "createdAt": "2026-01-01T03:04:05.000Z", "author": id.split("/")[0],
            "downloads": 1, "likes": 1, "tags": [], "library_name": "transformers", "pipeline_tag": "text-generation",
            "siblings": [{"rfilename": path} for path in files],
        }
        tree = [
            {"type": "file", "oid": oid, "size": size, "path": path}
            | ({"lfs": {"oid": digest, "size": size, "pointerSize": 134}, "xetHash": xet_hash(digest)} if digest else {})
            for path, (size, digest, oid) in sorted(files.items())
        ]
        commit = {"X-Repo-Commit": COMMIT}
        for revision in ("main", COMMIT):
            self.bytes(f"/api/models/{id}/revision/{revision}", json.dumps(info).encode(), "application/json", **commit)
            self.bytes(f"/api/models/{id}/tree/{revision}", json.dumps(tree).encode(), "application/json", **commit)
            self.routes[f"/api/models/{id}/paths-info/{revision}"] = {**self.routes[f"/api/models/{id}/tree/{revision}"], "selects": True}
        self.bytes(f"/api/models/{id}", json.dumps(info).encode(), "application/json", **commit)

    def resolved(self, id, path, size, oid, digest, file):
        """A file of a model, answered where it is asked for."""
        fields = {"X-Repo-Commit": COMMIT, "ETag": f'"{digest or oid}"'}
        if digest:
            fields.update({"X-Linked-Size": str(size), "X-Linked-Etag": f'"{digest}"', "X-Xet-Hash": xet_hash(digest)})
        for revision in ("main", COMMIT):
            self.route(f"/{id}/resolve/{revision}/{path}", file, size, digest or oid, "application/octet-stream", fields)

    def image(self, name, tag, layers, size):
        """An image of random layers; answers the manifest's digest and the paths of its blobs."""
        paths = []

        def put(content_digest, route):
            path = f"/v2/{name}/blobs/sha256:{content_digest}"
            self.routes[path] = {**route, "headers": {**route["headers"], "Docker-Content-Digest": f"sha256:{content_digest}"}}
            paths.append(path)

        described = []
        for number in range(layers):
            digest = self.random(f"/layer-{name}-{tag}-{number}", size)
            put(digest, self.routes.pop(f"/layer-{name}-{tag}-{number}"))
            described.append({"mediaType": OCI_LAYER, "digest": f"sha256:{digest}", "size": size})
        config = json.dumps({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in described]},
        }).encode()
        digest = self.bytes("/config", config)
        put(digest, self.routes.pop("/config"))
        about = {"mediaType": OCI_CONFIG, "digest": f"sha256:{digest}", "size": len(config)}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": about, "layers": described}).encode()
        whole = hashlib.sha256(manifest).hexdigest()
        for reference in (tag, f"sha256:{whole}"):
            self.bytes(f"/v2/{name}/manifests/{reference}", manifest, OCI_MANIFEST, Docker_Content_Digest=f"sha256:{whole}")
        self.bytes("/v2/", b"{}", "application/json", Docker_Distribution_Api_Version="registry/2.0")
        return f"sha256:{whole}", paths


def xet_hash(digest):
    """What Xet is to call a file. Clients believe any name, as long as somebody can describe the file under it."""
    return hashlib.sha256(f"xet {digest}".encode()).hexdigest()


def git_oid(content):
    """Git's name of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

