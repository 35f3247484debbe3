"""The tick's counts in SQL agree with a turn's counts of the rows."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.reconcile.rules.state import count
from prebuild_tasks.reconcile.store import preset_view, snapshots
from prebuild_tasks.schema import tables as m
from tests.house.aged import LOOKBACK, MICRO, NOW, Aged, aged, bounded, frozen, rows, statuses, transitions

__all__ = ["frozen", "rows"]


@st.composite
def populations(draw: st.DrawFn) -> tuple[Aged, list[Mapping[str, Any]]]:
    base = draw(aged())
    one = st.fixed_dictionaries(
        {
            "owner": st.sampled_from(["prebuilds", "prebuilds", "ada"]),
            "transition": transitions,
            "status": statuses,
            "created_at": st.sampled_from([base.created_at, base.created_at + MICRO, NOW]),
            "ready_at": st.sampled_from([None, NOW]),
            "deleted_at": st.sampled_from([None, None, None, NOW]),
        }
    )
    return base, draw(st.lists(one, max_size=8))


@bounded
@given(population=populations())
def test_counts(frozen: Database, population: tuple[Aged, list[Mapping[str, Any]]]) -> None:
    """The tick's counts in SQL equal a turn's counts of the rows."""
    base, workspaces = population
    with frozen.write() as connection:
        connection.execute(delete(m.Build))
        template = connection.execute(select(m.Workspace)).first()
        assert template is not None
        identity = template.preset_id
        connection.execute(delete(m.Workspace).where(m.Workspace.id != template.id))
        base.store(connection)
        connection.execute(update(m.Workspace).values(deleted_at=NOW, slot=None, owner="nobody"))
        for number, values in enumerate(workspaces):
            connection.execute(
                insert(m.Workspace).values(
                    id=str(uuid.uuid4()), name=f"w{number}", organization_id=template.organization_id,
                    preset_id=identity, recipe_digest="", build_number=1, **values,
                )
            )  # fmt: skip
        view = preset_view.read_preset(frozen, connection, identity, LOOKBACK)
        everything = snapshots.read_global(frozen, connection, LOOKBACK, paused_too=True)
    assert view is not None
    [item] = [item for item in everything.presets if item.preset.id == str(identity)]
    assert item.counts._replace(aging=0) == count(view.snapshot, NOW)
