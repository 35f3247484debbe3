"""The Python API over HTTP for a caller that does not block: the methods of `Client`, to be awaited."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import httpx

from prebuild_tasks.claims import ClaimAnswer, ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.remote import steps
from prebuild_tasks.remote.asking import Steps
from prebuild_tasks.remote.calls import Answer, RemoteCall, Rest
from prebuild_tasks.remote.connections import LIMITS, failure_of, headers_of, mounts_of, received, request_of, verify_of
from prebuild_tasks.remote.logins import login_to
from prebuild_tasks.remote.problems import unreachable
from prebuild_tasks.remote.retries import DEADLINE, Tries

if TYPE_CHECKING:
    from prebuild_tasks.insight import PoolAvailability, WorkspaceView

T = TypeVar("T")


class AsyncClient:
    """Claim and release workspaces over the HTTP API, wait for them and extend them, and see what can be claimed.

        async with AsyncClient("https://prebuilds.example.com", token=token) as client:
            answer = await client.claim("python-dev/small", owner="ada")

    The methods raise what those of `Client` raise, and their requests are made again in the same way.
    """

    def __init__(self, url: str, *, token: str, deadline: float = DEADLINE) -> None:
        """Take the address, the token, and the seconds within which a request is answered or given up.

        Raises:
            InputError: The address or the token cannot be used.
        """
        login = login_to(url, token)
        self._url, self._deadline = login.url, deadline
        self._client = httpx.AsyncClient(
            base_url=login.url, headers=headers_of(login), limits=LIMITS, mounts=mounts_of(login),
            verify=verify_of(login),
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def claim(
        self,
        *presets: str,
        owner: str = "",
        name: str = "",
        template: str = "",
        parameters: Mapping[str, str] | None = None,
        request_id: str = "",
        wait: float = 0.0,
    ) -> ClaimAnswer:  # 7 arguments: those of the command line, by name
        """Claim a workspace, as `Client.claim` does. Without an owner, the token's gets it."""
        request = ClaimRequest(
            owner=owner, presets=presets, name=name, template=template, parameters=dict(parameters or {}), wait=wait > 0
        )
        if request_id:
            request = replace(request, request_id=request_id)
        return await self._run(steps.claim_steps(self._url, request, wait if wait > 0 else None))

    async def release(self, workspace: str, *, actor: str = "") -> None:
        """Give a workspace back, named by id or as owner/name: it is deleted. `actor` has no effect: the token acts."""
        await self._run(steps.release_steps(self._url, workspace))

    async def workspaces(self, *, owner: str = "") -> list[WorkspaceView]:
        """List the owner's workspaces, or all that are not deleted and that the token may see."""
        return await self._run(steps.workspaces_steps(self._url, owner=owner))

    async def availability(self, *presets: str) -> list[PoolAvailability]:
        """Return how many prebuilds of each preset can be claimed; without a name, of every active pool."""
        from prebuild_tasks.remote.pool_steps import availability_steps

        return await self._run(availability_steps(self._url, presets))

    async def get(self, workspace: str) -> WorkspaceView:
        """Return a workspace, named by id or as owner/name."""
        return await self._run(steps.read_workspace_steps(self._url, workspace))

    async def wait_until_usable(self, workspace: str, timeout: float = 60.0) -> WorkspaceView:
        """Wait, up to `timeout` seconds, until a person's workspace is built and personalised, and return it."""
        return await self._run(steps.wait_until_usable_steps(self._url, workspace, timeout))

    async def extend(self, workspace: str, seconds: float, *, actor: str = "") -> WorkspaceView:
        """Move the end of a claimed workspace by `seconds`, and return it. `actor` has no effect: the token acts."""
        await self._run(steps.extend_steps(self._url, workspace, seconds))
        return await self.get(workspace)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _run(self, generator: Steps[T]) -> T:
        """Carry out the steps of a method."""
        try:
            wanted = next(generator)
            while True:
                wanted = generator.send(await self._step(wanted))
        except StopIteration as done:
            result: T = done.value
            return result

    async def _step(self, wanted: RemoteCall | Rest) -> Answer:
        if isinstance(wanted, Rest):
            await asyncio.sleep(wanted.seconds)
            return Answer(0, {})
        return await self._ask(wanted)

    async def _ask(self, call: RemoteCall) -> Answer:
        tries = Tries(call, self._deadline, monotonic())
        while True:
            answer, failed = None, None
            try:
                answer = await self._try(tries)
            except (httpx.RequestError, TimeoutError) as error:
                failed = error
            pause = tries.pause(answer, failure_of(failed), monotonic(), random.random())  # noqa: S311 - no secret
            if pause is None:
                if answer is None:
                    raise unreachable(self._url, failed or TimeoutError(), may_be_done=not call.is_repeatable)
                return tries.last(answer)
            await asyncio.sleep(pause)

    async def _try(self, tries: Tries) -> Answer:
        now = monotonic()
        async with asyncio.timeout(max(tries.left(now), 0)):
            response = await self._client.send(request_of(self._client, tries.call(now), tries.left(now)))
        return received(response, response.content)
