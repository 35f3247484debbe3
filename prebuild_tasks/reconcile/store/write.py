"""Write the decisions of turns."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, update

from prebuild_tasks.model.random_names import prebuild_name
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, BuildPriority, BuildStatus, PresetStatus, Transition
from prebuild_tasks.reconcile.rules.news import Told
from prebuild_tasks.reconcile.store.preset_view import PresetView
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces import BuildOrigin, NewBuild, insert_builds

# RETURNING makes SQLAlchemy insert all rows in one statement; without it, the driver executes one statement a row.
_MANY_WORKSPACES = insert(m.Workspace).returning(m.Workspace.id)


def create_prebuilds(
    connection: Connection, view: PresetView, slots: Sequence[int], *, reason: str, initiator: str, now: datetime
) -> list[NewBuild]:
    """Insert a workspace and its start build for each slot.

    Raises:
        IntegrityError: A slot is taken. The schema thus prevents a surplus.
    """
    if not slots:
        return []
    origins = [BuildOrigin(str(uuid.uuid4()), 1, view.organization_id, view.preset_id, prebuild_name()) for _ in slots]
    connection.execute(
        _MANY_WORKSPACES,
        [
            {
                "id": origin.id,
                "name": origin.name,
                "owner": PREBUILDS_OWNER,
                "organization_id": view.organization_id,
                "preset_id": view.preset_id,
                "recipe_digest": view.recipe_digest,
                "slot": slot,
                "created_at": now,
                "transition": Transition.START,
                "status": BuildStatus.PENDING,
                "build_number": origin.build_number,
                "reason": reason,
            }
            for origin, slot in zip(origins, slots, strict=True)
        ],
    )
    return insert_builds(
        connection,
        origins,
        transition=Transition.START,
        reason=reason,
        initiator=initiator,
        now=now,
        priority=BuildPriority.PREBUILD,
    )


def move_slots(connection: Connection, moves: Mapping[str, int]) -> None:
    """Move live prebuilds to free lower slots, one after the other, so that no two ever have the same slot."""
    for workspace_id, slot in moves.items():
        connection.execute(
            update(m.Workspace).where(m.Workspace.id == workspace_id, m.Workspace.slot.is_not(None)).values(slot=slot)
        )


def set_told(connection: Connection, preset_id: int, told: Told) -> None:
    """Store what the latest events about a pool said."""
    connection.execute(update(m.Preset).where(m.Preset.id == preset_id).values(told._asdict()))


def bump_generation(connection: Connection, preset_id: int, now: datetime) -> None:
    """Increment a preset's generation after a turn that wrote something."""
    connection.execute(
        update(m.Preset)
        .where(m.Preset.id == preset_id)
        .values(generation=m.Preset.generation + 1, last_reconciled_at=now)
    )


def set_preset_status(connection: Connection, preset_id: int, status: PresetStatus, reason: str) -> bool:
    """Store a preset's status, and return whether it changed."""
    changed = connection.execute(
        update(m.Preset)
        .where(m.Preset.id == preset_id, m.Preset.status != status)
        .values(status=status, status_reason=reason)
    )
    return changed.rowcount == 1
