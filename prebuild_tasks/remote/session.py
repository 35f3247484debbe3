"""The connection to an HTTP API, for a caller that blocks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import httpx

from prebuild_tasks.claims import Claimed, ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.remote import steps
from prebuild_tasks.remote.asking import Steps
from prebuild_tasks.remote.calls import READ_TIMEOUT, Answer, RemoteCall, Rest, path_of
from prebuild_tasks.remote.logins import Login
from prebuild_tasks.remote.problems import error_of, unreachable
from prebuild_tasks.remote.retries import DEADLINE, pause_before_retry
from prebuild_tasks.workspaces import FollowUp

if TYPE_CHECKING:
    from prebuild_tasks.insight import BuildView, PoolAvailability, PoolCheck, PoolStatus, WorkspaceView
    from prebuild_tasks.remote.pool_steps import RemoteExplanation

_CONNECT_TIMEOUT = 5.0
"""Seconds."""
_LOST_STREAMS = 20
"""How often a log that is followed may be cut off."""

T = TypeVar("T")


class RemoteSession:
    """An HTTP API. Safe to share between threads. Nothing is connected to before the first request.

    What only questions about pools need is imported by them, because a process may claim once and end.
    """

    is_remote = True

    def __init__(self, login: Login, *, deadline: float | None = None) -> None:
        """Take the login, and the seconds after which a request is not made again; by default, `DEADLINE`."""
        self._login, self._deadline = login, DEADLINE if deadline is None else deadline

    @cached_property
    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._login.url, headers=headers_of(self._login), timeout=timeout_of(0))

    def claim(self, request: ClaimRequest) -> Claimed:
        """Claim. Raises as `ClaimSession.claim`."""
        return Claimed(self._run(steps.claim_steps(self._login.url, request, None)), FollowUp())

    def claim_waiting(
        self, request: ClaimRequest, seconds: float, *, on_wait: Callable[[ClaimMissError], None] | None = None
    ) -> Claimed:
        """Claim, and wait for a workspace that is built if none is ready. Raises as `ClaimSession.claim_waiting`."""
        return Claimed(self._run(steps.claim_steps(self._login.url, request, seconds, on_wait)), FollowUp())

    def send(self, follow_up: FollowUp) -> None:
        """Send nothing: the server has sent what follows from its commits, and the follow-up is empty."""
        if follow_up:
            from prebuild_tasks.workspaces import leave_to_upkeep

            leave_to_upkeep(follow_up)

    def no_driver_errors(self) -> AbstractContextManager[None]:
        """Do nothing: there is no driver."""
        return nullcontext()

    def check(self) -> None:
        """Raise the error of an API that does not answer, or does not take the token."""
        self._run(steps.check_steps(self._login.url))

    def release(self, workspace: str) -> str:
        """Give a workspace back, and return its id."""
        return self._run(steps.release_steps(self._login.url, workspace))

    def extend(self, workspace: str, seconds: float) -> datetime:
        """Move the end of a claimed workspace, and return the new one."""
        return self._run(steps.extend_steps(self._login.url, workspace, seconds))

    def workspaces(self, *, owner: str = "", preset: str = "", state: str = "") -> list[WorkspaceView]:
        """List workspaces: those of people before prebuilds, each oldest first."""
        return self._run(steps.workspaces_steps(self._login.url, owner=owner, preset=preset, state=state))

    def get(self, workspace: str) -> WorkspaceView:
        """Return a workspace, by id, `owner/name` or name."""
        return self._run(steps.read_workspace_steps(self._login.url, workspace))

    def wait_until_usable(self, workspace: str, timeout: float) -> WorkspaceView:
        """Wait until a person's workspace is usable, and return it."""
        return self._run(steps.wait_until_usable_steps(self._login.url, workspace, timeout))

    def availability(self, presets: Sequence[str]) -> list[PoolAvailability]:
        """Return how many prebuilds of each preset can be claimed; without a name, of every active pool."""
        from prebuild_tasks.remote.pool_steps import availability_steps

        return self._run(availability_steps(self._login.url, presets))

    def pools(self) -> list[PoolStatus]:
        """List the pools by name."""
        from prebuild_tasks.remote.pool_steps import pools_steps

        return self._run(pools_steps(self._login.url))

    def pool_checks(self) -> list[PoolCheck]:
        """List the pools by name, with why they need attention."""
        from prebuild_tasks.remote.pool_steps import pool_checks_steps

        return self._run(pool_checks_steps(self._login.url))

    def explain(self, preset: str) -> RemoteExplanation:
        """Explain the state of a pool."""
        from prebuild_tasks.remote.pool_steps import explain_steps

        return self._run(explain_steps(self._login.url, preset))

    def builds(
        self, *, preset: str = "", status: str = "", since: datetime | None = None, limit: int = 50
    ) -> list[BuildView]:
        """List the newest builds, newest first."""
        from prebuild_tasks.remote.pool_steps import builds_steps

        return self._run(builds_steps(self._login.url, preset=preset, status=status, since=since, limit=limit))

    def history(self, workspace: str) -> list[JsonObject]:
        """Return the history of a workspace, oldest first."""
        return self._run(steps.history_steps(self._login.url, workspace))

    def operate(self, preset: str, action: str, body: JsonObject | None = None) -> JsonObject:
        """Pause, resume, unblock, invalidate or reconcile a pool, or all pools if `preset` is empty."""
        from prebuild_tasks.remote.pool_steps import operate_steps

        return self._run(operate_steps(self._login.url, preset, action, body))

    def build(self, build: str) -> BuildView:
        """Return a build, or the newest one of a workspace."""
        from prebuild_tasks.remote.pool_steps import read_build_steps

        name = self._run(steps.build_of_steps(self._login.url, build))
        return self._run(read_build_steps(self._login.url, name))

    def log(self, build: str, *, follow: bool) -> Iterator[str]:
        """Yield the output of a build, and with `follow` what it goes on to write until it ends.

        A stream that is cut off is asked for again, without what was read.
        """
        name = self._run(steps.build_of_steps(self._login.url, build))
        path, read = path_of("builds", name, "log"), 0
        for attempt in range(_LOST_STREAMS):
            cut: Exception | None = None
            at = 0
            try:
                for text in self._stream(RemoteCall("GET", path, query={"follow": "true"} if follow else {})):
                    new = text[max(read - at, 0) :]
                    at += len(text)
                    read = max(read, at)
                    if new:
                        yield new
            except httpx.TransportError as error:
                cut = error
            if cut is None and (not follow or self.build(name).status.final):
                return
            if attempt + 1 == _LOST_STREAMS and cut:
                raise unreachable(self._login.url, cut)
            time.sleep(pause_before_retry(None, attempt, self._deadline, random.random()) or 1)  # noqa: S311 - no secret

    def _stream(self, call: RemoteCall) -> Iterator[str]:
        with self._client.stream(call.method, call.path, params=call.query) as response:
            if not response.is_success:
                response.read()
                raise error_of(received(response), self._login.url)
            yield from response.iter_text()

    def _run(self, generator: Steps[T]) -> T:
        """Carry out the steps of a method."""
        try:
            wanted = next(generator)
            while True:
                wanted = generator.send(self._step(wanted))
        except StopIteration as done:
            result: T = done.value
            return result

    def _step(self, wanted: RemoteCall | Rest) -> Answer:
        if isinstance(wanted, Rest):
            time.sleep(wanted.seconds)
            return Answer(0, {})
        return self.ask(wanted)

    def ask(self, call: RemoteCall) -> Answer:
        """Make a request, again if that may help, and return its answer. Raises UnreachableError without one."""
        deadline, attempt = monotonic() + self._deadline + call.waits, 0
        while True:
            answer, failed = None, None
            try:
                answer = received(self._client.send(request_of(self._client, call)))
            except httpx.TransportError as error:
                failed = error
            pause = pause_before_retry(answer, attempt, deadline - monotonic(), random.random())  # noqa: S311 - no secret
            if pause is None:
                if answer is None:
                    raise unreachable(self._login.url, failed or TimeoutError())
                return answer
            time.sleep(pause)
            attempt += 1

    def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            self._client.close()


def headers_of(login: Login) -> dict[str, str]:
    """Return the headers that every request has."""
    return {"Authorization": f"Bearer {login.token}", "Accept": "application/json"}


def timeout_of(waits: float) -> httpx.Timeout:
    """Return the time limits of a request that asks the server to wait for so many seconds."""
    return httpx.Timeout(READ_TIMEOUT + waits, connect=_CONNECT_TIMEOUT)


def request_of(client: httpx.Client | httpx.AsyncClient, call: RemoteCall) -> httpx.Request:
    """Return the request of httpx for a call."""
    return client.build_request(
        call.method, call.path, params=call.query or None, json=call.body, headers=call.headers,
        timeout=timeout_of(call.waits),
    )  # fmt: skip


def received(response: httpx.Response) -> Answer:
    """Return the answer of a response of httpx that was read."""
    return Answer(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )
