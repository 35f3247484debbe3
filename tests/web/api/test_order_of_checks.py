"""For every route and each two neighbours among the checks: if both find something, the answer is that of the first.

401, 413, 415, 403 for the scope, 404 for the path, 400, 422, 403 for the owner, 404 for the body, 422 for a key that
was used, and the state last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web.api.app import OPERATIONS
from prebuild_tasks.web.api.operations import Operation
from tests.support.api import Api
from tests.support.builders import PRESET, declare, fill, finish_builds

CLAIM, EXTENSION = {"presets": [PRESET], "owner": "ada"}, {"duration": "1d"}
KEY = {"Idempotency-Key": "used"}
NOWHERE = "00000000-0000-0000-0000-000000000000"


@dataclass
class Ask:
    """A request to which faults are added."""

    path: str
    body: dict[str, Any] | None = None
    token: str = ""
    params: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    padding: int = 0

    def content(self) -> bytes:
        text = b"" if self.body is None else json.dumps(self.body).encode()
        return text + b" " * self.padding


@dataclass(frozen=True)
class Route:
    """A request for a route that is refused only for the state of things, if at all."""

    path: str
    state: int = 200
    """The answer to it."""
    gone: str = ""
    """The path with a name that nothing has."""
    body: Mapping[str, Any] | None = None
    invalid: Mapping[str, Any] | None = None
    """The members that make the body invalid."""
    key: bool = False


POOL, UNKNOWN = "/v1/pools/dev/small", "/v1/pools/dev/none"
URL, HOOK = "https://hooks.example.com/", "/v1/webhooks/hook"
HERS, ENDED, NO_ONE = "/v1/workspaces/ada/hers", "/v1/workspaces/ada/ended", "/v1/workspaces/ada/none"
ROUTES = {
    "claimWorkspace": Route("/v1/claims", 410, "", CLAIM, {"wait": -1}, key=True),
    "readClaim": Route("/v1/claims/{claim}", 410, f"/v1/claims/{NOWHERE}"),
    "giveUpClaim": Route("/v1/claims/{given}", 409, f"/v1/claims/{NOWHERE}"),
    "listWorkspaces": Route("/v1/workspaces"),
    "readWorkspace": Route(HERS, 200, NO_ONE),
    "deleteWorkspace": Route(ENDED, 200, NO_ONE),
    "readHistory": Route(f"{HERS}/history", 200, f"{NO_ONE}/history"),
    "releaseWorkspace": Route("/v1/workspaces/prebuilds/{prebuild}/release", 409, f"{NO_ONE}/release"),
    "extendWorkspace": Route(
        f"{ENDED}/extend", 409, f"{NO_ONE}/extend", EXTENSION, {"until": "2030-01-01T00:00:00Z"}, key=True
    ),
    "listPools": Route("/v1/pools"),
    "readPool": Route(POOL, 200, UNKNOWN),
    "explainPool": Route(f"{POOL}/explain", 200, f"{UNKNOWN}/explain"),
    "reportPool": Route(f"{POOL}/report", 200, f"{UNKNOWN}/report"),
    "pausePool": Route(f"{POOL}/pause", 200, f"{UNKNOWN}/pause", {}, {"reason": 5}, key=True),
    "resumePool": Route(f"{POOL}/resume", 200, f"{UNKNOWN}/resume", key=True),
    "unblockPool": Route(f"{POOL}/unblock", 200, f"{UNKNOWN}/unblock"),
    "invalidatePool": Route(f"{POOL}/invalidate", 200, f"{UNKNOWN}/invalidate"),
    "reconcilePool": Route(f"{POOL}/reconcile", 503, f"{UNKNOWN}/reconcile"),
    "pauseAllPools": Route("/v1/pools/pause", 200, "", {}, {"reason": 5}, key=True),
    "resumeAllPools": Route("/v1/pools/resume", key=True),
    "reconcileAllPools": Route("/v1/pools/reconcile", 503),
    "listBuilds": Route("/v1/builds"),
    "readBuild": Route("/v1/builds/{build}", 200, f"/v1/builds/{NOWHERE}"),
    "readLog": Route("/v1/builds/{build}/log", 200, f"/v1/builds/{NOWHERE}/log"),
    "createWebhook": Route("/v1/webhooks", 409, "", {"url": URL, "name": "hook"}, {"url": "https://10.0.0.1/"}),
    "listWebhooks": Route("/v1/webhooks"),
    "testWebhook": Route("/v1/webhooks/off/test", 409, "/v1/webhooks/none/test"),
    "rotateWebhook": Route(f"{HOOK}/rotate", 200, "/v1/webhooks/none/rotate", {}, {"overlap": "soon"}),
    "disableWebhook": Route(f"{HOOK}/disable", 200, "/v1/webhooks/none/disable"),
    "enableWebhook": Route(f"{HOOK}/enable", 200, "/v1/webhooks/none/enable"),
    "listDeliveries": Route(f"{HOOK}/deliveries", 200, "/v1/webhooks/none/deliveries"),
    "redeliver": Route(
        "/v1/webhooks/off/deliveries/{delivery}/redeliver", 409, f"{HOOK}/deliveries/{NOWHERE}/redeliver"
    ),
    "readEvents": Route("/v1/events"),
    "readConfig": Route("/v1/config"),
    "readOpenApi": Route("/openapi.json"),
    "readMetrics": Route("/metrics"),
}
"""`metrics` takes any query: scrapers add their own parameters."""
Fault = tuple[int, Callable[[Ask], None]]


def faults(operation: Operation, route: Route, read: str) -> list[Fault]:
    """Return what can be wrong with a request for the route, in the order of the checks."""
    found: list[Fault] = [(401, lambda ask: setattr(ask, "token", ""))]
    if operation.has_body:
        found.append((413, lambda ask: setattr(ask, "padding", 2_000_000)))
        found.append((415, lambda ask: (ask.headers.update({"Content-Type": "text/plain"}), _pad(ask))))
    if operation.scope != "read":
        found.append((403, lambda ask: setattr(ask, "token", read if ask.token else "")))
    if route.gone:
        found.append((404, lambda ask: setattr(ask, "path", route.gone)))
    if operation.name != "readMetrics":
        found.append((400, lambda ask: ask.params.update(x="1")))
    if operation.name in ("releaseWorkspace", "deleteWorkspace"):
        found.append((404, lambda ask: ask.params.update(id=NOWHERE)))
    if route.key:
        found.append((400, lambda ask: ask.headers.update({"Idempotency-Key": "no key"})))
    if route.invalid:
        found.append((422, lambda ask: ask.body.update(route.invalid)))  # type: ignore[union-attr]
    if operation.name == "claimWorkspace":
        found.append((403, lambda ask: ask.body.update(owner="bob")))  # type: ignore[union-attr]
        found.append((404, lambda ask: ask.body.update(presets=["dev/none"])))  # type: ignore[union-attr]
        found.append((422, lambda ask: ask.body.update(name="other")))  # type: ignore[union-attr]
    if operation.name == "extendWorkspace":
        found.append((422, lambda ask: ask.body.update(duration="2d")))  # type: ignore[union-attr]
    return found


def _pad(ask: Ask) -> None:
    ask.padding = ask.padding or 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_fault_that_is_checked_first_is_named(api: Api, database: Database, settings: Settings) -> None:
    assert {*ROUTES} == {operation.name for operation in OPERATIONS if operation.scope}
    declare(database, settings, 4, extra="claimed_ttl: 1d")
    fill(database, settings)
    admin, hers, read = api.token("admin"), api.token("claim", owner="ada"), api.token("read")
    ended = api.post("/v1/claims", hers, json=CLAIM, headers=KEY).json()
    api.post(f"/v1/workspaces/ada/{ended['workspace']}/release")
    finish_builds(database)
    given = api.post("/v1/claims", admin, json={**CLAIM, "name": "hers"}).json()
    api.post("/v1/claims", admin, json={**CLAIM, "name": "ended"})
    assert api.post(f"{ENDED}/extend", admin, json=EXTENSION, headers=KEY).status_code == 200
    api.post(f"{ENDED}/release", admin)
    [prebuild] = api.get("/v1/workspaces", params={"owner": "prebuilds"}).json()["items"][:1]
    build = api.get("/v1/builds").json()["items"][0]["build"]
    for name in ("hook", "off"):
        api.post("/v1/webhooks", json={"url": URL, "name": name})
    delivery = api.post("/v1/webhooks/off/test").json()["id"]
    api.post("/v1/webhooks/off/disable")
    names = {
        "claim": ended["id"], "given": given["id"], "prebuild": prebuild["workspace"], "build": build,
        "delivery": delivery,
    }  # fmt: skip
    wrong = []
    for operation in OPERATIONS:
        if operation.scope is None:
            continue
        route = ROUTES[operation.name]
        found = faults(operation, route, read)
        for chosen in [(), *pairwise(found), found[-1:]]:
            ask = Ask(route.path.format(**names), None if route.body is None else dict(route.body))
            ask.token = hers if operation.name == "claimWorkspace" else admin
            ask.headers = {"Content-Type": "application/json", **(KEY if route.key else {})}
            for _, spoil in chosen:
                spoil(ask)
            answer = api.call(
                operation.method, ask.path, ask.token, content=ask.content(), params=ask.params, headers=ask.headers
            )
            expected = chosen[0][0] if chosen else route.state
            if answer.status_code != expected:
                wrong.append((operation.name, [status for status, _ in chosen], expected, answer.text[:200]))
    assert wrong == [], "\n".join(map(str, wrong))
