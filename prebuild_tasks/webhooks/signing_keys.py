"""The secret keys that sign deliveries, by their fingerprints: a process that has another one would show wrong secrets.

A fingerprint is derived from a key of 256 random bits and cut short, so it tells nothing about the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from prebuild_tasks.access import InstallationKeys
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.model.vocabulary import RECONCILER
from prebuild_tasks.schema import tables as m

_KEY = "webhook_signing_keys"
"""Key of the settings row with the fingerprints of the keys that sign."""
_PURPOSE = "fingerprint"
_BYTES = 8
"""Bytes of a fingerprint."""


def fingerprints(keys: InstallationKeys) -> tuple[str, ...]:
    """Return the fingerprints of keys, in their order."""
    return tuple(key[:_BYTES].hex() for key in keys.derive(_PURPOSE))


def note_signing_keys(connection: Connection, keys: InstallationKeys, now: datetime) -> bool:
    """Store the keys that a process signs deliveries with from now on.

    Returns whether one of them signed before, or none was known: otherwise receivers need new secrets.
    """
    signing, stored = fingerprints(keys), _stored(connection)
    if tuple(stored) != signing:
        values = {"value": {"fingerprints": list(signing)}, "updated_at": now, "updated_by": RECONCILER}
        insert = conflict_insert(connection, m.Setting).values(key=_KEY, **values)
        connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=values))
    return not stored or not set(stored).isdisjoint(signing)


def require_signing_key(connection: Connection, keys: InstallationKeys, now: datetime) -> None:
    """Raise RefusedError unless deliveries are signed with the first of these keys, which makes the secrets.

    Where no process has told yet what it signs with, it is taken that it will be these keys.
    """
    stored = _stored(connection)
    if not stored:
        note_signing_keys(connection, keys, now)
    elif fingerprints(keys)[0] not in stored:
        raise RefusedError(
            "webhooks are signed with another secret key than that of this process, so its secret would be wrong",
            hint="do it over HTTP or where the webhooks worker runs, or name the file of its key in "
            "PREBUILD_SECRET_KEY_FILE; if this key is the new one, restart that worker with it first",
        )


def _stored(connection: Connection) -> Sequence[str]:
    value = connection.execute(select(m.Setting.value).where(m.Setting.key == _KEY)).scalar_one_or_none()
    stored = value["fingerprints"] if value else ()
    return [str(each) for each in stored] if isinstance(stored, list) else ()
