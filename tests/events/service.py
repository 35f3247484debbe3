"""The service whose events are tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, update

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill_really
from tests.support.hosts import be_silent_for_long, place_on, report_presence


@dataclass(frozen=True, slots=True)
class Service:
    """What the services work with."""

    database: Database
    settings: Settings
    runner: BuildRunner

    def claim(self, owner: str = "ada", *, wait: bool = False, principal: str = "local") -> str:
        claimed = claim(self.database, ClaimRequest(owner, [PRESET], wait=wait, principal=principal))
        return claimed.reserved.workspace_id if isinstance(claimed, BeingBuilt) else claimed.answer.workspace_id

    def workspace(self) -> Row[Any]:
        """Return the only workspace."""
        with self.database.read() as connection:
            return connection.execute(m.Workspace.__table__.select()).one()

    def claim_id(self) -> str:
        """Return the id of the only claim."""
        with self.database.read() as connection:
            return connection.execute(select(m.BoundRequest.id)).scalar_one()

    def lose_host(self) -> None:
        """Let the host of all workspaces be silent for long."""
        place_on(self.database, "old")
        with self.database.write() as connection:
            connection.execute(update(m.Workspace).values(host="old"))
        _, new = report_presence(self.database, self.settings, "old", "new")
        be_silent_for_long(self.database, self.settings, new)

    def empty(self) -> None:
        """Leave a pool that has no prebuild, and builds none before its next turn."""
        declare(self.database, self.settings, 0)

    def filled(self, desired: int = 1, extra: str = "", organizations: str = "[]") -> None:
        declare(self.database, self.settings, desired, extra=extra, organizations=organizations, yes=True)
        fill_really(self.database, self.settings, self.runner)
