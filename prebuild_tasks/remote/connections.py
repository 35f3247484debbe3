"""Uses of httpx by the clients: their connections, time limits, requests and answers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from prebuild_tasks.model.addresses import is_loopback
from prebuild_tasks.remote.calls import READ_TIMEOUT, Answer, RemoteCall
from prebuild_tasks.remote.logins import Login
from prebuild_tasks.remote.retries import Failure

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=60)
"""Any number of requests at a time: a claim that waits keeps its connection. Idle ones end before the server's do."""
CONNECT_TIMEOUT = 5.0
"""Seconds."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_BAD_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


def headers_of(login: Login) -> dict[str, str]:
    """Return the headers that every request has."""
    return {"Authorization": f"Bearer {login.token}", "Accept": "application/json"}


def mounts_of(login: Login) -> Mapping[str, None]:
    """Return where no proxy is used: one for plain HTTP would see the token that is meant for this machine."""
    if not is_loopback(urlsplit(login.url).hostname or ""):
        return {}
    return {"all://": None, "http://": None, "https://": None}


def verify_of(login: Login) -> ssl.SSLContext | bool:
    """Return which certificates are trusted: for plain HTTP none, because reading them takes longer than a claim."""
    return urlsplit(login.url).scheme == "https" or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def timeout_of(waits: float, left: float) -> httpx.Timeout:
    """Return the time limits of a request that asks the server to wait for some seconds, with some left for all."""
    left = max(left, 0.001)
    connect = min(CONNECT_TIMEOUT, left / 2)
    return httpx.Timeout(min(READ_TIMEOUT + waits, left - connect), connect=connect)


def request_of(client: httpx.Client | httpx.AsyncClient, call: RemoteCall, left: float) -> httpx.Request:
    """Return the request of httpx for a call that has some seconds left."""
    return client.build_request(
        call.method, call.path, params=call.query or None, json=call.body, headers=call.headers,
        timeout=timeout_of(call.waits, left),
    )  # fmt: skip


def received(response: httpx.Response, content: bytes) -> Answer:
    """Return the answer of a response of httpx."""
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, content)


def failure_of(error: Exception | None) -> Failure | None:
    """Return how a request failed; None: it did not."""
    if error is None:
        return None
    if isinstance(error, _NOT_SENT):
        return Failure.FINAL if _BAD_CERTIFICATE in str(error) else Failure.NOT_SENT
    may_pass = isinstance(error, (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, TimeoutError))
    return Failure.UNKNOWN if may_pass else Failure.FINAL
