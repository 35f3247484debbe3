"""Claims and reads over HTTP while Redis or PostgreSQL is away."""

from __future__ import annotations

import signal
import socket
import statistics
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.door import FULL, NONE, doors, portal, word
from tests.support.proxy import Proxy
from tests.support.servers import migrate, restartable_postgres
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
CLAIMS = "/v1/claims"
FOLLOW_UP = 0.2
"""Seconds after which a message to a Redis that is away is given up. No answer waits for that."""


@contextmanager
def black_hole() -> Iterator[str]:
    """Yield the URL of a Redis that accepts connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def claim(client: httpx.Client, preset: str = FULL, wait: float = 0) -> httpx.Response:
    body = {"presets": [preset], "owner": f"o-{uuid.uuid4().hex[:8]}", "wait": wait}
    return client.post(CLAIMS, json=body)


@pytest.mark.timed
def test_no_answer_waits_for_a_redis_that_hangs(tmp_path: Path, postgres_url: str) -> None:
    """One that refuses connections stands behind most other tests of claims over HTTP."""
    with black_hole() as hole, doors(tmp_path, postgres_url, hole) as service:
        service.stock(10)
        url, _ = service.serve()
        took = list[float]()
        with portal(url, service.token()) as client:
            for _ in range(10):
                began = time.monotonic()
                assert claim(client).status_code == 201
                took.append(time.monotonic() - began)
                assert client.get("/v1/pools").status_code == 200
        assert min(took) < FOLLOW_UP / 2, took


@pytest.mark.timed
@pytest.mark.thorough
def test_a_redis_that_hangs_holds_no_claim_up(tmp_path: Path, postgres_url: str) -> None:
    """What asks Redis for a turn, or who has one, waits for it; nothing else waits for that."""
    with black_hole() as hole, doors(tmp_path, postgres_url, hole) as service, ThreadPoolExecutor(30) as pool:
        service.stock(10)
        url, _ = service.serve()
        took = list[float]()
        with portal(url, service.token()) as client:
            turns = [pool.submit(client.post, f"/v1/pools/{FULL}/reconcile") for _ in range(15)]
            explained = [pool.submit(client.get, f"/v1/pools/{FULL}/explain") for _ in range(15)]
            for _ in range(5):
                began = time.monotonic()
                assert claim(client).status_code == 201
                claimed = time.monotonic()
                assert word(url) == "ready"
                took += [claimed - began, time.monotonic() - claimed]
                assert len(took) > 2 or not any(turn.done() for turn in turns), "the first claim was made beside them"
            assert {turn.result().status_code for turn in turns} == {503}
            assert {one.result().status_code for one in explained} == {200}
            assert "Redis did not answer" in explained[0].result().text
        assert statistics.median(took) < 0.5, took


def is_away(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0 and "detail" in answer.json()


@pytest.mark.thorough
def test_postgresql_away_and_back(tmp_path: Path) -> None:
    with restartable_postgres() as server, Proxy(server.socket).run() as proxy, ThreadPoolExecutor() as pool:
        migrate(server.url.format("postgres"))
        through = f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/postgres"
        with doors(tmp_path, through) as service:
            service.stock(10)
            url, process = service.serve()
            with portal(url, service.token()) as client:
                assert claim(client).status_code == 201
                waiting = pool.submit(claim, client, NONE, 50)
                wait_until(lambda: client.get("/v1/workspaces", params={"preset": NONE}).json()["items"], what="a wait")

                server.process.send_signal(signal.SIGQUIT)
                server.process.wait(60)
                wait_until(lambda: word(url) == "unavailable", what="not ready")
                for answer in (claim(client), client.get("/v1/pools"), client.get(f"{CLAIMS}/{uuid.uuid4()}")):
                    assert is_away(answer), answer.text
                assert client.get("/livez").status_code == 200
                server.start()
                server.wait_ready()
                wait_until(lambda: word(url) == "ready", what="ready again")
                assert claim(client).status_code == 201
                assert service.finish_builds() > 0
                assert waiting.result(60).status_code == 201, "who waited goes on waiting"

                proxy.vanish()
                began = time.monotonic()
                answers = list(pool.map(lambda _: claim(client), range(12)))
                assert all(map(is_away, answers)), [answer.text for answer in answers]
                assert time.monotonic() - began < 30
                assert word(url) == "unavailable"
                proxy.reappear()
                wait_until(lambda: word(url) == "ready", what="ready again")
                wait_until(lambda: claim(client).status_code == 201, what="a claim")
            assert process.poll() is None, "no restart was needed"
