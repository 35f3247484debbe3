"""Limits of requests: of tokens and of addresses, with Redis and while it is away."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import pytest
from limits import RateLimitItemPerSecond

from prebuild_tasks.access import Principal, Scope
from prebuild_tasks.model.actors import ActorKind
from prebuild_tasks.web.api.problems import ProblemError
from prebuild_tasks.web.serve import rate
from prebuild_tasks.web.serve.rate import BAD_TOKENS, RateLimits, limit_of, network_of, share_of
from tests.support.refusing_redis import REFUSALS, refusing_redis

GONE = "redis://127.0.0.1:1/0"


def principal(name: str) -> Principal:
    return Principal(kind=ActorKind.TOKEN, name=name, scope=Scope.CLAIM)


@pytest.mark.parametrize(
    ("rate", "burst", "amount", "seconds"),
    [(50, 200, 200, 4), (50, 50, 50, 1), (50, 1, 50, 1), (0.5, 10, 10, 20), (1000, 4000, 4000, 4)],
)
def test_rate_and_burst(rate: float, burst: int, amount: int, seconds: int) -> None:
    item = limit_of(rate, burst)
    assert (item.amount, item.get_expiry()) == (amount, seconds)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_what_an_address_is_counted_as(address: str, network: str) -> None:
    assert network_of(address) == network


def use(url: str, work: Callable[[RateLimits], Awaitable[None]], *, burst: int = 5, rate: float | None = None) -> None:
    async def run() -> None:
        limits = RateLimits(rate or burst / 60, burst, url, "prebuild")
        try:
            await work(limits)
        finally:
            await limits.close()

    asyncio.run(run())


async def refused(work: Callable[[], Awaitable[None]]) -> ProblemError | None:
    try:
        await work()
    except ProblemError as error:
        return error
    return None


async def reads_and_changes_have_their_own_limits(limits: RateLimits) -> None:
    for _ in range(5):
        await limits.count(principal("a"), claims=True)
    error = await refused(lambda: limits.count(principal("a"), claims=True))
    assert error
    assert (error.details.status, error.details.code) == (429, "rate_limited")
    headers = error.details.headers
    assert headers["RateLimit-Limit"] == "5"
    assert headers["RateLimit-Remaining"] == "0"
    assert 1 <= int(headers["Retry-After"]) <= 120
    await limits.count(principal("a"), claims=False)
    await limits.count(principal("b"), claims=True)


async def bad_tokens(limits: RateLimits) -> None:
    for _ in range(BAD_TOKENS + 1):
        limits.require_patience("2001:db8::1")
        await limits.count_bad("2001:db8::1")
    with pytest.raises(ProblemError):
        limits.require_patience("2001:db8::2")
    limits.require_patience("2001:db8:0:1::1")


@pytest.mark.parametrize("work", [reads_and_changes_have_their_own_limits, bad_tokens])
def test_limits(work: Callable[[RateLimits], Awaitable[None]], redis_url: str) -> None:
    use(redis_url, work)


@pytest.mark.parametrize("work", [reads_and_changes_have_their_own_limits, bad_tokens])
def test_a_process_counts_by_itself_while_redis_is_away(work: Callable[[RateLimits], Awaitable[None]]) -> None:
    use(GONE, work)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_process_counts_by_itself_while_redis_refuses(refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "PATIENCE", 10)  # of a busy machine
    with refusing_redis(refusal) as redis:
        use(redis.url, reads_and_changes_have_their_own_limits)
        assert redis.refused


@pytest.mark.parametrize("seed", range(5))
def test_retry_after_is_the_first_second_at_which_one_more_is_allowed(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever in the window the clock stands: just before its end that is one second."""
    chance, now = random.Random(seed), [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])  # the clock of the library
    waits = list[int]()

    async def work(limits: RateLimits) -> None:
        for _ in range(300):
            now[0] += chance.choice([0.0, chance.random(), 10 * chance.random()])
            error = await refused(lambda: limits.count(principal("a"), claims=True))
            if error:
                waits.append(int(error.details.headers["Retry-After"]))
                asked_at = now[0]
                if waits[-1] > 1:
                    now[0] = asked_at + waits[-1] - 1 - 1e-3
                    assert await refused(lambda: limits.count(principal("a"), claims=True)), "a second earlier"
                now[0] = asked_at + waits[-1]
                assert not await refused(lambda: limits.count(principal("a"), claims=True)), waits

    use(GONE, work, burst=chance.choice([1, 2, 5]), rate=0.1)
    assert min(waits) == 1 < max(waits) <= 50


def test_processes_share_the_limit(redis_url: str) -> None:
    async def both(limits: RateLimits) -> None:
        other = RateLimits(5 / 60, 5, redis_url, "prebuild")
        for at in range(5):
            await (limits, other)[at % 2].count(principal("a"), claims=True)
        assert await refused(lambda: other.count(principal("a"), claims=True))
        await other.close()

    use(redis_url, both)


@pytest.mark.parametrize(("amount", "share"), [(1, 1), (200, 1), (399, 1), (400, 2), (20_000, 100), (10**9, 100)])
def test_a_process_takes_more_at_a_time_where_the_limit_is_high(amount: int, share: int) -> None:
    assert share_of(RateLimitItemPerSecond(amount, 4)) == share


def test_shares_of_processes_never_exceed_the_limit(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "PATIENCE", 10)  # of a busy machine

    async def work() -> None:
        processes = [RateLimits(1000 / 60, 1000, redis_url, "prebuild") for _ in range(2)]
        refusals = 0
        for at in range(1100):
            refusals += await refused(lambda at=at: processes[at % 2].count(principal("a"), claims=True)) is not None
        assert 100 <= refusals <= 110
        for one in processes:
            await one.close()

    asyncio.run(work())


@pytest.mark.timed
def test_a_redis_that_hangs_costs_no_more_than_its_patience() -> None:
    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            writer.close()

    async def ask() -> float:
        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        limits = RateLimits(50, 200, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", "prebuild")
        started = time.monotonic()
        for _ in range(20):
            await limits.count(principal("a"), claims=True)
        took = time.monotonic() - started
        await limits.close()
        server.close()
        return took

    assert asyncio.run(ask()) < 0.2
