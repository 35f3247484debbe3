"""The Python API for portals. Needs the database; Redis only makes the refill faster. Imports no Celery.

client = Client("postgresql://…", redis_url="redis://…")
answer = client.claim("python-dev/small", owner="ada")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.messages import CLIENT_DEADLINE, Messages
from prebuild_tasks.services.claim import ClaimAnswer, Claimed, ClaimRequest, claim
from prebuild_tasks.services.reconcile import publish
from prebuild_tasks.services.release import end_workspace
from prebuild_tasks.services.status import workspaces
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.writes import NewBuild


class Client:
    """Claims and gives back workspaces. Safe to share between threads. Without URLs it reads the environment."""

    def __init__(self, database_url: str = "", *, redis_url: str = "", settings: Settings | None = None) -> None:
        given: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url}
        self.settings = settings or load_settings(**{name: url for name, url in given.items() if url})
        self.database = Database(self.settings.resolved_database_url)
        self._messages: Messages | None = None

    def claim(
        self,
        *presets: str,
        owner: str,
        name: str = "",
        template: str = "",
        parameters: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> ClaimAnswer:
        """Claim the oldest eligible prebuild of the first of `presets` that has one, or of the preset that matches.

        Raises ClaimMissError, NotFoundError, InputError, RefusedError, UnreachableError. Retry with the same
        `request_id` to get the same workspace.
        """
        chosen: dict[str, Any] = {"request_id": request_id} if request_id else {}
        request = ClaimRequest(
            owner=owner, presets=presets, name=name, template=template, parameters=dict(parameters or {}), **chosen
        )
        claimed = self.claim_only(request)
        self.wake(claimed)
        return claimed.answer

    def claim_only(self, request: ClaimRequest) -> Claimed:
        """The claim without the refill message: give the answer first, then call `wake`."""
        return claim(self.database, request)

    def wake(self, claimed: Claimed) -> None:
        """Ask for the refill, within 200 ms or not at all: the tick sees it too."""
        self.after(claimed.preset_id, claimed.builds)

    def release(self, workspace: str, *, actor: str) -> None:
        """The owner is done: the workspace is deleted. Raises NotFoundError, RefusedError."""
        _, preset_id, builds = end_workspace(self.database, workspace, actor=actor)
        self.after(preset_id, builds)

    def workspaces(self, *, owner: str = "") -> list[dict[str, Any]]:
        """The owner's workspaces, or all."""
        return workspaces(self.database, owner=owner)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def after(self, preset_id: int, builds: list[NewBuild]) -> None:
        """Send what follows from a commit, within 200 ms or not at all."""
        if self._messages is None:
            self._messages = Messages(self.settings, timeout=CLIENT_DEADLINE)
        deadline = monotonic() + CLIENT_DEADLINE
        if self._messages.wake([str(preset_id)], CLIENT_DEADLINE) and builds and monotonic() < deadline:
            publish(self.database, self._messages, builds)
