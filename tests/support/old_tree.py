"""The tree of the previous release, v0.1.0, from the history of this checkout."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMIT = "3ea5ea6"
"""The commit of v0.1.0, because a clone may lack the tag."""


class NoHistoryError(Exception):
    """This checkout does not contain the commit of v0.1.0."""


def unpack(directory: Path) -> Path:
    """Write the tree of v0.1.0 into `directory`. Raises NoHistoryError."""
    found = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        raise NoHistoryError(
            f"this checkout has no history: commit {COMMIT}, release 0.1.0, is not in it; "
            "clone the repository without --depth"
        )
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


def install(tree: Path) -> Path:
    """Create an environment for an unpacked tree with the packages of its own lock; return its Python."""
    uv = Path(sys.executable).with_name("uv")
    python = tree / ".venv" / "bin" / "python"
    for command in (
        ["venv", "-q", "--python", sys.executable, str(tree / ".venv")],
        ["pip", "sync", "-q", "--require-hashes", "--python", str(python), "requirements.lock"],
        ["pip", "install", "-q", "--no-deps", "--no-build-isolation", "--python", str(python), "-e", "."],
    ):
        subprocess.run([uv, *command], cwd=tree, check=True)
    return python
