"""The parameters that every session on PostgreSQL needs. SQLAlchemy is not needed for them."""

from __future__ import annotations

from dataclasses import dataclass

LOCK_TIMEOUT_MS = 2000
"""Milliseconds that a statement waits for a row lock of another process; a later tick tries again."""
IDLE_IN_TRANSACTION_MS = 30_000
"""Milliseconds after which PostgreSQL ends an idle transaction, so that a frozen process does not keep its locks."""
STATEMENT_TIMEOUT_MS = 0
"""Milliseconds that a statement may take; 0: unlimited, as a migration or a report may take long. What has a limit sets
its own."""


@dataclass(frozen=True, slots=True)
class SessionValue:
    """A parameter of PostgreSQL that every session needs, whatever the server, the database or the user defaults to."""

    name: str
    value: str
    since: int = 0
    """The first version of PostgreSQL that has it, as in `server_version_num`."""
    by_role: bool = True
    """Whether a statement outside of a transaction needs it. Behind a pooler the user's defaults must then have it."""
    instead_of: str = ""
    """The only value that it replaces, because every other one is as good or better; empty: all."""

    def statement(self, *, local: bool = False) -> str:
        """Return the statement that sets it, for the session or for one transaction."""
        if self.instead_of:
            return (
                f"SELECT set_config('{self.name}', '{self.value}', {local}) "
                f"WHERE current_setting('{self.name}') = '{self.instead_of}'"
            )
        return f"SET {'LOCAL ' if local else ''}{self.name} = '{self.value}'"

    def holds(self, current: str) -> bool:
        """Return whether a value from `pg_settings` means this one."""
        if self.name == "TimeZone":
            return current.upper() in ("UTC", "ETC/UTC", "GMT", "ETC/GMT", "UCT", "ETC/UCT", "ZULU", "ETC/ZULU")
        if self.instead_of:
            return current.lower() != self.instead_of
        return current.partition(",")[0].lower() == self.value.lower()


def session_values(version: int) -> list[SessionValue]:
    """Return the values for a version of PostgreSQL. `client_encoding` is UTF8 from the start of a connection."""
    values = (
        SessionValue("statement_timeout", str(STATEMENT_TIMEOUT_MS)),  # first: it holds for the others, too
        SessionValue("lock_timeout", str(LOCK_TIMEOUT_MS)),
        SessionValue("idle_in_transaction_session_timeout", str(IDLE_IN_TRANSACTION_MS), by_role=False),
        SessionValue("idle_session_timeout", "0", since=140_000, by_role=False),
        SessionValue("transaction_timeout", "0", since=170_000, by_role=False),
        SessionValue("default_transaction_isolation", "read committed"),  # a count after a lock must see what is new
        SessionValue("synchronous_commit", "on", instead_of="off"),  # an answered claim survives the server's crash
        SessionValue("standard_conforming_strings", "on"),
        SessionValue("TimeZone", "UTC"),
        SessionValue("DateStyle", "ISO"),
        SessionValue("IntervalStyle", "postgres"),
        SessionValue("extra_float_digits", "1"),
    )
    return [value for value in values if value.since <= version]
