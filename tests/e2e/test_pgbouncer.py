"""All processes behind PgBouncer in transaction mode, under load. Pools used to stop filling."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from prebuild_tasks.client import Client
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import BusyError, ClaimMissError
from tests.support.event_stream import listening
from tests.support.http import NO_TLS, free_port
from tests.support.pgbouncer import left_on_connections, needs_pgbouncer, pgbouncer
from tests.support.receiver import Receiver
from tests.support.service import Service, deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(240), needs_pgbouncer]

POOLS = """
schema: 1
templates:
  - name: t
    provisioner: simulated
    config: {build_time: {uniform: [0.02, 0.1]}}
    presets: [{name: a, desired: 4}, {name: b, desired: 4}, {name: c, desired: 4}]
"""
CLIENTS, EACH = 6, 5


@pytest.fixture
def service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    with (
        pgbouncer(postgres_url) as url,
        deployed(
            tmp_path,
            POOLS,
            postgres_url,
            redis_url,
            PREBUILD_DATABASE_POOLER="transaction",
            PREBUILD_WEBHOOK_ALLOW="127.0.0.0/8",
        ) as service,
    ):
        service.environment["PREBUILD_DATABASE_URL"] = url
        yield service


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(encrypted=False).run() as receiver:
        yield receiver


def test_pools_stay_full_and_nothing_is_left_on_the_connections(
    service: Service, receiver: Receiver, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as administrator:
        administrator.execute("ALTER ROLE postgres IN DATABASE {} SET lock_timeout = '2s'".format(
            postgres_url.partition("@/")[2].partition("?")[0]).encode())  # fmt: skip
    service.run("apply", "pools.yaml")
    lines = procfile()
    for name in ("worker", "builds", "beat", "webhooks"):
        service.start(*lines[name], program="celery")
    token = service.json("token", "create", "reader", "--scope", "read")["token"]
    service.run("webhook", "create", f"http://127.0.0.1:{receiver.server_port}/", "--events", "claim")
    port = free_port()
    service.environment["PREBUILD_SERVE_PORT"] = str(port)
    service.start(*lines["serve"])
    service.wait_full()
    client = Client(settings=load_settings(service.environment))

    def claim(number: int) -> list[str]:
        answers: list[str] = []
        while len(answers) < EACH:
            try:
                answers.append(client.claim("t/a", "t/b", "t/c", owner=f"u{number}").workspace_id)
            except (ClaimMissError, BusyError):
                time.sleep(0.1)  # for the workers
                continue
            if len(answers) % 3 == 0:
                client.release(answers[-1], actor="test")
        return answers

    with ThreadPoolExecutor(CLIENTS) as pool:
        taken = [one for some in pool.map(claim, range(CLIENTS)) for one in some]
    client.close()
    assert len(taken) == len(set(taken)) == CLIENTS * EACH
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, verify=NO_TLS,
        trust_env=False,
    ) as api, listening(api, after=0, kind="claim") as stream:  # fmt: skip
        events = [sent.number for _, sent in zip(taken, stream.each(), strict=False)]
        assert events == sorted(set(events)), "each claim is told once, in order"
    wait_until(lambda: len({each.headers["webhook-id"] for each in receiver.received}) == len(taken), what="deliveries")
    service.wait_full()
    wait_until(lambda: service.output_of("audit") == "clean\n", what="a clean audit", pause=0.5)
    assert service.run("doctor").endswith("nothing is wrong\n")
    assert left_on_connections(service.environment["PREBUILD_DATABASE_URL"]) == []
    output = "".join(service.output(number) for number in range(len(service.processes)))
    assert "Traceback" not in output
    assert "prepared statement" not in output
