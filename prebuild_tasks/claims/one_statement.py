"""Claim a pool's oldest eligible prebuild in one statement: one round trip instead of a dozen.

Only PostgreSQL can write to several tables in one statement. Where it finds nothing, `take.py` claims in steps: it
answers repeated requests, tries prebuilds in doubt, further presets and second choices, and tells the reasons of misses
and refusals.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    LABEL_STYLE_NONE,
    Boolean,
    ColumnElement,
    Double,
    Interval,
    Select,
    Text,
    and_,
    bindparam,
    extract,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeEngine

from prebuild_tasks.claims.results import ACTOR_NAMES, Hit, claimed_of, read_hit, statement_values
from prebuild_tasks.claims.store import ANSWER_COLUMNS, IS_DOUBTFUL, count_workspaces
from prebuild_tasks.claims.types import Attempt, Claimed
from prebuild_tasks.db.base import UuidText
from prebuild_tasks.db.connections import one_line, run_by_driver
from prebuild_tasks.db.engine import Database
from prebuild_tasks.faultpoints import step
from prebuild_tasks.fleet import served_column
from prebuild_tasks.model.names import PREBUILD_PREFIX, PresetRef
from prebuild_tasks.model.vocabulary import (
    CLAIM_REASON,
    PREBUILDS_OWNER,
    BuildPriority,
    BuildStatus,
    RequestState,
    Transition,
)
from prebuild_tasks.reconcile import fresh_since_sql
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE, TEMPLATE_OF_VERSION, VERSION_OF_PRESET, constant
from prebuild_tasks.schema.lookup import REF_COLUMNS
from prebuild_tasks.schema.row_locks import lock_owner, skip_locked
from prebuild_tasks.workspaces import handed_over_sql, has_hook_sql


def claim_in_one_statement(database: Database, attempt: Attempt) -> Claimed | None:
    """Give the oldest eligible prebuild of the first preset to the owner, and write all that a claim writes.

    Returns:
        None if the claim has to be made in steps.

    Raises:
        InputError: The preset's name is not one.
        IntegrityError: The owner already has a workspace of this name, or the request has been answered before, which
            only the schema checks.
    """
    made = make_statement(database, attempt)
    if made is None:
        return None
    step("claim.before_statement")
    hit = read_hit(database.run(made.text, made.values))
    if hit and hit.max_per_owner is not None:
        with database.write() as connection:
            # Lock, then count in another statement: a count in the locking statement would be from before the lock.
            lock_owner(connection, attempt.owner)
            number = connection.execute(count_workspaces(attempt.owner, hit.limited_by)).scalar_one()
            values = made.below_limit(number < hit.max_per_owner)
            hit = read_hit(run_by_driver(connection.connection, made.text, values).fetchone())
    return made.claimed(attempt, hit)


@dataclass(frozen=True, slots=True)
class ClaimStatement:
    """The statement of one claim."""

    text: str
    """With psycopg's parameters."""
    values: Mapping[str, object]
    """At an organization's limit for owners it finds nothing: see `below_limit`."""
    build_id: uuid.UUID

    def below_limit(self, is_below: bool) -> dict[str, object]:
        """Return the values once it is known whether the owner has fewer workspaces than allowed."""
        return {**self.values, "below_limit": is_below}

    def claimed(self, attempt: Attempt, hit: Hit | None) -> Claimed | None:
        """Return the claim that a result means; None if it claimed nothing."""
        if hit is None or hit.row is None:
            return None
        return claimed_of(hit.row, hit.ref, attempt, self.build_id)


def make_statement(database: Database, attempt: Attempt) -> ClaimStatement | None:
    """Make the statement of a claim; None if the claim has to be made in steps. Raises InputError for a bad name."""
    request = attempt.request
    if database.dialect != "postgresql" or not request.presets or request.template or request.repeated:
        return None
    if request.presets[0].isdecimal():
        return None
    ref, reach = PresetRef.parse(request.presets[0]), request.reach
    if reach and reach.presets and str(ref.pool) not in reach.presets:
        return None
    now, clock = database.now_sql()
    organization = reach.organization if reach else ""
    build_id = uuid.uuid4()
    values = clock | statement_values(attempt, ref, build_id) | {"organization": organization}
    return ClaimStatement(
        statement_text(now, versioned=ref.version is not None, restricted=bool(organization)), values, build_id
    )


@cache
def statement_text(now: ColumnElement[datetime], *, versioned: bool, restricted: bool = False) -> str:
    """Compile the statement for psycopg.

    Args:
        now: The database's time, or a parameter for it.
        versioned: The preset's name includes a version.
        restricted: Only a preset of one organization may be claimed.
    """
    pool = _pool(now, versioned=versioned, restricted=restricted)
    text = one_line(_statement(pool).compile(dialect=psycopg.dialect()))  # type: ignore[no-untyped-call]
    return _NEEDLESS_NAME.sub(r"\1", text)


_NEEDLESS_NAME = re.compile(r"(\b\w+\.(\w+)) AS \2\b| AS anon_\d+")
"""A name that a column has already, or that nothing uses: without, the statement fits into the driver's cache."""


def _short(name: str, kind: TypeEngine[Any] | None = None) -> ColumnElement[Any]:
    """Name a column without its table, where there is only one: with all names, the statement would be too long."""
    return literal_column(name, kind)


def _take_oldest(pool: CTE, owner: ColumnElement[str]) -> CTE:
    """Give the oldest eligible prebuild without doubts to the owner; no row without one, or at the owner's limit."""

    def of_pool(column: str) -> ColumnElement[Any]:
        # A scalar subquery and not a join: with a join, PostgreSQL would sort all prebuilds to find the oldest.
        return select(_short(column)).select_from(pool).scalar_subquery()

    oldest = (
        select(m.Workspace.id)
        .where(
            m.Workspace.preset_id == of_pool("id"),
            IS_CLAIMABLE,
            m.Workspace.created_at >= of_pool("fresh_since"),
            ~IS_DOUBTFUL,
            or_(of_pool("max_per_owner").is_(None), bindparam("below_limit", type_=Boolean())),
        )
        .order_by(m.Workspace.created_at, m.Workspace.id)
        .limit(literal_column("1"))
    )
    chosen = skip_locked(oldest).scalar_subquery()
    name = func.nullif(bindparam("name", type_=m.Workspace.name.type), constant(""))
    return (
        update(m.Workspace)
        # The row is locked, and was checked again under its lock. All conditions again would make the statement longer
        # than psycopg prepares.
        .where(m.Workspace.id == chosen, m.Workspace.owner == constant(PREBUILDS_OWNER))
        .values(
            owner=owner,
            name=func.coalesce(name, func.replace(m.Workspace.name, constant(PREBUILD_PREFIX), constant(""))),
            **handed_over_sql(of_pool("now"), of_pool("claimed_ttl_s"), of_pool("has_hook")),
            build_number=m.Workspace.build_number + literal_column("1"),
        )
        .returning(*(_short(column.name, column.type) for column in ANSWER_COLUMNS))
        .cte("hit")
    )


def _statement(pool: CTE) -> Select[*tuple[Any, ...]]:
    hit = _take_oldest(pool, bindparam("owner", type_=Text()))
    latency: ColumnElement[Any] = bindparam("elapsed_ms", type_=Double()) + _MS_SINCE_STATEMENT
    at, preset_id, workspace_id, by = (_short(name) for name in ("claimed_at", "preset_id", "id", "owner"))
    event = _insert(
        m.ClaimEvent, hit, at=at, preset_id=preset_id, workspace_id=workspace_id, owner=by,
        request_id=bindparam("request_id"), hit=true(), latency_ms=latency,
    )  # fmt: skip
    request = _insert(
        m.BoundRequest, hit, id=bindparam("claim_id", type_=UuidText), principal=bindparam("principal"),
        key=bindparam("key"), workspace_id=workspace_id, owner=by,
        body_digest=bindparam("body_digest"), kind=constant(RequestState.GIVEN), created_at=at,
    )  # fmt: skip
    history = _insert(
        m.History, hit, at=at, event=constant("claimed"), workspace_id=workspace_id, preset_id=preset_id,
        reason=constant(CLAIM_REASON), owner=by, workspace=_short("name"),
        **{name: bindparam(name) for name in ACTOR_NAMES},
    )  # fmt: skip
    build = _insert(
        m.Build, hit, id=bindparam("build_id", type_=UuidText), workspace_id=workspace_id,
        organization_id=_short("organization_id"), preset_id=preset_id, number=_short("build_number"),
        transition=constant(Transition.START), status=constant(BuildStatus.PENDING), reason=constant(CLAIM_REASON),
        initiator=by, priority=literal_column(str(BuildPriority.PERSON_WAITS)), queue=_short("host"), created_at=at,
    )  # fmt: skip
    names = (pool.c[column.name] for column in REF_COLUMNS)
    alive_since = pool.c.now - bindparam("alive_s", type_=Double()) * literal_column("interval '1 second'", Interval())
    is_served = served_column(hit.c.host, alive_since).label("is_served")
    return (
        select(*hit.c, is_served, *names, pool.c.max_per_owner, pool.c.organization_id.label("limited_by"))
        .select_from(pool.outerjoin(hit, true()))
        .add_cte(event, request, history, build)
    )


_MS_SINCE_STATEMENT = extract("epoch", func.clock_timestamp() - func.statement_timestamp()) * literal_column("1000")


def _pool(now: ColumnElement[datetime], *, versioned: bool, restricted: bool) -> CTE:
    """Select what the claim needs to know about the preset; no row if there is no such preset to claim from."""
    query = named_preset(
        (
            m.Preset.id,
            m.Preset.claimed_ttl_s,
            has_hook_sql().label("has_hook"),
            m.Organization.max_per_owner,
            m.Organization.id.label("organization_id"),
            now.label("now"),
            fresh_since_sql(now).label("fresh_since"),
            *REF_COLUMNS,
        ),
        versioned=versioned,
    )
    return (query.where(m.Organization.name == bindparam("organization")) if restricted else query).cte("pool")


def named_preset(columns: Sequence[Any], *, versioned: bool) -> Select[*tuple[Any, ...]]:
    """Select columns of the preset that is named by parameters; no row if there is no such preset to claim from."""
    if versioned:
        named = m.TemplateVersion.name == bindparam("version", type_=Text())
    else:
        named = and_(m.Template.active_version_id == m.TemplateVersion.id, m.Preset.removed_at.is_(None))
    return (
        select(*columns)
        .select_from(m.Preset)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .join(m.Organization, m.Organization.id == m.Template.organization_id)
        .where(
            m.Template.name == bindparam("template", type_=Text()),
            m.Preset.name == bindparam("preset", type_=Text()),
            m.Template.deleted_at.is_(None),
            named,
        )
    )


def _insert(table: type[DeclarativeBase], source: CTE, **values: ColumnElement[Any]) -> CTE:
    """Insert one row into `table` for each row of `source`. Columns that are not named get the model's default."""
    columns = values | defaults_of(table, values)
    return (
        insert(table)
        .from_select(
            list(columns),
            select(*columns.values()).select_from(source).set_label_style(LABEL_STYLE_NONE),
            include_defaults=False,
        )
        .cte(f"new_{table.__name__[:2].lower()}")  # short, as the statement has to be
    )


def defaults_of(table: type[DeclarativeBase], values: Collection[str]) -> dict[str, ColumnElement[Any]]:
    """Return the model's defaults of the columns that have no value."""
    return {
        column.name: literal_column(repr(column.default.arg))
        for column in table.__table__.columns
        if column.default is not None and column.default.is_scalar and column.name not in values
    }
