"""The fault table, row 13: turns that start from an outdated snapshot create exactly the deficit."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.reconcile import turn as service
from prebuild_tasks.reconcile.turn import PresetResult, reconcile_preset
from tests.faults.trials import Report, trials
from tests.support.builders import PRESET, declare, fill, finish_builds, live, preset_id

DESIRED = 6


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@trials(10, 1000)
def test_row_13_a_lagging_snapshot(
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    chance: random.Random,
    report: Report,
    count: int,
) -> None:
    declare(database, settings, DESIRED)
    identity, look = preset_id(database), service.look
    with database.read() as connection:
        stale: Any = look(connection, database, settings, identity)
    assert stale.turn.does.create == DESIRED, "an empty pool"
    fill(database, settings)
    seen = threading.local()

    def lagging(*arguments: Any) -> Any:
        """Make each turn's first read answer with the state in which the pool was empty."""
        if not getattr(seen, "once", False):
            seen.once = True
            return stale
        return look(*arguments)

    monkeypatch.setattr(service, "look", lagging)
    created = 0

    def turns(results: list[PresetResult]) -> None:
        def one() -> None:
            results.append(reconcile_preset(database, settings, identity))

        threads = [threading.Thread(target=one) for _ in range(chance.randint(1, 4))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    for number in range(count):
        claims = chance.randint(0, DESIRED)
        for one in range(claims):
            claim(database, ClaimRequest(f"o{number}-{one}", [PRESET]))
        results: list[PresetResult] = []
        turns(results)
        assert sum(result.created for result in results) == claims
        assert live(database) == DESIRED
        assert "slot_conflict" not in [result.reason for result in results]
        created += claims
        finish_builds(database)
    report(f"{count} times up to 4 turns at once, {created} created")
