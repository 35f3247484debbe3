"""A claim that loses a start to another claim releases the build's lock before it waits for its organization."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from prebuild_tasks.claims import reserve
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.schema.row_locks import skip_locked
from tests.faults.lock_order import recorded, violations
from tests.faults.lock_recorder import install
from tests.support.builders import PRESET, declare, turn
from tests.support.wait import wait_until

GATE = 1701
"""Key of the advisory lock behind which the slower claim waits, with the rows as they were before."""


def test_a_start_that_another_claim_adopted_stays_unlocked(
    postgres_url: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(postgres_url)
    declare(database, settings, 1)
    turn(database, settings)
    slow, begun = threading.local(), dict[str, object]()

    def gated(query: Any, of: Any = None) -> Any:
        if getattr(slow, "on", False):
            query = query.where(text(f"pg_advisory_lock_shared({GATE})::text IS NOT NULL"))
        return skip_locked(query, of=of)

    def claim_slowly() -> None:
        slow.on = True
        begun["ada"] = claim(database, ClaimRequest("ada", [PRESET], wait=True))

    def waits() -> bool:
        with database.read() as connection:
            query = text("SELECT count(*) FROM pg_locks WHERE objid = :gate AND NOT granted")
            return connection.execute(query, {"gate": GATE}).scalar_one() == 1

    monkeypatch.setattr(reserve, "skip_locked", gated)
    locks = tmp_path / "locks"
    locks.mkdir()
    thread = threading.Thread(target=claim_slowly)
    with database.write() as gate:
        gate.execute(text(f"SELECT pg_advisory_xact_lock({GATE})"))
        uninstall = install(locks)
        thread.start()
        wait_until(waits, timeout=30, what="the slower claim at the gate")
        begun["bob"] = claim(database, ClaimRequest("bob", [PRESET], wait=True))
    thread.join(30)
    uninstall()
    assert any("select:organizations:one" in order for order in recorded(locks))
    assert list(violations(locks)) == []
    assert isinstance(begun["ada"], BeingBuilt)
    assert isinstance(begun["bob"], BeingBuilt)
    assert len(begun["bob"].follow_up.builds) == 0, "it adopted the start"
    assert len(begun["ada"].follow_up.builds) == 1, "another one was begun"
    assert audit(database, settings) == []
    database.close()
