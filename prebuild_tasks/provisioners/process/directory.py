"""The directory of a workspace.

    workspaces/<id>/installation   the installation's id; written before anything else
                    attempt        the highest attempt that has begun
                    port           the port reserved for the served process
                    processes      the sessions that were started, one line of JSON each
                    a1/, a2/, …    a working directory for each attempt
                    state.json     the published attempt; written atomically
                    claimed        the durable marker of a claim, with the owner
                    stopped        present when the workspace was stopped on purpose and is not to be served again
                    serve.log      the output of the served process

A working directory is never renamed, because virtual environments hold absolute paths.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from prebuild_tasks.errors import BuildStoppedError, ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext
from prebuild_tasks.provisioners.shared.disk import (
    locked,
    open_for_owner,
    private,
    read_if_present,
    remove_trees,
    replace_file,
)
from prebuild_tasks.provisioners.shared.ports import Ports
from prebuild_tasks.provisioners.shared.processes import Leader
from prebuild_tasks.provisioners.shared.workspace_id import check_id

log = logging.getLogger(__name__)

_ATTEMPT = re.compile(r"a([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Published:
    """The state of a started workspace, sufficient to serve it again without a database."""

    attempt: int
    port: int = 0
    pid: int = 0
    born: str = ""
    serve: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    """Parameters and PREBUILD_* variables, secrets included; only its owner may read the file."""


@dataclass(frozen=True, slots=True)
class ClaimMarker:
    """The durable marker of a claim."""

    owner: str = ""
    """Empty when the workspace is not claimed."""
    personalised: bool = False
    """Whether the claim hook has succeeded."""


class WorkspaceDirectory:
    """The files of one workspace. Raises CannotBuildError for an id that is not a UUID."""

    def __init__(self, root: Path, workspace_id: str) -> None:
        self.id, self.root = check_id(workspace_id), root
        self.path = root / self.id
        if self.path.is_symlink():
            raise ProvisionerError(f"{self.path} is a symbolic link, which may lead out of the workspaces' directory")

    @property
    def serve_log(self) -> Path:
        """Return the log of the served process."""
        return self.path / "serve.log"

    def attempt_directory(self, attempt: int) -> Path:
        """Return the working directory of an attempt."""
        return self.path / f"a{attempt}"

    def begin(self, installation: str, attempt: int) -> Published | None:
        """Record this as the highest attempt, so that no lower one can publish. Returns what is already published.

        Raises BuildStoppedError when a higher attempt has begun.
        """
        private(self.root)
        private(self.path)
        with locked(self.root / ".lock"):
            replace_file(self.path / "installation", installation)
            if (state := self.published()) is not None:
                return state
            self._refuse_below(attempt)
            if self.is_claimed():
                raise ProvisionerError(f"{self.path} was claimed and has lost its files; it is kept for its owner")
            (self.path / "state.json").unlink(missing_ok=True)
            replace_file(self.path / "attempt", str(attempt))
        return None

    def make_attempt_directory(self, attempt: int, context: BuildContext | None = None) -> Path:
        """Make an empty directory for this attempt, and remove those of lower ones."""
        lower = [path for path in self.path.iterdir() if (n := _ATTEMPT.fullmatch(path.name)) and int(n[1]) <= attempt]
        remove_trees(lower, context)
        with locked(self.root / ".lock"):
            self._refuse_below(attempt)
            private(self.attempt_directory(attempt))
            private(self.attempt_directory(attempt) / ".tmp")
        return self.attempt_directory(attempt)

    def publish(self, state: Published) -> None:
        """Make the attempt the workspace.

        Raises BuildStoppedError when a higher attempt has begun or the workspace was deleted.
        """
        with locked(self.root / ".lock"):
            self._refuse_below(state.attempt)
            if not self.attempt_directory(state.attempt).is_dir():
                raise BuildStoppedError("the workspace was deleted meanwhile", reason="lost")
            replace_file(self.path / "state.json", json.dumps(asdict(state)))

    def make_writable(self) -> None:
        """Restore the directory's mode, which the workspace's own commands may have changed."""
        with suppress(OSError):  # it does not exist or belongs to another user
            self.path.chmod(0o700)

    def unpublish(self) -> None:
        """Remove the published state, so that no worker serves the workspace again.

        A worker that is just starting the served process has recorded its session by then. Nothing is written, because
        a workspace must be deletable on a full disk.
        """
        with ExitStack() as held:
            # An error means that it does not exist, or that the disk is too full for the lock's file; then no worker
            # serves it either.
            with suppress(OSError):
                held.enter_context(self.serving())
            # An error means that it does not exist or cannot be changed; `delete` ends the served process once more.
            with suppress(OSError):
                (self.path / "state.json").unlink(missing_ok=True)

    def published(self) -> Published | None:
        """Return the published attempt; None when there is none or its directory no longer exists."""
        text = read_if_present(self.path / "state.json")
        if not text:
            return None
        try:
            values = json.loads(text)
            known = {item.name: values[item.name] for item in fields(Published) if item.name in values}
            state = Published(**{**known, "serve": tuple(known.get("serve", ()))})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s cannot be read: %s", self.path / "state.json", error)
            return None
        return state if self.attempt_directory(state.attempt).is_dir() else None

    def highest_attempt(self) -> int:
        """Return the highest attempt that has begun; 0 for none."""
        text = read_if_present(self.path / "attempt")
        return int(text) if text else 0

    def installation(self) -> str:
        """Return the installation's id; empty when the directory does not exist."""
        return read_if_present(self.path / "installation")

    def is_claimed(self) -> bool:
        """Return whether a person has claimed the workspace."""
        return (self.path / "claimed").exists()

    def claim_marker(self) -> ClaimMarker:
        """Return the claim marker; one without an owner when there is none or it cannot be read."""
        with suppress(ValueError, TypeError, AttributeError):
            values = json.loads(read_if_present(self.path / "claimed") or "{}")
            return ClaimMarker(owner=str(values.get("owner", "")), personalised=bool(values.get("personalised")))
        return ClaimMarker()

    def mark_claimed(self, owner: str, *, personalised: bool = False) -> None:
        """Leave the claim marker. Raises ProvisionerError when the workspace no longer exists."""
        if not self.path.is_dir():
            raise ProvisionerError("the workspace's directory is gone")
        replace_file(self.path / "claimed", json.dumps(asdict(ClaimMarker(owner, personalised=personalised))))

    def is_stopped(self) -> bool:
        """Return whether the workspace was stopped on purpose."""
        return (self.path / "stopped").exists()

    def mark_stopped(self) -> None:
        """Record that the workspace was stopped on purpose."""
        if self.path.is_dir():
            replace_file(self.path / "stopped", "")

    def unmark_stopped(self) -> None:
        """Remove the record that the workspace was stopped."""
        (self.path / "stopped").unlink(missing_ok=True)

    def record_session(self, leader: Leader) -> None:
        """Record a session, by which processes are found that clear their environment."""
        with open_for_owner(self.path / "processes", os.O_APPEND) as file:
            file.write(json.dumps(asdict(leader)) + "\n")

    def sessions(self) -> list[Leader]:
        """Return the leaders of all recorded sessions."""
        leaders = []
        for line in read_if_present(self.path / "processes").splitlines():
            with suppress(ValueError, TypeError):
                leaders.append(Leader(**json.loads(line)))
        return leaders

    def reserve_port(self, ports: Ports, context: BuildContext) -> int:
        """Return the workspace's port, and reserve one the first time. Raises ProvisionerError when none is free."""
        with locked(self.root / ".lock"):
            if port := self.port():
                return port
            taken = {int(text) for path in self.root.glob("*/port") if (text := read_if_present(path)).isdecimal()}
            port = ports.choose(taken, context, _is_free)
            replace_file(self.path / "port", str(port))
            return port

    def port(self) -> int:
        """Return the workspace's port; 0 for none."""
        text = read_if_present(self.path / "port")
        return int(text) if text else 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Hold the lock under which a worker checks whether the workspace is served, and serves it."""
        with locked(self.path / ".serve.lock"):
            yield

    def clear(self, context: BuildContext) -> None:
        """Remove everything but the files `installation` and `processes`."""
        if self.path.exists():
            remove_trees(
                [path for path in self.path.iterdir() if path.name not in ("installation", "processes")], context
            )

    def remove(self, context: BuildContext) -> None:
        """Remove everything; `installation` last, because it says to whom a half-removed directory belongs."""
        self.clear(context)
        (self.path / "processes").unlink(missing_ok=True)
        remove_trees([self.path], context)

    def _refuse_below(self, attempt: int) -> None:
        if self.highest_attempt() > attempt:
            raise BuildStoppedError("a later attempt of this build has begun", reason="lost")


def workspace_directories(root: Path) -> Iterator[WorkspaceDirectory]:
    """Yield every workspace below the root."""
    for path in sorted(root.glob("*/installation")):
        with suppress(ProvisionerError):
            yield WorkspaceDirectory(root, path.parent.name)


def _is_free(port: int) -> bool:
    # On all addresses, because the served process may listen on any of them.
    return _can_bind(socket.AF_INET, "", port) and (not socket.has_ipv6 or _can_bind(socket.AF_INET6, "::", port))


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    """Return whether the port is free in this family of addresses; it is in one that the machine does not have."""
    try:
        with socket.socket(family) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    return True
