"""The Python API for portals and scripts.

    client = Client("postgresql://…", redis_url="redis://…")
    answer = client.claim("python-dev/small", owner="ada")

It needs the database; Redis only makes the refill faster. It does not import Celery.
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
"""Seconds between two attempts of a claim that waits."""


def ask_again(request: ClaimRequest) -> str:
    """Return the hint for a caller that stops waiting while its workspace is still being built."""
    return f"ask again for the same one: --request-id {request.request_id}"


class Client:
    """Claim and release workspaces.

    A client can be shared between threads. URLs that are not passed are read from the environment.
    """

    def __init__(self, database_url: str = "", *, redis_url: str = "", settings: Settings | None = None) -> None:
        """Take the URLs, or all settings at once; nothing is connected to before the first call."""
        urls = {"database_url": database_url, "redis_url": redis_url}
        self.settings = settings or load_settings(**{name: url for name, url in urls.items() if url})
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

        A preset matches by `template` and `parameters`. With `wait` (seconds), a workspace is built for the owner when
        none is ready. A retry with the same `request_id` answers with the same workspace.

        Raises ClaimMissError, NotFoundError, InputError, RefusedError, UnreachableError, WaitTimeoutError.
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
        """Claim without sending the refill message; call `wake` once the answer has been given."""
        claimed = self._claim(request)
        if isinstance(claimed, BeingBuilt):
            self.after(claimed.follow_up)
            raise claimed.error()
        return claimed

    def claim_waiting(
        self, request: ClaimRequest, seconds: float, *, on_wait: Callable[[ClaimMissError], None] | None = None
    ) -> Claimed:
        """Repeat the claim until it is answered, without sending the refill message.

        `on_wait` is called once for each new reason to wait. Raises WaitTimeoutError after `seconds`: a workspace that
        was begun for the owner stays theirs, and the same request answers with it later. Raises ClaimMissError only
        when that workspace could not be built, and everything else that `claim` raises.
        """
        deadline, last_reason = monotonic() + seconds, ""
        while True:
            try:
                claimed = self._claim(request)
                if isinstance(claimed, Claimed):
                    return claimed
                miss: ClaimMissError = claimed.error()
                if miss.message != last_reason:  # a repeated request tells the same follow-up: it was sent
                    self.after(claimed.follow_up)
            except ClaimMissError as error:
                if error.reason == MissReason.BUILD_FAILED:
                    raise
                miss = error
            if on_wait and miss.message != last_reason:
                on_wait(miss)
            last_reason = miss.message
            if monotonic() > deadline:
                raise WaitTimeoutError(
                    f"nothing was ready within {seconds:g} s: {miss.message}",
                    hint=ask_again(request),
                )
            request = replace(request, repeated=True)
            time.sleep(_WAIT_PAUSE)

    def wake(self, claimed: Claimed) -> None:
        """Send the refill message, within 200 ms or not at all: the next tick refills the pool in any case."""
        self.after(claimed.follow_up)

    def release(self, workspace: str, *, actor: str) -> None:
        """Delete a workspace whose owner is done with it. Raises NotFoundError, RefusedError."""
        self.after(end_workspace(self.database, workspace, actor=actor).follow_up)

    def workspaces(self, *, owner: str = "") -> list[WorkspaceView]:
        """List the owner's workspaces; without an owner, all workspaces."""
        # Imported late: a claim does not need it, and must start fast.
        from prebuild_tasks.insight import workspaces

        return workspaces(self.database, owner=owner)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def after(self, follow_up: FollowUp) -> None:
        """Send what a commit left to do, within 200 ms or not at all."""
        if self._messages is None:
            self._messages = Messages(self.settings, timeout=CLIENT_DEADLINE)
        send_within(self.database, self._messages, follow_up, CLIENT_DEADLINE)

    def _claim(self, request: ClaimRequest) -> Claimed | BeingBuilt:
        return claim(self.database, request, max_builds_in_flight=self.settings.max_builds_in_flight)
