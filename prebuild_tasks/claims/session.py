"""Claim for a caller that answers a person: at once, or after waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from prebuild_tasks.claims.rules import ask_again
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, Claimed, ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, WaitTimeoutError
from prebuild_tasks.fleet import announced_within
from prebuild_tasks.messaging import CLIENT_DEADLINE, Messages
from prebuild_tasks.model.vocabulary import MissReason
from prebuild_tasks.workspaces import FollowUp, send_within

_WAIT_PAUSE = 0.5
"""Seconds between two attempts of a claim that waits."""


class ClaimSession:
    """The connections of a process that claims. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database.of(settings)
        self._messages: Messages | None = None

    def claim(self, request: ClaimRequest) -> Claimed:
        """Claim without sending the refill message: show the answer first, then `send` its follow-up.

        Raises:
            BeingBuiltError: A workspace is being built for the owner; the same request, repeated, returns it.
            PrebuildError: Any error that `claims.claim` raises.
        """
        claimed = self._claim(request)
        if isinstance(claimed, BeingBuilt):
            self.send(claimed.follow_up)
            raise claimed.error()
        return claimed

    def claim_waiting(
        self, request: ClaimRequest, seconds: float, *, on_wait: Callable[[ClaimMissError], None] | None = None
    ) -> Claimed:
        """Repeat the claim until it succeeds, without sending the refill message.

        Args:
            request: The request.
            seconds: Seconds to wait.
            on_wait: Called once for each new reason to wait.

        Raises:
            WaitTimeoutError: No workspace was ready in time. One that is being built for the owner stays reserved, and
                the same request returns it later.
            ClaimMissError: The workspace that was being built for the owner could not be built.
            PrebuildError: Any other error that `claim` raises.
        """
        deadline, last_reason = monotonic() + seconds, ""
        while True:
            try:
                claimed = self._claim(request)
                if isinstance(claimed, Claimed):
                    return claimed
                miss: ClaimMissError = claimed.error()
                if miss.message != last_reason:  # a repeated request has the same follow-up, which was already sent
                    self.send(claimed.follow_up)
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
                    remedy=ask_again(request),
                )
            request = replace(request, repeated=True)
            time.sleep(_WAIT_PAUSE)

    def send(self, follow_up: FollowUp) -> None:
        """Send a follow-up within 200 ms or not at all. The tick and the sweep make up for what was not sent."""
        if self._messages is None:
            self._messages = Messages(self.settings, timeout=CLIENT_DEADLINE)
        send_within(self.database, self._messages, follow_up, CLIENT_DEADLINE)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def _claim(self, request: ClaimRequest) -> Claimed | BeingBuilt:
        settings = self.settings
        most, within = settings.max_builds_in_flight, announced_within(settings)
        return claim(self.database, request, max_builds_in_flight=most, alive_within=within)
