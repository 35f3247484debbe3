"""A workspace's place on disk.

    workspaces/<id>/installation   whose it is; written before anything else
                    attempt        the highest attempt that began here
                    port           reserved for its served process
                    a1/, a2/, …    one working directory per attempt
                    state.json     the published attempt; appears by rename, so it is whole or absent
                    claimed        the durable mark of a claim
                    serve.log

The working directory itself is never renamed: virtual environments hold absolute paths.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import socket
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from prebuild_tasks.errors import BuildStoppedError, ProvisionerError

_PORTS = range(20000, 30000)
"""Outside the kernels' ephemeral ranges, so that a resting workspace's port is not taken by somebody's connection."""


@dataclass(frozen=True, slots=True)
class Published:
    """What is known of a started workspace; enough to serve it again without a database."""

    attempt: int
    directory: str
    port: int = 0
    pid: int = 0
    serve: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    """Parameters and PREBUILD_* values, secrets included: the file is for its owner only."""


class Place:
    """The directory of one workspace."""

    def __init__(self, root: Path, workspace_id: str) -> None:
        # A UUID has no path in it, whatever the message said.
        self.id = str(uuid.UUID(workspace_id))
        self.root = root
        self.path = root / self.id
        self.claimed_mark = self.path / "claimed"
        self.serve_log = self.path / "serve.log"

    def begin(self, installation: str, attempt: int) -> Path:
        """Make the attempt's directory and remove those of lower ones. Raises BuildStoppedError for an old attempt."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            _write(self.path / "installation", installation)
            if self.highest_attempt() > attempt:
                raise BuildStoppedError("a later attempt of this build has begun", reason="lost")
            _write(self.path / "attempt", str(attempt))
        for leftover in self.path.glob("a[0-9]*"):
            remove_tree(leftover)
        directory = self.path / f"a{attempt}"
        (directory / ".tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory

    def publish(self, state: Published) -> None:
        """Make the attempt the workspace. Raises BuildStoppedError when a later attempt has begun meanwhile."""
        with self._locked():
            if self.highest_attempt() > state.attempt:
                raise BuildStoppedError("a later attempt of this build has begun", reason="lost")
            _write(self.path / "state.json", json.dumps(asdict(state)))

    def published(self) -> Published | None:
        """The published attempt; None while there is none."""
        try:
            values = json.loads((self.path / "state.json").read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Published(**{**values, "serve": tuple(values["serve"])})

    def highest_attempt(self) -> int:
        text = _read(self.path / "attempt")
        return int(text) if text else 0

    def installation(self) -> str:
        return _read(self.path / "installation")

    def mark_claimed(self, owner: str) -> None:
        """Leave the durable mark. Raises ProvisionerError when the workspace is gone."""
        if not self.path.is_dir():
            raise ProvisionerError("the workspace's directory is gone")
        _write(self.claimed_mark, owner)

    def reserve_port(self) -> int:
        """This workspace's port: the one it had, else a free one. Raises ProvisionerError when none is left."""
        with self._locked():
            if text := _read(self.path / "port"):
                return int(text)
            taken = {_read(path) for path in self.root.glob("*/port")}
            for port in random.sample(_PORTS, len(_PORTS)):  # not for secrecy, only to keep installations apart
                if str(port) not in taken and _is_free(port):
                    _write(self.path / "port", str(port))
                    return port
        raise ProvisionerError(f"no free port between {_PORTS.start} and {_PORTS.stop - 1}")

    def remove(self) -> None:
        """Remove everything; the mark of the installation goes last, so that a half-removed place is still ours."""
        if not self.path.exists():
            return
        for entry in list(self.path.iterdir()):
            if entry.name != "installation":
                remove_tree(entry)
        remove_tree(self.path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def places(root: Path) -> Iterator[Place]:
    """Every workspace that has a place here."""
    for path in sorted(root.glob("*/installation")):
        with suppress(ValueError):
            yield Place(root, path.parent.name)


def remove_tree(path: Path) -> None:
    """Remove a file or a whole tree, read-only parts and directories included. Raises ProvisionerError if it can't."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return

    def unlock(_function: object, name: str, error: BaseException) -> None:
        if isinstance(error, FileNotFoundError):
            return
        with suppress(OSError):
            Path(name).parent.chmod(stat.S_IRWXU)
            Path(name).chmod(stat.S_IRWXU)

    for _ in range(3):  # each round unlocks one level of read-only directories more
        shutil.rmtree(path, onerror=lambda function, name, info: unlock(function, name, info[1]))
        if not path.exists():
            return
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise ProvisionerError(f"{path.name} can't be removed: {error}") from error


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _write(path: Path, text: str) -> None:
    """Whole or not at all, on disk before it is seen, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
