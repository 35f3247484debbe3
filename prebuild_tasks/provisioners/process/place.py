"""A workspace's place on disk.

    workspaces/<id>/installation   whose it is; written before anything else
                    attempt        the highest attempt that began here
                    port           reserved for its served process
                    processes      sessions that were started here, a JSON line each
                    a1/, a2/, …    one working directory per attempt
                    state.json     the published attempt; appears by rename, so it is whole or absent
                    claimed        the durable mark of a claim, with the owner
                    stopped        it was stopped on purpose: not to be served again after a rest
                    serve.log

The working directory itself is never renamed: virtual environments hold absolute paths.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from prebuild_tasks.errors import BuildStoppedError, ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext
from prebuild_tasks.provisioners.shared.disk import locked, open_for_owner, private, read, remove, write
from prebuild_tasks.provisioners.shared.processes import Leader
from prebuild_tasks.provisioners.shared.workspace_id import check_id

log = logging.getLogger(__name__)

_ATTEMPT = re.compile(r"a([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Published:
    """What is known of a started workspace; enough to serve it again without a database."""

    attempt: int
    port: int = 0
    pid: int = 0
    born: str = ""
    serve: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    """Parameters and PREBUILD_* values, secrets included: the file is for its owner only."""


class Place:
    """The directory of one workspace. Raises CannotBuildError for an id that is no UUID."""

    def __init__(self, root: Path, workspace_id: str) -> None:
        self.id, self.root = check_id(workspace_id), root
        self.path = root / self.id
        if self.path.is_symlink():
            raise ProvisionerError(f"{self.path} is a link, which leads out of the workspaces")

    @property
    def serve_log(self) -> Path:
        return self.path / "serve.log"

    def directory(self, attempt: int) -> Path:
        return self.path / f"a{attempt}"

    def begin(self, installation: str, attempt: int) -> Published | None:
        """Make this the highest attempt, or answer what is published already. From here on no lower one can publish.

        Raises BuildStoppedError for an old attempt.
        """
        private(self.root)
        private(self.path)
        with locked(self.root / ".lock"):
            write(self.path / "installation", installation)
            if (state := self.published()) is not None:
                return state
            self._refuse_below(attempt)
            if self.is_claimed():
                raise ProvisionerError(f"{self.path} was claimed and has lost its files; it is left for its owner")
            (self.path / "state.json").unlink(missing_ok=True)
            write(self.path / "attempt", str(attempt))
        return None

    def make_directory(self, attempt: int, context: BuildContext | None = None) -> Path:
        """An empty directory for this attempt, in place of those of lower ones, never of a higher one."""
        lower = [path for path in self.path.iterdir() if (n := _ATTEMPT.fullmatch(path.name)) and int(n[1]) <= attempt]
        remove(lower, context)
        with locked(self.root / ".lock"):
            self._refuse_below(attempt)
            private(self.directory(attempt))
            private(self.directory(attempt) / ".tmp")
        return self.directory(attempt)

    def publish(self, state: Published) -> None:
        """Make the attempt the workspace. Raises BuildStoppedError when a later one has begun, or it was deleted."""
        with locked(self.root / ".lock"):
            self._refuse_below(state.attempt)
            if not self.directory(state.attempt).is_dir():
                raise BuildStoppedError("the workspace was deleted meanwhile", reason="lost")
            write(self.path / "state.json", json.dumps(asdict(state)))

    def open_up(self) -> None:
        """Make it ours to change again, whatever mode it was given by what ran in it."""
        with suppress(OSError):  # not here, or somebody else's
            self.path.chmod(0o700)

    def withdraw(self) -> None:
        """Be published no more, so that nobody serves it again; who is just doing so has noted what is to be ended.

        Makes nothing: on a disk without room for one more file a workspace can still be deleted.
        """
        with ExitStack() as held:
            with suppress(OSError):  # not here, or no room for the lock's file, without which nobody serves it either
                held.enter_context(self.serving())
            with suppress(OSError):  # not here, or one that can't be changed: what is served then is ended twice
                (self.path / "state.json").unlink(missing_ok=True)

    def published(self) -> Published | None:
        """The published attempt; None while there is none, or when its directory is gone."""
        text = read(self.path / "state.json")
        if not text:
            return None
        try:
            values = json.loads(text)
            known = {item.name: values[item.name] for item in fields(Published) if item.name in values}
            state = Published(**{**known, "serve": tuple(known.get("serve", ()))})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s can't be read: %s", self.path / "state.json", error)
            return None
        return state if self.directory(state.attempt).is_dir() else None

    def highest_attempt(self) -> int:
        text = read(self.path / "attempt")
        return int(text) if text else 0

    def installation(self) -> str:
        return read(self.path / "installation")

    def is_claimed(self) -> bool:
        return (self.path / "claimed").exists()

    def claim_mark(self) -> dict[str, Any]:
        """Owner, and whether the hook has run; empty while nobody claimed it. One that can't be read has no owner."""
        with suppress(ValueError, TypeError):
            return dict(json.loads(read(self.path / "claimed") or "{}"))
        return {}

    def mark_claimed(self, owner: str, *, personalised: bool = False) -> None:
        """Leave the durable mark. Raises ProvisionerError when the workspace is gone."""
        if not self.path.is_dir():
            raise ProvisionerError("the workspace's directory is gone")
        write(self.path / "claimed", json.dumps({"owner": owner, "personalised": personalised}))

    def is_stopped(self) -> bool:
        return (self.path / "stopped").exists()

    def mark_stopped(self) -> None:
        if self.path.is_dir():
            write(self.path / "stopped", "")

    def unmark_stopped(self) -> None:
        (self.path / "stopped").unlink(missing_ok=True)

    def note_session(self, leader: Leader) -> None:
        """Remember a session, for those of its processes that clear the marker from their environment."""
        with open_for_owner(self.path / "processes", os.O_APPEND) as file:
            file.write(json.dumps(asdict(leader)) + "\n")

    def sessions(self) -> list[Leader]:
        found = []
        for line in read(self.path / "processes").splitlines():
            with suppress(ValueError, TypeError):
                found.append(Leader(**json.loads(line)))
        return found

    def reserve_port(self, ports: range) -> int:
        """This workspace's port: the one it had, else a free one. Raises ProvisionerError when none is left."""
        with locked(self.root / ".lock"):
            if text := read(self.path / "port"):
                return int(text)
            taken = {read(path) for path in self.root.glob("*/port")}
            for port in random.sample(ports, len(ports)):  # not for secrecy, only to keep installations apart
                if str(port) not in taken and _is_free(port):
                    write(self.path / "port", str(port))
                    return port
        raise ProvisionerError(
            f"no free port between {ports.start} and {ports.stop - 1}", hint="widen PREBUILD_WORKSPACE_PORTS"
        )

    @contextmanager
    def serving(self) -> Iterator[None]:
        """One at a time looks whether it is served, and serves it."""
        with locked(self.path / ".serve.lock"):
            yield

    def clear(self, context: BuildContext) -> None:
        """Remove everything but whose it is, and which sessions were started here."""
        if self.path.exists():
            remove([path for path in self.path.iterdir() if path.name not in ("installation", "processes")], context)

    def remove(self, context: BuildContext) -> None:
        """Remove everything; the mark of the installation goes last, so that a half-removed place is still ours."""
        self.clear(context)
        (self.path / "processes").unlink(missing_ok=True)
        remove([self.path], context)

    def _refuse_below(self, attempt: int) -> None:
        if self.highest_attempt() > attempt:
            raise BuildStoppedError("a later attempt of this build has begun", reason="lost")


def places(root: Path) -> Iterator[Place]:
    """Every workspace that has a place here."""
    for path in sorted(root.glob("*/installation")):
        with suppress(ProvisionerError):
            yield Place(root, path.parent.name)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))  # on every address: what is served may listen on any of them
        except OSError:
            return False
    return True
