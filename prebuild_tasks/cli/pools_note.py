"""The note in the data directory of which files were declared from it last: `up` compares them at its next start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prebuild_tasks.config import Settings


@dataclass(frozen=True, slots=True)
class DeclaredFiles:
    """A pools file with its overlays, as it was declared last from this data directory."""

    files: Sequence[Path] = ()
    """Empty: they are unknown or gone."""
    revision: int = 0
    """The revision of the configuration that they made. A later one is of other files, or of another place."""


def note_files(settings: Settings, files: Sequence[Path], revision: int) -> None:
    """Note that these files are what is declared. Without a data directory there is nothing that `up` starts again."""
    lines = [str(revision).encode(), *(os.fsencode(file.absolute()) for file in files)]
    with suppress(OSError):  # then a later start compares the files before these, or the example
        _note(settings).write_bytes(b"\n".join(lines))


def noted_files(settings: Settings) -> DeclaredFiles:
    """Return the files that were declared last from here."""
    try:
        revision, *names = _note(settings).read_bytes().split(b"\n")
    except OSError:
        return DeclaredFiles()
    files = [Path(os.fsdecode(name)) for name in names]
    if not revision.isdigit() or not all(file.is_file() for file in files):
        return DeclaredFiles()
    return DeclaredFiles(files, int(revision))


def _note(settings: Settings) -> Path:
    return settings.data_dir / "pools-files"
