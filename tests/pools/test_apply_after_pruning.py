"""`apply` ended with a KeyError for a template pruned longer ago than the retention, while somebody still had a
workspace of one of its older versions: the active version's row was deleted, but the template still referred to it.

Found by tests/faults/test_machine.py, in 400 sequences of 80 steps.
"""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retention.run import prune
from tests.support.builders import PRESET, declare, fill, finish_builds, turn
from tests.support.pool_files import load_text


@pytest.fixture
def drained(database: Database, settings: Settings) -> int:
    """Make a template whose active version is deleted, with a claimed workspace of an older one; return the old id."""
    declare(database, settings, 1, start="true # old")
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET]))
    finish_builds(database)
    declare(database, settings, 1, start="true # new")
    fill(database, settings)
    with database.read() as connection:
        active = connection.execute(select(m.Template.active_version_id)).scalar_one()
    nothing = load_text("schema: 1\ntemplates: []\n")
    apply(database, settings, nothing, ApplyOptions(actor="test", prune=True, yes=True))
    turn(database, settings)
    finish_builds(database)
    assert prune(database, settings).recipes == 1
    assert active is not None
    return int(active)


def test_it_names_no_version_that_is_gone(database: Database, drained: int) -> None:
    with database.read() as connection:
        assert connection.execute(select(m.TemplateVersion.id)).scalar_one() != drained
        assert connection.execute(select(m.Template.active_version_id)).scalar_one() is None


@pytest.mark.parametrize("start", ["true # new", "true # old"])
def test_it_is_declared_again(database: Database, settings: Settings, drained: int, start: str) -> None:
    with database.write() as connection:  # as earlier releases left it
        connection.execute(update(m.Template).values(active_version_id=drained))
    declare(database, settings, 1, start=start)
    assert fill(database, settings) == 1
