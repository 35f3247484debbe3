"""Claims that wait: one query tells how all of them stand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping

import pytest

from prebuild_tasks.claims import Choice, WaitStage
from prebuild_tasks.claims.openings import OPEN
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
        waits = Waits(read, _no_openings, asyncio.Event())
        assert all(await asyncio.gather(*(waits.settled(claim_id, 60) for claim_id in ids)))

    asyncio.run(work())
    assert asked == [ids] * 3


async def _no_openings(choices: Collection[Choice]) -> Mapping[Choice, int]:
    raise AssertionError("nobody waits for an opening")


@pytest.mark.parametrize(("openings", "sizes"), [(1, [1, 1, 1]), (2, [2, 1]), (OPEN, [3])])
def test_as_many_try_again_as_there_are_openings(
    openings: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    choice, other = (1, 2), (2,)
    looks: list[set[Choice]] = []
    order: list[tuple[int, str]] = []

    async def read_openings(choices: Collection[Choice]) -> Mapping[Choice, int]:
        looks.append(set(choices))
        return {choice: openings if len(looks) > 2 else 0, other: 0}

    async def read(claim_ids: Collection[str]) -> Mapping[str, WaitStage]:
        raise AssertionError("nobody waits for a claim")

    async def work() -> None:
        waits = Waits(read, read_openings, asyncio.Event())

        async def wait(name: str) -> None:
            assert await waits.opened(choice, 60)
            order.append((len(looks), name))

        waiting = [asyncio.create_task(wait(name)) for name in "abc"]
        assert not await waits.opened(other, 0.005)
        await asyncio.gather(*waiting)

    asyncio.run(work())
    assert looks[0] == {choice, other}
    assert [name for _, name in order] == ["a", "b", "c"]
    counted = Counter(look for look, _ in order)
    assert [counted[look] for look in sorted(counted)] == sizes
