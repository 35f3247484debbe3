"""The HTTP API as doctor and health find it, and the tokens that are about to expire."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from prebuild_tasks.access.types import TokenState, TokenView
from prebuild_tasks.config import Settings
from prebuild_tasks.insight.doctor.ask_api import check_api, look_at_api
from prebuild_tasks.insight.doctor.door import door_findings, ending_tokens
from prebuild_tasks.insight.doctor.facts import ApiFact, Examination, Trouble
from tests.insight.doctor.processes import NOW
from tests.insight.doctor.tokens import token
from tests.support.http import free_port

FORMER = token(left=0.04, life=90)
"""A token that was rotated, with an overlap of an hour."""


@pytest.mark.parametrize(
    ("tokens", "ending"),
    [
        ([token()], ["portal"]),
        ([token(left=8)], []),
        ([token(left=None)], []),
        ([token(unused=None)], []),
        ([token(unused=8)], []),
        ([token(left=0.9, life=2)], []),
        ([token(left=0.4, life=2)], ["portal"]),
        ([token(state=TokenState.REVOKED), token("old", left=-1, state=TokenState.EXPIRED)], []),
        ([FORMER, token(left=89.9, unused=None)], []),
        ([FORMER, token(left=None, unused=None)], []),
        ([FORMER, token(left=2, unused=None), token("ci", left=1)], ["ci", "portal"]),
    ],
)
def test_a_token_in_use_ends_soon(tokens: Sequence[TokenView], ending: list[str]) -> None:
    assert [each.name for each in ending_tokens(tokens, NOW)] == ending


@pytest.mark.parametrize(
    ("api", "symptoms"),
    [
        (None, []),
        (ApiFact("https://x", ready="ready"), []),
        (ApiFact("https://x", ready="stopping"), []),
        (ApiFact("https://x", ready="unavailable"), ["api_unreachable"]),
        (ApiFact("https://x", trouble="refused"), ["api_unreachable"]),
        (ApiFact("https://x", ready="ready", metrics_open=True), ["metrics_open"]),
    ],
)
def test_the_state_of_the_api(api: ApiFact | None, symptoms: list[str]) -> None:
    assert [finding.symptom for finding in door_findings(Examination((), "", api=api))] == symptoms


def test_an_api_without_a_database_adds_no_finding() -> None:
    facts = Examination((), "", api=ApiFact("https://x", ready="unavailable"), database=Trouble("away"))
    assert list(door_findings(facts)) == []
    assert len(list(door_findings(replace(facts, database=None)))) == 1


class _Answers(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        status, word = self.server.answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(word.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    answers: dict[str, tuple[int, str]]


@contextmanager
def answering(ready: tuple[int, str], metrics: int = 401) -> Iterator[int]:
    """Answer as an API would, and yield the port."""
    server = _Server(("127.0.0.1", 0), _Answers)
    server.answers = {"/readyz": ready, "/metrics": (metrics, "")}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()


def asked(settings: Settings, **changed: object) -> ApiFact | None:
    return look_at_api(settings.model_copy(update=changed))


def test_the_api_is_asked_where_clients_reach_it(settings: Settings) -> None:
    assert asked(settings) is None, "nobody said that it is served beyond this machine"
    with answering((200, "ready")) as port:
        url = f"http://127.0.0.1:{port}"
        assert asked(settings, public_url=f"{url}/") == ApiFact(url, ready="ready")
        assert asked(settings, serve_bind="0.0.0.0", serve_port=port) == ApiFact(url, ready="ready")
    with answering((503, "unavailable"), metrics=200) as port:
        url = f"http://127.0.0.1:{port}"
        assert asked(settings, public_url=url) == ApiFact(url, ready="unavailable", metrics_open=True)
    gone = asked(settings, public_url=url)
    assert gone is not None
    assert "refused" in gone.trouble
    assert asked(settings, serve_bind="0.0.0.0", serve_port=port) is None, "this machine may not serve it"


def test_the_health_of_the_api(settings: Settings) -> None:
    with answering((200, "ready")) as port:
        served = settings.model_copy(update={"serve_port": port})
        assert check_api(served) == (True, f"the HTTP API at http://127.0.0.1:{port} is ready")
        assert check_api(served.model_copy(update={"serve_bind": "0.0.0.0"}))[0]
    with answering((503, "stopping")) as port:
        served = settings.model_copy(update={"serve_port": port})
        assert check_api(served) == (False, f"the HTTP API at http://127.0.0.1:{port} answers 503: stopping")
    none = settings.model_copy(update={"serve_port": free_port()})
    assert check_api(none) == (False, f"no HTTP API answers at http://127.0.0.1:{none.serve_port}")
