"""How a container says what it is. Labels are for ever, so what changes stands in its name:

prebuild-<workspace>-a<attempt>   being made
prebuild-<workspace>              made: the attempt that won took the name, which only one can have
claimed-<workspace>-<owner>       claimed; the hook has not succeeded yet
owned-<workspace>-<owner>         claimed and personalised
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INSTALLATION = "prebuild_tasks.installation"
WORKSPACE = "prebuild_tasks.workspace"
ATTEMPT = "prebuild_tasks.attempt"
PORT = "prebuild_tasks.port"
"""On the engine's host."""
DIRECTORY = "prebuild_tasks.directory"

_UNSAFE = re.compile(rb"[^A-Za-z0-9.-]")
_ESCAPED = re.compile(rb"_([0-9a-f]{2})")


def being_made(workspace_id: str, attempt: int) -> str:
    """The name of a container, and of the workspace's own volume, that belong to this attempt."""
    return f"prebuild-{workspace_id}-a{attempt}"


def made(workspace_id: str) -> str:
    """The name of the attempt that won."""
    return f"prebuild-{workspace_id}"


def claimed(workspace_id: str, owner: str, *, personalised: bool = False) -> str:
    """The name that says whose it is."""
    safe = _UNSAFE.sub(lambda found: b"_%02x" % found[0][0], owner.encode()).decode()
    return f"{'owned' if personalised else 'claimed'}-{workspace_id}-{safe}"


@dataclass(frozen=True, slots=True)
class Container:
    """One container of ours."""

    id: str
    name: str
    running: bool
    workspace_id: str
    installation: str
    attempt: int
    port: int = 0
    directory: str = ""

    @property
    def is_made(self) -> bool:
        """Published: everything but a container that an attempt still works on, or left."""
        return not self.name.startswith(f"{made(self.workspace_id)}-a")

    @property
    def is_personalised(self) -> bool:
        return self.name.startswith(f"owned-{self.workspace_id}-")

    @property
    def is_claimed(self) -> bool:
        return self.is_personalised or self.name.startswith(f"claimed-{self.workspace_id}-")

    @property
    def owner(self) -> str:
        """Who claimed it; empty for a prebuild."""
        if not self.is_claimed:
            return ""
        safe = self.name.partition(f"-{self.workspace_id}-")[2].encode()
        return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), safe).decode("utf-8", "replace")


def read(listed: Mapping[str, Any]) -> Container:
    """A container from the engine's list."""
    labels = listed.get("Labels") or {}
    names = [name.removeprefix("/") for name in listed.get("Names") or []]
    return Container(
        id=listed["Id"],
        name=next((name for name in names if "/" not in name), ""),  # one with a slash is a link's
        running=str(listed.get("State", "")).lower() in ("running", "paused", "restarting"),
        workspace_id=labels.get(WORKSPACE, ""),
        installation=labels.get(INSTALLATION, ""),
        attempt=_number(labels.get(ATTEMPT)),
        port=_number(labels.get(PORT)),
        directory=labels.get(DIRECTORY, ""),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
