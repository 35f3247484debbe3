"""Hosts, addresses and paths as parts of URLs."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

_PASSWORD = re.compile(r"^([a-z][a-z0-9+.-]*://[^/?#:@]*:).+@", re.IGNORECASE | re.DOTALL)
"""Matches up to the last @: an earlier @ is part of a password that was not encoded."""
_QUERY_PASSWORD = re.compile(r"([?&][^=&]*password=)[^&]*", re.IGNORECASE)
_SPECIAL_IN_PATH = {ord(letter): f"%{ord(letter):02X}" for letter in "%?#"}
_NOT_IN_HOST = re.compile(r"[\s/?#@\[\]:]")

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_HOST_LENGTH = 253


def masked_url(url: str) -> str:
    """Replace the password in a URL with `***`.

    In a URL that cannot be parsed, more than the password may be replaced.
    """
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


def has_password_in_query(url: str) -> bool:
    """Return whether a URL has a password among its query's values."""
    return bool(_QUERY_PASSWORD.search(url))


def path_in_url(path: object) -> str:
    """Return a path with `%XX` for the characters that mean something else in a URL."""
    return str(path).translate(_SPECIAL_IN_PATH)


def is_ipv6(host: str) -> bool:
    """Return whether a host is an IPv6 address, without brackets; it may have a zone, as in `fe80::1%eth0`."""
    try:
        return isinstance(ip_address(host), IPv6Address)
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address or `localhost`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_in_url(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets, and `%` as `%25`."""
    encoded = host.replace("%", "%25")
    return f"[{encoded}]" if is_ipv6(host) else encoded


def plain_host(text: str) -> str:
    """Return a host or an address without brackets. Raises ValueError for anything else, such as one with a port."""
    host = text[1:-1].replace("%25", "%", 1) if text.startswith("[") and text.endswith("]") else text
    if not is_ipv6(host) and (host != text or _NOT_IN_HOST.search(host)):
        raise ValueError(f"{text!r} is not a host name or an address; write it without scheme, port and path")
    return host


def is_host_name(text: str) -> bool:
    """Return whether a text is the name of a host, in lower case, and no program reads it as an address.

    As in the URL standard the last label decides: 2130706433, 0x7f.1 and 0177.0.0.1 are addresses to many programs.
    """
    labels = text.split(".")
    return len(text) <= _HOST_LENGTH and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])
