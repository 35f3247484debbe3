"""The history, the health and the report while they are open, as a process serves them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from sqlalchemy import delete

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.schema import tables as m
from tests.support.builders import staffed
from tests.support.door import FULL, NONE, Doors, doors
from tests.support.live import Changes, live_address, logged_in, watching

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(120)]

SOON = 1.5
NO_BEAT, PAUSED = 'data-finding="no_beat"', "<dt>Paused</dt>"
CLAIMS = re.compile(r'<b>(\d+)</b><span class="quiet">claims</span>')


@pytest.fixture
def service(tmp_path: Path, postgres_url: str) -> Iterator[Doors]:
    with doors(tmp_path, postgres_url) as service:
        service.stock(2)
        yield service


def token(service: Doors, name: str, **limits: Any) -> str:
    request = NewTokenRequest(name=name, scope=Scope.READ, **limits)
    return service.asked(lambda database, _: create_token(database, request, actor="test").text)


def set_paused(service: Doors, pool: str, actor: str = "eve") -> None:
    service.asked(lambda database, _: pause(database, pool, actor=actor))


def no_beat(database: Database) -> None:
    with database.write() as connection:
        connection.execute(delete(m.Worker).where(m.Worker.role == "beat"))


def parts_of(changes: Changes) -> dict[str, str]:
    return {part["id"]: part["html"] for part in changes.next()["parts"]}


def refusal(client: httpx.Client, view: str) -> str:
    """Return why a view is not shown."""
    with watching(client, f"/live?{urlencode({'view': view})}") as changes:
        return str(changes.next("stale")["why"])


def test_new_events_appear_on_the_first_page_of_the_history(service: Doors) -> None:
    url, _ = service.serve()
    with logged_in(url, service.token()) as client:
        page = client.get("/history?limit=3").text
        rows = re.findall(r'<tr id="(event-\d+)">', page)
        assert len(rows) == 3
        with watching(client, live_address(page)) as changes:
            assert changes.next()["parts"] == []
            set_paused(service, NONE)
            began = monotonic()
            change = changes.next()
            assert monotonic() - began < SOON
            [row] = [part for part in change["parts"] if part["within"] == "history"]
            assert (row["after"], change["gone"]) == ("", rows[-1:])
            assert '<td data-label="Who"><span>eve' in row["html"]
        filtered = live_address(client.get("/history?who=bob").text)
        with watching(client, filtered) as changes:
            changes.next()
            set_paused(service, FULL)
            set_paused(service, FULL, actor="bob")
            change = changes.next()
            assert "<span>eve" not in "".join(part["html"] for part in change["parts"])
            assert {"history-empty"} < {part["id"] for part in change["parts"]}
        following = re.search(r'rel="next" href="([^"]+)"', page)
        assert following
        assert "data-live" not in client.get(unescape(following[1])).text


def test_who_watches_the_history_sees_what_the_token_may(service: Doors) -> None:
    url, _ = service.serve()
    readers = [token(service, "reader"), token(service, "some", presets=(FULL,))]
    with (
        logged_in(url, service.token()) as admin,
        logged_in(url, readers[0]) as reader,
        logged_in(url, readers[1]) as some,
    ):
        seen = {}
        for name, client in (("admin", admin), ("reader", reader), ("some", some)):
            with watching(client, "/live?view=kind%3Dhistory") as changes:
                seen[name] = "".join(parts_of(changes).values())
        assert "token created" in seen["admin"]
        assert "token created" not in seen["reader"]
        with watching(some, live_address(some.get("/history").text)) as changes:
            assert parts_of(changes) == {}
            set_paused(service, NONE)
            set_paused(service, FULL)
            assert NONE not in "".join(parts_of(changes).values())


def test_a_finding_goes_while_the_health_is_open(service: Doors) -> None:
    url, _ = service.serve()
    with logged_in(url, service.token()) as client:
        service.asked(lambda database, _: pause(database, None, actor="eve"))
        service.asked(lambda database, _: no_beat(database))
        page = client.get("/health").text
        assert (NO_BEAT in page, PAUSED in page) == (True, True)
        with watching(client, live_address(page)) as changes:
            changes.next()
            service.asked(lambda database, settings: staffed(database, settings, "beat"))
            service.asked(lambda database, _: resume(database, None, actor="eve"))
            findings = NO_BEAT
            while NO_BEAT in findings:
                parts = parts_of(changes)
                findings = parts.get("health-findings", findings)
            assert PAUSED not in parts["health-answers"]
    with logged_in(url, token(service, "some", presets=(FULL,))) as some:
        assert refusal(some, "kind=health") == f"this concerns everybody, and the token some is for preset {FULL} only"


def test_the_numbers_of_the_report_move(service: Doors) -> None:
    url, _ = service.serve()
    with logged_in(url, service.token()) as client:
        page = client.get("/report").text
        assert CLAIMS.findall(page) == ["0"]
        with watching(client, live_address(page)) as changes:
            changes.next()
            service.asked(lambda database, _: claim(database, ClaimRequest(owner="ada", presets=[FULL])))
            parts = dict[str, str]()
            while CLAIMS.findall(parts.get("report-tiles", "")) != ["1"]:
                parts = parts_of(changes)
            assert {f"report-of-{FULL}", "report-of-Total"} <= parts.keys()
            assert f"report-of-{NONE}" not in parts, "it is as it was"


def test_the_report_is_watched_by_who_may_see_it(service: Doors) -> None:
    url, _ = service.serve()
    with logged_in(url, token(service, "some", presets=(FULL,))) as some:
        assert "data-live" not in some.get("/report").text
        assert refusal(some, "kind=report") == "the report on all pools needs a token without a restriction"
        assert refusal(some, f"kind=report&preset={NONE}") == f"there is no preset {NONE}"
        with watching(some, live_address(some.get(f"/report?preset={FULL}").text)) as changes:
            assert parts_of(changes).keys() <= {"report-head", "report-tiles", f"report-of-{FULL}", "report-of-Total"}
