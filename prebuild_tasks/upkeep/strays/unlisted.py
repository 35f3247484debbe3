"""Prebuilds that their provisioner's list lacks. That is a suspicion, and each of them is asked for by itself.

A list may be empty or incomplete for a moment. So a prebuild is lost only if its own probe finds it gone, too, in two
looks that are `stray_grace` apart. Where no probe can tell, it is lost if the list lacks it for that long; if more than
a few are missing, a person must confirm it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, or_, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.rows import values_by_name
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.provisioners import Provisioner, Provisioners, is_probed
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE, VERSION_OF_PRESET
from prebuild_tasks.schema.row_locks import for_no_key_update
from prebuild_tasks.upkeep.probes import DOUBT_NAMES, DOUBTS, Due, probe_now, to_doubts
from prebuild_tasks.upkeep.rules import Doubts, too_many
from prebuild_tasks.upkeep.strays.listing import Listing
from prebuild_tasks.upkeep.strays.to_confirm import missing_to_confirm
from prebuild_tasks.upkeep.types import StrayResult
from prebuild_tasks.workspaces import FollowUp

_PATIENCE = 60.0
"""Seconds for which one sweep probes missing prebuilds; the next one continues with those not looked at for longest."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a provisioner listed on a host, when it was asked at `asked`."""

    name: str
    host: str
    """Empty: any host can reach the resources."""
    adapter: Provisioner
    listing: Listing
    asked: datetime


@dataclass(frozen=True, slots=True)
class _Prebuild:
    """A prebuild that the list should have."""

    id: str
    config: Mapping[str, object]
    doubts: Doubts


def doubt_unlisted(database: Database, settings: Settings, provisioners: Provisioners, listed: Listed) -> StrayResult:
    """Note which prebuilds the list lacks, and look at each of them by itself. Claimed workspaces are left alone."""
    with database.read() as connection:
        rows = _read_prebuilds(connection, listed)
    ids, adapter = listed.listing.ids, listed.adapter
    covered = [row for row in rows if listed.listing.covers(adapter, row.config)]
    missing = [row for row in covered if row.id not in ids]
    back = [row.id for row in covered if row.id in ids and row.doubts.missing_since]
    if not missing and not back:
        return StrayResult(follow_up=FollowUp())
    now = _note_missing(database, [row.id for row in missing])
    _note_back(database, back, {row.id for row in covered if not is_probed(adapter, row.config)})
    doubts = {row.id: replace(row.doubts, missing_since=row.doubts.missing_since or now) for row in missing}
    blind = {row.id: doubts[row.id] for row in missing if not is_probed(adapter, row.config)}
    if blind:
        _judge_blindly(database, settings, listed, blind, held_back=too_many(len(blind), len(covered)))
    due = [Due(row.id, doubts[row.id], bool(listed.host)) for row in missing if row.id not in blind]
    health = probe_now(database, settings, provisioners, due, seconds=_PATIENCE)
    return StrayResult(missing=len(missing), vanished=health.replaced, follow_up=health.follow_up)


def note_unanswered(database: Database, name: str, host: str, problem: str) -> None:
    """Store that a provisioner's list could not be read on a host, or if `problem` is empty, that it was."""
    table = m.UnansweredList
    named = (table.provisioner == name, table.host == host)
    with database.read() as connection:
        known = connection.execute(select(table.message).where(*named)).scalar_one_or_none()
        now = database.now(connection)
    if known == (problem or None):
        return
    with database.write() as connection:
        if not problem:
            connection.execute(delete(table).where(*named))
            return
        insert = conflict_insert(connection, table).values(provisioner=name, host=host, since=now, message=problem)
        keys = ["provisioner", "host"]
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_={"message": problem}))


def confirm_missing(connection: Connection, now: datetime) -> int:
    """Confirm that the prebuilds that wait for it are lost, and return their number."""
    table = m.ProbeState
    locked = for_no_key_update(
        missing_to_confirm(table.workspace_id).order_by(table.next_at, table.workspace_id), of=table
    )
    ids = connection.execute(locked).scalars().all()
    number = 0
    for start in range(0, len(ids), 500):
        waiting = m.ProbeState.workspace_id.in_(ids[start : start + 500]), m.ProbeState.waiting.is_(True)
        number += connection.execute(
            update(m.ProbeState).where(*waiting).values(waiting=False, condemned_at=now)
        ).rowcount
    return number


def _read_prebuilds(connection: Connection, listed: Listed) -> list[_Prebuild]:
    """Read the prebuilds that the list should have, those not looked at for longest first."""
    query = (
        select(m.Workspace.id, m.TemplateVersion.config, *DOUBTS)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .outerjoin(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
        .where(
            IS_CLAIMABLE,
            m.TemplateVersion.provisioner == listed.name,
            m.Workspace.host == listed.host,
            # One that became ready later may be missing from a list that was read before.
            m.Workspace.ready_at < listed.asked,
        )
        .order_by(func.coalesce(m.ProbeState.next_at, m.Workspace.ready_at), m.Workspace.id)
    )
    rows = connection.execute(query).all()
    doubts = [to_doubts(values) for values in values_by_name(rows, DOUBT_NAMES)]
    return [_Prebuild(row.id, row.config, known) for row, known in zip(rows, doubts, strict=True)]


# Each row is written in a transaction of its own: who takes probes locks rows in another order, that of their time.
def _note_missing(database: Database, ids: Sequence[str]) -> datetime:
    """Note that prebuilds are missing, and return the time."""
    with database.read() as connection:
        now = database.now(connection)
    for workspace_id in ids:
        with database.write() as connection:
            insert = conflict_insert(connection, m.ProbeState).values(
                workspace_id=workspace_id, next_at=now, failures=0, message="", missing_since=now
            )
            since = func.coalesce(m.ProbeState.missing_since, insert.excluded.missing_since)
            update_known = insert.on_conflict_do_update(index_elements=["workspace_id"], set_={"missing_since": since})
            connection.execute(update_known)
    return now


def _note_back(database: Database, ids: Sequence[str], blind: Collection[str]) -> None:
    """Drop the suspicion against prebuilds that are listed again.

    What their own probes say stays, but for those in `blind`, whose probe cannot tell.
    """
    state = m.ProbeState
    still = or_(state.failures > 0, state.unanswered_since.is_not(None), state.condemned_at.is_not(None))
    for number in ids:
        values: dict[str, object] = {"missing_since": None, "gone_since": None, "waiting": False, "doubtful": still}
        if number in blind:
            values |= {"condemned_at": None, "doubtful": False, "message": ""}
        with database.write() as connection:
            connection.execute(update(state).where(state.workspace_id == number).values(values))


def _judge_blindly(
    database: Database, settings: Settings, listed: Listed, blind: dict[str, Doubts], *, held_back: bool
) -> None:
    """Judge prebuilds whose probe cannot tell, by the list alone: two lists `stray_grace` apart that lack them."""
    message = f"{listed.name} no longer lists it"
    for workspace_id, doubts in blind.items():
        with database.write() as connection:
            now = database.now(connection)
            is_lost = (doubts.missing_since or now) <= now - timedelta(seconds=settings.stray_grace)
            values: dict[str, object] = {"gone_since": doubts.missing_since, "message": message}
            values |= {"doubtful": True, "waiting": False}
            if is_lost and held_back and not doubts.condemned_at:
                values["waiting"] = True
            elif is_lost:
                values["condemned_at"] = doubts.condemned_at or now
            statement = update(m.ProbeState).where(m.ProbeState.workspace_id == workspace_id)
            connection.execute(statement.values(values))
