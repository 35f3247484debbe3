"""The connection to an HTTP API, for a caller that blocks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import httpx

from prebuild_tasks.claims import Claimed, ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.remote import steps
from prebuild_tasks.remote.asking import Steps, ask_steps
from prebuild_tasks.remote.calls import Answer, RemoteCall, Rest, path_of
from prebuild_tasks.remote.connections import LIMITS, failure_of, headers_of, mounts_of, received, request_of, verify_of
from prebuild_tasks.remote.logins import Login
from prebuild_tasks.remote.problems import unreachable
from prebuild_tasks.remote.retries import DEADLINE, Tries
from prebuild_tasks.remote.streams import Streams
from prebuild_tasks.workspaces import FollowUp

if TYPE_CHECKING:
    from prebuild_tasks.events import Event, EventFilter, EventPage
    from prebuild_tasks.insight import BuildView, PoolAvailability, PoolCheck, PoolStatus, WorkspaceView
    from prebuild_tasks.remote.pool_steps import RemoteExplanation
    from prebuild_tasks.remote.webhooks import RemoteWebhooks

T = TypeVar("T")


class RemoteSession:
    """An HTTP API. Safe to share between threads. Nothing is connected to before the first request.

    What only questions about pools need is imported by them, because a process may claim once and end.
    """

    is_remote = True

    def __init__(self, login: Login, *, deadline: float | None = None) -> None:
        """Take the login, and the seconds within which a request is answered or given up; by default, `DEADLINE`."""
        self._login, self._deadline = login, DEADLINE if deadline is None else deadline
        self._opened: httpx.Client | None = None
        self._opening = threading.Lock()

    @property
    def _client(self) -> httpx.Client:
        with self._opening:
            if self._opened is None:
                self._opened = httpx.Client(
                    base_url=self._login.url, headers=headers_of(self._login), limits=LIMITS,
                    mounts=mounts_of(self._login), verify=verify_of(self._login),
                )  # fmt: skip
            return self._opened

    @property
    def _streams(self) -> Streams:
        return Streams(self._client, self._login.url, self._deadline)

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

        A stream that is cut off, or silent for long, is asked for again, without what was read.
        """
        name = self._run(steps.build_of_steps(self._login.url, build))
        if follow:  # the newest build of a workspace may become another one meanwhile
            name = str(self._build(name)["build"])
        call = RemoteCall("GET", path_of("builds", name, "log"), {"follow": "true"} if follow else {})
        received_before = 0

        def texts(response: httpx.Response) -> Generator[str, None, bool]:
            nonlocal received_before
            at = 0
            for text in response.iter_text():
                new = text[max(received_before - at, 0) :]
                at += len(text)
                received_before = max(received_before, at)
                if new:
                    yield new
            return not follow or self._build(name).get("completed_at") is not None

        yield from self._streams.read(call, texts)

    def events(self, after: int, wanted: EventFilter, limit: int) -> EventPage:
        """Read the events after a number. Raises as `events.read_events`."""
        from prebuild_tasks.remote.event_steps import events_steps

        return self._run(events_steps(self._login.url, after, wanted, limit))

    def follow_events(self, after: int | None, wanted: EventFilter, on_reset: Callable[[], object]) -> Iterator[Event]:
        """Yield the events after a number, or from now on for None, as they come.

        A stream that ends, is cut off or is silent for long is asked for again, after the last event that came.
        `on_reset` is called where events were missed because they are no longer kept.
        """
        from prebuild_tasks.remote.event_steps import SentEvents, events_call

        call, sent = events_call(wanted), SentEvents(wanted, on_reset, "" if after is None else str(after))

        def headers() -> Mapping[str, str]:
            return {"Accept": "text/event-stream", **({"Last-Event-ID": sent.last} if sent.last else {})}

        def items(response: httpx.Response) -> Generator[Event, None, bool]:
            yield from filter(None, map(sent.add, response.iter_lines()))
            return False

        yield from self._streams.read(call, items, headers, sent.take_pause)

    @property
    def webhooks(self) -> RemoteWebhooks:
        """The webhooks."""
        from prebuild_tasks.remote.webhooks import RemoteWebhooks

        return RemoteWebhooks(self._login.url, self._run)

    def _build(self, name: str) -> JsonObject:
        return self._run(ask_steps(self._login.url, RemoteCall("GET", path_of("builds", name))))

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
        tries = Tries(call, self._deadline, monotonic())
        while True:
            answer, failed = None, None
            try:
                answer = self._try(tries)
            except httpx.RequestError as error:
                failed = error
            pause = tries.pause(answer, failure_of(failed), monotonic(), random.random())  # noqa: S311 - no secret
            if pause is None:
                if answer is None:
                    raise unreachable(self._login.url, failed or TimeoutError(), may_be_done=not call.is_repeatable)
                return tries.last(answer)
            time.sleep(pause)

    def _try(self, tries: Tries) -> Answer:
        now = monotonic()
        response = self._client.send(request_of(self._client, tries.call(now), tries.left(now)), stream=True)
        content = bytearray()
        try:
            for chunk in response.iter_bytes():
                if content and tries.left(monotonic()) <= 0:
                    raise httpx.ReadTimeout("the answer takes too long")
                content += chunk
        finally:
            response.close()
        return received(response, bytes(content))

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()
