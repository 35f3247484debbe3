"""Redis is asked in threads of its own, and left alone for a while when it did not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.messaging import DirectMessages
from prebuild_tasks.reconcile import Lock
from prebuild_tasks.web.api import redis_calls
from prebuild_tasks.web.api.redis_calls import REST, RedisCalls
from tests.support.api import NO_REDIS


def asked(settings: Settings, redis_url: str, body: Callable[[RedisCalls], Awaitable[None]]) -> None:
    async def main() -> None:
        calls = RedisCalls(settings.model_copy(update={"redis_url": redis_url}))
        try:
            await body(calls)
        finally:
            calls.close()

    asyncio.run(main())


def test_a_redis_that_did_not_answer_rests(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr(redis_calls, "monotonic", lambda: now)

    async def body(calls: RedisCalls) -> None:
        nonlocal now
        assert (await calls.look_at_turn(1)).unreachable == "the log of the server says why"
        assert "refused" in caplog.text
        now += REST - 0.1
        assert "a moment ago" in (await calls.look_at_turn(1)).unreachable
        now += 0.1
        assert "log of the server" in (await calls.look_at_turn(1)).unreachable

    asked(settings, NO_REDIS, body)


def test_a_message_is_sent_although_a_detail_was_not_answered(
    settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that takes its short time at most says little about a message, which may take longer."""
    unreachable = Lock(unreachable="too slow")
    monkeypatch.setattr(redis_calls, "look_at_turn", lambda *_: unreachable)

    async def body(calls: RedisCalls) -> None:
        assert (await calls.look_at_turn(1)).unreachable
        assert await calls.request_turn(1, "dev/small")
        assert "a moment ago" in (await calls.look_at_turn(1)).unreachable

    asked(settings, redis_url, body)


def test_a_message_that_was_not_taken_is_not_sent_again_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, sent = 100.0, list[float]()
    monkeypatch.setattr(redis_calls, "monotonic", lambda: now)
    monkeypatch.setattr(DirectMessages, "reconcile", lambda *_, **__: sent.append(now))

    async def body(calls: RedisCalls) -> None:
        nonlocal now
        for pause in (0, REST - 0.1, 0.1):
            now += pause
            assert not await calls.request_turn(1, "dev/small")
        assert sent == [100.0, 100.0 + REST]

    asked(settings, NO_REDIS, body)


def test_a_redis_that_answers_is_asked_each_time(settings: Settings, redis_url: str) -> None:
    async def body(calls: RedisCalls) -> None:
        assert await calls.request_turn(1, "dev/small")
        assert await calls.request_turn(None, "")
        lock = await calls.look_at_turn(1)
        assert lock.waiting is not None
        assert sum(lock.waiting.values()) == 2

    asked(settings, redis_url, body)
