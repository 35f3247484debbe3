"""Claim for a caller that answers a person: at once, or after waiting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from prebuild_tasks.claim_settings import ClaimSettings, announcement_window, read_claim_settings
from prebuild_tasks.claims.quick.choose import quick_claim
from prebuild_tasks.claims.quick.port import QuickClaim, UnusableDatabaseError
from prebuild_tasks.claims.rules import ask_again, check_request
from prebuild_tasks.claims.types import Attempt, BeingBuilt, Claimed, ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BuildFailedError, ClaimMissError, PrebuildError, WaitTimeoutError
from prebuild_tasks.messaging import CLIENT_DEADLINE, DirectMessages
from prebuild_tasks.workspaces import FollowUp, send_in_time

if TYPE_CHECKING:  # what a quick claim does not need is imported when it is used
    from prebuild_tasks.config import Settings
    from prebuild_tasks.db.engine import Database

_WAIT_PAUSE = 0.5
"""Seconds between two attempts of a claim that waits."""


class ClaimSession:
    """The connections of a process that claims. Safe to share between threads.

    Its first claim is made by the database's driver alone if it can be, see `claims.quick`; what else it does loads
    SQLAlchemy.
    """

    is_remote = False

    def __init__(self, settings: Settings | ClaimSettings, **urls: str) -> None:
        """Take all settings, or those that a claim needs with the URLs that were passed for them.

        Nothing is connected to before the first use. Raises InputError for a database's URL that cannot be used.
        """
        if isinstance(settings, ClaimSettings):
            self._needed, self._urls = settings, urls
        else:
            self._needed = settings.for_claims
            self.settings = settings
        self._guard = threading.Lock()
        self._quick = quick_claim(self._needed)
        self.held: dict[str, QuickClaim] = {}
        """Quick claims whose follow-up was not sent yet, by the id of the build."""
        if self._quick is None:
            _ = self.database  # which checks the URL

    @classmethod
    def from_environment(cls, **urls: str) -> Self:
        """Read the settings from the environment; `database_url` and `redis_url` win. Raises InputError."""
        if needed := read_claim_settings(os.environ, **urls):
            return cls(needed, **urls)
        from prebuild_tasks.config import load_settings

        return cls(load_settings(**urls))

    @cached_property
    def settings(self) -> Settings:
        """All settings."""
        from prebuild_tasks.config import load_settings

        return load_settings(data_dir=self._needed.data_dir, **self._urls)

    @cached_property
    def database(self) -> Database:
        """The database, for everything but a quick claim."""
        from prebuild_tasks.db.engine import Database

        return Database.of(self.settings)

    @cached_property
    def _messages(self) -> DirectMessages:
        return DirectMessages(self._needed.resolved_redis_url, self._needed.queue)

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
            BuildFailedError: The workspace that was being built for the owner could not be built.
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
            except BuildFailedError:
                raise
            except ClaimMissError as error:
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
        with self._guard:
            quick = self.held.pop(follow_up.builds[0].id, None) if follow_up.builds else None
        if quick:
            try:
                send_in_time(quick, self._messages, follow_up, CLIENT_DEADLINE, _by_text)
            finally:
                quick.close()
        else:
            from prebuild_tasks.workspaces import send_within

            send_within(self.database, self._messages, follow_up, CLIENT_DEADLINE)

    @contextmanager
    def no_driver_errors(self) -> Iterator[None]:
        """Raise an error of this project for an IntegrityError too, for a caller outside of it."""
        try:
            yield
        except PrebuildError:
            raise
        except Exception as error:
            if "database" not in self.__dict__:
                raise
            with self.database.no_driver_errors():
                raise error from None

    def close(self) -> None:
        """Close the connections."""
        for quick in self.held.values():
            quick.close()
        for name in ("database", "_messages"):
            if name in self.__dict__:
                getattr(self, name).close()

    def _claim(self, request: ClaimRequest) -> Claimed | BeingBuilt:
        if claimed := self._claim_quickly(request):
            return claimed
        from prebuild_tasks.claims.take import claim

        most, within = self.settings.max_builds_in_flight, announcement_window(self._needed.heartbeat_timeout)
        return claim(self.database, request, max_builds_in_flight=most, alive_within=within)

    def _claim_quickly(self, request: ClaimRequest) -> Claimed | None:
        """Make the session's first claim by the driver alone; None if it has to be made in the usual way."""
        with self._guard:
            quick, self._quick = self._quick, None
        if quick is None:
            return None
        started, owner = monotonic(), check_request(request)
        if not request.presets or request.template or request.repeated or request.presets[0].isdecimal():
            return None
        if request.reach and not request.reach.is_everything:
            return None
        within = announcement_window(self._needed.heartbeat_timeout)
        claimed = None
        try:
            claimed = quick.claim(Attempt(request, owner, started, 0, within))
        except UnusableDatabaseError as error:
            raise self.database.error_of(error.error) from error
        finally:
            if claimed is None:
                quick.close()
        if claimed:
            with self._guard:
                self.held[claimed.follow_up.builds[0].id] = quick
        return claimed


def _by_text(wake: Mapping[int, str]) -> Mapping[str, str]:
    """Return the presets' names by their ids as texts."""
    return {str(preset_id): name for preset_id, name in wake.items()}
