"""Routes that read: lists in pages, single rows, logs, and what a token may not see."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.api.etags import etag_of
from prebuild_tasks.web.api.responses import encoded
from tests.support.api import Api
from tests.support.builders import PRESET, declare, fill
from tests.support.organizations import fill_organizations


def two_organizations(database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))
    claim(database, ClaimRequest(owner="bob", presets=["ops/small"], name="his"))


def pages(api: Api, path: str, limit: int, key: str, **filters: str) -> list[Any]:
    """Read a whole list page by page."""
    found: list[Any] = []
    cursor = ""
    while True:
        query = {"limit": str(limit), **filters, **({"cursor": cursor} if cursor else {})}
        answer = api.get(path, params=query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["items"]) <= limit
        found += [row[key] for row in body["items"]]
        if body["next"] is None:
            return found
        cursor = body["next"]


def test_lists_are_read_in_pages(api: Api, database: Database, settings: Settings) -> None:
    two_organizations(database, settings)
    for path, key in (("/v1/workspaces", "id"), ("/v1/builds", "build"), ("/v1/pools", "preset")):
        whole = pages(api, path, 500, key)
        assert len(whole) == len(set(whole)) > 2
        for limit in (1, 2):
            assert pages(api, path, limit, key) == whole
    assert pages(api, "/v1/pools", 2, "preset") == ["dev/large", "dev/small", "ops/small"]
    owned = pages(api, "/v1/workspaces", 1, "workspace", owner="ada")
    assert owned == ["hers"]
    [hers] = api.get("/v1/workspaces", params={"name": "hers"}).json()["items"]
    assert pages(api, "/v1/workspaces", 1, "workspace", id=hers["id"]) == ["hers"]
    assert pages(api, "/v1/workspaces", 1, "workspace", id="hers") == []
    events = pages(api, "/v1/workspaces/ada/hers/history", 500, "event")
    assert {"claimed", "start_requested"} <= {*events}
    assert pages(api, "/v1/workspaces/ada/hers/history", 1, "event") == events


def test_a_row_that_lives_throughout_appears_once(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 4)
    fill(database, settings)
    first = api.get("/v1/workspaces", params={"limit": "2"}).json()
    # One of the page's is claimed, one that comes later too; the pool is refilled.
    claim(database, ClaimRequest(owner="ada", presets=[PRESET]))
    fill(database, settings)
    second = api.get("/v1/workspaces", params={"limit": "500", "cursor": first["next"]}).json()
    ids = [row["id"] for row in first["items"] + second["items"]]
    assert len(ids) == len(set(ids)) == 5


def test_the_rows_are_those_of_the_command_line(
    api: Api, database: Database, settings: Settings, cli_json: Any
) -> None:
    two_organizations(database, settings)
    assert api.get("/v1/workspaces").json()["items"][0].keys() == cli_json("workspaces")[0].keys()
    assert api.get("/v1/builds").json()["items"][0].keys() == cli_json("builds")[0].keys()
    pool = api.get("/v1/pools").json()["items"][0]
    assert pool.keys() == {*cli_json("status")[0], "next_change"}
    assert api.get("/v1/pools/dev/small").json()["preset"] == "dev/small"
    explained = api.get("/v1/pools/dev/small/explain").json()
    assert explained.keys() == {*cli_json("explain", "dev/small")} - {"commands"} | {"remedies"}
    assert api.get("/v1/pools/dev/small/report").json().keys() == cli_json("report").keys()
    history = api.get("/v1/workspaces/ada/hers/history").json()["items"]
    assert history[0].keys() == cli_json("history", "ada/hers")[0].keys()
    assert [event["event"] for event in history] == [event["event"] for event in cli_json("history", "ada/hers")]
    [setting, *_] = api.get("/v1/config").json()["items"]
    assert setting.keys() == {"variable", "value", "source"}


def test_pools_have_an_entity_tag(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    january = "since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z"
    for path in ("/v1/pools", "/v1/pools/dev/small", f"/v1/pools/dev/small/report?{january}", "/openapi.json"):
        first = api.get(path)
        again = api.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    for path in ("/v1/pools/dev/small/explain", "/v1/pools/dev/small/report"):  # they tell the time
        answer = api.get(path)
        told = {name: value for name, value in answer.json().items() if name != "at"}
        assert answer.headers["ETag"] == etag_of(encoded(told), weak="at" in answer.json())
        assert api.get(path, headers={"If-None-Match": "*"}).status_code == 304
    before = api.get("/v1/pools").headers["ETag"]
    fill(database, settings)
    changed = api.get("/v1/pools", headers={"If-None-Match": before})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != before


def test_what_is_told_with_its_instant_has_an_entity_tag(api: Api, database: Database, settings: Settings) -> None:
    """The instant of reading used to be a part of what was compared, so that nothing ever matched."""
    declare(database, settings, 2)
    for path in ("/v1/pools/dev/small/explain", "/v1/pools/dev/small/report"):
        statuses = []
        for _ in range(3):  # a minute may end between two requests, or the words of an explanation change
            tag = api.get(path).headers["ETag"]
            statuses.append(api.get(path, headers={"If-None-Match": tag}).status_code)
        assert 304 in statuses, path
        before = api.get(path).headers["ETag"]
        assert api.get(path, headers={"If-None-Match": '"another"'}).status_code == 200
    fill(database, settings)
    assert api.get("/v1/pools/dev/small/explain", headers={"If-None-Match": before}).status_code == 200


def test_a_log_is_text(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    [build] = api.get("/v1/builds").json()["items"]
    with database.write() as connection:
        rows = [
            {"build_id": build["build"], "attempt": 1, "seq": seq, "at": database.now(connection), "text": text}
            for seq, text in enumerate(("one\n", "twö\n"), 1)
        ]
        connection.execute(insert(m.BuildLog).values(rows))
    log = api.get(f"/v1/builds/{build['build']}/log")
    assert (log.status_code, log.text) == (200, "one\ntwö\n")
    assert log.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert log.headers["X-Content-Type-Options"] == "nosniff"
    [workspace] = api.get("/v1/workspaces").json()["items"]
    assert api.get(f"/v1/builds/{workspace['id']}/log").text == log.text  # the newest build of a workspace
    followed = api.get(f"/v1/builds/{build['build']}/log", params={"follow": "true"})
    assert followed.text == log.text  # the build has ended
    assert api.get(f"/v1/builds/{build['build'][:8]}").json() == build


REACHES = [
    ({"organization": "acme"}, {"dev/large", "dev/small"}, {"ada"}),
    ({"presets": ("ops/small",)}, {"ops/small"}, {"bob"}),
    ({"owner": "ada"}, {"dev/large", "dev/small", "ops/small"}, {"ada"}),
    ({"organization": "umbrella", "owner": "ada"}, {"ops/small"}, set()),
    ({}, {"dev/large", "dev/small", "ops/small"}, {"ada", "bob"}),
]


@pytest.mark.parametrize(("reach", "pools", "owners"), REACHES)
def test_what_is_out_of_reach_is_absent(
    api: Api, database: Database, settings: Settings, reach: dict[str, Any], pools: set[str], owners: set[str]
) -> None:
    two_organizations(database, settings)
    token = api.token("read", **reach)
    assert {row["preset"] for row in api.get("/v1/pools", token).json()["items"]} == pools
    rows = api.get("/v1/workspaces", token).json()["items"]
    assert {row["owner"] for row in rows} - {"prebuilds"} == owners
    assert all(row["preset"] in pools for row in rows)
    if reach.get("owner"):
        assert {row["owner"] for row in rows} <= {"ada"}
    every = {row["build"]: row for row in api.get("/v1/builds").json()["items"]}
    seen = {row["build"] for row in api.get("/v1/builds", token).json()["items"]}
    assert {every[build]["preset"] for build in seen} <= pools
    for build in every:
        assert api.get(f"/v1/builds/{build}", token).status_code == (200 if build in seen else 404)
        assert api.get(f"/v1/builds/{build}/log", token).status_code == (200 if build in seen else 404)
    for pool in ("dev/small", "ops/small"):
        for part in ("", "/explain", "/report"):
            status = api.get(f"/v1/pools/{pool}{part}", token).status_code
            assert status == (200 if pool in pools else 404), (pool, part)
    for owner, name in (("ada", "hers"), ("bob", "his")):
        for part in ("", "/history"):
            status = api.get(f"/v1/workspaces/{owner}/{name}{part}", token).status_code
            assert status == (200 if owner in owners else 404)


def test_out_of_reach_is_told_as_what_does_not_exist(api: Api, database: Database, settings: Settings) -> None:
    two_organizations(database, settings)
    token = api.token("operate", organization="acme", owner="ada")
    alike = [
        ("GET", "/v1/pools/ops/small", "/v1/pools/ops/none"),
        ("GET", "/v1/workspaces/bob/his", "/v1/workspaces/bob/none"),
        ("GET", "/v1/workspaces/bob/his/history", "/v1/workspaces/bob/none/history"),
        ("POST", "/v1/workspaces/bob/his/release", "/v1/workspaces/bob/none/release"),
        ("DELETE", "/v1/workspaces/bob/his", "/v1/workspaces/bob/none"),
    ]
    for method, hidden, missing in alike:
        bodies = [api.call(method, path, token).json() for path in (hidden, missing)]
        words = [
            (body["status"], body["title"], body["detail"].rpartition("/")[0], body["hint"], body["remedy"])
            for body in bodies
        ]
        assert words[0] == words[1]
        assert words[0][0] == 404
    listed = api.get("/v1/workspaces", token, params={"preset": "ops/small"})
    assert (listed.status_code, listed.json()["detail"]) == (404, "there is no preset ops/small")


def test_open_routes_say_no_more_than_a_word(api: Api) -> None:
    assert api.get("/livez", "").text == "ok"
    assert api.get("/readyz", "").text == "ready"
    api.app.state.door.stopping.set()
    stopping = api.get("/readyz", "")
    assert (stopping.status_code, stopping.text) == (503, "stopping")
    page = api.get("/docs", "")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "://" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_metrics_are_those_of_the_exporter(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    text = api.get("/metrics").text
    assert "prebuild_up 1.0" in text
    assert api.get("/metrics", "").status_code == 401
