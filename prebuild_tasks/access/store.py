"""The reach of a principal as conditions in SQL, and the rows of tokens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, insert, or_, select

from prebuild_tasks.access.rules import standing
from prebuild_tasks.access.types import Reach, Scope, TokenState, TokenView
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET

_ORGANIZATION_OF_TEMPLATE = (m.Organization, m.Organization.id == m.Template.organization_id)
_COLUMNS = [column for column in m.Token.__table__.c if column.name != "digest"]


def sees_preset_sql(reach: Reach) -> list[ColumnElement[bool]]:
    """Build the conditions of `sees_preset` for a query or an UPDATE of presets; none if all are within reach."""
    within = _presets_within(reach)
    return [] if within is None else [m.Preset.id.in_(within)]


def sees_workspace_sql(reach: Reach) -> list[ColumnElement[bool]]:
    """Build the conditions of `sees_workspace` for a query or an UPDATE of workspaces; none if all are within reach."""
    within = _presets_within(reach)
    conditions: list[ColumnElement[bool]] = [] if within is None else [m.Workspace.preset_id.in_(within)]
    return [*conditions, m.Workspace.owner == reach.owner] if reach.owner else conditions


def _presets_within(reach: Reach) -> Select[int] | None:
    """Select the ids of the presets within reach, in all their versions; None: all are."""
    if not (reach.organization or reach.presets):
        return None
    query = select(m.Preset.id).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)
    if reach.organization:
        query = query.join(*_ORGANIZATION_OF_TEMPLATE).where(m.Organization.name == reach.organization)
    if reach.presets:
        pools = [PresetRef.parse(name).pool for name in reach.presets]
        query = query.where(
            or_(*(and_(m.Template.name == pool.template, m.Preset.name == pool.preset) for pool in pools))
        )
    return query.correlate(None)  # the outer statement may read these tables too


def read_tokens(connection: Connection, now: datetime, name: str = "") -> list[TokenView]:
    """Read the tokens of a name, or all, with their state at `now`: by name, the oldest first."""
    query = select(*_COLUMNS).order_by(m.Token.name, m.Token.created_at, m.Token.id)
    rows = connection.execute(query.where(m.Token.name == name) if name else query).mappings()
    return [_view(row, now) for row in rows]


def read_token(connection: Connection, digest: str, now: ColumnElement[datetime]) -> tuple[TokenView, datetime] | None:
    """Read the token of a digest, and the database's time, of which its state is. `now` is the column of that name."""
    row = connection.execute(select(*_COLUMNS, now).where(m.Token.digest == digest)).mappings().one_or_none()
    if row is None:
        return None
    return _view(row, row["now"]), row["now"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session, with its token and the database's time."""

    token: TokenView
    """With its state at `now`."""
    last_seen_at: datetime
    ends_at: datetime
    now: datetime


def read_sessions(
    connection: Connection, digests: Collection[str], now: ColumnElement[datetime]
) -> dict[str, StoredSession]:
    """Read those sessions of the digests that are stored with their token. `now` is as in `read_token`."""
    table = m.PageSession
    query = select(*_COLUMNS, table.digest.label("session_digest"), table.last_seen_at, table.ends_at, now).join_from(
        table, m.Token, m.Token.id == table.token_id
    )
    return {
        row["session_digest"]: StoredSession(
            token=_view(row, row["now"]), last_seen_at=row["last_seen_at"], ends_at=row["ends_at"], now=row["now"]
        )
        for row in connection.execute(query.where(table.digest.in_(digests))).mappings()
    }


def _view(row: RowMapping, now: datetime) -> TokenView:
    stored = {column.name: row[column.name] for column in _COLUMNS}
    stored |= {"scope": Scope(row["scope"]), "presets": tuple(row["presets"])}
    view = TokenView(**stored, state=TokenState.USABLE)
    return replace(view, state=standing(view, now))


def insert_token(connection: Connection, view: TokenView, digest: str) -> None:
    """Store a token with the digest of its text."""
    values = {column.name: getattr(view, column.name) for column in _COLUMNS}
    connection.execute(insert(m.Token).values({**values, "presets": list(view.presets), "digest": digest}))


def missing_names(connection: Connection, reach: Reach) -> tuple[str, ...]:
    """List what a reach names and is not declared, such as `organization acme` and `pool dev/small`."""
    known = select(m.Organization.name).where(m.Organization.name == reach.organization)
    missing = []
    if reach.organization and connection.execute(known).scalar_one_or_none() is None:
        missing.append(f"organization {reach.organization}")
    for name in reach.presets:
        pool = select(m.Preset.id).where(*sees_preset_sql(Reach(presets=(name,)))).limit(1)
        if connection.execute(pool).scalar_one_or_none() is None:
            missing.append(f"pool {name}")
    return tuple(missing)
