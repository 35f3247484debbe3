"""A call of `AsyncClient` that is canceled ends at once, and can be made again with its key."""

from __future__ import annotations

import asyncio
from functools import partial

import httpx
import pytest

from prebuild_tasks.remote.async_client import AsyncClient

CLAIMED = {
    "id": "c1", "workspace": "calm-otter", "workspace_id": "w1", "preset": "dev/small", "owner": "ada", "url": "",
    "directory": "/d", "resource_id": "r", "host": "h", "request_id": "k1",
    "claimed_at": "2026-11-28T12:00:00+00:00", "state": "usable",
}  # fmt: skip
BEING_BUILT = httpx.Response(202, json={**CLAIMED, "state": "building"})
AWAY = httpx.Response(503, headers={"Retry-After": "10"})


@pytest.mark.parametrize(
    "first", [None, AWAY, BEING_BUILT], ids=["before the answer", "before another try", "while it is being built"]
)
def test_a_claim_that_is_canceled(first: httpx.Response | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def door(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["idempotency-key"])
        if len(asked) > 1:
            return httpx.Response(201, json=CLAIMED)
        if first is None:
            await asyncio.Event().wait()
        assert first
        return first

    async def use() -> str:
        async with asyncio.timeout(10), AsyncClient("https://door.example", token="pbt_x", deadline=60) as client:
            task = asyncio.create_task(client.claim("dev/small", owner="ada", request_id="k1", wait=60))
            while not asked:
                await asyncio.sleep(0)
            for _ in range(50):  # turns of the loop, until the client waits: nothing here is slow
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await client.claim("dev/small", owner="ada", request_id="k1")).id

    monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, transport=httpx.MockTransport(door)))
    assert asyncio.run(use()) == "c1"
    assert asked == ["k1", "k1"]
