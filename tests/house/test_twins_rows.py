"""The rules that also exist in SQL agree with their twins on any row.

Each pair is tested on rows that hypothesis generates, on both databases; times are within a microsecond of the limits
at which a rule's answer changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, Connection, delete, insert, literal, select, true, update
from sqlalchemy.exc import DBAPIError

from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import UtcDateTime
from prebuild_tasks.fleet.rules import is_alive
from prebuild_tasks.fleet.store import is_alive_sql
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.reconcile.rules.backoff import SLOW_START_ENDS_AT, slow_start_after
from prebuild_tasks.reconcile.rules.model import RunningPrebuild
from prebuild_tasks.reconcile.rules.rollout import is_second_choice
from prebuild_tasks.reconcile.rules.state import is_expired, is_past_half_ttl, is_past_ttl
from prebuild_tasks.reconcile.store import preset_view
from prebuild_tasks.reconcile.store.backoff import slow_start_after_sql
from prebuild_tasks.reconcile.store.expiry import (
    fresh_since_sql,
    is_expired_sql,
    is_past_half_ttl_sql,
    is_past_ttl_sql,
    is_second_choice_sql,
)
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET, is_active_sql
from prebuild_tasks.schema.rules import is_active
from prebuild_tasks.upkeep.rules import stray_state
from prebuild_tasks.upkeep.strays.store import stray_state_sql
from prebuild_tasks.workspaces.rules import (
    handed_over,
    has_hook,
    is_awaited,
    is_pool_start,
    is_usable,
    workspace_state,
)
from prebuild_tasks.workspaces.store import (
    handed_over_sql,
    has_hook_sql,
    is_awaited_sql,
    is_pool_start_sql,
    is_usable_sql,
    workspace_state_sql,
)
from tests.house.aged import (
    LOOKBACK,
    MICRO,
    NOW,
    Aged,
    aged,
    bounded,
    frozen,
    offsets,
    reasons,
    rows,
    statuses,
    transitions,
    ttls,
)

__all__ = ["frozen", "rows"]

_NOW = literal(NOW, UtcDateTime())
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@bounded
@given(row=aged())
def test_expiry(rows: Connection, row: Aged) -> None:
    row.store(rows)
    columns = is_expired_sql(NOW), is_past_ttl_sql(NOW), is_past_half_ttl_sql(NOW)
    query = select(*columns).join(m.Preset, m.Preset.id == m.Workspace.preset_id)
    expired, past_ttl, past_half = rows.execute(query).one()
    assert bool(expired) is is_expired(row.preset, row.created_at, NOW)
    assert bool(past_ttl) is is_past_ttl(row.preset, row.created_at, NOW)
    assert bool(past_half) is is_past_half_ttl(row.preset, row.created_at, NOW)


@bounded
@given(row=aged(), ready=st.booleans(), status=statuses, transition=transitions)
def test_second_choices(
    rows: Connection, row: Aged, status: BuildStatus, transition: Transition, *, ready: bool
) -> None:
    row.store(rows)
    rows.execute(update(m.Workspace).values(ready_at=NOW if ready else None, status=status, transition=transition))
    query = select(is_second_choice_sql(NOW)).select_from(m.Workspace)
    query = query.join(m.Preset, m.Preset.id == m.Workspace.preset_id)
    # The rule is asked about running prebuilds only.
    running = (status, transition) == (BuildStatus.SUCCEEDED, Transition.START)
    item = RunningPrebuild("1", row.created_at, ready)
    assert bool(rows.execute(query).scalar_one()) is (running and is_second_choice(row.preset, item, NOW))


@pytest.mark.parametrize(("micros", "past"), [(-1, False), (0, True), (1, True)])
def test_half_of_the_ttl_counts_as_past_it(rows: Connection, micros: int, *, past: bool) -> None:
    row = Aged(3600.0, NOW - timedelta(seconds=1800) - micros * MICRO, None)
    row.store(rows)
    query = select(is_past_half_ttl_sql(NOW)).select_from(m.Workspace)
    query = query.join(m.Preset, m.Preset.id == m.Workspace.preset_id)
    assert is_past_half_ttl(row.preset, row.created_at, NOW) is past
    assert bool(rows.execute(query).scalar_one()) is past


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "columns",
    [[fresh_since_sql(_NOW)], [has_hook_sql()], list(handed_over_sql(_NOW, m.Preset.claimed_ttl_s, true()).values())],
)
def test_what_sqlite_does_not_understand(rows: Connection, columns: list[ColumnElement[Any]]) -> None:
    with pytest.raises(DBAPIError):
        rows.execute(select(*columns))


@on_postgresql
@bounded
@given(row=aged())
def test_what_is_fresh_is_not_expired(rows: Connection, row: Aged) -> None:
    row.store(rows)
    fresh = m.Workspace.created_at >= fresh_since_sql(_NOW)
    query = select(fresh).join(m.Preset, m.Preset.id == m.Workspace.preset_id)
    assert rows.execute(query).scalar_one() is not is_expired(row.preset, row.created_at, NOW)


@bounded
@given(limit=st.none() | st.integers(1, 2 * SLOW_START_ENDS_AT))
@example(limit=SLOW_START_ENDS_AT // 2 - 1)
@example(limit=SLOW_START_ENDS_AT // 2)
def test_slow_start(rows: Connection, limit: int | None) -> None:
    rows.execute(update(m.Preset).values(slow_start=limit))
    widened = rows.execute(select(slow_start_after_sql(m.Preset.slow_start))).scalar_one()
    assert widened == slow_start_after(limit, succeeded=True)


@bounded
@given(transition=transitions, status=statuses, reason=reasons, is_ready=st.booleans(), is_claimed=st.booleans())
def test_state(
    rows: Connection, transition: Transition, status: BuildStatus, reason: str, *, is_ready: bool, is_claimed: bool
) -> None:
    rows.execute(
        update(m.Workspace).values(
            transition=transition, status=status, reason=reason, slot=None, ready_at=NOW if is_ready else None,
            claimed_at=NOW if is_claimed else None,
        )
    )  # fmt: skip
    state, usable = rows.execute(select(workspace_state_sql(), is_usable_sql()).select_from(m.Workspace)).one()
    assert state == workspace_state(transition, status, reason, is_ready=is_ready, is_claimed=is_claimed)
    assert bool(usable) is is_usable(status, reason)


@pytest.mark.parametrize("owner", ["prebuilds", "ada"])
@pytest.mark.parametrize("claimed_at", [None, NOW])
@pytest.mark.parametrize("deleted_at", [None, NOW])
def test_awaited(rows: Connection, owner: str, claimed_at: datetime | None, deleted_at: datetime | None) -> None:
    rows.execute(update(m.Workspace).values(owner=owner, claimed_at=claimed_at, deleted_at=deleted_at, slot=None))
    awaited = rows.execute(select(is_awaited_sql()).select_from(m.Workspace)).scalar_one()
    assert bool(awaited) is is_awaited(owner, claimed_at, deleted_at)


@bounded
@given(transition=transitions, reason=reasons)
def test_pool_start(rows: Connection, transition: Transition, reason: str) -> None:
    rows.execute(update(m.Build).values(transition=transition, reason=reason))
    starts = rows.execute(select(is_pool_start_sql()).select_from(m.Build)).scalar_one()
    assert bool(starts) is is_pool_start(transition, reason)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "true", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3,
)


@on_postgresql
@bounded
@given(config=st.fixed_dictionaries({"start": st.just("true")}, optional={"claim": json_values}))
def test_hook(rows: Connection, config: Mapping[str, Any]) -> None:
    rows.execute(update(m.TemplateVersion).values(config=config))
    assert rows.execute(select(has_hook_sql()).select_from(m.TemplateVersion)).scalar_one() is has_hook(config)


@on_postgresql
@bounded
@given(ttl=ttls, hook=st.booleans())
def test_hand_over(rows: Connection, ttl: float | None, *, hook: bool) -> None:
    rows.execute(update(m.Preset).values(claimed_ttl_s=ttl))
    in_sql = handed_over_sql(_NOW, select(m.Preset.claimed_ttl_s).scalar_subquery(), literal(hook))
    found = []
    for values in (handed_over(NOW, ttl, hook=hook), in_sql):
        with rows.begin_nested() as savepoint:
            rows.execute(update(m.Workspace).values(owner="ada", **values))
            found.append(rows.execute(select(m.Workspace)).one())
            savepoint.rollback()
    assert found[0] == found[1]


@bounded
@given(seen=offsets, ended=st.none() | offsets)
def test_alive(rows: Connection, seen: int, ended: int | None) -> None:
    seen_at, ended_at = NOW + seen * MICRO, None if ended is None else NOW + ended * MICRO
    rows.execute(delete(m.Worker))
    rows.execute(insert(m.Worker).values(name="w", host="h", started_at=NOW, seen_at=seen_at, ended_at=ended_at))
    assert bool(rows.execute(select(is_alive_sql(NOW))).scalar_one()) is is_alive(ended_at, seen_at, NOW)


@bounded
@given(
    claimed=st.booleans(), waiting=st.booleans(), confirmed_by=st.sampled_from(["", "ada"]),
    removed_by=st.sampled_from(["", "ada"]),
)  # fmt: skip
def test_stray(rows: Connection, confirmed_by: str, removed_by: str, *, claimed: bool, waiting: bool) -> None:
    rows.execute(delete(m.Stray))
    rows.execute(
        insert(m.Stray).values(
            provisioner="p", host="", workspace_id="w", resource_id="r", first_seen_at=NOW, claimed=claimed,
            waiting=waiting, confirmed_by=confirmed_by, removed_by=removed_by,
        )
    )  # fmt: skip
    state = rows.execute(select(stray_state_sql())).scalar_one()
    confirmed, removed = bool(confirmed_by), bool(removed_by)
    assert state == stray_state(claimed=claimed, waiting=waiting, confirmed=confirmed, removed=removed)


@bounded
@given(
    active=st.sampled_from(["this", "another", None]), template_deleted=st.booleans(), deprecated=st.booleans(),
    removed=st.booleans(),
)  # fmt: skip
def test_active(
    frozen: Database, active: str | None, *, template_deleted: bool, deprecated: bool, removed: bool
) -> None:
    """Compare `is_active` of a preset that was read with `is_active_sql`."""
    with frozen.write() as connection:
        version = connection.execute(select(m.TemplateVersion.id)).scalar_one()
        connection.execute(
            update(m.Template).values(
                active_version_id={"this": version, "another": version + 1, None: None}[active],
                deleted_at=NOW if template_deleted else None,
                deprecated=deprecated,
            )
        )
        connection.execute(update(m.Preset).values(removed_at=NOW if removed else None))
        query = select(is_active_sql()).select_from(m.Preset).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)
        in_sql = bool(connection.execute(query).scalar_one())
        identity = connection.execute(select(m.Preset.id)).scalar_one()
        view = preset_view.read_preset(frozen, connection, identity, LOOKBACK)
    assert view is not None
    assert is_active(view.snapshot.preset) is in_sql
