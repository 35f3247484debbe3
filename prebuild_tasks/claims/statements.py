"""The statements of a quick claim, as `quick/texts.py` holds them.

After a change of the tables, of a rule's SQL or of SQLAlchemy, write them anew: `python -m tests.support.claim_texts`.
`tests/claims/test_quick_texts.py` compares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Double, Insert, Integer, Text, bindparam, func, insert, literal_column, text, true
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.base import Executable

from prebuild_tasks.claims.one_statement import defaults_of, named_preset, statement_text
from prebuild_tasks.claims.results import ACTOR_NAMES
from prebuild_tasks.claims.store import CLAIMED_NAME, count_workspaces, take_oldest_statement
from prebuild_tasks.db.base import UuidText
from prebuild_tasks.db.connections import one_line
from prebuild_tasks.db.types import UtcDateTime, db_now
from prebuild_tasks.model.vocabulary import CLAIM_REASON, BuildPriority, BuildStatus, RequestState, Transition
from prebuild_tasks.reconcile import is_expired_sql
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import constant
from prebuild_tasks.schema.lookup import REF_COLUMNS
from prebuild_tasks.schema.row_locks import ADVISORY_KEYS, OWNER_LOCK
from prebuild_tasks.workspaces import published_statement, unpublished_statement

_NOW: ColumnElement[Any] = bindparam("now", type_=UtcDateTime())
_HANDED_OVER = ("claimed_at", "claimed_until", "slot", "reason", "status")
"""The columns that `handed_over` gives."""


def statements() -> Mapping[str, str]:
    """Return each statement by the name of its constant."""
    chosen = m.Build.id == bindparam("build_id", type_=UuidText)
    return {
        "CLAIM": statement_text(db_now(), versioned=False),
        "CLAIM_VERSION": statement_text(db_now(), versioned=True),
        "OWNER_LOCK": _postgresql(text(OWNER_LOCK.replace(":key", str(ADVISORY_KEYS["owner"])))),
        "OWNER_COUNT": _postgresql(_COUNT),
        "PUBLISHED": _postgresql(published_statement(chosen, db_now())),
        "UNPUBLISHED": _postgresql(unpublished_statement(chosen)),
        "SQLITE_POOL": _sqlite(named_preset(_POOL, versioned=False)),
        "SQLITE_POOL_VERSION": _sqlite(named_preset(_POOL, versioned=True)),
        "SQLITE_OWNER_COUNT": _sqlite(_COUNT),
        "SQLITE_TAKE": _sqlite(_take()),
        "SQLITE_EVENT": _sqlite(_event()),
        "SQLITE_REQUEST": _sqlite(_request()),
        "SQLITE_HISTORY": _sqlite(_history()),
        "SQLITE_BUILD": _sqlite(_build()),
        "SQLITE_PUBLISHED": _sqlite(published_statement(chosen, _NOW)),
        "SQLITE_UNPUBLISHED": _sqlite(unpublished_statement(chosen)),
    }


def _postgresql(statement: Executable) -> str:
    return one_line(statement.compile(dialect=psycopg.dialect()))  # type: ignore[attr-defined,no-untyped-call]


def _sqlite(statement: Executable) -> str:
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="named"))  # type: ignore[attr-defined]
    # Numbers that SQLAlchemy makes parameters of, such as an OFFSET, are written into the text.
    numbers = {name: str(int(bind.value)) for name, bind in compiled.binds.items() if not bind.required}
    return re.sub(r":(\w+)", lambda match: numbers.get(match[1], match[0]), one_line(compiled))


_COUNT = count_workspaces(bindparam("owner", type_=Text()), bindparam("limited_by", type_=Integer()))
_POOL = (
    m.Preset.id, m.Preset.claimed_ttl_s, m.TemplateVersion.config, m.Organization.max_per_owner, *REF_COLUMNS,
    m.Organization.id.label("limited_by"),
)  # fmt: skip


def _take() -> Executable:
    table = m.Workspace.__table__
    name = func.coalesce(func.nullif(bindparam("name", type_=Text()), constant("")), CLAIMED_NAME)
    return take_oldest_statement(
        bindparam("preset_id", type_=Integer()),
        bindparam("owner", type_=Text()),
        name,
        {column: bindparam(column, type_=table.c[column].type) for column in _HANDED_OVER},
        ~is_expired_sql(_NOW),
        bindparam("alive_since", type_=UtcDateTime()),
    )


def _event() -> Insert:
    return _row(
        m.ClaimEvent, at=_NOW, preset_id=_given("preset_id"), workspace_id=_id("workspace_id"), owner=_given("owner"),
        request_id=_given("request_id"), hit=true(), latency_ms=bindparam("latency_ms", type_=Double()),
    )  # fmt: skip


def _request() -> Insert:
    return _row(
        m.BoundRequest, id=_id("claim_id"), principal=_given("principal"), key=_given("key"),
        workspace_id=_id("workspace_id"), owner=_given("owner"), body_digest=_given("body_digest"),
        kind=constant(RequestState.GIVEN), created_at=_NOW,
    )  # fmt: skip


def _history() -> Insert:
    return _row(
        m.History, at=_NOW, event=constant("claimed"), workspace_id=_id("workspace_id"), preset_id=_given("preset_id"),
        reason=constant(CLAIM_REASON), owner=_given("owner"), workspace=_given("workspace"),
        **{name: _given(name) for name in ACTOR_NAMES},
    )  # fmt: skip


def _build() -> Insert:
    return _row(
        m.Build, id=_id("build_id"), workspace_id=_id("workspace_id"), organization_id=_given("organization_id"),
        preset_id=_given("preset_id"), number=_given("number"), transition=constant(Transition.START),
        status=constant(BuildStatus.PENDING), reason=constant(CLAIM_REASON), initiator=_given("owner"),
        priority=literal_column(str(BuildPriority.PERSON_WAITS)), queue=_given("host"), created_at=_NOW,
    )  # fmt: skip


def _given(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=Text())


def _id(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=UuidText)


def _row(table: type[DeclarativeBase], **values: ColumnElement[Any]) -> Insert:
    return insert(table).values(**values, **defaults_of(table, values))
