"""Strays and missing prebuilds that wait for a person's confirmation. `status` counts them, so this loads little."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute

from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE

T = TypeVar("T")


def waiting(database: Database) -> int:
    """Count the strays and the missing prebuilds that wait for a confirmation."""
    with database.read() as connection:
        strays = select(func.count()).where(m.Stray.waiting.is_(True), m.Stray.confirmed_by == "")
        missing = missing_to_confirm(func.count())
        return connection.execute(strays).scalar_one() + connection.execute(missing).scalar_one()


def missing_to_confirm(column: ColumnElement[T] | InstrumentedAttribute[T]) -> Select[T]:
    """Select a column of the missing prebuilds that wait for a confirmation."""
    query = select(column).join_from(m.ProbeState, m.Workspace, m.Workspace.id == m.ProbeState.workspace_id)
    return query.where(IS_CLAIMABLE, m.ProbeState.waiting.is_(True))
