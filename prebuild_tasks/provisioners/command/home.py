"""The directory of one call of an executable, which is empty, private, and locked while its worker lives.

Whatever a killed worker left behind can therefore be found: directories without a lock, which may hold secrets, and
the processes whose environment names one of those directories.
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
from prebuild_tasks.provisioners.shared.disk import remove_trees

log = logging.getLogger(__name__)

CALL = "PREBUILD_CALL"
"""Set to the directory for every process of a call, even if it changes HOME and TMPDIR."""
_PREFIX = "prebuild-call-"


@contextmanager
def call_directory() -> Iterator[Path]:
    """Make a directory among the system's temporary files, whose paths are short enough for Terraform's sockets."""
    made, lock = _make()
    try:
        with made:
            yield Path(made.name)
    finally:
        os.close(lock)


def clear_abandoned() -> int:
    """End the processes of calls whose workers died, and remove their directories. Returns the number of processes.

    This includes the calls of all services of this user.
    """
    ended = 0
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        try:
            lock = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # locked by a living worker, removed meanwhile, or another user's
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                ended += processes.end(partial(processes.with_variable, CALL, str(path)))
                remove_trees([path])
        except ProvisionerError as error:
            log.error("%s: %s", path, error)  # not raised, so that the worker's start or end goes on
        finally:
            os.close(lock)
    return ended


def _make() -> tuple[tempfile.TemporaryDirectory[str], int]:
    while True:
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        with suppress(FileNotFoundError):
            lock = _lock(Path(made.name), fcntl.LOCK_EX)
            if os.path.lexists(made.name):
                return made, lock
            os.close(lock)
        made.cleanup()  # another process treated it as abandoned before it was locked


def _lock(path: Path, how: int) -> int:
    """Open and lock a directory; the lock ends with the process. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(directory, how)
    except OSError:
        os.close(directory)
        raise
    return directory
