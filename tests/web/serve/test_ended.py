"""The counts of serving processes that have ended."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict, mmap_key

from prebuild_tasks.web.serve.ended import add_up_ended

GONE = (2**22 + 1, 2**22 + 2, 2**22 + 3)
"""Ids that no process has: they are above the highest that Linux gives."""


def write(directory: Path, name: str, **counts: float) -> None:
    file = MmapedDict(str(directory / name))
    for label, value in counts.items():
        file.write_value(mmap_key("requests", "requests_total", ["route"], [label], "meaning"), value, 0.0)
    file.close()


def total(directory: Path, kind: str) -> dict[str, float]:
    """Return the sums over all files of a kind, by label."""
    sums: dict[str, float] = {}
    for path in directory.glob(f"{kind}_*.db"):
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
            label = key.partition('"route": "')[2].partition('"')[0]
            sums[label] = sums.get(label, 0) + value
    return sums


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*.db")}


def test_counts_stay_and_files_do_not(tmp_path: Path) -> None:
    alive = f"counter_{os.getpid()}.db"
    write(tmp_path, f"counter_{GONE[0]}.db", a=1, b=2)
    write(tmp_path, f"counter_{GONE[1]}.db", b=3)
    write(tmp_path, alive, a=10)
    write(tmp_path, f"histogram_{GONE[0]}.db", a=5)
    write(tmp_path, f"gauge_livesum_{GONE[0]}.db", a=7)
    write(tmp_path, f"gauge_livesum_{os.getpid()}.db", a=7)
    for _ in range(2):
        add_up_ended(tmp_path)
        assert total(tmp_path, "counter") == {"a": 11, "b": 5}
        assert total(tmp_path, "histogram") == {"a": 5}
        assert names(tmp_path) == {
            alive, "counter_ended.db", "histogram_ended.db", f"gauge_livesum_{os.getpid()}.db",
        }  # fmt: skip
    write(tmp_path, f"counter_{GONE[2]}.db", b=1, c=1)
    add_up_ended(tmp_path)
    assert total(tmp_path, "counter") == {"a": 11, "b": 6, "c": 1}
    assert len(names(tmp_path)) == 4
