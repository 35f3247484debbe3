"""Metrics of the HTTP API, and its line in the log."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from prebuild_tasks.web.serve.access_log import AccessLog
from prebuild_tasks.web.serve.measures import Answered, Measures, claim_outcome

DOCS = (Path(__file__).parents[3] / "docs/http.md").read_text()


def answered(status: int, **headers: str) -> Answered:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Answered(route="/v1/claims", method="POST", status=status, principal="token", seconds=0.1, headers=named)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (answered(201), "given"),
        (answered(201, idempotent_replayed="true"), "replayed"),
        (answered(202), "being_built"),
        (answered(429, retry_after="1"), "miss"),
        (answered(429, ratelimit_limit="1"), "rate_limited"),
        (answered(410), "ended"),
        (answered(409), "refused"),
        (answered(422), "refused"),
        (answered(503), "error"),
        (answered(500), "error"),
    ],
)
def test_what_became_of_a_claim(answer: Answered, outcome: str) -> None:
    assert claim_outcome(answer) == outcome
    assert outcome in DOCS


def samples(measures: Measures) -> dict[tuple[str, frozenset[str]], float]:
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(measures.render())
        for sample in family.samples
    }


def test_counts() -> None:
    measures = Measures()
    refused = answered(401, www_authenticate='error="invalid_token"')
    for answer in (answered(201), answered(201), refused, answered(401)):
        measures.add(answer)
    measures.set_open(connections=3, waiting=1, streams=2)
    values = samples(measures)

    def value(name: str, *labels: str) -> float:
        return values[f"prebuild_http_{name}", frozenset(labels)]

    assert value("requests_total", "/v1/claims", "POST", "201", "token") == 2
    assert value("claims_total", "given") == 2
    assert value("refused_tokens_total", "invalid") == 1
    assert value("refused_tokens_total", "missing") == 1
    assert value("request_duration_seconds_count", "/v1/claims") == 4
    assert (value("connections_in_use"), value("connections_waiting"), value("streams")) == (3, 1, 2)


def test_the_documentation_names_every_metric() -> None:
    rows = re.findall(r"^\| `(prebuild_http_\w+)` \| (\w+) \| (.*?) \|", DOCS, re.MULTILINE)
    measures = Measures()
    measures.add(answered(401))
    families = {family.name: family.type for family in text_string_to_metric_families(measures.render())}
    made = {name: kind for name, kind in families.items() if not name.endswith("_created")}
    assert {name.removesuffix("_total"): kind for name, kind, _ in rows} == made


def test_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        scope["route"] = SimpleNamespace(path="/v1/workspaces/{owner}/{name}")
        scope["state"] |= {"request_id": "r1", "principal": SimpleNamespace(kind="token", name="portal")}
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def nothing(*_: Message) -> Message:
        return {}

    scope = {
        "type": "http", "method": "GET", "path": "/v1/workspaces/ada/secret", "query_string": b"x=pbt_1",
        "headers": [(b"authorization", b"Bearer pbt_2")], "client": ("192.0.2.7", 1), "state": {},
    }  # fmt: skip
    with caplog.at_level(logging.INFO):
        asyncio.run(AccessLog(app, Measures())(scope, nothing, nothing))  # type: ignore[arg-type]
    [record] = [record for record in caplog.records if "request" in record.getMessage()]
    line = record.getMessage()
    for part in ("r1", "portal", "GET", "/v1/workspaces/{owner}/{name}", "200", "192.0.2.7"):
        assert part in line
    for part in ("pbt_", "ada", "secret", "x="):
        assert part not in line
