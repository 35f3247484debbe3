"""Files and directories that only their owner may read: atomic writes, locks, removal of whole trees."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext
from prebuild_tasks.provisioners.shared.run import run

_DISK_USE_TIMEOUT = 30.0


def remove_trees(paths: Sequence[Path], context: BuildContext | None = None) -> None:
    """Remove whole trees, read-only ones included.

    `rm` does it, because it handles paths longer and deeper than Python may, follows no links, and can be stopped at
    any moment. Raises ProvisionerError with the system's message, and whatever `context` raises.
    """
    names, output = [str(path) for path in paths], ""
    for make_writable in (False, True):
        left = [name for name in names if os.path.lexists(name)]
        if not left:
            return
        env = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        if make_writable:
            run(["chmod", "-R", "u+rwX", "--", *left], cwd=Path("/"), env=env, context=context)
        code, output = run(["rm", "-rf", "--", *left], cwd=Path("/"), env=env, context=context)
        if code == 0:
            return
    raise ProvisionerError(f"the workspace's files cannot be removed: {output.strip()[-500:]}")


def disk_use(path: Path) -> int | None:
    """Return the bytes that a directory uses on disk; None when it is not on this host or cannot be read."""
    if not path.is_dir():
        return None
    env = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    try:
        code, text = run(["du", "-sk", "--", str(path)], cwd=Path("/"), env=env, timeout=_DISK_USE_TIMEOUT)
    except (TimeoutError, ProvisionerError):
        return None
    number = text.strip().split("\t")[0].split("\n")[-1]
    return int(number) * 1024 if code == 0 and number.isdecimal() else None


def private(directory: Path) -> None:
    """Make a directory with mode 0700. Missing parents get the default mode."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)


def open_for_owner(path: Path, flags: int) -> TextIO:
    """Open a file for writing, and create it with mode 0600."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600), "w", encoding="utf-8")


def read_if_present(path: Path) -> str:
    """Return the file's text; empty when there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def tail(path: Path, size: int = 4096) -> str:
    """Return the last bytes of a log, at most `size`, without the line that is cut; empty when there is none."""
    try:
        with path.open("rb") as file:
            cut = max(path.stat().st_size - size, 0)
            file.seek(cut)
            text = file.read(size).decode("utf-8", "replace")
            return text.partition("\n")[2] or text if cut else text
    except OSError:
        return ""


def replace_file(path: Path, text: str) -> None:
    """Replace a file atomically. When this returns, its content and its name are on disk."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open_for_owner(temporary, os.O_EXCL) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, among threads and processes. It ends with the process that holds it."""
    with open_for_owner(path, os.O_APPEND) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
