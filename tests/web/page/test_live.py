"""The page's stream of changes, as a process serves it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from prebuild_tasks.access.tokens import create_token, revoke_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.pools.options import ApplyOptions
from tests.support.builders import staffed
from tests.support.door import FULL, NONE, Doors, doors
from tests.support.live import Changes, live_address, live_addresses, logged_in, watching
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
POOLS_ONLY = "/live?view=kind%3Dpools"


def stream_of(*views: str) -> str:
    return f"/live?{urlencode([('view', view) for view in views])}"


def view_of(pool: str) -> str:
    template, _, preset = pool.partition("/")
    return urlencode({"kind": "pool", "template": template, "preset": preset})


@pytest.fixture
def service(tmp_path: Path, postgres_url: str) -> Iterator[Doors]:
    with doors(tmp_path, postgres_url, PREBUILD_SERVE_STREAMS_PER_TOKEN="2", PREBUILD_EXPORTER_CACHE="1s") as service:
        service.stock(2)
        yield service


def set_paused(service: Doors, pool: str, *, paused: bool = True) -> None:
    service.asked(lambda database, _: (pause if paused else resume)(database, pool, actor="test"))


def ids(change: dict[str, list[dict[str, str]]]) -> set[str]:
    return {part["id"] for part in change["parts"]}


def part_of(changes: Changes, part_id: str) -> dict[str, str]:
    """Return the parts of the next change that has one of this id."""
    while True:
        parts = {part["id"]: part["html"] for part in changes.next()["parts"]}
        if part_id in parts:
            return parts


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
            first = changes.next_parts()
            assert f"shown={first['was']}" in live_address(page)
            assert ids(first) == {f"pool-{NONE}"}
            set_paused(service, FULL)
            began = monotonic()
            change = changes.next_parts()
            assert monotonic() - began < SOON
            assert (ids(change), change["was"]) == ({f"pool-{FULL}"}, first["is"])
            assert '<span class="badge paused">' in change["parts"][0]["html"]
            set_paused(service, FULL, paused=False)
            last = changes.next_parts()
        with watching(client, f"{POOLS_ONLY}&shown={change['is']}") as changes:
            assert changes.next_parts() == last
        with watching(client, f"{POOLS_ONLY}&shown=of+another+process") as changes:
            whole = changes.next()
            assert whole["all"] is True
            assert {f"pool-{FULL}", f"pool-{NONE}"} < ids(whole)
        with watching(client, live_address(client.get("/pools?q=full").text)) as changes:
            assert changes.next()["parts"] == []
            set_paused(service, NONE, paused=False)
            set_paused(service, FULL)
            assert ids(changes.next_parts()) == {f"pool-{FULL}"}


def test_each_sees_only_what_is_within_reach(service: Doors) -> None:
    service.asked(
        lambda database, settings: apply(
            database, settings, load_text(OTHERS), ApplyOptions(actor="test", source="others")
        )
    )
    request = NewTokenRequest(name="acme", scope=Scope.READ, organization="acme")
    token = service.asked(lambda database, _: create_token(database, request, actor="test").text)
    url, _ = service.serve()
    with logged_in(url, token) as client, watching(client, POOLS_ONLY) as changes:
        assert ids(changes.next()) == {"pools-summary", "pools-paused", "pools-empty", "pool-theirs/small"}
        set_paused(service, FULL)
        set_paused(service, "theirs/small")
        assert ids(changes.next_parts()) == {"pool-theirs/small"}


def test_the_page_of_a_pool_changes_for_who_sees_it(service: Doors) -> None:
    url, _ = service.serve()
    reader = NewTokenRequest(name="reader", scope=Scope.READ, presets=(FULL,))
    token = service.asked(lambda database, _: create_token(database, reader, actor="test").text)
    with logged_in(url, service.token()) as admin, logged_in(url, token) as sees:
        page = admin.get(f"/pools/{FULL}").text
        tokens = set(re.findall(r'name="form_token" value="(\w*)"', page))
        assert all(tokens), "each form is of the session"
        with (
            watching(admin, live_address(page)) as changes,
            watching(sees, live_address(sees.get(f"/pools/{FULL}").text)) as seen,
        ):
            changes.next()
            seen.next()
            set_paused(service, FULL)
            parts = part_of(changes, "pool-actions")
            assert f'action="/pools/{FULL}/resume"' in parts["pool-why"]
            assert f'action="/pools/{FULL}/pause"' not in parts["pool-actions"]
            assert tokens.isdisjoint(re.findall(r"\w+", "".join(parts.values()))), "what all share is of no session"
            while "paused" not in (parts := part_of(seen, "pool-why"))["pool-why"]:
                pass
            assert "pool-actions" not in parts
            assert "<form" not in "".join(parts.values())
        for client, pool, why in (
            (sees, NONE, f"there is no preset {NONE}"),
            (admin, "none/sm\0all", "there is nothing named 'none/sm\\x00all'"),
        ):
            with watching(client, stream_of(view_of(pool))) as changes:
                assert changes.next("stale")["why"] == why


def claim_waiting(service: Doors, owner: str) -> None:
    service.asked(lambda database, _: claim(database, ClaimRequest(owner=owner, presets=[NONE], wait=True)))


def test_the_first_pages_of_the_lists_change(service: Doors) -> None:
    url, _ = service.serve()
    with logged_in(url, service.token()) as client:
        waiting, builds, workspaces = (client.get(path).text for path in ("/waiting", "/builds", "/workspaces"))
        assert "Nobody waits." in waiting
        claim_waiting(service, "ada")
        with watching(client, live_address(waiting)) as changes:
            first = changes.next_parts()
            assert {"waiting-empty", "waiting-pages"} < ids(first)
            row = next(part for part in first["parts"] if part["within"] == "waiting")
            assert '<th scope="row">ada</th>' in row["html"]
            claim_waiting(service, "bob")
            began = monotonic()
            assert '<th scope="row">bob</th>' in changes.next_parts()["parts"][-1]["html"]
            assert monotonic() - began < SOON
            service.finish_builds()
        for name, page in (("builds", builds), ("workspaces", workspaces)):
            with watching(client, live_address(page)) as changes:
                rows = [part for part in changes.next_parts()["parts"] if part["within"] == name]
                assert rows
                assert not [row["id"] for row in rows if row["id"] in page], "the others are as they were"
                html = "".join(row["html"] for row in rows)
                assert html.count('name="form_token" value=""') == html.count("<form ")
    with logged_in(url, service.token("other")) as client:
        second = re.search(r'rel="next" href="([^"]+)"', client.get("/builds?limit=1").text)
        assert second
        assert "data-live" not in client.get(unescape(second[1])).text


def test_the_workers_change_for_who_sees_the_whole_installation(service: Doors) -> None:
    url, _ = service.serve()
    request = NewTokenRequest(name="some", scope=Scope.ADMIN, presets=(FULL,))
    token = service.asked(lambda database, _: create_token(database, request, actor="test").text)
    with logged_in(url, service.token()) as client, logged_in(url, token) as some:
        assert "new-host" not in client.get("/workers").text
        with watching(client, live_address(client.get("/workers").text)) as changes:
            changes.next()
            service.asked(
                lambda database, settings: staffed(database, settings.model_copy(update={"host": "new-host"}))
            )
            assert "new-host" in part_of(changes, "workers-hosts")["workers-hosts"]
        with watching(some, stream_of("kind=workers")) as changes:
            stale = changes.next("stale")
            assert (stale["view"], stale["since"]) == ("kind=workers", None)
            assert "not for" in stale["why"] or "for preset" in stale["why"]


def test_without_a_view_it_is_the_table_of_pools(service: Doors) -> None:
    url, _ = service.serve()
    service.stock(1)
    with logged_in(url, service.token()) as client, watching(client, "/live") as changes:
        assert changes.next("change")["view"] == "kind=pools"


def test_only_a_session_lets_in(service: Doors) -> None:
    url, _ = service.serve()
    token = service.token()
    with logged_in(url, token) as client:
        assert client.get(stream_of(*(f"kind=pools&q={number}" for number in range(13)))).status_code == 400
        client.cookies.clear()
        answer = client.get(POOLS_ONLY, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=")


def test_a_stream_ends_with_its_session(service: Doors) -> None:
    url, _ = service.serve()
    service.token("other")
    with (
        logged_in(url, service.token("ada")) as out,
        logged_in(url, service.token("bob")) as revoked,
        watching(out, POOLS_ONLY) as ended,
        watching(revoked, POOLS_ONLY) as too,
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
        watching(client, POOLS_ONLY),
        watching(client, POOLS_ONLY) as changes,
    ):
        assert client.get(POOLS_ONLY).status_code == 429
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
        watching(one, POOLS_ONLY),
        watching(one, POOLS_ONLY),
        watching(two, POOLS_ONLY) as changes,
    ):
        assert one.get(POOLS_ONLY).status_code == 429
        assert changes.next()["all"] is True


def test_one_stream_has_the_views_of_many_pages(service: Doors) -> None:
    url, _ = service.serve()
    with logged_in(url, service.token()) as client:
        pages = [client.get(path).text for path in ("/pools", f"/pools/{FULL}", "/waiting", "/builds?limit=5")]
        gone = [("view", view_of("gone/small")), ("view", "kind=of-a-newer-release"), ("view", "")]
        with watching(client, f"{live_addresses(*pages)}&{urlencode(gone)}") as changes:
            refused = [changes.next("stale") for _ in gone]
            whys = {stale["view"]: stale["why"] for stale in refused}
            assert whys["kind=of-a-newer-release"] == whys[""] == "there is no such view"
            assert "gone/small" in whys[view_of("gone/small")]
            set_paused(service, FULL)
            missing = {("kind=pools", f"pool-{FULL}"), (view_of(FULL), "pool-actions")}
            while missing:
                change = changes.next_parts()
                missing -= {(change["view"], part_id) for part_id in ids(change)}
            claim_waiting(service, "ada")
            while (change := changes.next_parts())["view"] != "kind=waiting":
                pass
            declared = load_text(OTHERS.replace("theirs", "gone"))
            service.asked(lambda *where: apply(*where, declared, ApplyOptions(actor="test", source="others")))
            while (change := changes.next_parts())["view"] != view_of("gone/small"):
                pass
            assert change["all"] is True, "a view that was refused is tried again"
