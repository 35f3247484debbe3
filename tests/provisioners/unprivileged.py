"""Run code without root's rights, to meet file permissions and unreadable processes."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


def become_nobody() -> None:
    """Give up root's rights permanently, if this process has them."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def unprivileged(work: Callable[[], None]) -> None:
    """Run a function in a process without root's rights; it must not import anything there."""
    child = os.fork()
    if not child:
        code = 1
        try:
            become_nobody()
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - it is the last one here to hear of it
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0, "see its traceback"


@contextmanager
def anybodys_directory() -> Iterator[Path]:
    """Make a directory that such a process may use; pytest's are private to their user."""
    directory = Path(tempfile.mkdtemp(prefix="prebuild-test-"))
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
