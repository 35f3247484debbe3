"""Live streams of events, as a process serves them to clients of a socket."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from prebuild_tasks.access.tokens import create_token, revoke_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import PrunedNumbers, note_pruned, number_all_events, read_events
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.schema.history import add_history
from tests.support.door import FULL, Doors, doors, portal
from tests.support.event_stream import EVENTS, LISTENS, listening
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def service(tmp_path: Path, postgres_url: str) -> Iterator[Doors]:
    with doors(tmp_path, postgres_url, PREBUILD_LOG_FORMAT="json") as service:
        service.stock(2)
        yield service


def streams(client: httpx.Client) -> int:
    """Return how many streams the metrics tell of."""
    found = re.search(r"^prebuild_http_streams (\d+)", client.get("/metrics").text, re.MULTILINE)
    return int(float(found[1])) if found else -1


def change(service: Doors, *, paused: bool = True) -> None:
    act = pause if paused else resume
    service.asked(lambda database, _: act(database, FULL, actor="test"))


def write(service: Doors, number: int) -> None:
    """Write so many events."""

    def add(database: Database, _: Settings) -> None:
        with database.write() as connection:
            now = database.now(connection)
            for _ in range(number):
                add_history(connection, "paused", now=now, actor="test", reason="x" * 200)

    service.asked(add)


def token(service: Doors, name: str = "portal") -> str:
    """Make a token, and let the event of that be in the log already."""
    text = service.token(name)
    newest(service)
    return text


def newest(service: Doors) -> int:
    def number(database: Database, _: Settings) -> int:
        number_all_events(database)
        after = 0
        while (page := read_events(database, after)).items:
            after = page.next
        return after

    return service.asked(number)


def test_a_stream_begins_where_it_is_asked_to_and_is_soon(service: Doors) -> None:
    url, _ = service.serve()
    with portal(url, token(service)) as client:
        every = client.get(EVENTS, params={"limit": 500}).json()["items"]
        first, but_one = every[0]["id"], every[-2]["id"]
        with (
            listening(client) as now,
            listening(client, after=0) as start,
            listening(client, after=but_one) as later,
            listening(client, {"Last-Event-ID": str(first)}, after=but_one) as resumed,
        ):
            headers = now.response.headers
            assert headers["content-type"].startswith("text/event-stream")
            assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
            assert "x-request-id" in headers
            assert now.first().number == every[-1]["id"], "one that is cut off before its first event can go on"
            assert [start.next().data for _ in every] == every
            assert later.next().data == every[-1]
            sent = resumed.next()
            assert (sent.number, sent.name, sent.data) == (every[1]["id"], every[1]["kind"], every[1])
            delays = []
            for paused in (True, False, True, False):
                change(service, paused=paused)
                began = monotonic()
                sent = now.next()
                delays.append(sent.at - began)
                assert sent.name == ("paused" if paused else "resumed")
                assert start.next().number == sent.number
                page = client.get(EVENTS, params={"after": sent.number - 1, "limit": 1}).json()
                assert page["items"] == [sent.data]
            assert sorted(delays)[1] < 0.5, delays


def test_one_that_missed_events_is_told(service: Doors) -> None:
    url, _ = service.serve()
    text, last = token(service), newest(service)

    def forget(database: Database, _: Settings) -> None:
        with database.write() as connection:
            note_pruned(connection, PrunedNumbers.up_to(last - 1), database.now(connection))

    service.asked(forget)
    with portal(url, text) as client:
        with listening(client, after=1) as stream:
            reset, event = stream.next(), stream.next()
            assert (reset.name, reset.number, reset.data) == ("reset", 0, {"oldest": event.number})
        with listening(client, {"Last-Event-ID": str(event.number)}) as stream:
            change(service)
            assert stream.next().name == "paused", "without a reset"


def test_one_whose_number_no_event_has_is_told(service: Doors) -> None:
    url, _ = service.serve()
    text = token(service)
    last = newest(service)
    with portal(url, text) as client, listening(client, {"Last-Event-ID": str(last + 9)}) as stream:
        reset, event = stream.next(), stream.next()
        assert reset.name == "reset"
        assert 0 < reset.data["oldest"] <= event.number < last


def test_a_stream_ends_with_its_token(service: Doors) -> None:
    url, _ = service.serve()
    ended, other = token(service, "ended"), token(service)
    with ExitStack() as stack:
        stream, going_on = (
            stack.enter_context(listening(stack.enter_context(portal(url, text)))) for text in (ended, other)
        )
        service.asked(lambda database, _: revoke_token(database, "ended", actor="test"))
        began = monotonic()
        assert {sent.name for sent in stream.rest()} <= {"token_revoked"}
        assert monotonic() - began < 5
        change(service)
        assert [going_on.next().name for _ in range(2)] == ["token_revoked", "paused"]


def test_each_sees_its_own(service: Doors) -> None:
    url, _ = service.serve()

    def narrow(database: Database, _: Settings) -> str:
        return create_token(database, NewTokenRequest(name="n", scope=Scope.READ, owner="bob"), actor="test").text

    with (
        portal(url, token(service)) as admin,
        portal(url, service.asked(narrow)) as bob,
        listening(admin, kind="claim") as every,
        listening(bob) as his,
    ):
        for owner in ("ada", "bob"):
            assert admin.post("/v1/claims", json={"presets": [FULL], "owner": owner}).status_code == 201
        assert [every.next().data["owner"] for _ in range(2)] == ["ada", "bob"]
        assert his.next().data["owner"] == "bob"


def test_places_are_limited_and_given_back(tmp_path: Path, postgres_url: str) -> None:
    with doors(tmp_path, postgres_url, PREBUILD_SERVE_STREAMS="3", PREBUILD_SERVE_STREAMS_PER_TOKEN="2") as service:
        service.stock(1)
        url, _ = service.serve()
        with portal(url, token(service, "a")) as one, portal(url, token(service, "b")) as two:
            with listening(one):
                with listening(one), listening(two):
                    full = one.get(EVENTS, headers=LISTENS)
                    assert (full.status_code, full.json()["code"]) == (429, "too_many_streams")
                    assert full.headers["retry-after"]
                    busy = two.get(EVENTS, headers=LISTENS)
                    assert (busy.status_code, busy.json()["code"]) == (503, "busy")
                    assert two.get(EVENTS).status_code == 200, "pages go on"
                    wait_until(lambda: streams(two) == 3, what="three streams")
                    connections = re.search(r"connections_in_use (\d+)", two.get("/metrics").text)
                    assert connections
                    assert int(connections[1]) <= 1, "who listens uses no connection"
                # Two clients have gone away.
                wait_until(lambda: streams(two) == 1, what="one stream")
                with listening(two), listening(two):
                    pass
            wait_until(lambda: streams(two) == 0, what="no stream")


@pytest.mark.thorough
def test_a_client_that_takes_nothing_is_cut_and_the_others_go_on(service: Doors) -> None:
    url, process = service.serve()
    text = token(service)
    with portal(url, text) as client, socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        lines = (
            f"GET {EVENTS} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {text}",
            "Accept: text/event-stream",
        )
        stuck.sendall("\r\n".join([*lines, "", ""]).encode())
        wait_until(lambda: streams(client) == 1, what="the stream of the stuck one")
        with listening(client) as stream:
            wait_until(lambda: streams(client) == 2, what="both streams")
            read: list[int] = []
            while streams(client) == 2:
                assert len(read) < 100_000, "it is never cut"
                write(service, 2000)
                read += [stream.next().number for _ in range(2000)]
            assert all(one < two for one, two in pairwise(read))
            change(service)
            assert stream.next().data["pool"] == FULL
        clients = {each.raddr.port for each in psutil.Process(process.pid).net_connections() if each.raddr}
        assert stuck.getsockname()[1] not in clients, "its connection is broken, and not kept until all was sent"
    assert "Exception in ASGI" not in service.output()
    assert "without completing response" not in service.output()


def test_a_process_that_stops_asks_clients_to_come_back(service: Doors) -> None:
    (url, process), (other, _) = service.serve("--drain", "1s"), service.serve()
    text = token(service)
    with portal(url, text) as client, listening(client) as stream:
        process.send_signal(signal.SIGTERM)
        began = monotonic()
        [last] = stream.rest()
        assert 1000 <= last.retry <= 5000
        assert monotonic() - began < 5
        assert process.wait(12) == 0
        last_read = newest(service)
        change(service)
    with portal(other, text) as client, listening(client, {"Last-Event-ID": str(last_read)}) as stream:
        assert stream.next().name == "paused", "another process goes on"


def test_a_stream_is_one_line_of_the_log_and_head_and_options_end(service: Doors) -> None:
    url, _ = service.serve()
    with portal(url, token(service)) as client:
        head = client.head(EVENTS, headers=LISTENS)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"].startswith("text/event-stream")
        options = client.options(EVENTS, headers=LISTENS)
        assert (options.status_code, options.headers["allow"]) == (405, "GET")
        with listening(client, {"X-Request-ID": "the-stream"}, after=0) as stream:
            stream.next()
        wait_until(lambda: streams(client) == 0, what="no stream")

        def lines() -> list[Any]:
            logged = [json.loads(line) for line in service.output().splitlines() if line.startswith("{")]
            return [line for line in logged if line.get("request_id") == "the-stream"]

        wait_until(lambda: bool(lines()), what="the line")
        [line] = lines()
        assert (line["event"], line["route"], line["status"]) == ("request", EVENTS, 200)
    assert "Traceback" not in service.output()
