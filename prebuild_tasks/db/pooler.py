"""Find a pooler in transaction mode between this process and PostgreSQL, and what the user's defaults lack for one."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.errors import POOLER_HINT
from prebuild_tasks.db.session_values import SessionValue
from prebuild_tasks.db.sessions import differing
from prebuild_tasks.errors import UnfitDatabaseError
from prebuild_tasks.model.addresses import masked_url

_LOOKS = 20
"""How often two connections are compared; a pooler may have that many connections of its own."""


@dataclass(frozen=True, slots=True)
class RoleDefaults:
    """The user's defaults that a statement outside of a transaction would have, and should not."""

    role: str
    differing: tuple[tuple[SessionValue, str], ...]
    """Each value that is needed, with the one that was found."""

    @property
    def statements(self) -> str:
        """The SQL that corrects them."""
        return " ".join(
            f"ALTER ROLE {_quoted(self.role)} SET {value.name} = '{value.value}';" for value, _ in self.differing
        )


def shares_connections(database: Database) -> bool:
    """Return whether a pooler in transaction mode is in between, which the settings do not say.

    In this mode the same process of the server answers two connections that are both open, one after the other. Without
    any pooler nothing is asked. Raises as reads do.
    """
    sessions = database.sessions
    if sessions is None or sessions.pooled:
        return False
    with database.read() as one:
        if not sessions.has_pooler:
            return False
        with database.read() as other:
            first = _process(one)
            return any(_process(other) == first or _process(one) != first for _ in range(_LOOKS))


def pooler_problem(database: Database) -> UnfitDatabaseError:
    """Return the error for a pooler in transaction mode that the settings do not name."""
    return UnfitDatabaseError(
        f"the database {masked_url(database.url)} is behind a connection pooler in transaction mode, which loses "
        "session values and prepared statements",
        hint=POOLER_HINT,
    )


def role_defaults(database: Database, connection: Connection) -> RoleDefaults | None:
    """Return what the user's defaults lack, for a database behind a pooler in transaction mode; None for others."""
    if database.sessions is None or not database.sessions.pooled:
        return None
    query = (
        "SELECT name, setting, current_user AS role, current_setting('server_version_num')::int AS version "
        "FROM pg_settings"
    )
    rows = connection.execute(text(query)).all()
    lacking = differing([(row.name, row.setting) for row in rows], rows[0].version)
    return RoleDefaults(rows[0].role, tuple(lacking))


def _process(connection: Connection) -> int:
    """Return the process of the server that answers."""
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
