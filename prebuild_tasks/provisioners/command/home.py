"""The directory that one call of an executable has for its own: empty, private, and locked while its worker lives.

So it is known what a worker that was killed has left behind: the directories that nobody holds, perhaps with secrets in
them, and the processes that carry their names.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.provisioners.shared import processes
from prebuild_tasks.provisioners.shared.disk import remove

log = logging.getLogger(__name__)

CALL = "PREBUILD_CALL"
"""On everything that a call started: its directory, whatever becomes of HOME and TMPDIR."""
_PREFIX = "prebuild-call-"


@contextmanager
def home() -> Iterator[Path]:
    """Among the system's temporary files, where paths are short: Terraform's plugins put sockets into TMPDIR."""
    made, lock = _take()
    try:
        with made:
            yield Path(made.name)
    finally:
        os.close(lock)


def clear() -> int:
    """End what calls of dead workers still run here, and remove their directories; returns how many processes it ended.

    Of whichever service of this user they were.
    """
    ended = 0
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        try:
            lock = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # held by a living worker; gone; no directory of ours
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                ended += processes.end(partial(processes.carrying, CALL, str(path)))
                remove([path])
        except ProvisionerError as error:
            log.error("%s: %s", path, error)  # said, not raised: whoever starts or ends goes on
        finally:
            os.close(lock)
    return ended


def _take() -> tuple[tempfile.TemporaryDirectory[str], int]:
    while True:
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        with suppress(FileNotFoundError):
            lock = _lock(Path(made.name), fcntl.LOCK_EX)
            if os.path.lexists(made.name):
                return made, lock
            os.close(lock)
        made.cleanup()  # somebody took it for left behind before the lock was ours


def _lock(path: Path, how: int) -> int:
    """The directory, open; the lock goes with its holder. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(directory, how)
    except OSError:
        os.close(directory)
        raise
    return directory
