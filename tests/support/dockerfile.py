"""The Dockerfile, read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def stages() -> list[list[tuple[str, str]]]:
    """Return its instructions, by stage."""
    found: list[list[tuple[str, str]]] = []
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            found += [[]] if word == "FROM" else []
            found[-1].append((word, rest))
    return found
