"""The client's address and the host of a request: behind proxies, headers that a trusted one wrote say so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from ipaddress import IPv6Address, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from prebuild_tasks.web.serve.options import Network, ServeOptions, allows_host
from prebuild_tasks.web.serve.refusals import Refusal, Refuse

ALWAYS_ANSWERED = ("/livez", "/readyz")
"""Paths that are answered for any host: probes name a process by its address, and the answers say nothing else."""
_HOSTS_KEPT = 100
"""Values of the header `Host` of which it is remembered whether they are answered."""


def client_address(peer: str, forwarded: Iterable[str], trusted: Sequence[Network]) -> str:
    """Return the right-most address that is not one of a trusted proxy's.

    Args:
        peer: The address that is connected.
        forwarded: The values of the headers `X-Forwarded-For`, in their order.
        trusted: The networks of trusted proxies.

    Each proxy appends the address that is connected to it, so what stands left of an untrusted address may be forged,
    and so may what is not an address at all.
    """
    address = peer
    for text in reversed([part.strip() for value in forwarded for part in value.split(",")]):
        if not _is_in(address, trusted):
            break
        named = _without_port(text)
        if named is None:
            break
        address = named
    return address


def _without_port(text: str) -> str | None:
    """Return the address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`; else None."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


class Proxies:
    """Put the client's address and the scheme into the request, and refuse one that is for another host."""

    def __init__(self, app: ASGIApp, options: ServeOptions, refuse: Refuse) -> None:
        """Take the application, the options, and what answers a refusal."""
        self._app, self._options, self._refuse = app, options, refuse
        self._allows_host = lru_cache(_HOSTS_KEPT)(partial(allows_host, options))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        peer = scope["client"][0] if scope.get("client") else ""
        if self._options.behind_proxy and _is_in(peer, self._options.trusted_proxies):
            forwarded = _values(headers, b"x-forwarded-for")
            address = client_address(peer, forwarded, self._options.trusted_proxies)
            scope["client"] = (address, scope["client"][1] if address == peer else 0)
            proto = _values(headers, b"x-forwarded-proto")
            if proto and proto[-1].rpartition(",")[2].strip() in ("http", "https"):
                scope["scheme"] = proto[-1].rpartition(",")[2].strip()
        hosts = _values(headers, b"host")
        if scope["path"] not in ALWAYS_ANSWERED and not (len(hosts) == 1 and self._allows_host(hosts[0])):
            await self._refuse(scope, receive, send, _wrong_host(self._options))
            return
        await self._app(scope, receive, send)


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]


def _wrong_host(options: ServeOptions) -> Refusal:
    expected = options.public_url or "a loopback name or the address that it listens on"
    return Refusal(400, "wrong_host", f"the header Host does not name this API, which is known as {expected}")
