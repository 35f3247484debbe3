"""`up`, `apply` and `db upgrade` made a data directory that everybody could read, including its database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from prebuild_tasks.cli.up.children import Children
from prebuild_tasks.db.engine import Database


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_up_makes_it_for_its_owner_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "made" / "d"
    Children({}, data_dir / "logs", data_dir)
    assert mode(data_dir) == mode(data_dir / "logs") == 0o700


def test_a_migration_makes_it_for_its_owner_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    database = Database(f"sqlite:///{data_dir / 'prebuild.db'}")
    database.upgrade()
    database.close()
    assert mode(data_dir) == 0o700


def test_a_directory_of_ones_own_is_left_as_it_is(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    data_dir.mkdir(mode=0o750)
    Children({}, data_dir / "logs", data_dir)
    assert mode(data_dir) == 0o750
