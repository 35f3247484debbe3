"""Claims need only the database: without Redis, only the wake-up takes longer, up to its deadline."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from statistics import median

import pytest

from prebuild_tasks import Client
from prebuild_tasks.claims.session import ClaimSession
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.sender import CLIENT_DEADLINE
from tests.support.builders import PRESET, declare, fill

CLAIMS = 12


@pytest.fixture(params=["refused", "black hole"])
def dead_redis(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        if request.param == "black hole":
            # The kernel accepts connections and bytes, but nothing answers.
            yield f"redis://127.0.0.1:{port}/0"
            return
    yield f"redis://127.0.0.1:{port}/0"


def session(settings: Settings, database: Database, redis_url: str) -> ClaimSession:
    return ClaimSession(settings.model_copy(update={"database_url": database.url, "redis_url": redis_url}))


def take(one: ClaimSession, owner: str) -> tuple[float, float]:
    """Measure the seconds until the answer, and from there until the wake-up was sent or abandoned."""
    started = monotonic()
    claimed = one.claim(ClaimRequest(owner, [PRESET]))
    answered = monotonic()
    one.send(claimed.follow_up)
    return answered - started, monotonic() - answered


@pytest.mark.timed
def test_claims_answer_at_their_usual_speed(
    database: Database, settings: Settings, redis_url: str, dead_redis: str
) -> None:
    """Measured in pairs, so that other load on the machine affects both sides."""
    declare(database, settings, 2 * CLAIMS)
    fill(database, settings)
    healthy, broken = session(settings, database, redis_url), session(settings, database, dead_redis)
    pairs = [(take(healthy, f"a{number}"), take(broken, f"b{number}")) for number in range(CLAIMS)]
    healthy.close()
    broken.close()
    usual, slow = median(pair[0][0] for pair in pairs), median(pair[1][0] for pair in pairs)
    assert slow < 2 * usual + 0.005
    delay = max(pair[0][1] for pair in pairs)  # what else runs on the machine keeps both waiting
    assert max(pair[1][1] for pair in pairs) < CLIENT_DEADLINE + 0.3 + delay, "and the wake-up is given up in time"


def test_a_client_without_redis_says_so_once(
    database: Database, settings: Settings, dead_redis: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A portal that has only the database logged each claim and each release."""
    declare(database, settings, 3)
    fill(database, settings)
    urls = {"database_url": database.url, "redis_url": dead_redis}
    with Client(settings=settings.model_copy(update=urls)) as client:
        for _ in range(3):
            client.release(client.claim(PRESET, owner="ada").workspace_id, actor="ada")
    assert [caplog.text.count(event) for event in ("wake_up_not_sent", "not_published")] == [1, 0]
