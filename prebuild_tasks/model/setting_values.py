"""Rules of the values of settings. Each returns the value to use, and raises ValueError for one that is not valid."""

from __future__ import annotations

import re
from ipaddress import ip_network

from prebuild_tasks.model.addresses import has_password_in_query, is_host_name, masked_url
from prebuild_tasks.model.redis_url import parse_redis_url

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")


def check_namespace(value: str) -> str:
    """Return the prefix of the names of queues and locks."""
    if not _NAMESPACE.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a valid namespace; use 1 to 63 lower-case letters, digits, dots, - and _, "
            "beginning and ending with a letter or digit"
        )
    return value


def check_log_level(value: str) -> str:
    """Return the level of logs, in upper case."""
    if value.upper() not in _LEVELS:
        raise ValueError(f"{value!r} is not a log level; use one of {', '.join(_LEVELS)}")
    return value.upper()


def check_redis_url(value: str) -> str:
    """Return the URL of Redis; it may be empty."""
    if has_password_in_query(value):
        raise ValueError(
            f"{masked_url(value)} has the password in its query, which Celery shows in its reports; "
            "write redis://:PASSWORD@host:6379/0"
        )
    try:
        parse_redis_url(value or "redis://")
    except ValueError as error:
        raise ValueError(f"{masked_url(value)} {error}") from None
    return value


def check_port_range(value: str) -> str:
    """Return the range of ports."""
    first, _, last = value.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 65536):
        raise ValueError(f"{value!r} is not a range of ports; write it as 20000-29999")
    return value


def check_receiver(value: str) -> str:
    """Return a network, an address or the name of a host, in lower case."""
    try:
        return str(ip_network(value))
    except ValueError:
        if is_host_name(value.lower()):
            return value.lower()
        raise ValueError(
            f"{value!r} is not a network, an address or the name of a host; write 10.1.0.0/16 or ci.example.com"
        ) from None
