"""The options of `prebuild serve`, and which of them are refused. Pure, without what the server itself needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.addresses import host_in_url, is_loopback, plain_host
from prebuild_tasks.remedies import Remedy, RemedyKind

Network = IPv4Network | IPv6Network

KEEP_ALIVE = 75.0
"""Seconds for which an idle connection is kept: longer than load balancers keep theirs, so that none of them sends a
request over a connection that is being closed."""
DRAIN_MAX = 4.0
"""Seconds."""
_BESIDE_REQUESTS = 4
"""Connections to the database that a process has beside those of requests: one for the thread that sends what follows
from answers, one for metrics, one to look tokens and waiting claims up, and one to read the event log for streams."""
_SAFELY = Remedy(RemedyKind.SERVE_SAFELY)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How the HTTP API is served."""

    bind: str = "127.0.0.1"
    port: int = 8300
    """0: any free port."""
    workers: int = 1
    """Processes."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    """Whether forwarding headers of trusted proxies are believed."""
    trusted_proxies: tuple[Network, ...] = ()
    public_url: str = ""
    """Begins every link and Location, without a slash at its end; empty: they are paths."""
    keep_alive: float = KEEP_ALIVE
    drain: float = 2.0
    """Seconds for which a process that is about to end still takes requests."""
    metrics_open: bool = False
    """Whether metrics need no token."""
    rate: float = 50.0
    """Requests of a token per second, on average."""
    burst: int = 200
    """Requests of a token at once."""
    connections: int = 10
    """Connections to the database that requests use, per process."""
    streams: int = 2000
    """Streams of events at a time, per process."""
    streams_per_token: int = 20
    """Streams of one token, per process."""

    @property
    def connections_in_all(self) -> int:
        """The most connections to the database that all processes have together."""
        return self.workers * (self.connections + _BESIDE_REQUESTS)


def check_options(options: ServeOptions) -> ServeOptions:
    """Return the options with their host and URL in canonical form.

    Raises InputError for options that would send tokens over a network in the clear, or believe anyone's headers.
    """
    try:
        bind = plain_host(options.bind)
    except ValueError as error:
        raise InputError(str(error)) from None
    if options.drain > DRAIN_MAX:
        raise InputError(f"{options.drain:g} s are too long to drain", hint=f"use up to {DRAIN_MAX:g} s")
    if (options.tls_cert is None) != (options.tls_key is None):
        raise InputError("a certificate needs its key, and a key its certificate", remedy=_SAFELY)
    for path in (options.tls_cert, options.tls_key):
        if path is not None and not path.is_file():
            raise InputError(f"there is no file {path}", hint="name the certificate and its key, as PEM files")
    if not (is_loopback(bind) or options.tls_cert or options.behind_proxy):
        raise InputError(
            f"{bind} is not a loopback address, and tokens would go over the network in the clear",
            hint="give it a certificate and its key, or a proxy in front that speaks TLS",
            remedy=_SAFELY,
        )
    if options.behind_proxy and not options.trusted_proxies:
        raise InputError(
            "behind a proxy, the API must know which addresses are those of proxies",
            hint="name their networks, such as 10.0.0.0/24",
            remedy=_SAFELY,
        )
    if options.trusted_proxies and not options.behind_proxy:
        raise InputError("trusted proxies have no effect unless the API is behind a proxy", remedy=_SAFELY)
    return replace(options, bind=bind, public_url=_public_url(options.public_url))


def proxy_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read networks in CIDR notation, several of which a comma may separate. Raises InputError for one that is none."""
    read: list[Network] = []
    for text in (part.strip() for group in texts for part in group.split(",")):
        if not text:
            continue
        try:
            network = ip_network(text)
        except ValueError as error:
            hint = "name each network, such as 10.0.0.0/24; anyone could forge the headers of a trusted proxy"
            raise InputError(f"trusted proxies: {error}", hint=hint) from None
        read.append(network)
    for every in (network for network in _collapsed(read) if network.prefixlen == 0):
        raise InputError(
            f"trusted proxies: {', '.join(texts)} is every IPv{every.version} address",
            hint="name the proxies' own networks; anyone could forge the headers of a trusted proxy",
        )
    return tuple(read)


def _collapsed(networks: Sequence[Network]) -> list[Network]:
    """Return the same addresses as the fewest networks."""
    return [
        *collapse_addresses(network for network in networks if isinstance(network, IPv4Network)),
        *collapse_addresses(network for network in networks if isinstance(network, IPv6Network)),
    ]


def _public_url(text: str) -> str:
    """Return the public URL without the slash at its end. Raises InputError for one that is not a web address."""
    if not text:
        return ""
    parts = urlsplit("")
    try:
        parts = urlsplit(_in_ascii(text))
        right = parts.scheme in _PORTS and parts.hostname and parts.port != 0 and text.isprintable() and " " not in text
    except ValueError:
        right = False
    if not right or parts.query or parts.fragment or parts.username is not None:
        raise InputError(
            f"PREBUILD_PUBLIC_URL={text!r} is not an address of this API",
            hint="write it as https://prebuilds.example.com, with a path if there is one, and nothing after it",
        )
    return parts.geturl().rstrip("/")


def _in_ascii(url: str) -> str:
    """Return a URL with its host as the header `Host` has it. Raises ValueError for one that no header can hold."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host.isascii():
        port = "" if parts.port is None else f":{parts.port}"
        parts = parts._replace(netloc=host.encode("idna").decode("ascii") + port)
    parts.geturl().encode("ascii")
    return parts.geturl()


def allows_host(options: ServeOptions, header: str) -> bool:
    """Return whether requests for a host, as the header `Host` names it, are answered.

    A page of another site that resolves its own name to this address has that name in `Host`.
    """
    host, port = _host_and_port(header)
    if not host:
        return False
    if options.public_url:
        parts = urlsplit(options.public_url)
        default = _PORTS[parts.scheme]
        return host == (parts.hostname or "").rstrip(".") and (port or default) == (parts.port or default)
    return is_loopback(host) or host == options.bind.lower()


def _host_and_port(header: str) -> tuple[str, int]:
    """Return the host in lower case and the port, 0 without one; an empty host for what is not a host."""
    try:
        parts = urlsplit(f"//{header}")
        host, port = (parts.hostname or "").rstrip("."), parts.port or 0
    except ValueError:
        return "", 0
    return (host, port) if parts.netloc == header and parts.username is None else ("", 0)


def listening_url(options: ServeOptions, port: int) -> str:
    """Return the address at which the API is served."""
    return f"{'https' if options.tls_cert else 'http'}://{host_in_url(options.bind)}:{port}"
