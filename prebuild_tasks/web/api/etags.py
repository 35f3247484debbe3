"""Entity tags, which are digests of bodies, and conditional requests."""

from __future__ import annotations

import hashlib


def etag_of(body: bytes) -> str:
    """Return the strong entity tag of a body."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def matches(if_none_match: str, etag: str) -> bool:
    """Return whether a client that sent this `If-None-Match` has the body already.

    The comparison is the weak one of RFC 9110, section 13.1.2.
    """
    named = [item.strip().removeprefix("W/") for item in if_none_match.split(",")]
    return "*" in named or etag in named
