"""A plan says that a paused pool's deletions and replacements, too, wait until somebody resumes it.

Previously it announced "delete 3" or "replace 4, all at once" as if that came next; only creations were said to wait.
"""

from __future__ import annotations

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.plan.make import make_plan
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.rules.reasons import Reason
from tests.support.builders import PRESET, declare, fill, turn
from tests.support.pool_files import load_text

FILE = "schema: 1\ntemplates: [{{name: dev, config: {{start: '{}'}}, presets: [{{name: small, desired: {}}}]}}]"


@pytest.mark.parametrize("paused", [PRESET, ""])
def test_it_says_what_waits(database: Database, settings: Settings, paused: str) -> None:
    declare(database, settings, 4)
    fill(database, settings)

    def planned(start: str, desired: int) -> tuple[int, int, int, Reason | None]:
        declared = load_text(FILE.format(start, desired))
        [pool] = make_plan(database, settings, declared, ApplyOptions(actor="ada")).pools
        return pool.create, pool.delete, pool.replace, pool.waits

    assert planned("true", 1) == (0, 3, 0, None)
    pause(database, paused, actor="ada")
    assert planned("true", 1) == (0, 3, 0, Reason.PAUSED)
    assert planned("false", 4) == (0, 0, 4, Reason.PAUSED)
    assert planned("true", 6) == (2, 0, 0, Reason.PAUSED)
    declare(database, settings, 1, yes=True)
    assert turn(database, settings).outcome == "paused"
