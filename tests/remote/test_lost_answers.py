"""Requests whose first answer is lost: the server has carried them out, and is asked again if that does no harm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest

from prebuild_tasks import errors
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.cli.main import main
from prebuild_tasks.client import Client
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.remote.async_client import AsyncClient
from prebuild_tasks.remote.logins import login_to
from prebuild_tasks.remote.session import RemoteSession
from tests.support.api import Api, serving
from tests.support.builders import PRESET, declare, fill, finish_builds, turn

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
URL = "http://127.0.0.1"
LOST = (httpx.ReadError("reset"), httpx.RemoteProtocolError("disconnected"), 502, 504)
Lost = Exception | int


class LossyDoor:
    """The API, of which the first answer to a change is lost on its way."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.lost: Lost = LOST[0]
        self.statuses = list[int]()
        """Those of the answers to changes."""
        self.meanwhile: Callable[[], object] = lambda: None
        """Called between the first try and the second."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        sent = ("content-type", "idempotency-key")
        headers = {name: request.headers[name] for name in sent if name in request.headers}
        answer = self.api.call(request.method, path, headers=headers, content=request.content)
        if request.method == "GET":
            return httpx.Response(answer.status_code, content=answer.content)
        self.statuses.append(answer.status_code)
        if len(self.statuses) > 1:
            return httpx.Response(answer.status_code, content=answer.content)
        self.meanwhile()
        if isinstance(self.lost, int):
            return httpx.Response(self.lost, text="<html>")
        raise self.lost


REAL, REAL_ASYNC = httpx.Client, httpx.AsyncClient


@pytest.fixture
def door(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[LossyDoor]:
    with serving(database, settings) as api:
        door = LossyDoor(api)
        transport = httpx.MockTransport(door)
        monkeypatch.setattr(httpx, "Client", partial(REAL, transport=transport))
        monkeypatch.setenv("PREBUILD_API_URL", URL)
        monkeypatch.setenv("PREBUILD_API_TOKEN", api.admin)
        yield door


def claimed(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=[PRESET], name="hers"))


@pytest.mark.parametrize("lost", LOST)
def test_a_release_is_repeated(lost: Lost, door: LossyDoor, database: Database, settings: Settings) -> None:
    claimed(database, settings)
    door.lost = lost
    with Client(URL, token=door.api.admin) as client:
        client.release("ada/hers")
    assert door.statuses == [200, 200]


def test_a_workspace_that_is_gone_at_the_second_try_was_released(
    door: LossyDoor, database: Database, settings: Settings
) -> None:
    claimed(database, settings)
    door.meanwhile = lambda: finish_builds(database)
    with Client(URL, token=door.api.admin) as client:
        client.release("ada/hers")
        assert door.statuses == [200, 404]
        with pytest.raises(errors.NotFoundError):
            client.release("ada/hers")


@pytest.mark.parametrize("lost", LOST)
def test_a_repeated_release_spares_another_workspace_of_the_same_name(
    lost: Lost, door: LossyDoor, database: Database, settings: Settings
) -> None:
    def claim_another() -> None:
        finish_builds(database)
        fill(database, settings)
        claim(database, ClaimRequest(owner="ada", presets=[PRESET], name="hers"))

    claimed(database, settings)
    door.lost, door.meanwhile = lost, claim_another
    with Client(URL, token=door.api.admin) as client:
        client.release("ada/hers")
        assert client.get("ada/hers").state.value == "usable"
    assert door.statuses == [200, 404]


def test_what_never_existed_was_not_released(door: LossyDoor) -> None:
    """A 404 to a second try used to count as success, whatever the first one had met."""
    door.lost = 502
    with Client(URL, token=door.api.admin) as client, pytest.raises(errors.NotFoundError):
        client.release("ada/none")


def test_the_id_of_a_workspace_that_is_gone_at_the_second_try(
    door: LossyDoor, database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    claimed(database, settings)
    [row] = door.api.get("/v1/workspaces", params={"name": "hers"}).json()["items"]
    door.meanwhile = lambda: finish_builds(database)
    assert main(["release", "ada/hers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == row["id"]


def test_an_async_client_repeats_a_release(
    door: LossyDoor, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed(database, settings)

    async def answer(request: httpx.Request) -> httpx.Response:
        return await asyncio.to_thread(door, request)

    monkeypatch.setattr(httpx, "AsyncClient", partial(REAL_ASYNC, transport=httpx.MockTransport(answer)))

    async def release() -> None:
        async with AsyncClient(URL, token=door.api.admin) as client:
            await client.release("ada/hers")

    asyncio.run(release())
    assert door.statuses == [200, 200]


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ("pause", f"{PRESET} is paused"),
        ("resume", f"{PRESET} is no longer paused"),
        ("unblock", f"{PRESET} builds again"),
    ],
)
def test_an_operation_is_repeated_and_says_what_it_did(
    action: str, sentence: str, door: LossyDoor, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    declare(door.api.database, settings, 1)
    turn(door.api.database, settings)
    finish_builds(door.api.database, status=BuildStatus.FAILED, error="no space")
    if action == "resume":
        door.api.post(f"/v1/pools/{PRESET}/pause")
    assert main([action, PRESET]) == 0
    assert capsys.readouterr().out.strip() == sentence
    assert door.statuses == [200, 200]


@pytest.mark.parametrize(("action", "undone_by"), [("pause", "resume"), ("resume", "pause")])
@pytest.mark.parametrize("pool", [PRESET, ""])
def test_a_repeated_operation_does_not_undo_what_came_between(
    action: str, undone_by: str, pool: str, door: LossyDoor, settings: Settings
) -> None:
    declare(door.api.database, settings, 1)
    path = f"/v1/pools/{pool}".rstrip("/")
    if action == "resume":
        door.api.post(f"{path}/pause")
    door.meanwhile = lambda: door.api.post(f"{path}/{undone_by}")
    assert RemoteSession(login_to(URL, door.api.admin)).operate(pool, action)["changed"] is True
    assert door.statuses == [200, 200]
    is_paused = door.api.get(f"/v1/pools/{PRESET}").json()["reason"] == "paused"
    assert is_paused == (undone_by == "pause")


def test_an_invalidation_is_not_repeated(door: LossyDoor, database: Database, settings: Settings) -> None:
    """A second one would also replace what the pool has begun to build since the first."""
    declare(database, settings, 1)
    fill(database, settings)
    with pytest.raises(errors.UnreachableError) as raised:
        RemoteSession(login_to(URL, door.api.admin)).operate(PRESET, "invalidate")
    assert raised.value.hint == "look whether it was done before you repeat it"
    assert door.statuses == [200]


@pytest.mark.parametrize("command", ["create https://hooks.example.com/", "test hook", "rotate hook", "disable hook"])
def test_a_change_of_a_webhook_is_not_repeated(
    command: str, door: LossyDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert door.api.post("/v1/webhooks", json={"url": "https://hooks.example.com/", "name": "hook"}).is_success
    assert main(["webhook", *command.split()]) == 7
    assert "look whether it was done" in capsys.readouterr().err
    assert len(door.statuses) == 1
