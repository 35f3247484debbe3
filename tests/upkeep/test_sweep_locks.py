"""A sweep and a worker that takes probes lock rows of the probes in different orders, and never wait for each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, select

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.strays.compare import sweep_resources
from tests.support.builders import fill_really, jump
from tests.support.pool_files import load_text

GRACE = 601.0
LIST = """
if [ -e "$PLACE/flap" ]; then echo '[]'; exit 0; fi
cd "$PLACE" && ls | grep -- - | sed 's/.*/{"workspace_id": "&"}/' | paste -sd, | sed 's/.*/[&]/'
"""


def declare(database: Database, settings: Settings, place: Path, *, probed: bool) -> None:
    calls = {
        "start": f'touch "{place}/$PREBUILD_WORKSPACE_ID"',
        "delete": f'rm -f "{place}/$PREBUILD_WORKSPACE_ID"',
        "list": f"PLACE={place}\n{LIST}",
        **({"probe": "true"} if probed else {}),
    }
    config = {name: ["sh", "-c", script] for name, script in calls.items()}
    preset = {"name": "small", "desired": 6}
    template = {"name": "dev", "provisioner": "command", "config": config, "presets": [preset]}
    pools = load_text(json.dumps({"schema": 1, "templates": [template]}))
    apply(database, settings, pools, ApplyOptions(actor="t", yes=True))


def look(database: Database, settings: Settings) -> int:
    return sweep_resources(database, settings, Provisioners(settings)).missing


@contextmanager
def rows_locked_at_once(database: Database) -> Iterator[list[int]]:
    """Yield the number of statements that lock rows of the probes, for each transaction of the block."""
    numbers = [0]

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        numbers[-1] += "probes" in statement and statement.startswith(("INSERT", "UPDATE", "DELETE"))
        numbers[-1] += "FOR NO KEY UPDATE" in statement and "probes" in statement

    def begin(_connection: object) -> None:
        numbers.append(0)

    listeners = ("before_cursor_execute", note), ("begin", begin)
    for name, listener in listeners:
        event.listen(database.engine, name, listener)
    yield numbers
    for name, listener in listeners:
        event.remove(database.engine, name, listener)


@pytest.mark.parametrize("probed", [True, False])
def test_a_sweep_locks_one_probe_at_a_time(
    database: Database, settings: Settings, runner: BuildRunner, tmp_path: Path, probed: bool
) -> None:
    """It locked them in the order of their ids, and a worker that took probes in that of their time: a deadlock."""
    declare(database, settings, tmp_path, probed=probed)
    fill_really(database, settings, runner)
    (tmp_path / "flap").touch()
    with rows_locked_at_once(database) as numbers:
        jump(database, GRACE)
        assert look(database, settings) == 6
        (tmp_path / "flap").unlink()
        assert look(database, settings) == 0
    assert max(numbers) == 1
    assert sum(numbers) >= 12
    with database.read() as connection:
        assert not any(connection.execute(select(m.ProbeState.missing_since)).scalars())
