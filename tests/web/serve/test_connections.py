"""Connections of a serving process: those to the database are bounded, and those of clients leave nothing behind."""

from __future__ import annotations

import json
import signal
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from sqlalchemy import text

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.door import FULL, NONE, Doors, doors, portal
from tests.support.servers import migrate, restartable_postgres
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
CONNECTIONS = 4
ABORTED = 200


def test_more_connections_than_the_database_has_are_refused(tmp_path: Path, postgres_url: str) -> None:
    """Beside those of requests, each process has one for what follows, one for metrics, two that look."""
    with doors(tmp_path, postgres_url, PREBUILD_SERVE_CONNECTIONS="30") as service:
        said = service.run("serve", "--port", "0", "--workers", "64", expect=2)
    assert "2176 connections" in said
    assert "--workers or PREBUILD_SERVE_CONNECTIONS" in " ".join(said.split())


def test_as_many_connections_as_the_database_has_are_accepted(tmp_path: Path) -> None:
    """And those that are for superusers alone are not among them."""
    needed, reserved = CONNECTIONS + 4, 3
    with restartable_postgres({"max_connections": str(needed + reserved)}) as server:
        migrate(server.url.format("postgres"))
        with doors(tmp_path, server.url.format("postgres"), PREBUILD_SERVE_CONNECTIONS=str(CONNECTIONS)) as service:
            _, process = service.serve()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            server.process.send_signal(signal.SIGQUIT)
            server.process.wait(60)
            server.options["max_connections"] = str(needed + reserved - 1)
            server.start()
            server.wait_ready()
            refused = " ".join(service.run("serve", "--port", "0", expect=2).split())
    assert f"may use {needed} connections to the database, which allows {needed - 1} in all" in refused


def raw_claim(token: str, preset: str, wait: float) -> bytes:
    body = json.dumps({"presets": [preset], "owner": f"o-{uuid.uuid4().hex[:8]}", "wait": wait}).encode()
    head = (
        f"POST /v1/claims HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def busy(database: Database, _settings: Settings) -> list[str]:
    """Return the states of all other connections to the database that are not idle."""
    with database.read() as connection:
        query = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return [state for state in connection.execute(text(query)).scalars() if state and state != "idle"]


def gauges(client: httpx.Client) -> list[float]:
    lines = client.get("/metrics").text.splitlines()
    return [float(line.rpartition(" ")[2]) for line in lines if line.startswith("prebuild_http_connections_")]


@pytest.mark.thorough
def test_requests_that_are_aborted_leave_nothing_behind(tmp_path: Path, postgres_url: str) -> None:
    with doors(tmp_path, postgres_url, PREBUILD_SERVE_CONNECTIONS=str(CONNECTIONS)) as service:
        service.stock(60)
        url, process = service.serve()
        token = service.token()
        with portal(url, token) as client:
            assert client.get("/v1/pools").status_code == 200
            for number in range(ABORTED):
                request = raw_claim(token, FULL if number % 2 else NONE, 0 if number % 2 else 0.5)
                with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as connection:
                    connection.sendall(request[: -5 if number % 3 == 0 else None])
            # The gauges are those of a second ago. The database ends an idle transaction after 30 s.
            wait_until(lambda: gauges(client) == [0, 0] and not service.asked(busy), timeout=20, what="every end")
            assert psutil.Process(process.pid).num_threads() < CONNECTIONS + 20

            def read(_: int) -> None:
                # On a busy machine, some wait too long for each other: they are told to ask again.
                wait_until(lambda: client.get("/v1/workspaces").status_code == 200, timeout=20, what="an answer")

            with ThreadPoolExecutor(20) as pool:
                list(pool.map(read, range(40)))


def test_it_ends_within_ten_seconds_whatever_is_open(tmp_path: Path, postgres_url: str) -> None:
    with doors(tmp_path, postgres_url) as service:
        service.stock(1)
        url, process = service.serve()
        token = service.token()
        with portal(url, token) as client, ThreadPoolExecutor() as pool:
            waiting = pool.submit(wait_for_one, client)
            build = wait_until(lambda: build_under_way(service), what="a build")
            idle = [socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) for _ in range(5)]
            with client.stream("GET", f"/v1/builds/{build}/log", params={"follow": "true"}) as log:
                began = time.monotonic()
                process.send_signal(signal.SIGTERM)
                assert waiting.result(10).status_code == 202
                assert time.monotonic() - began < 2
                log.read()
            assert process.wait(12) == 0
            assert time.monotonic() - began < 10
            for connection in idle:
                connection.close()


def wait_for_one(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/claims", json={"presets": [NONE], "owner": "ada", "wait": 50})


def build_under_way(service: Doors) -> str:
    """Return the id of the build that has not ended."""

    def read(database: Database, _settings: Settings) -> str:
        with database.read() as connection:
            return str(connection.execute(text("SELECT id FROM builds WHERE completed_at IS NULL")).scalar() or "")

    return service.asked(read)
