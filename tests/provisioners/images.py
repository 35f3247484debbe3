"""Container images made from busybox in memory, and a local registry that serves them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_TOOLS = (
    "sh",
    "cat",
    "echo",
    "env",
    "false",
    "grep",
    "httpd",
    "id",
    "kill",
    "ls",
    "sleep",
    "test",
    "touch",
    "tr",
    "true",
)
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@cache
def layer() -> bytes:
    """Make a file system that contains only busybox."""
    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    if busybox is None:
        raise RuntimeError("the docker tests need a static busybox to make images of: apt-get install busybox-static")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for directory in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            archive.addfile(entry)
        _add(archive, "bin/busybox", Path(busybox).read_bytes())
        for tool in _TOOLS:
            entry = tarfile.TarInfo(f"bin/{tool}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
    return buffer.getvalue()


def config(**extra: Any) -> bytes:
    """Make the image's config; `extra` has keys of the engine's API, such as Healthcheck."""
    return json.dumps(
        {
            "architecture": _MACHINES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **extra},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer())]},
        }
    ).encode()


def archive(tag: str, **extra: Any) -> bytes:
    """Make an image archive to load."""
    buffer = io.BytesIO()
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    with tarfile.open(fileobj=buffer, mode="w") as file:
        _add(file, "config.json", config(**extra))
        _add(file, "layer.tar", layer())
        _add(file, "manifest.json", json.dumps(manifest).encode())
    return buffer.getvalue()


@dataclass
class Registry:
    """Serves `good:1`, begins to serve `stalled:1` and stalls, and knows no other image."""

    address: str
    stalling: threading.Event = field(default_factory=threading.Event)
    """Set once a client waits for the layer of `stalled:1`."""
    ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def registry() -> Iterator[Registry]:
    """Run a registry on a free port of 127.0.0.1, without TLS."""
    blobs = {_digest(blob): blob for blob in (gzip.compress(layer(), 1, mtime=0), config())}
    manifest = _manifest(blobs)
    here: Registry

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, _, rest = self.path.removeprefix("/v2/").partition("/")
            kind, _, reference = rest.partition("/")
            if not name:
                self._answer(200, b"{}", "application/json")
            elif name not in ("good", "stalled"):
                missing = {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}]}
                self._answer(404, json.dumps(missing).encode(), "application/json")
            elif kind == "manifests":
                self._answer(200, manifest, "application/vnd.docker.distribution.manifest.v2+json")
            else:
                self._answer(200, blobs[reference], "application/octet-stream", stall=name == "stalled")

        do_HEAD = do_GET  # noqa: N815 - the name is the server's

        def _answer(self, status: int, body: bytes, kind: str, *, stall: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if self.command == "HEAD":
                return
            if stall:
                self.wfile.write(body[:64])
                here.stalling.set()
                here.ended.wait(60)
                return
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Registry(f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield here
        finally:
            here.ended.set()
            server.shutdown()
            thread.join()


def _manifest(blobs: Mapping[str, bytes]) -> bytes:
    """Make the manifest of an image of one layer; the blobs are the layer and the config."""
    (layer_digest, layer_blob), (config_digest, config_blob) = blobs.items()
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(config_blob),
                "digest": config_digest,
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "size": len(layer_blob),
                    "digest": layer_digest,
                }
            ],
        }
    ).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    archive.addfile(entry, io.BytesIO(content))


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
