"""The client's address of a request, and which hosts are refused."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest
from starlette.types import Message, Receive, Scope, Send

from prebuild_tasks.web.serve.options import ServeOptions
from prebuild_tasks.web.serve.proxies import Proxies, client_address
from prebuild_tasks.web.serve.refusals import Refusal

TRUSTED = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["203.0.113.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["192.0.2.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["192.0.2.1:4711"], "192.0.2.1"),
        ("fd00::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("", ["192.0.2.1"], ""),
    ],
)
def test_the_right_most_untrusted_address(peer: str, forwarded: list[str], address: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == address


def seen(options: ServeOptions, peer: str, path: str = "/v1/pools", **headers: str) -> tuple[str, str] | int:
    """Return the client's address and the scheme as the application sees them, or the status of a refusal."""
    result: list[tuple[str, str] | int] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        result.append((scope["client"][0], scope["scheme"]))

    async def refuse(_scope: Scope, _receive: Receive, _send: Send, refusal: Refusal) -> None:
        result.append(refusal.status)

    async def nothing(*_: Message) -> Message:
        return {}

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "headers": pairs, "client": (peer, 4711), "scheme": "http"}
    asyncio.run(Proxies(app, options, refuse)(scope, nothing, nothing))  # type: ignore[arg-type]
    return result[0]


BEHIND = ServeOptions(behind_proxy=True, trusted_proxies=TRUSTED, public_url="https://door.example")


def test_headers_count_only_behind_a_trusted_proxy() -> None:
    forged = {"host": "localhost", "x_forwarded_for": "192.0.2.1", "x_forwarded_proto": "https"}
    assert seen(ServeOptions(), "127.0.0.1", **forged) == ("127.0.0.1", "http")
    forged["host"] = "door.example"
    assert seen(BEHIND, "192.0.2.9", **forged) == ("192.0.2.9", "http")
    assert seen(BEHIND, "10.0.0.1", **forged) == ("192.0.2.1", "https")


def test_another_host_is_refused_but_by_probes() -> None:
    assert seen(BEHIND, "10.0.0.1", host="evil.example") == 400
    assert seen(BEHIND, "10.0.0.1") == 400
    assert seen(BEHIND, "10.0.0.1", host="evil.example", path="/readyz") == ("10.0.0.1", "http")
