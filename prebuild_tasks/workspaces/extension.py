"""Move the end of a claimed workspace's time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, update

from prebuild_tasks.access import EVERYTHING, Reach, sees_workspace_sql
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, RefusedError, RequestReusedError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.durations import LONGEST
from prebuild_tasks.model.text import in_utc
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history, details_of
from prebuild_tasks.schema.lookup import FoundWorkspace, find_workspace
from prebuild_tasks.schema.row_locks import lock_workspaces

_EVENT = "extended"


@dataclass(frozen=True, slots=True)
class Extension:
    """The end of a workspace after a request to extend it."""

    until: datetime
    replayed: bool
    """Whether an earlier request with this mark extended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moved:
    """The new end of a workspace, and what the history has of it."""

    until: datetime
    actor: str | Actor
    request: str = ""
    seconds: float = 0.0


def extend(
    database: Database, workspace: str, seconds: float, *, actor: str | Actor, reach: Reach = EVERYTHING
) -> datetime:
    """Move the end of a claimed workspace's time, and return the new end.

    Args:
        database: The database.
        workspace: The workspace's name or id.
        seconds: Seconds to add to the end, or to now if the end has passed.
        actor: The person who asks.
        reach: Only a workspace within it.

    Raises:
        NotFoundError: There is no such workspace within reach.
        RefusedError: It is not claimed, has no end, is being deleted, or changed at the same moment.
        InputError: It is not a number of seconds, is negative, or is longer than any duration.
    """
    _require_duration(seconds)
    with database.write() as connection:
        row = _find(connection, workspace, reach)
        _require_end(row)
        now = database.now(connection)
        return _move(connection, row, _Moved(until=_later(row, now, seconds), actor=actor), now)


def extend_once(
    database: Database, workspace: str, seconds: float, *, request: str, actor: str | Actor, reach: Reach = EVERYTHING
) -> Extension:
    """Move the end by a duration, once for each `request`, which is a mark in the history of the workspace.

    Raises what `extend` raises, and RequestReusedError for a request that extended it by another duration.
    """
    _require_duration(seconds)
    with database.write() as connection:
        row = _find(connection, workspace, reach)
        before = _seconds_of(connection, row.id, request)
        if before not in (None, seconds):
            raise RequestReusedError(
                f"the request extended {row.name} by {before:g} s before, and not by {seconds:g} s",
                remedy=Remedy(RemedyKind.NEW_REQUEST, f"{row.owner}/{row.name}"),
            )
        _require_end(row)
        if before is not None:
            return Extension(_end_of(row), replayed=True)
        now = database.now(connection)
        moved = _Moved(until=_later(row, now, seconds), actor=actor, request=request, seconds=seconds)
        return Extension(_move(connection, row, moved, now), replayed=False)


def extend_until(
    database: Database, workspace: str, until: datetime, *, actor: str | Actor, reach: Reach = EVERYTHING
) -> datetime:
    """Move the end to `until`, unless it is later already, and return the end. Repeating it changes nothing.

    Raises what `extend` raises, and InputError for an end that has passed or is too far away.
    """
    with database.write() as connection:
        row = _find(connection, workspace, reach)
        now = database.now(connection)
        if not now < until <= now + timedelta(seconds=LONGEST):
            raise InputError(
                f"{row.name} cannot be extended until {in_utc(until)}",
                hint="name a time in the future, within a hundred years",
            )
        _require_end(row)
        if (end := _end_of(row)) >= until:
            return end
        return _move(connection, row, _Moved(until=until, actor=actor), now)


def _require_duration(seconds: float) -> None:
    if not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST:
        raise InputError(f"cannot extend by {seconds!r} s", hint="use a number of seconds up to a hundred years")


def _find(connection: Connection, workspace: str, reach: Reach) -> FoundWorkspace:
    """Find and lock the workspace: of extensions at the same time, each sees the end that the one before it has set."""
    within = sees_workspace_sql(reach)
    lock_workspaces(connection, [find_workspace(connection, workspace, *within).id])
    return find_workspace(connection, workspace, *within)


def _require_end(row: FoundWorkspace) -> None:
    """Raise RefusedError for a workspace that has no end to move."""
    if row.owner == PREBUILDS_OWNER:
        raise RefusedError(f"{row.name} is not claimed", hint="only claimed workspaces have an end to move")
    if row.claimed_until is None:
        raise RefusedError(
            f"{row.name} has no end",
            hint="its preset had no claimed_ttl when it was claimed, so it stays until it is released",
        )
    if row.transition is Transition.DELETE:
        raise RefusedError(
            f"{row.name} is being deleted", hint="claim another", remedy=Remedy(RemedyKind.CLAIM_WORKSPACE)
        )


def _end_of(row: FoundWorkspace) -> datetime:
    if row.claimed_until is None:
        raise ValueError("a workspace without an end is refused before")
    return row.claimed_until


def _later(row: FoundWorkspace, now: datetime, seconds: float) -> datetime:
    return max(_end_of(row), now) + timedelta(seconds=seconds)


def _move(connection: Connection, row: FoundWorkspace, moved: _Moved, now: datetime) -> datetime:
    changed = connection.execute(
        update(m.Workspace)
        .where(
            m.Workspace.id == row.id,
            m.Workspace.owner == row.owner,
            m.Workspace.claimed_until == row.claimed_until,
            m.Workspace.transition == row.transition,
        )
        .values(claimed_until=moved.until)
    )
    if changed.rowcount != 1:
        raise RefusedError(f"{row.name} has changed in the meantime", hint="check its state, then try again")
    add_history(
        connection, _EVENT, now=now, actor=moved.actor, workspace_ids=[row.id], preset_id=row.preset_id,
        reason=f"until {in_utc(moved.until)}",
        details={"request": moved.request, "seconds": moved.seconds} if moved.request else None,
    )  # fmt: skip
    return moved.until


def _seconds_of(connection: Connection, workspace_id: str, request: str) -> float | None:
    """Return the seconds by which a request extended the workspace; None: it did not."""
    details = details_of(connection, _EVENT, request, m.History.workspace_id == workspace_id)
    return None if details is None else float(str(details["seconds"]))
