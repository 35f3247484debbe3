"""Names and labels of containers.

Labels cannot be changed, so a container's state is in its name:

    prebuild-<workspace>-a<attempt>   being made
    prebuild-<workspace>              published; names are unique in the engine, so only one attempt gets it
    claimed-<workspace>-<owner>       claimed; the claim hook has not succeeded yet
    owned-<workspace>-<owner>         claimed and personalised
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from prebuild_tasks.provisioners.docker.engine import EngineObject

INSTALLATION = "prebuild_tasks.installation"
WORKSPACE = "prebuild_tasks.workspace"
ATTEMPT = "prebuild_tasks.attempt"
PORT = "prebuild_tasks.port"
"""The label that holds the port on the engine's host."""
DIRECTORY = "prebuild_tasks.directory"

_UNSAFE = re.compile(rb"[^A-Za-z0-9.-]")
_ESCAPED = re.compile(rb"_([0-9a-f]{2})")


def of_attempt(workspace_id: str, attempt: int) -> str:
    """Return the name of an attempt's container, which is also the name of its volume."""
    return f"prebuild-{workspace_id}-a{attempt}"


def published(workspace_id: str) -> str:
    """Return the name of the published container."""
    return f"prebuild-{workspace_id}"


def claimed(workspace_id: str, owner: str, *, personalised: bool = False) -> str:
    """Return the name of a claimed container."""
    safe = _UNSAFE.sub(lambda match: b"_%02x" % match[0][0], owner.encode()).decode()
    return f"{'owned' if personalised else 'claimed'}-{workspace_id}-{safe}"


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a workspace."""

    id: str
    name: str
    running: bool
    """Whether it runs, is paused, or is being restarted."""
    workspace_id: str
    installation: str
    attempt: int
    port: int = 0
    directory: str = ""

    @property
    def is_published(self) -> bool:
        """Whether it is the workspace's container, claimed or not.

        The others are containers that an attempt is making or has left behind.
        """
        return not self.name.startswith(f"{published(self.workspace_id)}-a")

    @property
    def is_personalised(self) -> bool:
        """Whether the claim hook has succeeded."""
        return self.name.startswith(f"owned-{self.workspace_id}-")

    @property
    def is_claimed(self) -> bool:
        """Whether its name has the marker of a claim."""
        return self.is_personalised or self.name.startswith(f"claimed-{self.workspace_id}-")

    @property
    def owner(self) -> str:
        """The person who claimed it; empty for a prebuild."""
        if not self.is_claimed:
            return ""
        safe = self.name.partition(f"-{self.workspace_id}-")[2].encode()
        return _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), safe).decode("utf-8", "replace")


def container_from(listed: EngineObject) -> Container:
    """Return a container from an entry of the engine's list."""
    labels = listed.get("Labels") or {}
    names = [name.removeprefix("/") for name in listed.get("Names") or []]
    return Container(
        id=listed["Id"],
        name=next((name for name in names if "/" not in name), ""),  # a name with a slash belongs to a link
        running=str(listed.get("State", "")).lower() in ("running", "paused", "restarting"),
        workspace_id=labels.get(WORKSPACE, ""),
        installation=labels.get(INSTALLATION, ""),
        attempt=_number(labels.get(ATTEMPT)),
        port=_number(labels.get(PORT)),
        directory=labels.get(DIRECTORY, ""),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
