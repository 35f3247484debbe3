"""A call over HTTP ends by its deadline, and is made again only where that cannot do harm."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any

import httpx
import pytest

from prebuild_tasks import errors
from prebuild_tasks.claims import ClaimRequest
from prebuild_tasks.client import Client
from prebuild_tasks.remote import streams
from prebuild_tasks.remote.async_client import AsyncClient
from prebuild_tasks.remote.calls import Answer, RemoteCall
from prebuild_tasks.remote.logins import login_to
from prebuild_tasks.remote.retries import Failure, Tries
from prebuild_tasks.remote.session import RemoteSession

URL, TOKEN = "https://door.example", "pbt_secret"
BUILD = {"build": "b1", "completed_at": None}
REAL = httpx.Client

Door = Callable[[httpx.Request], httpx.Response]


def session_with(door: Door, monkeypatch: pytest.MonkeyPatch) -> RemoteSession:
    """Return a session that reaches this function in place of the network."""
    monkeypatch.setattr(httpx, "Client", partial(REAL, transport=httpx.MockTransport(door)))
    monkeypatch.setattr(streams, "FOLLOW_PAUSE", 0.0)
    return RemoteSession(login_to(URL, TOKEN), deadline=5)


def test_both_clients_have_the_same_methods() -> None:
    for name, method in inspect.getmembers(AsyncClient, inspect.isfunction):
        if not name.startswith("_"):
            ours = inspect.signature(method).parameters.values()
            theirs = inspect.signature(getattr(Client, name)).parameters.values()
            assert [(one.name, one.kind, one.default) for one in ours] == [
                (one.name, one.kind, one.default) for one in theirs
            ], name
    made = inspect.signature(AsyncClient.__init__).parameters.keys()
    assert made - {"self", "url"} <= inspect.signature(Client.__init__).parameters.keys()


@pytest.mark.parametrize(
    ("call", "failure", "status", "is_repeated"),
    [
        (RemoteCall("GET", "/"), Failure.UNKNOWN, 0, True),
        (RemoteCall("POST", "/", key="k"), Failure.UNKNOWN, 0, True),
        (RemoteCall("POST", "/", key="k"), None, 502, True),
        (RemoteCall("POST", "/", repeats_alike=True), Failure.UNKNOWN, 0, True),
        (RemoteCall("POST", "/"), Failure.NOT_SENT, 0, True),
        (RemoteCall("POST", "/"), None, 503, True),
        (RemoteCall("POST", "/"), None, 429, True),
        (RemoteCall("POST", "/"), Failure.UNKNOWN, 0, False),
        (RemoteCall("POST", "/"), None, 502, False),
        (RemoteCall("POST", "/"), None, 504, False),
        (RemoteCall("GET", "/"), Failure.FINAL, 0, False),
    ],
)
def test_what_is_made_again(call: RemoteCall, failure: Failure | None, status: int, is_repeated: bool) -> None:
    answer = Answer(status, {}) if status else None
    assert (Tries(call, 20, 0).pause(answer, failure, 0, 0) is not None) == is_repeated


def test_a_second_try_asks_for_what_remains_of_the_wait() -> None:
    tries = Tries(RemoteCall("POST", "/v1/claims", body={"owner": "ada", "wait": 30}, key="k", waits=30), 20, 100)
    assert tries.call(100).body == {"owner": "ada", "wait": 30}
    tries.pause(None, Failure.UNKNOWN, 110, 0)
    again = tries.call(112)
    assert (again.body, again.waits, tries.left(112)) == ({"owner": "ada", "wait": 18}, 18, 38)
    assert tries.call(140).body == {"owner": "ada", "wait": 0}


def test_a_claim_that_waits_outlasts_a_server_that_is_away() -> None:
    tries = Tries(RemoteCall("POST", "/v1/claims", body={}, key="k", waits=55, patience=600), 20, 0)
    assert tries.pause(None, Failure.NOT_SENT, 500, 0) is not None


def test_what_does_more_when_repeated_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def door(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        raise httpx.ReadError("reset")

    api = session_with(door, monkeypatch)
    with pytest.raises(errors.UnreachableError) as raised:
        api.operate("dev/small", "invalidate")
    assert raised.value.hint == "look whether it was done before you repeat it"
    assert asked == ["/v1/pools/dev/small/invalidate"]


@pytest.mark.parametrize("key", ["ü", "a\nb", "", "a" * 101])
def test_a_key_that_no_header_holds_is_refused(key: str) -> None:
    with pytest.raises(errors.InputError, match="a request id has"):
        RemoteSession(login_to(URL, TOKEN)).claim(ClaimRequest(owner="ada", presets=("dev/small",), request_id=key))


@pytest.fixture
def silent() -> Iterator[str]:
    """Listen, and answer nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def dripping() -> Iterator[str]:
    """Answer with one byte of the body at a time."""
    stopped = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stopped.wait(0.05):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        stopped.set()
        thread.join()


@pytest.mark.timed
@pytest.mark.parametrize("server", ["silent", "dripping"])
def test_the_deadline_bounds_a_call(server: str, request: pytest.FixtureRequest) -> None:
    """A silent server used to be waited for 30 s, and one that sends a byte now and then for ever."""
    url = request.getfixturevalue(server)
    began = monotonic()
    with pytest.raises(errors.UnreachableError), Client(url, token=TOKEN, deadline=0.5) as client:
        client.get("ada/x")
    assert monotonic() - began < 2


@pytest.mark.timed
def test_the_deadline_bounds_an_awaited_call(dripping: str) -> None:
    async def ask() -> None:
        async with AsyncClient(dripping, token=TOKEN, deadline=0.5) as client:
            await client.get("ada/x")

    began = monotonic()
    with pytest.raises(errors.UnreachableError):
        asyncio.run(ask())
    assert monotonic() - began < 2


def test_a_deadline_is_for_an_http_api() -> None:
    with pytest.raises(errors.InputError):
        Client("sqlite:///x.db", deadline=1)


def test_a_token_for_this_machine_passes_no_proxy(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY used to be sent the token in the clear."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, silent)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with (
        pytest.raises(errors.UnreachableError, match="refused"),
        Client("http://127.0.0.1:1", token=TOKEN, deadline=0.1) as client,
    ):
        client.get("ada/x")


class Following:
    """A server of a build's log, which is answered piece by piece."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/log"):
            ended = None if self.answers else "2026-11-28T12:00:00+00:00"
            return httpx.Response(200, json={**BUILD, "completed_at": ended})
        answer = self.answers.pop(0)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, content=self._pieces(*answer))

    def _pieces(self, text: str, error: Exception | None = None) -> Iterator[bytes]:
        yield text.encode()
        if error:
            raise error


def test_a_silent_build_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty silences of half a minute used to end the command, though all was well."""
    monkeypatch.setattr("prebuild_tasks.remote.session.time.sleep", lambda _seconds: None)
    silence = ("one\n", httpx.ReadTimeout("silent"))
    limited = httpx.Response(429, json={"type": "/docs#rate-limited", "detail": "x"})
    door = Following(httpx.Response(502), *[silence] * 25, limited, httpx.Response(503), ("one\n",), ("one\ntwo\n",))
    assert "".join(session_with(door, monkeypatch).log("b1", follow=True)) == "one\ntwo\n"


def test_what_a_log_is_refused_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = httpx.Response(404, json={"type": "/docs#not-found", "detail": "there is none", "hint": ""})
    with pytest.raises(errors.NotFoundError, match="there is none"):
        list(session_with(Following(gone), monkeypatch).log("b1", follow=False))
