"""Whatever a client sends is answered with a problem, and never with a 5xx or the framework's own words."""

from __future__ import annotations

from typing import Any

import pytest

from prebuild_tasks.access.authenticator import Authenticator
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.api import Api, serving
from tests.support.builders import PRESET, declare, fill

JSON = {"Content-Type": "application/json"}
CLAIMS, EXTEND, PAUSE = "/v1/claims", "/v1/workspaces/ada/hers/extend", "/v1/pools/dev/small/pause"

ANY_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is refused before the database is asked."""


@pytest.fixture
def stocked(api: Api, database: Database, settings: Settings) -> Api:
    declare(database, settings, 1, extra="claimed_ttl: 1d")
    fill(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=[PRESET], name="hers"))
    return api


BODIES: list[tuple[str, bytes, int, str]] = [
    (PAUSE, b"{", 400, "malformed_body"),
    (PAUSE, b"\xff\xfe", 400, "malformed_body"),
    (PAUSE, b'{"reason": "\\ud800"}', 400, "malformed_body"),
    (PAUSE, b"[" * 100_000, 400, "malformed_body"),
    (PAUSE, b'{"reason":' * 50_000, 400, "malformed_body"),
    (PAUSE, b"[]", 422, "bad_input"),
    (PAUSE, b"null", 422, "bad_input"),
    (PAUSE, b'{"reason": "\\u0000"}', 422, "bad_input"),
    (PAUSE, b'{"reason": 5}', 422, "bad_input"),
    (PAUSE, b'{"reason": "' + b"x" * 1000 + b'"}', 422, "bad_input"),
    (PAUSE, b'{"unknown": 1}', 422, "bad_input"),
    (PAUSE, b'{"until": 1e400}', 422, "bad_input"),
    (PAUSE, b'{"until": ' + b"9" * 10_000 + b"}", 400, "malformed_body"),
    (PAUSE, b'{"until": "9999-12-31T23:59:59-23:59"}', 422, "bad_input"),
    (PAUSE, b'{"until": "0001-01-01T00:00:00+23:59"}', 422, "bad_input"),
    (PAUSE, b'{"until": "2030-01-01T00:00:00"}', 422, "bad_input"),
    (CLAIMS, b'{"presets": ["dev/small"], "owner": "prebuilds"}', 422, "bad_input"),
    (CLAIMS, b'{"presets": ["dev/small"], "owner": " token:t1"}', 422, "bad_input"),
    (CLAIMS, b'{"presets": ["dev/small"], "owner": "Token:t1"}', 422, "bad_input"),
    (EXTEND, b"{}", 422, "bad_input"),
    (EXTEND, b'{"until": "2030-01-01T00:00:00Z", "duration": "1d"}', 422, "bad_input"),
    (EXTEND, b'{"duration": "never"}', 422, "bad_input"),
    (EXTEND, b'{"duration": "99999999999999999999d"}', 422, "bad_input"),
    (EXTEND, b'{"duration": "' + b"9" * 400 + b'"}', 422, "bad_input"),
    ("/v1/pools/dev/small/resume", b"{}", 400, "malformed_body"),
]


def test_a_bad_body_is_refused(stocked: Api) -> None:
    for path, body, status, code in BODIES:
        answer = stocked.post(path, content=body, headers={**JSON, "Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, body[:100])
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert len(answer.content) < 3000


QUERIES: list[tuple[str, dict[str, Any], int]] = [
    ("/v1/workspaces", {"limit": "0"}, 400),
    ("/v1/workspaces", {"limit": "501"}, 400),
    ("/v1/workspaces", {"limit": "9" * 5000}, 400),
    ("/v1/workspaces", {"limit": ["1", "2"]}, 400),
    ("/v1/workspaces", {"unknown": "1"}, 400),
    ("/v1/workspaces", {"state": "happy"}, 400),
    ("/v1/workspaces", {"owner": "\0"}, 400),
    ("/v1/workspaces", {"cursor": "x"}, 400),
    ("/v1/workspaces", {"preset": "nothing"}, 404),
    ("/v1/builds", {"preset": "dev/none"}, 404),
    ("/v1/builds", {"status": "fine"}, 400),
    ("/v1/builds", {"since": "1d"}, 400),
    ("/v1/pools", {"limit": "1", "owner": "ada"}, 400),
    ("/v1/pools/dev/small", {"x": "1"}, 400),
    ("/v1/pools/dev/none", {"x": "1"}, 404),
    ("/v1/pools/dev/small/report", {"since": "yesterday"}, 400),
    ("/v1/pools/dev/small/report", {"since": "2090-01-01T00:00:00Z"}, 422),
    ("/v1/workspaces/ada/hers/history", {"limit": "x"}, 400),
    ("/v1/workspaces/ada/none/history", {"limit": "x"}, 404),
    ("/v1/workspaces/ada/%00", {}, 404),
    ("/v1/workspaces/%ff/x", {}, 404),
    ("/v1/workspaces/ada/" + "x" * 5000, {}, 404),
    ("/v1/pools/dev/%00", {}, 404),
    ("/v1/pools/%0a/x%20y@z@", {}, 404),
    ("/v1/pools/1/2", {}, 404),
    ("/v1/builds/x", {}, 404),
    ("/v1/builds/%00%00%00%00%00%00/log", {}, 404),
    ("/v1/builds/%25%25%25%25%25%25", {}, 404),
    ("/v1/builds/00000000-0000-0000-0000-000000000000/log", {"follow": "maybe"}, 404),
    ("/v1/config", {"x": ""}, 400),
    ("/v1/none", {}, 404),
    ("/v1/workspaces/", {}, 404),
]


def test_a_bad_address_is_refused(stocked: Api) -> None:
    for path, query, status in QUERIES:
        answer = stocked.get(path, params=query)
        assert (answer.status_code, answer.json()["status"]) == (status, status), (path, query, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"


@ANY_DATABASE
def test_an_unknown_method_is_told_the_known_ones(api: Api) -> None:
    answer = api.call("PUT", "/v1/workspaces/ada/x")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "DELETE, GET")
    assert answer.json()["code"] == "method_not_allowed"


@ANY_DATABASE
def test_the_order_of_checks(stocked: Api) -> None:
    """401, 413 and 415, 403, 404 for the path, 400, 422."""
    narrow, large, text = stocked.token("read"), b" " * 2_000_000, {"Content-Type": "text/plain"}
    gone, key = "/v1/workspaces/ada/none/extend", {**JSON, "Idempotency-Key": "ü".encode()}
    steps: list[tuple[str, str, dict[str, Any], int]] = [
        (gone, "", {"content": large, "headers": JSON}, 401),
        (gone, narrow, {"content": large, "headers": JSON}, 413),
        (gone, narrow, {"content": b"{", "headers": text}, 415),
        (gone, narrow, {"content": b"{", "headers": JSON}, 403),
        (gone, stocked.admin, {"content": b"{", "headers": JSON, "params": {"x": "1"}}, 404),
        (EXTEND, stocked.admin, {"content": b'{"until": 1}', "headers": JSON, "params": {"x": "1"}}, 400),
        (EXTEND, stocked.admin, {"content": b"{", "headers": JSON}, 400),
        (EXTEND, stocked.admin, {"content": b'{"until": 1}', "headers": key}, 400),
        (EXTEND, stocked.admin, {"content": b'{"until": 1}', "headers": JSON}, 422),
    ]
    assert [stocked.post(path, token, **request).status_code for path, token, request, _ in steps] == [
        status for *_, status in steps
    ]


@ANY_DATABASE
def test_a_body_that_is_too_large_is_read_up_to_a_limit(stocked: Api) -> None:
    answer = stocked.post(PAUSE, content=b" " * (16 * 1024**2), headers=JSON)
    assert (answer.status_code, "Connection" in answer.headers) == (413, False)
    answer = stocked.post(PAUSE, content=b" " * (16 * 1024**2 + 1), headers=JSON)
    assert (answer.status_code, answer.headers["Connection"]) == (413, "close")


@ANY_DATABASE
@pytest.mark.parametrize(
    "kind", ["text/json", "application/json; charset=latin-1", "application/x-www-form-urlencoded"]
)
def test_only_json_is_taken(stocked: Api, kind: str) -> None:
    answer = stocked.post(PAUSE, content=b"{}", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    packed = stocked.post(PAUSE, content=b"{}", headers={**JSON, "Content-Encoding": "gzip"})
    assert packed.status_code == 415


@ANY_DATABASE
def test_the_request_id_is_kept_if_it_is_one(api: Api) -> None:
    for sent, kept in (("portal-1.a:b", True), ("x" * 101, False), ("a b", False), ("", False)):
        for path in ("/livez", "/v1/none"):
            answer = api.get(path, headers={"X-Request-ID": sent})
            assert (answer.headers["X-Request-ID"] == sent) is kept
            assert path == "/livez" or answer.json()["request_id"] == answer.headers["X-Request-ID"]


@ANY_DATABASE
def test_a_database_that_is_away_is_told_with_503(database: Database, settings: Settings) -> None:
    with serving(database, settings) as api:
        door = api.app.state.door
        away = Database("postgresql://prebuild@127.0.0.1:1/none")
        api.runtime.__dict__["database"] = away
        door.tokens = Authenticator(away)
        answer = api.get("/v1/workspaces")
        assert (answer.status_code, answer.json()["code"]) == (503, "unreachable")
        assert answer.headers["Retry-After"] == "5"
        # A client without a valid token used to learn the address, the user and the name of the database.
        unknown = api.get("/v1/workspaces", "pbt_" + "A" * 43)
        assert unknown.status_code == 503
        assert not any(part in unknown.text + answer.text for part in ("postgresql", "prebuild@", "127.0.0.1", "none"))
        assert (api.get("/readyz", "").text, api.get("/livez", "").status_code) == ("unavailable", 200)
        away.close()
