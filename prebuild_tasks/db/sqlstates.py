"""The classes of PostgreSQL's error codes (SQLSTATE): what they mean for who asked, and for the connection. Pure.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from enum import StrEnum


class StateClass(StrEnum):
    """What an error of the server means for the caller."""

    RETRY = "retry"
    """Nothing was changed; the same request, made again, may succeed."""
    UNREACHABLE = "unreachable"
    """The server cannot serve now: it is shutting down, read-only, full, or not the right one."""
    REFUSED = "refused"
    """The value, the user's rights or the schema does not allow it. It will be refused again."""
    FAULT = "fault"
    """Neither: a fault of this release, of the server, or of an extension."""


UNIQUE_VIOLATION = "23505"
READ_ONLY = "25006"
NO_PRIVILEGE = "42501"
NO_TABLE = "42P01"
NO_COLUMN = "42703"
NO_SCHEMA = "3F000"
NO_STATEMENT, STATEMENT_EXISTS = "26000", "42P05"
"""Codes for a prepared statement that is on another connection of a pooler, or was left there by somebody else."""
FIXED_PARAMETER = "55P02"
_VALUES = ("22", "54")
"""Classes of what is wrong with a value: what it is, and how much there is of it."""

_BY_CLASS = {
    "08": StateClass.UNREACHABLE,  # connection exception
    "22": StateClass.REFUSED,  # data exception
    "28": StateClass.UNREACHABLE,  # invalid authorization
    "3D": StateClass.UNREACHABLE,  # no such database
    "40": StateClass.RETRY,  # transaction rollback: serialization failure, deadlock
    "53": StateClass.UNREACHABLE,  # insufficient resources: disk, memory, connections
    "54": StateClass.REFUSED,  # program limit exceeded, as by a value that is too long for an index
    "57": StateClass.UNREACHABLE,  # operator intervention
    "58": StateClass.UNREACHABLE,  # system error outside of PostgreSQL
    "72": StateClass.RETRY,  # snapshot too old
    "F0": StateClass.UNREACHABLE,  # error in the server's configuration file
}
"""Classes by the first two characters of the code. What is named neither here nor below is a fault."""
_BY_CODE = {
    UNIQUE_VIOLATION: StateClass.RETRY,  # another transaction wrote the same at once
    "23P01": StateClass.RETRY,  # exclusion violation, in the same way
    READ_ONLY: StateClass.UNREACHABLE,
    "25P03": StateClass.UNREACHABLE,  # idle_in_transaction_session_timeout ended the connection
    "25P04": StateClass.UNREACHABLE,  # transaction_timeout ended the connection
    NO_STATEMENT: StateClass.REFUSED,
    NO_SCHEMA: StateClass.REFUSED,  # none of the search path exists
    NO_PRIVILEGE: StateClass.REFUSED,
    NO_COLUMN: StateClass.REFUSED,
    NO_TABLE: StateClass.REFUSED,
    STATEMENT_EXISTS: StateClass.REFUSED,
    "55006": StateClass.RETRY,  # object in use
    FIXED_PARAMETER: StateClass.REFUSED,  # a parameter that cannot be changed now
    "55P03": StateClass.RETRY,  # lock not available
    "57014": StateClass.RETRY,  # statement_timeout, or pg_cancel_backend
}
_ENDS_BY_CLASS = ("08", "57P", "58", "F0", "XX")
_ENDS = frozenset({READ_ONLY, "25P02", "25P03", "25P04", "57000", "0A000", NO_STATEMENT, STATEMENT_EXISTS})
"""Codes after which the connection is not used again: with another one it may work. 25P02: an earlier error was not
followed by a rollback. 0A000: "cached plan must not change result type", of a prepared statement after a migration."""


def state_class(code: str) -> StateClass:
    """Return the class of a SQLSTATE. Every code has one, also those of later releases and of extensions."""
    return _BY_CODE.get(code) or _BY_CLASS.get(code[:2], StateClass.FAULT)


def is_of_value(code: str) -> bool:
    """Return whether a SQLSTATE says that the server cannot take a value as it is."""
    return code.startswith(_VALUES)


def ends_connections(code: str) -> bool:
    """Return whether a SQLSTATE tells of the server or the connection, so that all connections are made anew."""
    return code in _ENDS or code.startswith(_ENDS_BY_CLASS)
