"""The prebuilds that can be claimed, as a portal sees them over HTTP: those that are seen beside the database."""

from __future__ import annotations

from functools import partial

import httpx
import pytest

from prebuild_tasks.client import Client

POOL = {
    "preset": "dev/small", "desired": 3, "eligible": 1, "starting": 2, "deleting": 0, "failed": 0,
    "failed_deletions": 0, "reason": "starting", "next_action": "", "last_error": "", "second_choices": 1, "claimed": 0,
    "next_change": None,
}  # fmt: skip


def test_second_choices_of_former_versions_can_be_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that is being replaced used to look empty, although a claim would have got a prebuild."""
    former = {**POOL, "preset": "dev/small@v1", "desired": 0, "eligible": 0, "second_choices": 2}
    other = {**POOL, "preset": "dev/big", "second_choices": 5}
    answer = {"items": [POOL, former, other], "next": None}
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=answer))
    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=transport))
    with Client("https://door.example", token="pbt_x") as client:
        found = {pool.preset: pool.available for pool in client.availability("dev/small", "dev/small@v1", "dev/big")}
    assert found == {"dev/small": 4, "dev/small@v1": 2, "dev/big": 6}
