"""The note in the data directory of which files were declared from it: `up` compares them at its next start."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prebuild_tasks.config import Settings

_REMEMBERED = 10
"""Files that are remembered. Somebody who declares more of them from one data directory generates them."""


@dataclass(frozen=True, slots=True)
class DeclaredFiles:
    """A pools file with its overlays, as it was declared last from this data directory."""

    files: Sequence[Path]
    revision: int
    """The revision of the configuration that they made. A later one is of other files, or of another place."""
    digest: str
    """Of their contents at that time; empty: unknown."""

    @property
    def edited(self) -> bool:
        """Whether they have other contents than when they were declared."""
        return self.digest not in ("", _digest(self.files))


def note_files(settings: Settings, files: Sequence[Path], revision: int) -> None:
    """Note that these files are what is declared. Without a data directory there is nothing that `up` starts again.

    They take the place of an earlier note of the same file with other overlays.
    """
    files = [file.absolute() for file in files]
    with suppress(OSError):  # then a later start compares the files before these, or the example
        others = [noted for noted in noted_files(settings) if noted.files[0] != files[0]]
        noted = [DeclaredFiles(files, revision, _digest(files)), *others][:_REMEMBERED]
        _note(settings).write_bytes(b"\n\n".join(map(_block, noted)))


def noted_files(settings: Settings) -> list[DeclaredFiles]:
    """Return the files that were declared from here and are still there, the last ones first."""
    try:
        text = _note(settings).read_bytes()
    except OSError:
        return []
    return [*_parsed(text)]


def _block(noted: DeclaredFiles) -> bytes:
    return b"\n".join([f"{noted.revision} {noted.digest}".encode(), *map(os.fsencode, noted.files)])


def _parsed(text: bytes) -> Iterator[DeclaredFiles]:
    for block in text.split(b"\n\n"):
        head, *names = block.split(b"\n")
        revision, _, digest = head.partition(b" ")
        files = [Path(os.fsdecode(name)) for name in names]
        if revision.isdigit() and files and all(file.is_file() for file in files):
            yield DeclaredFiles(files, int(revision), digest.decode("ascii", "replace"))


def _digest(files: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    try:
        for file in files:
            whole.update(hashlib.sha256(file.read_bytes()).digest())
    except OSError:
        return ""
    return whole.hexdigest()


def _note(settings: Settings) -> Path:
    return settings.data_dir / "pools-files"
