"""The machine that a process runs on: its name, and the id that stays when the name changes."""

from __future__ import annotations

import hashlib
import math
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_NOTE = "host"
_LASTING_ID, _BOOT_ID = Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id")
_UPTIME = Path("/proc/uptime")


def host_note(data_dir: Path) -> Path:
    """Return the file in which `prebuild up` keeps the name that its directory was first used with."""
    return data_dir / _NOTE


def default_host(settings: Mapping[str, object]) -> str:
    """Return the name that is kept in the data directory, or else the machine's."""
    data_dir = settings.get("data_dir")
    try:
        kept = host_note(data_dir).read_text(encoding="utf-8").strip() if isinstance(data_dir, Path) else ""
    except (OSError, ValueError):
        kept = ""
    return kept or socket.gethostname()


@cache
def machine_id() -> str:
    """Return a short id of the machine, the same in all its containers that have none of their own; empty: unknown.

    Without a lasting id it is a new one after each restart.
    """
    content = _content(_LASTING_ID) or _content(_BOOT_ID)
    return hashlib.sha256(content.encode()).hexdigest()[:12] if content else ""


def seconds_with_id() -> float:
    """Return for how many seconds the machine has had its id; infinite if the id outlasts restarts, or is unknown."""
    uptime = "" if _content(_LASTING_ID) else _content(_UPTIME)
    try:
        return float(uptime.split()[0])
    except (IndexError, ValueError):
        return math.inf


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
