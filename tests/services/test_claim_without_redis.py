"""Claims need only the database: Redis refused or black-holed costs them nothing but the bounded wake-up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from statistics import median

import pytest

from prebuild_tasks.client import Client
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.messages import CLIENT_DEADLINE
from prebuild_tasks.services.claim import ClaimRequest
from prebuild_tasks.storage.engine import Database
from tests.builders import PRESET, declare, fill

CLAIMS = 12


@pytest.fixture(params=["refused", "black hole"])
def dead_redis(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        if request.param == "black hole":
            # The kernel takes the connections and the bytes; nobody ever answers.
            yield f"redis://127.0.0.1:{port}/0"
            return
    yield f"redis://127.0.0.1:{port}/0"


def client(settings: Settings, database: Database, redis_url: str) -> Client:
    return Client(settings=settings.model_copy(update={"database_url": database.url, "redis_url": redis_url}))


def times(one: Client) -> tuple[list[float], list[float]]:
    """Seconds until the answer, and from there until the wake-up was sent or given up."""
    answers, wakes = [], []
    for number in range(CLAIMS):
        started = monotonic()
        claimed = one.claim_only(ClaimRequest(f"owner{number}", [PRESET]))
        answered = monotonic()
        one.wake(claimed)
        answers.append(answered - started)
        wakes.append(monotonic() - answered)
    return answers, wakes


def test_claims_answer_at_their_usual_speed(
    database: Database, settings: Settings, redis_url: str, dead_redis: str
) -> None:
    declare(database, settings, 2 * CLAIMS)
    fill(database, settings)
    healthy, broken = client(settings, database, redis_url), client(settings, database, dead_redis)
    usual, _ = times(healthy)
    slow, wakes = times(broken)
    healthy.close()
    broken.close()
    assert median(slow) < 2 * median(usual) + 0.005
    assert max(wakes) < CLIENT_DEADLINE + 0.3, "and the wake-up is given up in time"
