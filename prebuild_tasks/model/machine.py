"""The machine that a process runs on: its name, and the id that stays when the name changes."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_NOTE = "host"
_IDS = (Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id"))


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
    """Return a short id of the machine, the same in all its containers that have none of their own; empty: unknown."""
    for path in _IDS:
        try:
            if content := path.read_text(encoding="ascii").strip():
                return hashlib.sha256(content.encode()).hexdigest()[:12]
        except (OSError, ValueError):
            continue
    return ""
