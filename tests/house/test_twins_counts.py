"""The tick's counts, which `count_sql` builds, agree with a turn's `count` of the rows."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.reconcile.rules.state import count, is_expired, is_past_half_ttl
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
            "transition": st.just(Transition.START) | transitions,
            "status": st.just(BuildStatus.SUCCEEDED) | statuses,
            "created_at": st.sampled_from([base.created_at, base.created_at + MICRO, NOW]),
            "ready_at": st.sampled_from([None, NOW]),
            "deleted_at": st.sampled_from([None, None, None, NOW]),
        }
    )
    return base, draw(st.lists(one, max_size=8))


def of_one(invalidated_at: datetime | None) -> tuple[Aged, list[Mapping[str, Any]]]:
    """Return the population of one ready prebuild that has lived for half of its TTL."""
    created_at = NOW - timedelta(hours=1)
    prebuild = {"owner": "prebuilds", "transition": Transition.START, "status": BuildStatus.SUCCEEDED, "ready_at": NOW}
    return Aged(7200.0, created_at, invalidated_at), [{**prebuild, "created_at": created_at, "deleted_at": None}]


@bounded
@example(population=of_one(None), rolling=True)
@example(population=of_one(None), rolling=False)
@example(population=of_one(NOW), rolling=True)
@given(population=populations(), rolling=st.booleans())
def test_counts(frozen: Database, population: tuple[Aged, list[Mapping[str, Any]]], *, rolling: bool) -> None:
    base, workspaces = population
    with frozen.write() as connection:
        connection.execute(delete(m.Build))
        template = connection.execute(select(m.Workspace)).first()
        assert template is not None
        identity = template.preset_id
        connection.execute(delete(m.Workspace).where(m.Workspace.id != template.id))
        base.store(connection)
        connection.execute(update(m.Preset).values(replace_strategy="rolling" if rolling else "recreate"))
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
    preset, running = view.snapshot.preset, [prebuild.created_at for prebuild in view.snapshot.running]
    live = [created_at for created_at in running if not is_expired(preset, created_at, NOW)]
    aging = sum(is_past_half_ttl(preset, created_at, NOW) for created_at in live) if rolling else 0
    assert item.counts == count(view.snapshot, NOW)._replace(aging=aging)
