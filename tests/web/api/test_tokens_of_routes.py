"""For every route and every token that must not do it: the status, and that nothing changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select, update
from starlette.requests import Request

from prebuild_tasks.access.tokens import revoke_token
from prebuild_tasks.access.types import Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.base import Base
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.api.app import OPERATIONS
from prebuild_tasks.web.api.call import Call
from tests.support.api import Api
from tests.support.builders import fill
from tests.support.pool_files import load_text

POOLS = """
schema: 1
organizations: [{name: acme}, {name: umbrella}]
templates:
  - name: dev
    organization: acme
    config: {start: 'true'}
    presets: [{name: small, desired: 2, claimed_ttl: 1d}, {name: big, desired: 0}]
"""


@dataclass(frozen=True)
class Row:
    """One request for a route, and the statuses for tokens of another organization, preset and owner."""

    path: str
    organization: int
    preset: int
    owner: int
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None


HERS, POOL, HOOK = "/v1/workspaces/ada/hers", "/v1/pools/dev/small", "/v1/webhooks/hook"
MISSING, SHOWN, ALL = (404, 404, 404), (200, 200, 200), (403, 403, 403)
OF_POOL = (404, 404, 403)
"""A pool serves every owner, so a token for one of them may not change it."""
ROWS = {
    "claimWorkspace": Row("/v1/claims", 404, 404, 403, {"presets": ["dev/small"], "owner": "ada"}),
    "readClaim": Row("/v1/claims/{claim}", *MISSING),
    "giveUpClaim": Row("/v1/claims/{claim}", *MISSING),
    "listWorkspaces": Row("/v1/workspaces", *SHOWN),
    "readWorkspace": Row(HERS, *MISSING),
    "deleteWorkspace": Row(HERS, *MISSING),
    "readHistory": Row(f"{HERS}/history", *MISSING),
    "releaseWorkspace": Row(f"{HERS}/release", *MISSING),
    "extendWorkspace": Row(f"{HERS}/extend", *MISSING, {"duration": "1d"}, {"Idempotency-Key": "k"}),
    "listPools": Row("/v1/pools", *SHOWN),
    "readPool": Row(POOL, 404, 404, 200),
    "explainPool": Row(f"{POOL}/explain", 404, 404, 200),
    "reportPool": Row(f"{POOL}/report", 404, 404, 200),
    "pausePool": Row(f"{POOL}/pause", *OF_POOL),
    "resumePool": Row(f"{POOL}/resume", *OF_POOL),
    "unblockPool": Row(f"{POOL}/unblock", *OF_POOL),
    "invalidatePool": Row(f"{POOL}/invalidate", *OF_POOL),
    "reconcilePool": Row(f"{POOL}/reconcile", *OF_POOL),
    "pauseAllPools": Row("/v1/pools/pause", *ALL),
    "resumeAllPools": Row("/v1/pools/resume", *ALL),
    "reconcileAllPools": Row("/v1/pools/reconcile", *ALL),
    "listBuilds": Row("/v1/builds", *SHOWN),
    "readBuild": Row("/v1/builds/{build}", *MISSING),
    "readLog": Row("/v1/builds/{build}/log", *MISSING),
    "createWebhook": Row("/v1/webhooks", *ALL, {"url": "https://hooks.example.com/"}),
    "listWebhooks": Row("/v1/webhooks", *ALL),
    "testWebhook": Row(f"{HOOK}/test", *ALL),
    "rotateWebhook": Row(f"{HOOK}/rotate", *ALL),
    "disableWebhook": Row(f"{HOOK}/disable", *ALL),
    "enableWebhook": Row(f"{HOOK}/enable", *ALL),
    "listDeliveries": Row(f"{HOOK}/deliveries", *ALL),
    "redeliver": Row(f"{HOOK}/deliveries/{{delivery}}/redeliver", *ALL),
    "readEvents": Row("/v1/events", *SHOWN),
    "readConfig": Row("/v1/config", *ALL),
    "readOpenApi": Row("/openapi.json", *SHOWN),
    "readMetrics": Row("/metrics", *ALL),
}
OPEN = {"readDocs": "/docs", "readLiveness": "/livez", "readReadiness": "/readyz"}
NOT_COMPARED = {"tokens"}
"""Tables that presenting a token changes."""


def everything(database: Database) -> dict[str, list[Any]]:
    """Read all tables that a request could change."""
    with database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in Base.metadata.sorted_tables
            if table.name not in NOT_COMPARED
        }


def useless_tokens(api: Api, database: Database) -> dict[str, str]:
    """Make tokens that nobody may do anything with."""
    revoked, expired = api.token(name="revoked"), api.token(name="expired", lifetime_s=60)
    revoke_token(database, "revoked", actor="test")
    with database.write() as connection:
        past = database.now(connection) - timedelta(seconds=1)
        connection.execute(update(m.Token).where(m.Token.name == "expired").values(expires_at=past))
    return {
        "none": "", "malformed": "x y", "not a token": "secret", "wrong": "pbt_" + "A" * 43, "revoked": revoked,
        "expired": expired,
    }  # fmt: skip


def webhook_with_delivery(api: Api) -> str:
    api.post("/v1/webhooks", json={"url": "https://hooks.example.com/", "name": "hook"})
    return str(api.post(f"{HOOK}/test").json()["id"])


def narrower(scope: Scope) -> list[str]:
    return [one for one in ("read", "claim", "operate") if not Scope(one).allows(scope)]


def test_every_route_has_its_row(api: Api) -> None:
    assert {operation.name for operation in OPERATIONS} == {*ROWS, *OPEN}
    served = {
        (route.path, method) for route in api.app.routes if isinstance(route, APIRoute) for method in route.methods
    }
    assert served == {(operation.path, operation.method) for operation in OPERATIONS}
    assert {operation.name for operation in OPERATIONS if operation.scope is None} == {*OPEN}


def test_no_token_does_what_it_must_not(api: Api, database: Database, settings: Settings) -> None:
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    fill(database, settings, "dev/small")
    hers = claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))
    [build] = [row for row in api.get("/v1/builds").json()["items"] if row["transition"] == "claim"]
    names = {"claim": hers.answer.id, "build": build["build"], "delivery": webhook_with_delivery(api)}
    useless = useless_tokens(api, database)
    narrow = {scope: api.token(scope) for scope in ("read", "claim", "operate")}
    others = {
        "organization": api.token(organization="umbrella"), "preset": api.token(presets=("dev/big",)),
        "owner": api.token(owner="bob"),
    }  # fmt: skip
    before, wrong = everything(database), []
    for operation in OPERATIONS:
        if operation.scope is None:
            continue
        row = ROWS[operation.name]
        path, request = row.path.format(**names), {"json": row.body, "headers": row.headers or {}}
        expected = dict.fromkeys(useless.values(), 401) | {narrow[one]: 403 for one in narrower(operation.scope)}
        expected |= {others[kind]: getattr(row, kind) for kind in others}
        for token, status in expected.items():
            answer = api.call(operation.method, path, token, **request)
            if answer.status_code != status:
                wrong.append((operation.name, token[:20], status, answer.status_code, answer.text[:200]))
            if status == 401 and "WWW-Authenticate" not in answer.headers:
                wrong.append((operation.name, "no WWW-Authenticate"))
    assert wrong == []
    after = everything(database)
    assert [name for name in before if before[name] != after[name]] == []


def test_what_lists_hide(api: Api, database: Database, settings: Settings) -> None:
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    fill(database, settings, "dev/small")
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))
    for restriction in ({"organization": "umbrella"}, {"presets": ("dev/big",)}, {"owner": "bob"}):
        token = api.token("read", **restriction)
        for path in ("/v1/workspaces", "/v1/builds"):
            assert api.get(path, token).json() == {"items": [], "next": None}


def test_no_answer_tells_of_what_is_out_of_reach(api: Api, database: Database, settings: Settings) -> None:
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    fill(database, settings, "dev/small")
    hers = claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))
    builds = api.get("/v1/builds").json()["items"]
    [of_hers] = [row["build"] for row in builds if row["transition"] == "claim"]
    names = {"claim": hers.answer.id, "build": of_hers}
    of_owner = ("hers", hers.answer.workspace_id, of_hers)
    of_pool = (*of_owner, "small", "acme", *(row["build"] for row in builds))
    told = []
    for kind, restriction, words in (
        ("organization", {"organization": "umbrella"}, of_pool), ("preset", {"presets": ("dev/big",)}, of_pool),
        ("owner", {"owner": "bob"}, of_owner),
    ):  # fmt: skip
        token = api.token("read", **restriction)
        for operation in OPERATIONS:
            row = ROWS.get(operation.name)
            if operation.method != "GET" or row is None or getattr(row, kind) != 200:
                continue
            text = api.get(row.path.format(**names), token).text
            if operation.name == "readOpenApi":  # the same for everybody, with made-up names
                assert text == api.get(row.path).text
                continue
            told += [(operation.name, kind, word) for word in words if word in text]
    assert told == []


def test_a_refusal_says_what_a_token_is_limited_to(api: Api) -> None:
    """Metrics used to show every organization and pool to a token for another one."""
    token = api.token("read", name="narrow", owner="bob", presets=("dev/big",))
    refused = api.get("/metrics", token).json()
    assert refused["type"].endswith("#reach-too-narrow")
    assert "the token narrow is for owner bob and preset dev/big only" in refused["detail"]
    assert refused["hint"] == "ask for a token that is not for one owner, organization or preset"


def test_an_open_route_acts_for_nobody(api: Api) -> None:
    """A route that forgot its scope used to act for the command line, which may do everything."""
    [operation] = [operation for operation in OPERATIONS if operation.name == "readLiveness"]
    call = Call(api.app.state.door, Request({"type": "http"}), operation, None, b"")
    with pytest.raises(RuntimeError, match="is open"):
        call.actor()


def test_open_routes_take_any_token(api: Api, database: Database) -> None:
    tokens = useless_tokens(api, database).values()
    assert {api.get(path, token).status_code for path in OPEN.values() for token in tokens} == {200}
