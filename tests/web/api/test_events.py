"""Pages of the event log: their order, numbers and filters, what they refuse, and what each token sees."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.events import PrunedNumbers, note_pruned, number_all_events
from prebuild_tasks.pools import operations
from prebuild_tasks.web.api.accept import prefers
from tests.support.api import Api
from tests.support.organizations import fill_organizations

EVENTS = "/v1/events"


@pytest.fixture
def busy(api: Api, database: Database, settings: Settings) -> Api:
    """An API with events of two organizations, three pools and two owners, and some about no pool."""
    fill_organizations(database, settings)
    claim(database, ClaimRequest("ada", ["dev/small"], name="hers"))
    claim(database, ClaimRequest("bob", ["ops/small"], name="his"))
    with pytest.raises(ClaimMissError):
        claim(database, ClaimRequest("ada", ["ops/small"]))
    operations.pause(database, "dev/large", actor="test")
    operations.pause(database, actor="test")
    number_all_events(database)
    return api


def page(api: Api, token: str | None = None, **query: Any) -> dict[str, Any]:
    answer = api.get(EVENTS, token, params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def told(api: Api, token: str | None = None, **query: Any) -> set[tuple[str, str | None, str | None]]:
    """Return kind, pool and owner of the events but those of the pools' own doing."""
    items = page(api, token, limit=500, **query)["items"]
    return {
        (item["kind"], item["pool"], item["owner"])
        for item in items
        if item["kind"] not in ("build_ended", "pool_short", "pool_full")
    }


def test_pages_hold_every_event_once_in_the_order_of_numbers(busy: Api) -> None:
    every = page(busy, limit=500)["items"]
    numbers = [item["id"] for item in every]
    assert all(one < two for one, two in pairwise(numbers))
    assert len(numbers) > 10
    read, after = [], 0
    while (body := page(busy, after=after, limit=3))["items"]:
        assert len(body["items"]) <= 3
        assert body["next"] == body["items"][-1]["id"]
        read += body["items"]
        after = body["next"]
    assert read == every
    assert body == {"items": [], "next": after}, "an empty page repeats the number"


def test_an_item_tells_what_happened(busy: Api) -> None:
    [item] = page(busy, kind="claim", owner="ada")["items"]
    at = item.pop("at")
    assert at.endswith("+00:00")
    assert item == {
        "id": item["id"], "kind": "claim", "pool": "dev/small", "owner": "ada", "workspace": "hers", "actor": "ada",
        "reason": "claim", "data": {},
    }  # fmt: skip


def test_an_event_can_be_read_by_who_wrote_it(api: Api, database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    api.post("/v1/claims", api.token("claim", name="portal"), json={"presets": ["dev/small"], "owner": "ada"})
    api.run(api.app.state.door.number_events())
    [item] = page(api, kind="claim")["items"]
    assert (item["actor"], item["owner"]) == ("token:portal", "ada")


def test_filters(busy: Api) -> None:
    assert told(busy, owner="bob") == {("claim", "ops/small", "bob")}
    assert told(busy, pool="dev/large") == {("paused", "dev/large", None)}
    assert told(busy, kind="paused") == {("paused", "dev/large", None), ("paused", None, None)}
    assert told(busy, kind="claim", owner="ada", pool="dev/small") == {("claim", "dev/small", "ada")}
    assert told(busy, kind="claim", owner="ada", pool="dev/large") == set()


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ({"pool": "dev/none"}, 404, "not-found"), ({"pool": "dev"}, 404, "not-found"),
        ({"after": "-1"}, 400, "malformed-query"), ({"after": "x"}, 400, "malformed-query"),
        ({"after": str(10**18)}, 400, "malformed-query"), ({"limit": "0"}, 400, "malformed-query"),
        ({"limit": "501"}, 400, "malformed-query"), ({"kind": "party"}, 400, "malformed-query"),
        *(({"after": number}, 400, "malformed-query") for number in ("+5", "1_0", "1.0", " 5", "\u0663", "")),
        ({"limit": "+5"}, 400, "malformed-query"), ({"limit": "1_0"}, 400, "malformed-query"),
        ({"cursor": "x"}, 400, "malformed-query"), ({"owner": "a\0"}, 400, "malformed-query"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_what_is_refused(busy: Api, query: dict[str, str], status: int, kind: str, accept: str) -> None:
    answer = busy.get(EVENTS, params=query, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["type"].endswith(f"#{kind}")
    assert busy.app.state.door.places.taken == 0


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("text/event-stream", True), ("TEXT/Event-Stream", True), ("text/event-stream, */*", True),
        ("application/json, text/event-stream", True), ("text/event-stream;q=0.1", True),
        ("text/event-stream; charset=utf-8", True), ("application/json;q=0.5, text/event-stream;q=0.6", True),
        ("text/event-stream;q=0", False), ("text/event-stream; Q=0.000, application/json", False),
        ("application/json, text/event-stream;q=0.1", False), ("text/event-streamx", False), ("*/*", False),
        ("text/event-stream;q=x", False), ("", False),
    ],
)  # fmt: skip
def test_a_stream_is_for_who_prefers_it(accept: str, is_stream: bool) -> None:
    assert prefers("text/event-stream", "application/json", [accept]) == is_stream


def test_one_that_refuses_a_stream_gets_a_page(busy: Api) -> None:
    answer = busy.get(EVENTS, headers={"Accept": "text/event-stream;q=0, application/json"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 19, "²"])
def test_the_id_that_a_client_has_must_be_one(busy: Api, number: str) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": number.encode()}
    answer = busy.get(EVENTS, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_query")


def test_what_is_no_longer_kept_is_gone(busy: Api, database: Database) -> None:
    numbers = [item["id"] for item in page(busy)["items"]]
    with database.write() as connection:
        note_pruned(connection, PrunedNumbers.up_to(numbers[4]), database.now(connection))
    gone = busy.get(EVENTS, params={"after": numbers[2]})
    problem = gone.json()
    assert (gone.status_code, problem["code"]) == (410, "events_gone")
    assert numbers[4] < problem["oldest"] <= numbers[5]
    assert page(busy, after=0)["items"][0]["id"] == numbers[5]
    assert page(busy, after=problem["oldest"] - 1)["items"][0]["id"] == numbers[5]


def test_a_number_that_no_event_has_is_gone(busy: Api) -> None:
    numbers = [item["id"] for item in page(busy)["items"]]
    gone = busy.get(EVENTS, params={"after": numbers[-1] + 1})
    problem = gone.json()
    assert (gone.status_code, problem["code"]) == (410, "events_gone")
    assert 0 < problem["oldest"] <= numbers[0]
    assert f"go on after {numbers[-1]}" in problem["hint"]
    assert page(busy, after=numbers[-1]) == {"items": [], "next": numbers[-1]}


CLAIM_A, CLAIM_B, MISS = ("claim", "dev/small", "ada"), ("claim", "ops/small", "bob"), ("miss", "ops/small", "ada")
PAUSED, ALL_PAUSED = ("paused", "dev/large", None), ("paused", None, None)
CREATED = ("token_created", None, None)


@pytest.mark.parametrize(
    ("restrictions", "seen"),
    [
        ({"scope": "admin"}, {CLAIM_A, CLAIM_B, MISS, PAUSED, ALL_PAUSED, CREATED}),
        ({"scope": "operate"}, {CLAIM_A, CLAIM_B, MISS, PAUSED, ALL_PAUSED}),
        ({"scope": "read"}, {CLAIM_A, CLAIM_B, MISS, PAUSED, ALL_PAUSED}),
        ({"scope": "read", "organization": "acme"}, {CLAIM_A, PAUSED, ALL_PAUSED}),
        ({"scope": "read", "presets": ("dev/large",)}, {PAUSED, ALL_PAUSED}),
        ({"scope": "read", "owner": "bob"}, {CLAIM_B, PAUSED, ALL_PAUSED}),
        ({"scope": "claim", "owner": "ada", "organization": "umbrella"}, {MISS, ALL_PAUSED}),
        ({"scope": "admin", "organization": "umbrella"}, {CLAIM_B, MISS, ALL_PAUSED}),
    ],
)
def test_what_a_token_sees(busy: Api, restrictions: dict[str, Any], seen: set[tuple[str, str, str]]) -> None:
    token = busy.token(**restrictions)
    assert told(busy, token) == seen


def test_a_pool_beyond_reach_does_not_exist(busy: Api) -> None:
    hidden = busy.get(EVENTS, busy.token("read", organization="acme"), params={"pool": "ops/small"})
    unknown = busy.get(EVENTS, params={"pool": "ops/none"})
    assert (hidden.status_code, unknown.status_code) == (404, 404)
    assert hidden.json()["detail"].replace("small", "none") == unknown.json()["detail"]
