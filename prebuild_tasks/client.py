"""The Python API for portals. Needs the database; Redis only makes the refill faster. Imports no Celery.

client = Client("postgresql://…", redis_url="redis://…")
answer = client.claim("python-dev/small", owner="ada")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from prebuild_tasks.claims import BeingBuilt, ClaimAnswer, Claimed, ClaimRequest, claim
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, WaitTimeoutError
from prebuild_tasks.messaging import CLIENT_DEADLINE, Messages
from prebuild_tasks.model.vocabulary import MissReason
from prebuild_tasks.workspaces import FollowUp, end_workspace, send_within

if TYPE_CHECKING:
    from prebuild_tasks.insight import WorkspaceView

log = structlog.get_logger(__name__)

_WAIT_PAUSE = 0.5
"""Seconds between two looks for what is waited for."""


def ask_again(request: ClaimRequest) -> str:
    """What to do for the workspace that is being built for a request that nobody waits for any longer."""
    return f"ask again for the same one: --request-id {request.request_id}"


class Client:
    """Claims and gives back workspaces. Safe to share between threads. Without URLs it reads the environment."""

    def __init__(self, database_url: str = "", *, redis_url: str = "", settings: Settings | None = None) -> None:
        given = {"database_url": database_url, "redis_url": redis_url}
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
        wait: float = 0.0,
    ) -> ClaimAnswer:
        """Claim the oldest eligible prebuild of the first of `presets` that has one, or of the preset that matches.

        With `wait` (seconds), one is built for the owner when none is ready. Raises ClaimMissError, NotFoundError,
        InputError, RefusedError, UnreachableError, WaitTimeoutError. Retry with the same `request_id` to get the same
        workspace.
        """
        request = ClaimRequest(
            owner=owner,
            presets=presets,
            name=name,
            template=template,
            parameters=dict(parameters or {}),
            wait=wait > 0,
        )
        if request_id:
            request = replace(request, request_id=request_id)
        claimed = self.claim_waiting(request, wait) if wait > 0 else self.claim_only(request)
        self.wake(claimed)
        return claimed.answer

    def claim_only(self, request: ClaimRequest) -> Claimed:
        """Claim without sending the refill message: give the answer first, then call `wake`."""
        claimed = self._claim(request)
        if isinstance(claimed, BeingBuilt):
            self.after(claimed.follow_up)
            raise claimed.error()
        return claimed

    def claim_waiting(
        self, request: ClaimRequest, seconds: float, *, on_wait: Callable[[ClaimMissError], None] | None = None
    ) -> Claimed:
        """As `claim_only`, again and again until there is an answer. `on_wait` hears of each different reason to wait.

        Raises WaitTimeoutError; what was begun for the owner stays theirs, and the same request answers it later.
        """
        deadline, said = monotonic() + seconds, ""
        while True:
            try:
                claimed = self._claim(request)
                if isinstance(claimed, Claimed):
                    return claimed
                miss: ClaimMissError = claimed.error()
                if miss.message != said:  # asked again, it tells the same: that was sent
                    self.after(claimed.follow_up)
            except ClaimMissError as error:
                if error.reason == MissReason.BUILD_FAILED:
                    raise
                miss = error
            if on_wait and miss.message != said:
                on_wait(miss)
            said = miss.message
            if monotonic() > deadline:
                raise WaitTimeoutError(
                    f"nothing was ready within {seconds:g} s: {miss.message}",
                    hint=ask_again(request),
                )
            request = replace(request, repeated=True)
            time.sleep(_WAIT_PAUSE)

    def wake(self, claimed: Claimed) -> None:
        """Ask for the refill, within 200 ms or not at all: the tick sees it too."""
        self.after(claimed.follow_up)

    def release(self, workspace: str, *, actor: str) -> None:
        """The owner is done: the workspace is deleted. Raises NotFoundError, RefusedError."""
        self.after(end_workspace(self.database, workspace, actor=actor).follow_up)

    def workspaces(self, *, owner: str = "") -> list[WorkspaceView]:
        """The owner's workspaces, or all."""
        # Not needed for a claim, which this module is kept quick for.
        from prebuild_tasks.insight import workspaces

        return workspaces(self.database, owner=owner)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def after(self, follow_up: FollowUp) -> None:
        """Send what follows from a commit, within 200 ms or not at all."""
        if self._messages is None:
            self._messages = Messages(self.settings, timeout=CLIENT_DEADLINE)
        send_within(self.database, self._messages, follow_up, CLIENT_DEADLINE)

    def _claim(self, request: ClaimRequest) -> Claimed | BeingBuilt:
        return claim(self.database, request, max_builds_in_flight=self.settings.max_builds_in_flight)
