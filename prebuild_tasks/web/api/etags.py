"""Entity tags, which are digests of bodies, and conditional requests."""

from __future__ import annotations

import hashlib

_WEAK = "W/"


def etag_of(body: bytes, *, weak: bool = False) -> str:
    """Return the entity tag of a body; a weak one for a body that stands for others which mean the same."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return _WEAK + tag if weak else tag


def matches(if_none_match: str, etag: str) -> bool:
    """Return whether a client that sent this `If-None-Match` has the body already.

    The comparison is the weak one of RFC 9110, section 13.1.2.
    """
    named = [item.strip().removeprefix(_WEAK) for item in if_none_match.split(",")]
    return "*" in named or etag.removeprefix(_WEAK) in named
