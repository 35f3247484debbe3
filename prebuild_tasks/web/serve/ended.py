"""The files in which serving processes count, once these have ended: their counts are kept in one file of each kind.

Only the parent of the processes adds them up, so that nothing is lost or counted twice unless it is killed, and then
its processes end too. Who reads meanwhile waits.
"""

from __future__ import annotations

import fcntl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

_KINDS = ("counter", "histogram")
_LOCK = "lock"
_SUM = "ended"
"""Stands in the name of the file with the counts of all that have ended, where others have the id of their process."""


@contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Let no file be added up while they are read."""
    with _locked(directory, fcntl.LOCK_SH):
        yield


def add_up_ended(directory: Path) -> None:
    """Move the counts of processes that have ended to one file of each kind."""
    for kind in _KINDS:
        if ended := [path for path in directory.glob(f"{kind}_*.db") if _has_ended(path)]:
            with _locked(directory, fcntl.LOCK_EX):
                _add_up(ended, directory / f"{kind}_{_SUM}.db")
    forget_gauges(directory)


def forget_gauges(directory: Path) -> None:
    """Leave out the gauges of processes that have ended, by whatever way."""
    for path in directory.glob("gauge_live*_*.db"):
        if _has_ended(path):
            mark_process_dead(int(_process_of(path)), str(directory))  # type: ignore[no-untyped-call]


def _add_up(ended: Sequence[Path], total: Path) -> None:
    counts = defaultdict[str, float](float)
    for path in (*ended, *([total] if total.exists() else [])):
        for key, value, _at, _position in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            counts[key] += value
    written = total.with_suffix(".new")
    written.unlink(missing_ok=True)
    values = MmapedDict(str(written))  # type: ignore[no-untyped-call]
    for key, value in counts.items():
        values.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    values.close()  # type: ignore[no-untyped-call]
    written.rename(total)
    for path in ended:
        path.unlink()


def _process_of(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _has_ended(path: Path) -> bool:
    process = _process_of(path)
    return process.isdecimal() and not psutil.pid_exists(int(process))


@contextmanager
def _locked(directory: Path, how: int) -> Iterator[None]:
    with (directory / _LOCK).open("a") as file:
        fcntl.flock(file, how)
        yield
