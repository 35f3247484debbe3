"""History for the report: rows of claims, builds and workspaces as the service would have left them."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, preset_id


class PastEvents:
    """Collects events of one preset. Every method notes one fact; `write` stores them all."""

    def __init__(self, database: Database, name: str = PRESET) -> None:
        self.database = database
        self.preset_id = preset_id(database, name)
        self._rows: dict[Any, list[dict[str, Any]]] = {m.Workspace: [], m.Build: [], m.ClaimEvent: []}
        with database.read() as connection:
            self.now = database.now(connection)
            query = select(m.Template.organization_id).join(m.TemplateVersion).join(m.Preset)
            query = query.where(m.Preset.id == self.preset_id)
            self.organization_id = connection.execute(query).scalar_one()

    def installed(self, at: datetime) -> None:
        """Store the time at which the installation was created, and all that is declared in it."""
        with self.database.write() as connection:
            connection.execute(update(m.Installation).values(created_at=at))
        self.declared(at)

    def declared(self, at: datetime) -> None:
        """Store the time at which all that is declared was declared."""
        with self.database.write() as connection:
            connection.execute(update(m.TemplateVersion).values(created_at=at))

    def write(self) -> None:
        """Store the facts noted so far."""
        with self.database.write() as connection:
            for table, rows in self._rows.items():
                if rows:
                    connection.execute(insert(table), rows)
                    rows.clear()

    def claim(
        self, at: datetime, *, hit: bool = True, workspace: str | None = None, latency: float = 5.0, request: str = ""
    ) -> None:
        values = {
            "at": at,
            "preset_id": self.preset_id,
            "workspace_id": workspace,
            "owner": "ada",
            "request_id": request or str(uuid.uuid4()),
            "hit": hit,
            "miss_reason": "" if hit else "empty_pool",
            "latency_ms": latency,
        }
        self._rows[m.ClaimEvent].append(values)

    def workspace(
        self,
        created: datetime,
        *,
        ready: datetime | None = None,
        claimed: datetime | None = None,
        gone: datetime | None = None,
        reason: str = "expired",
    ) -> str:
        """Note a workspace with its builds: started at `created`, ready, claimed, and chosen for deletion at `gone`."""
        workspace_id = str(uuid.uuid4())
        values = {
            "id": workspace_id,
            "name": f"w-{workspace_id[:8]}",
            "owner": "ada" if claimed else "prebuilds",
            "organization_id": self.organization_id,
            "preset_id": self.preset_id,
            "recipe_digest": "x",
            "created_at": created,
            "ready_at": ready,
            "claimed_at": claimed,
            "deleted_at": gone + timedelta(seconds=9) if gone else None,
            "transition": Transition.DELETE if gone else Transition.START,
            "status": BuildStatus.SUCCEEDED if ready else BuildStatus.FAILED,
            "build_number": 2 if gone else 1,
        }
        self._rows[m.Workspace].append(values)
        status = BuildStatus.SUCCEEDED if ready else BuildStatus.FAILED
        self.build(workspace_id, 1, created, ready or created + timedelta(seconds=30), status=status)
        if gone:
            self.build(workspace_id, 2, gone, gone + timedelta(seconds=9), transition=Transition.DELETE, reason=reason)
        return workspace_id

    # The columns of a row.
    def build(
        self,
        workspace_id: str,
        number: int,
        created: datetime,
        completed: datetime,
        *,
        transition: Transition = Transition.START,
        status: BuildStatus = BuildStatus.SUCCEEDED,
        reason: str = "deficit",
    ) -> None:
        values: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "workspace_id": workspace_id,
            "organization_id": self.organization_id,
            "preset_id": self.preset_id,
            "number": number,
            "transition": transition,
            "status": status,
            "reason": reason,
            "initiator": "reconciler",
            "priority": 2,
            "queue": "",
            "created_at": created,
            "started_at": created,
            "completed_at": completed,
            "error": "no disk" if status is BuildStatus.FAILED else "",
        }
        self._rows[m.Build].append(values)


def two_busy_days(database: Database, settings: Settings) -> PastEvents:
    """Declare a pool, and store ten days of it with claims in the last 40 hours."""
    declare(database, settings, 1, extra="cost_per_hour: 0.5")
    past, hour = PastEvents(database), timedelta(hours=1)
    past.installed(past.now - 10 * 24 * hour)
    for hours in range(1, 40):
        at = past.now - hours * hour
        workspace = past.workspace(at - hour, ready=at - hour / 2, claimed=at)
        past.claim(at, hit=hours % 4 > 0, workspace=workspace)
    past.workspace(past.now - 9 * hour, ready=past.now - 8 * hour, gone=past.now - hour)
    past.write()
    return past
