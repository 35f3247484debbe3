"""The keys of the installation, from which every other key of the HTTP API is derived. Pure.

They are in files and never in the database, so that neither a copy of the database nor its password lets anybody sign.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

_HASH = "sha256"
_NO_SALT = bytes(32)


@dataclass(frozen=True, slots=True)
class InstallationKey:
    """A random key that all processes of an installation share."""

    secret: bytes = field(repr=False)
    """At least 32 bytes."""

    def derive(self, purpose: str, *parts: str) -> bytes:
        """Return the key of 32 bytes for one purpose: none of them tells anything about another one, or about this key.

        Args:
            purpose: What it is for, such as `cursors`.
            parts: What tells the keys of one purpose apart, such as an id and a version. No zero characters.
        """
        return hkdf(self.secret, "\0".join(("prebuild", purpose, *parts)).encode())


@dataclass(frozen=True, slots=True)
class InstallationKeys:
    """The keys of an installation, of which the first signs and all verify. There are several during a rotation."""

    keys: tuple[InstallationKey, ...]
    """At least one."""

    def derive(self, purpose: str, *parts: str) -> tuple[bytes, ...]:
        """Return the keys for one purpose, in the same order: the first signs, and all verify."""
        return tuple(key.derive(purpose, *parts) for key in self.keys)


def hkdf(secret: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF (RFC 5869) with SHA-256 and no salt, which is one block of its output."""
    return hmac.digest(hmac.digest(_NO_SALT, secret, _HASH), info + b"\x01", _HASH)
