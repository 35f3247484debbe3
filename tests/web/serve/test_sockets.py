"""Answers of a real server on a real socket: whatever a client sends, it gets a problem that it can read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

import pytest

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.api import NO_REDIS
from tests.support.stocked_door import listening

MIB = 1024**2
PAUSE = "/v1/pools/dev/small/pause"
Door = tuple[tuple[str, int], str]


@pytest.fixture
def door(database: Database, settings: Settings) -> Iterator[Door]:
    token = create_token(database, NewTokenRequest(name="t", scope=Scope.ADMIN), actor="test").text
    served = settings.model_copy(update={"database_url": database.url, "redis_url": NO_REDIS})
    with listening(served) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield (host, int(port)), token


pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@contextmanager
def connected(door: Door) -> Iterator[socket.socket]:
    with socket.create_connection(door[0], timeout=60) as connection:
        yield connection


def head(door: Door, method: str, path: str, *lines: str) -> bytes:
    sent = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {door[1]}", *lines, "", ""]
    return "\r\n".join(sent).encode()


def read(connection: socket.socket, method: str = "POST") -> tuple[HTTPResponse, Any]:
    answer = HTTPResponse(connection, method=method)
    answer.begin()
    body = answer.read()
    if body and "json" in answer.headers["Content-Type"]:
        return answer, json.loads(body)
    return answer, body


JSON = "Content-Type: application/json"


def test_who_sends_too_much_before_reading_reads_why(door: Door) -> None:
    """The rest is read and dropped, so that the connection is not reset, and is used again."""
    chunk = b"%x\r\n" % MIB + b" " * MIB + b"\r\n"
    with connected(door) as connection:
        for request in (
            head(door, "POST", PAUSE, JSON, f"Content-Length: {12 * MIB}") + b" " * (12 * MIB),
            head(door, "POST", PAUSE, JSON, "Transfer-Encoding: chunked") + 5 * chunk + b"0\r\n\r\n",
        ):
            connection.sendall(request)
            answer, problem = read(connection)
            assert (answer.status, problem["code"]) == (413, "too_large")
        connection.sendall(head(door, "GET", "/livez"))
        assert read(connection, "GET")[0].status == 200


def test_more_than_16_mib_are_not_read(door: Door) -> None:
    with connected(door) as connection:
        connection.sendall(head(door, "POST", PAUSE, JSON, f"Content-Length: {17 * MIB}"))
        answer, problem = read(connection)
        assert (answer.status, problem["code"], answer.headers["Connection"]) == (413, "too_large", "close")


@pytest.mark.parametrize(("size", "scheme", "code"), [(17, "Bearer", "too_large"), (12, "None", "token_malformed")])
def test_who_is_refused_while_sending_reads_why(door: Door, size: int, scheme: str, code: str) -> None:
    """The connection was closed at once, and reset by what arrived then."""
    with connected(door) as connection:
        request = head(door, "POST", PAUSE, JSON, "Connection: close", f"Content-Length: {size * MIB}")
        connection.sendall(request.replace(b"Bearer", scheme.encode()) + b" " * (size * MIB))
        assert read(connection)[1]["code"] == code
        assert connection.recv(1) == b""


NO_HTTP = [
    b"GARBAGE\r\n\r\n", b"GET /livez HTTP/9.9\r\n\r\n", b"GET /livez HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"POST /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
]  # fmt: skip


@pytest.mark.parametrize("sent", NO_HTTP, ids=range(len(NO_HTTP)))
def test_what_is_not_http_is_told_so_with_a_problem(door: Door, sent: bytes) -> None:
    with connected(door) as connection:
        connection.sendall(sent)
        answer, problem = read(connection)
        assert answer.status in (400, 405)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (problem["request_id"], problem["status"]) == (answer.headers["X-Request-ID"], answer.status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/v1/claims", 405), ("OPTIONS", "/v1/claims", 405), ("TRACE", "/livez", 405), ("PUT", "/docs", 405),
        ("HEAD", "/v1/none", 404), ("OPTIONS", "/none", 404), ("GET", "/v1//pools", 404), ("GET", "/%2e%2e/x", 404),
        ("CONNECT", "/livez", 405), ("OPTIONS", "*", 404), ("GET", "/" + "x" * 60_000, 404),
    ],
)  # fmt: skip
def test_no_route_and_no_method(door: Door, method: str, path: str, status: int) -> None:
    with connected(door) as connection:
        connection.sendall(head(door, method, path))
        answer, problem = read(connection, method)
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["X-Request-ID"]
        assert (problem == b"") is (method == "HEAD")
        assert ("Allow" in answer.headers) is (status == 405)
