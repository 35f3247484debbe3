"""Claims that wait: one query tells how all of them stand."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest

from prebuild_tasks.claims import WaitStage
from prebuild_tasks.web.api import waits as module
from prebuild_tasks.web.api.waits import Waits


@pytest.mark.parametrize("number", [1, 500])
def test_one_query_is_for_all_who_wait(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    asked: list[set[str]] = []
    ids = {f"claim-{position}" for position in range(number)}

    async def read(claim_ids: Collection[str]) -> Mapping[str, WaitStage]:
        asked.append(set(claim_ids))
        return {} if len(asked) == 3 else dict.fromkeys(claim_ids, WaitStage.BEING_BUILT)

    async def work() -> None:
        waits = Waits(read, asyncio.Event())
        assert all(await asyncio.gather(*(waits.settled(claim_id, 60) for claim_id in ids)))

    asyncio.run(work())
    assert asked == [ids] * 3
