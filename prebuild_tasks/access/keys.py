"""Random keys of the installation, which all of its processes share."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.schema import tables as m

_SIGNING = "signing"
_BYTES = 32


def signing_key(database: Database) -> bytes:
    """Return the key that signs what the HTTP API hands out and takes back, such as cursors. The first call makes it.

    It is not a secret from those who read the database.
    """
    with database.read() as connection:
        stored = _read(connection)
    if stored is None:
        with database.write() as connection:
            made = {"name": _SIGNING, "value": secrets.token_hex(_BYTES), "created_at": database.now(connection)}
            # Another process may make it at the same time; the first one stays.
            connection.execute(conflict_insert(connection, m.InstallationKey).values(made).on_conflict_do_nothing())
            stored = _read(connection)
    return bytes.fromhex(stored or "")


def _read(connection: Connection) -> str | None:
    query = select(m.InstallationKey.value).where(m.InstallationKey.name == _SIGNING)
    return connection.execute(query).scalar_one_or_none()
