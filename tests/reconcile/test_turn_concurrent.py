"""Turns at once create no more than is wanted or allowed."""

from __future__ import annotations

import threading

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.reconcile import turn as service
from prebuild_tasks.reconcile.store import preset_view
from prebuild_tasks.reconcile.store.write import create_prebuilds
from tests.support.builders import (
    declare,
    live,
    preset_id,
    turn,
)


@pytest.mark.parametrize("deciders", [8])
def test_many_turns_at_once_create_exactly_the_deficit(database: Database, settings: Settings, deciders: int) -> None:
    """Without the Redis lock, the row lock and the second read prevent a surplus on their own."""
    declare(database, settings, 10)
    identity = preset_id(database)
    barrier = threading.Barrier(deciders)
    outcomes: list[int] = []

    def decide() -> None:
        barrier.wait()
        outcomes.extend(service.reconcile_preset(database, settings, identity).created for _ in range(3))

    threads = [threading.Thread(target=decide) for _ in range(deciders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(outcomes), live(database)) == (10, 10)


def test_limits_hold_for_presets_deciding_at_once(database: Database, settings: Settings) -> None:
    names = [f"p{number}" for number in range(6)]
    presets = "".join(f"\n      - {{name: {name}, desired: 5}}" for name in names)
    text = f"""
schema: 1
organizations: [{{name: default, max_builds_in_flight: 7}}]
templates:
  - name: dev
    config: {{start: "true"}}
    presets:{presets}
"""
    from prebuild_tasks.pools.declare import apply
    from prebuild_tasks.pools.options import ApplyOptions
    from tests.support.pool_files import load_text

    apply(database, settings, load_text(text), ApplyOptions(actor="test"))
    ids = [preset_id(database, f"dev/{name}") for name in names]
    threads = [threading.Thread(target=service.reconcile_preset, args=(database, settings, i)) for i in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert live(database) == 7


def test_a_stale_first_look_creates_nothing(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read without a lock is older than another turn's decision, and must not decide how many are created."""
    declare(database, settings, 3)
    identity = preset_id(database)
    with database.read() as connection:
        stale = preset_view.read_preset(database, connection, identity, 3600)
    turn(database, settings)
    looks = iter([stale])
    real = preset_view.read_preset
    monkeypatch.setattr(preset_view, "read_preset", lambda *args: next(looks, None) or real(*args))
    assert service.reconcile_preset(database, settings, identity).created == 0
    assert live(database) == 3


def test_the_schema_refuses_a_second_holder_of_a_slot(database: Database, settings: Settings) -> None:
    """The schema turns a wrong count into a conflict and a retry, never a surplus."""
    declare(database, settings, 2)
    turn(database, settings)
    with database.read() as connection:
        view = preset_view.read_preset(database, connection, preset_id(database), 3600)
    assert view is not None
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError), database.write() as connection:
        create_prebuilds(connection, view, [1], reason="x", initiator="x", now=view.now)
    assert live(database) == 2
