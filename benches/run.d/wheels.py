"""Sixty wheels that a real installer installs, and the index that has them. Made here, since benches have no business on somebody else's index."""

import base64
import hashlib
import io
import json
import pathlib
import zipfile

from stage import SIMPLE_JSON

COUNT = 60
# Versions that a page lists; only the newest is there to be installed.
VERSIONS = 40


def names():
    return [f"sample-{number:02}" for number in range(COUNT)]


def wheel(project, chance):
    """(file name, content, metadata) of a wheel of 20 KB to 1 MB, of the sizes that wheels come in: many small ones, few large."""
    module = project.replace("-", "_")
    folder = f"{module}-{VERSIONS}.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {VERSIONS}.0\nRequires-Python: >=3.9\n".encode()
    size = int(20_000 * 50 ** chance.random() ** 2)
    files = {
        f"{module}/__init__.py": b'"""A sample."""\n',
        f"{module}/data.bin": chance.randbytes(size),
        f"{folder}/METADATA": metadata,
        f"{folder}/WHEEL": b"Wheel-Version: 1.0\nGenerator: benches\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={unpadded(content)},{len(content)}" for path, content in files.items()]
    files[f"{folder}/RECORD"] = "\n".join([*record, f"{folder}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 2, 3, 4, 6)), content)
    return f"{module}-{VERSIONS}.0-py3-none-any.whl", buffer.getvalue(), metadata


def unpadded(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def put_on(stage, static):
    """Puts the index on the origin, and below a folder for a server of plain files."""
    static = pathlib.Path(static)
    listed = json.dumps({"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in names()]})
    stage.bytes("/simple/", listed.encode(), SIMPLE_JSON)
    for project in names():
        name, content, metadata = wheel(project, stage.chance)
        about = hashlib.sha256(metadata).hexdigest()
        module = project.replace("-", "_")
        # Older releases are listed with made-up digests.
        older = [f"{module}-{number}.0-py3-none-any.whl" for number in range(VERSIONS)]
        listed = [(old, hashlib.sha256(old.encode()).hexdigest()) for old in older] + [(name, hashlib.sha256(content).hexdigest())]
        page = lambda base: json.dumps({
            "meta": {"api-version": "1.1"}, "name": project,
            "versions": [f"{number}.0" for number in range(VERSIONS + 1)],
            "files": [
                {
                    "filename": file, "url": f"{base}/files/{project}/{file}", "hashes": {"sha256": digest}, "size": len(content),
                    "requires-python": ">=3.9", "upload-time": "2026-01-02T03:04:05.000000Z", "yanked": False,
                    "core-metadata": {"sha256": about}, "data-dist-info-metadata": {"sha256": about},
                }
                for file, digest in listed
            ],
        }).encode()
        stage.bytes(f"/simple/{project}/", page(stage.url), SIMPLE_JSON)
        stage.bytes(f"/files/{project}/{name}", content)
        stage.bytes(f"/files/{project}/{name}.metadata", metadata)
        for path, body in {
            f"simple/{project}/index.json": page("../.."),
            f"files/{project}/{name}": content,
            f"files/{project}/{name}.metadata": metadata,
        }.items():
            target = static / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
    stage.ready()
