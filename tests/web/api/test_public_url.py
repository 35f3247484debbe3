"""Every address in an answer begins with `PREBUILD_PUBLIC_URL`; without one it is a path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.web.serve.refusals import Refusal
from prebuild_tasks.web.serve.served import Refusals
from tests.support.api import Api, Options, serving
from tests.support.builders import PRESET, declare, fill, finish_builds, staffed

CLAIMS = "/v1/claims"
PUBLIC = "https://door.example/prebuilds"
ADDRESSES = frozenset({"type", "href", "log"})
"""The members that are addresses."""

pytestmark = pytest.mark.parametrize("base", [PUBLIC, ""], ids=["public", "paths"])
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def api(base: str, database: Database, settings: Settings) -> Iterator[Api]:
    with serving(database, settings, Options(public_url=base and f"{base}/")) as api:
        yield api


def addresses(node: Any) -> Iterator[str]:
    """Yield the addresses of an answer, at any depth."""
    if isinstance(node, dict):
        yield from (value for name, value in node.items() if name in ADDRESSES and isinstance(value, str))
        for value in node.values():
            yield from addresses(value)
    elif isinstance(node, list):
        for value in node:
            yield from addresses(value)


def paths(base: str, answer: httpx.Response) -> list[str]:
    """Return the paths of all addresses of an answer, each of which begins with the base."""
    listed = list(addresses(answer.json()))
    if place := answer.headers.get("Location"):
        listed.append(place)
    assert listed, answer.text
    assert [address for address in listed if not address.startswith(f"{base}/")] == []
    cut = [address.removeprefix(base) for address in listed]
    assert [path for path in cut if not path.startswith(("/v1/", "/docs#"))] == []
    return cut


@on_sqlite
def test_addresses_of_claims(base: str, api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    body = {"presets": [PRESET], "owner": "ada"}
    missed = api.post(CLAIMS, json=body)
    assert paths(base, missed) == ["/docs#miss/empty-pool", CLAIMS]
    fill(database, settings)
    given = api.post(CLAIMS, json=body)
    assert paths(base, given) == [f"{CLAIMS}/{given.json()['id']}"]
    being_built = api.post(CLAIMS, json={**body, "wait": 0.01}, headers={"Idempotency-Key": "k"})
    assert (being_built.status_code, paths(base, being_built)) == (202, [f"{CLAIMS}/{being_built.json()['id']}"])
    finish_builds(database, status=BuildStatus.FAILED, error="no space")
    failed = api.post(CLAIMS, json={**body, "wait": 0.01}, headers={"Idempotency-Key": "k"})
    kind, log, call = paths(base, failed)
    assert (kind, log) == ("/docs#build-failed", call)
    assert api.get(log).status_code == 200, "whatever stands before the path, a proxy takes away"


@on_sqlite
def test_addresses_of_an_explanation(base: str, api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    api.post(f"/v1/pools/{PRESET}/pause")
    assert f"/v1/pools/{PRESET}/resume" in paths(base, api.get(f"/v1/pools/{PRESET}/explain"))


@on_sqlite
def test_addresses_of_refusals(base: str, api: Api) -> None:
    asked = [
        (401, api.get("/v1/pools", "")),
        (403, api.post(CLAIMS, api.token("read"), json={})),
        (404, api.get("/v1/none")),
        (404, api.get("/v1/pools/dev/none")),
        (405, api.call("PUT", "/v1/pools")),
        (413, api.post(CLAIMS, content=b" " * 2_000_000)),
        (415, api.post(CLAIMS, content=b"x")),
        (422, api.post(CLAIMS, json={"presets": []})),
    ]
    assert [answer.status_code for _, answer in asked] == [status for status, _ in asked]
    for _, answer in asked:
        assert paths(base, answer)[0].startswith("/docs#")
    assert asked[2][1].json()["hint"] == f"see {base}/docs"


def test_the_address_of_a_refusal_that_no_route_has_seen(base: str) -> None:
    refuse = Refusals(base)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await refuse(scope, receive, send, Refusal(400, "wrong_host", "not here"))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
            return await client.get("/")

    assert paths(base, asyncio.run(ask())) == ["/docs#wrong-host"]


@on_sqlite
def test_the_server_of_the_document(base: str, api: Api) -> None:
    assert api.get("/openapi.json").json()["servers"] == [{"url": base or "/"}]
