"""The page's stream of changes, as a process serves it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from prebuild_tasks.access.tokens import create_token, revoke_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.clock import monotonic
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.pools.options import ApplyOptions
from tests.support.door import FULL, NONE, Doors, doors
from tests.support.live import live_address, logged_in, watching
from tests.support.pool_files import load_text
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SOON = 1.5
OTHERS = """
schema: 1
organizations: [{name: acme}]
templates:
  - {name: theirs, organization: acme, provisioner: simulated, config: {}, presets: [{name: small, desired: 0}]}
"""


@pytest.fixture
def service(tmp_path: Path, postgres_url: str) -> Iterator[Doors]:
    with doors(tmp_path, postgres_url, PREBUILD_SERVE_STREAMS_PER_TOKEN="2") as service:
        service.stock(2)
        yield service


def set_paused(service: Doors, pool: str, *, paused: bool = True) -> None:
    service.asked(lambda database, _: (pause if paused else resume)(database, pool, actor="test"))


def ids(change: dict[str, list[dict[str, str]]]) -> set[str]:
    return {part["id"] for part in change["parts"]}


def test_a_page_gets_what_it_missed_and_what_comes(service: Doors) -> None:
    url, _ = service.serve()
    with logged_in(url, service.token()) as client:
        page = client.get("/pools").text
        set_paused(service, NONE)
        with watching(client, live_address(page)) as changes:
            headers = changes.response.headers
            assert headers["content-type"].startswith("text/event-stream")
            assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
            assert "content-encoding" not in headers
            first = changes.next()
            assert f"state={first['was']}" in live_address(page)
            assert ids(first) == {f"pool-{NONE}"}
            began = monotonic()
            set_paused(service, FULL)
            change = changes.next()
            assert monotonic() - began < SOON
            assert (ids(change), change["was"]) == ({f"pool-{FULL}"}, first["is"])
            assert '<span class="badge paused">' in change["parts"][0]["html"]
            set_paused(service, FULL, paused=False)
            last = changes.next()
        with watching(client, live_address(page), **{"Last-Event-ID": change["is"]}) as changes:
            assert changes.next() == last
        with watching(client, "/live?kind=pools&state=of+another+process") as changes:
            whole = changes.next()
            assert whole["all"] is True
            assert {f"pool-{FULL}", f"pool-{NONE}"} < ids(whole)
        with watching(client, live_address(client.get("/pools?q=full").text)) as changes:
            assert changes.next()["parts"] == []
            set_paused(service, NONE, paused=False)
            set_paused(service, FULL)
            assert ids(changes.next()) == {f"pool-{FULL}"}


def test_each_sees_only_what_is_within_reach(service: Doors) -> None:
    service.asked(
        lambda database, settings: apply(
            database, settings, load_text(OTHERS), ApplyOptions(actor="test", source="others")
        )
    )
    request = NewTokenRequest(name="acme", scope=Scope.READ, organization="acme")
    token = service.asked(lambda database, _: create_token(database, request, actor="test").text)
    url, _ = service.serve()
    with logged_in(url, token) as client, watching(client, "/live?kind=pools") as changes:
        assert ids(changes.next()) == {"pools-summary", "pools-empty", "pool-theirs/small"}
        set_paused(service, FULL)
        set_paused(service, "theirs/small")
        assert ids(changes.next()) == {"pool-theirs/small"}


def test_only_a_session_lets_in(service: Doors) -> None:
    url, _ = service.serve()
    token = service.token()
    with logged_in(url, token) as client:
        assert client.get("/live?kind=nothing").status_code == 404
        assert client.get("/live").status_code == 404
        client.cookies.clear()
        answer = client.get("/live?kind=pools", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=")


def test_a_stream_ends_with_its_session(service: Doors) -> None:
    url, _ = service.serve()
    service.token("other")
    with (
        logged_in(url, service.token("ada")) as out,
        logged_in(url, service.token("bob")) as revoked,
        watching(out, "/live?kind=pools") as ended,
        watching(revoked, "/live?kind=pools") as too,
    ):
        form_token = re.search(r'name="form_token" value="(\w+)"', out.get("/pools").text)
        assert form_token
        assert out.post("/logout", data={"form_token": form_token[1]}, headers={"Origin": url}).status_code == 303
        service.asked(lambda database, _: revoke_token(database, "bob", actor="test"))
        began = monotonic()
        for stream in (ended, too):
            assert "event: over" in stream.rest(), "so that the browser does not ask again"
        assert monotonic() - began < 5


def test_streams_are_limited_and_end_at_the_stop(service: Doors) -> None:
    url, process = service.serve()
    with (
        logged_in(url, service.token()) as client,
        watching(client, "/live?kind=pools"),
        watching(client, "/live?kind=pools") as changes,
    ):
        assert client.get("/live?kind=pools").status_code == 429
        assert client.get("/pools").status_code == 200
        changes.next()
        process.send_signal(signal.SIGTERM)
        retry = [line for line in changes.rest() if line.startswith("retry: ")]
        assert len(retry) == 1
        assert 1000 <= int(retry[0].split()[1]) <= 5000
        wait_until(lambda: process.poll() is not None, what="the end of the process")


def test_each_session_has_places_of_its_own(service: Doors) -> None:
    url, _ = service.serve()
    token = service.token()
    with (
        logged_in(url, token) as one,
        logged_in(url, token) as two,
        watching(one, "/live?kind=pools"),
        watching(one, "/live?kind=pools"),
        watching(two, "/live?kind=pools") as changes,
    ):
        assert one.get("/live?kind=pools").status_code == 429
        assert changes.next()["all"] is True
