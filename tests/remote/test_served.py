"""`Client` and `AsyncClient` against a process of `prebuild serve`: they do the same."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from prebuild_tasks.client import Client
from prebuild_tasks.errors import ClaimMissError, WaitTimeoutError
from prebuild_tasks.model.vocabulary import WorkspaceState
from prebuild_tasks.remedies import RemedyKind
from prebuild_tasks.remote.async_client import AsyncClient
from tests.support.door import FULL, NONE, Doors, doors
from tests.support.servers import PostgresServer, migrate, restartable_postgres
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(180)]
DEADLINE = 60.0


Caller = Callable[..., Any]
"""Calls a method of a client, and returns what it returns."""


@contextmanager
def blocking(url: str, token: str) -> Iterator[Caller]:
    with Client(url, token=token, deadline=DEADLINE) as client:
        yield lambda method, *arguments, **named: getattr(client, method)(*arguments, **named)


@contextmanager
def awaited(url: str, token: str) -> Iterator[Caller]:
    client = AsyncClient(url, token=token, deadline=DEADLINE)
    with asyncio.Runner() as runner:
        try:
            yield lambda method, *arguments, **named: runner.run(getattr(client, method)(*arguments, **named))
        finally:
            runner.run(client.close())


@dataclass(frozen=True)
class Served:
    """A process that serves, and its database."""

    service: Doors
    server: PostgresServer
    process: subprocess.Popen[str]
    url: str

    def statuses(self, principal: str) -> list[int]:
        """Return the statuses of the answers to a token, in order."""
        lines = [json.loads(line) for line in self.service.output().splitlines() if line.startswith("{")]
        return [line["status"] for line in lines if line.get("principal") == principal]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with restartable_postgres() as server:
        migrate(server.url.format("postgres"))
        with doors(tmp_path_factory.mktemp("served"), server.url.format("postgres")) as service:
            service.stock(20)
            url, process = service.serve()
            yield Served(service, server, process, url)


def claimed(call: Caller, _served: Served, _name: str) -> None:
    key = uuid.uuid4().hex
    one = call("claim", FULL, owner="ada", request_id=key)
    assert (one.owner, one.preset, one.request_id) == ("ada", FULL, key)
    again = call("claim", FULL, owner="ada", request_id=key)
    assert (again.id, again.workspace_id) == (one.id, one.workspace_id)
    named = f"ada/{one.workspace}"
    assert call("get", named).id == one.workspace_id
    call("release", named)
    assert call("get", named).state is WorkspaceState.DELETING


def missed(call: Caller, served: Served, name: str) -> None:
    with pytest.raises(ClaimMissError) as raised:
        call("claim", NONE, owner="ada")
    assert (raised.value.reason, raised.value.exit_code) == ("not_desired", 4)
    assert 1 <= raised.value.retry_after <= 300
    wait_until(lambda: served.statuses(name) == [429], what="one request, which nobody repeats")


def waited(call: Caller, served: Served, name: str) -> None:
    key = uuid.uuid4().hex
    with pytest.raises(WaitTimeoutError) as raised:
        call("claim", NONE, owner=name, request_id=key, wait=0.3)
    assert raised.value.remedy
    assert (raised.value.remedy.kind, raised.value.remedy.subject) == (RemedyKind.REPEAT_REQUEST, key)
    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(lambda: wait_until(served.service.finish_builds, what="a build"))
        one = call("claim", NONE, owner=name, request_id=key, wait=60)
        built.result()
    assert call("wait_until_usable", f"{name}/{one.workspace}", 30).id == one.workspace_id
    assert len(call("workspaces", owner=name)) == 1


def away_and_back(call: Caller, served: Served, name: str) -> None:
    server = served.server
    call("claim", FULL, owner=name)
    server.process.send_signal(signal.SIGQUIT)
    server.process.wait(60)

    def come_back() -> None:
        wait_until(lambda: 503 in served.statuses(name), what="an answer without the database")
        server.start()
        server.wait_ready()

    with ThreadPoolExecutor(1) as pool:
        back = pool.submit(come_back)
        assert call("claim", FULL, owner=name).preset == FULL
        back.result()
    assert len(call("workspaces", owner=name)) == 2, "each claim gave one"


def closed(call: Caller, served: Served, _name: str) -> None:
    call("availability")
    assert connections(served.process) > 0
    call("close")
    wait_until(lambda: connections(served.process) == 0, what="no connection")


def connections(process: subprocess.Popen[str]) -> int:
    """Return the number of connections that clients have to a process."""
    told = psutil.Process(process.pid).net_connections("tcp")
    return sum(one.status == psutil.CONN_ESTABLISHED for one in told)


Case = Callable[[Caller, Served, str], None]


@pytest.mark.parametrize("kind", [blocking, awaited])
@pytest.mark.parametrize("case", [claimed, missed, waited, away_and_back, closed])
def test_both_do_the_same(
    case: Case, kind: Callable[[str, str], AbstractContextManager[Caller]], served: Served
) -> None:
    name = f"{case.__name__}-{kind.__name__}".replace("_", "-")
    with kind(served.url, served.service.token(name)) as call:
        case(call, served, name)
