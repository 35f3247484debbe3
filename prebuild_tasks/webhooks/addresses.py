"""Addresses and URLs that webhooks may reach: nothing inside, except for what an operator allows. Pure.

The tables follow the IANA registries of special-purpose addresses, not `is_global`, whose answers differ between
releases of Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.addresses import host_in_url, is_host_name, is_ipv6

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_INSIDE = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by the customers of a carrier
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # the metadata and resolver of Azure
            "169.254.0.0/16",  # link-local, with the metadata of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocols, with the metadata of Oracle Cloud
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All other addresses of IPv6 are inside: loopback, link-local, private, multicast, IPv4-mapped, NAT64, unassigned."""
_INSIDE_GLOBAL_UNICAST = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, with Teredo, which has an address of IPv4 in it
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which has an address of IPv4 in it
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
_LENGTH_MAX = 2000
"""Characters of a URL."""
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:(?P<user>[^/?#@]*)@)?"
    r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<host>[a-z0-9_.-]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!$-;=@-Z_a-z~%&]*)?(?P<query>\?[!$-;=?-Z_a-z~%&\[\]]*)?",
    re.IGNORECASE | re.ASCII,
)
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class AllowedReceivers:
    """What webhooks may reach although it is inside: `PREBUILD_WEBHOOK_ALLOW`."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    """Names in lower case. Whatever address they have is allowed, and so is HTTP without TLS."""

    @classmethod
    def of(cls, entries: Iterable[str]) -> AllowedReceivers:
        """Return what the entries of the setting allow: each is a network, an address or the name of a host."""
        networks, hosts = [], set()
        for entry in entries:
            try:
                networks.append(ip_network(entry))
            except ValueError:
                hosts.add(entry.lower())
        return cls(tuple(networks), frozenset(hosts))

    def names(self, host: str) -> bool:
        """Return whether a host is allowed by its name, or, if it is an address, by that."""
        address = _address_of(host)
        return host in self.hosts if address is None else self.has(address)

    def has(self, address: Address) -> bool:
        """Return whether an address is in an allowed network."""
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Receiver:
    """The parts of a webhook's URL."""

    scheme: str
    host: str
    """A name in lower case, or an address, without brackets."""
    port: int
    target: str
    """Path and query."""

    @property
    def authority(self) -> str:
        """Host and port as they stand in the URL and in the header `Host`."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{host_in_url(self.host)}{port}"

    def __str__(self) -> str:
        """Return the URL."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_receiver(url: str, allowed: AllowedReceivers) -> Receiver:
    """Return the parts of a webhook's URL, whose host is resolved only when something is sent.

    Raises InputError for a URL to which nothing may be sent.
    """
    match = _URL.fullmatch(url) if len(url) <= _LENGTH_MAX else None
    if match is None:
        raise InputError(
            f"{_without_user(url)[:200]!r} is not the URL of a receiver",
            hint="write it as https://host/path, with ASCII letters, %XX for others, and without a fragment",
        )
    if match["user"] is not None:
        raise InputError(
            "the URL of a receiver may have no user and no password", hint="let the receiver verify the signature"
        )
    scheme, port = match["scheme"].lower(), int(match["port"] or _PORTS[match["scheme"].lower()])
    host = _checked_host((match["ipv6"] or match["host"]).lower(), in_brackets=match["ipv6"] is not None)
    if not 0 < port < 65536:
        raise InputError(f"{port} is not a port", hint="use one from 1 to 65535")
    address = _address_of(host)
    if address is not None and not may_reach(host, address, allowed):
        raise InputError(refusal(host, address), hint="an operator can allow it in PREBUILD_WEBHOOK_ALLOW")
    if scheme == "http" and not allowed.names(host):
        raise InputError(
            "the URL of a receiver begins with https://",
            hint=f"without TLS only what PREBUILD_WEBHOOK_ALLOW names is reached, and it does not name {host}",
        )
    return Receiver(scheme, host, port, f"{match['path'] or '/'}{match['query'] or ''}")


def may_reach(host: str, address: Address, allowed: AllowedReceivers) -> bool:
    """Return whether something may be sent to an address that a host has."""
    return host in allowed.hosts or allowed.has(address) or is_outside(address)


def is_outside(address: Address) -> bool:
    """Return whether everybody on the internet means the same by an address, and it is not one of a cloud's services.

    An address of IPv6 that has one of IPv4 in it never is: whoever translates it may reach inside.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _INSIDE)
    is_unicast = address in _GLOBAL_UNICAST and not any(address in network for network in _INSIDE_GLOBAL_UNICAST)
    return is_unicast and address.scope_id is None


def refusal(host: str, address: Address) -> str:
    """Return the sentence about an address that may not be reached."""
    return f"{host} is an address inside" if host == str(address) else f"{host} has the address {address}, inside"


def _checked_host(host: str, *, in_brackets: bool) -> str:
    """Return the host of a URL in canonical form. Raises InputError for one that is not a name or an address."""
    if in_brackets:
        if not is_ipv6(host):
            raise InputError(f"[{host}] is not an address of IPv6")
        return str(ip_address(host))
    if _address_of(host) is None and not is_host_name(host):
        raise InputError(f"{host[:253]} is not a host name or an address")
    return host


def _without_user(url: str) -> str:
    """Return a text that is to be a URL without what stands before its last @, which may be a password."""
    return re.sub(".*@", "...@", url, flags=re.DOTALL)


def _address_of(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
