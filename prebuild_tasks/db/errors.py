"""Errors of the databases and their drivers, as errors of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, SQLAlchemyError

from prebuild_tasks.db.sessions import Sessions
from prebuild_tasks.db.sqlstates import (
    FIXED_PARAMETER,
    NO_COLUMN,
    NO_PRIVILEGE,
    NO_SCHEMA,
    NO_STATEMENT,
    NO_TABLE,
    READ_ONLY,
    STATEMENT_EXISTS,
    UNIQUE_VIOLATION,
    StateClass,
    is_of_value,
    state_class,
)
from prebuild_tasks.errors import BusyError, InputError, PrebuildError, UnfitDatabaseError, UnreachableError
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.remedies import Remedy, RemedyKind

_POOLER_SIGNS = (NO_STATEMENT, STATEMENT_EXISTS, "08P01")
POOLER_HINT = "set PREBUILD_DATABASE_POOLER=transaction, or connect to PostgreSQL directly"


@dataclass(frozen=True, slots=True)
class Translator:
    """Translates what goes wrong with one database."""

    url: str
    sessions: Sessions | None
    """Those of PostgreSQL; None for SQLite."""

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise an error of this project for any error of the database or its driver that the block raises.

        Only IntegrityError passes: who writes knows what another one may have written at the same time.
        """
        try:
            yield
        except (UnicodeError, OverflowError) as error:
            raise unusable_value(error) from error
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self.translate(error) from error
        except InvalidRequestError as error:
            if "connection is closed" in str(error).lower():  # made anew, and lost again before its first use
                raise self._unreachable("the connection was lost") from error
            raise
        except SQLAlchemyError as error:
            if "QueuePool limit" in str(error):
                raise BusyError("every database connection of this process is in use") from error
            raise

    def translate(self, error: DBAPIError) -> PrebuildError:
        """Return the error of this project for an error of the driver."""
        if self.sessions is None:
            return self._of_sqlite(str(error.orig)) or self._fault(str(error.orig))
        return self._of_postgresql(error, self.sessions)

    def _of_sqlite(self, message: str) -> PrebuildError | None:
        if "locked" in message:
            return BusyError("another process held the database file for too long")
        if "UNIQUE constraint" in message:
            return BusyError("another process wrote the same at the same time")
        if any(part in message for part in _SQLITE_UNUSABLE):
            return self._unreachable(message)
        if "no such table" in message:
            return UnfitDatabaseError(
                f"the database {masked_url(self.url)} has no prebuild tables yet",
                remedy=Remedy(RemedyKind.CREATE_DATABASE),  # SQLite makes an empty file wherever it is told to look
            )
        if "no such column" in message or "has no column" in message:
            return _old_schema(message)
        if any(part in message for part in _SQLITE_VALUES):
            return unusable_value(message)
        return None

    def _of_postgresql(self, error: DBAPIError, sessions: Sessions) -> PrebuildError:
        original, message = error.orig, _first_line(error.orig)
        code: str | None = getattr(original, "sqlstate", None)
        # By name, because the driver is optional; with base classes, because psycopg has subclasses, as for timeouts.
        kinds = {kind.__name__ for kind in type(original).__mro__}
        if code is None:  # of the driver itself
            if "DataError" in kinds:
                return unusable_value(original)
            if error.connection_invalidated or kinds & {"OperationalError", "InterfaceError"}:
                return self._unreachable(message)
            return self._fault(message)
        if code in _POOLER_SIGNS and sessions.has_pooler and not sessions.pooled:
            text = f"the database {masked_url(self.url)} is behind a pooler in transaction mode: {message}"
            return UnfitDatabaseError(text, hint=POOLER_HINT)
        match state_class(code):
            case StateClass.RETRY:
                return BusyError(_BUSY.get(code, f"another process changed or held the same: {message}"))
            case StateClass.UNREACHABLE:
                if code == READ_ONLY and sessions.role_is_read_only:
                    return self._forbidden(message)
                return self._unreachable(message)
            case StateClass.REFUSED:
                return self._refused(code, message, sessions)
        return self._fault(f"{message} (SQLSTATE {code})")

    def _refused(self, code: str, message: str, sessions: Sessions) -> InputError:
        if code == NO_TABLE:
            return self._no_tables(sessions.search_path)
        if code == NO_COLUMN:
            return _old_schema(message)
        if code == NO_PRIVILEGE:
            return self._forbidden(message)
        if is_of_value(code):
            return unusable_value(message)
        return UnfitDatabaseError(
            f"the database {masked_url(self.url)} does not serve this user's sessions: {message}",
            hint=_SESSION_HINTS.get(code, "see its log"),
        )

    def _no_tables(self, search_path: str) -> UnfitDatabaseError:
        remedy = Remedy(RemedyKind.UPGRADE_SCHEMA)
        if search_path in ("", _SEARCH_PATH):
            return UnfitDatabaseError("the database has no prebuild tables yet", remedy=remedy)
        return UnfitDatabaseError(
            f"the database has no prebuild tables yet in the schemas of its user's search_path, {search_path}",
            hint=f"if they are in another schema, correct it: {_SET_SEARCH_PATH}; otherwise create them",
            remedy=remedy,
        )

    def _forbidden(self, message: str) -> UnfitDatabaseError:
        return UnfitDatabaseError(
            f"the user of the database {masked_url(self.url)} may not do this: {message}",
            hint="let it write to all tables, or name another user in PREBUILD_DATABASE_URL; "
            "a plan writes, too, and rolls back",
        )

    def _unreachable(self, message: str) -> UnreachableError:
        hint, remedy = _next_step(message, is_sqlite=self.sessions is None)
        return UnreachableError(
            f"the database {masked_url(self.url)} could not be used: {message}",
            hint=hint,
            remedy=remedy,
        )

    def _fault(self, message: str) -> PrebuildError:
        return PrebuildError(
            f"the database {masked_url(self.url)} failed: {message}",
            hint="see its log; if that is empty, report this",
        )


def unusable_value(error: object) -> InputError:
    """Return the error for a value that the database cannot store or compare."""
    line = str(error).strip().split("\n", maxsplit=1)[0][:200]
    return InputError(f"a value cannot be stored or compared: {line}", hint="use printable text and plain numbers")


_SEARCH_PATH = '"$user", public'
"""PostgreSQL's own default."""
_SET_SEARCH_PATH = "ALTER ROLE … SET search_path = public, or the schema that has the tables"
_SESSION_HINTS = {
    NO_SCHEMA: f"its search_path names no schema that exists: {_SET_SEARCH_PATH}",
    NO_STATEMENT: f"if a connection pooler is in between, {POOLER_HINT}",
    STATEMENT_EXISTS: f"if a connection pooler is in between, {POOLER_HINT}",
    FIXED_PARAMETER: "let this user's sessions set their own parameters",
}
"""What to do about a refusal that is not about a value."""
_BUSY = {
    "55P03": "another process held the row for too long",
    "40P01": "another process held the row for too long",
    "40001": "another process held the row for too long",
    UNIQUE_VIOLATION: "another process wrote the same at the same time",
    "57014": "the database canceled a statement that took too long",
}
_SQLITE_UNUSABLE = ("unable to open", "readonly", "disk I/O", "full", "not a database", "malformed", "corrupt")
_SQLITE_VALUES = ("too big", "too long", "too large", "too many SQL variables", "unsupported type", "type 'int'")
_NEXT_STEPS = (
    (("password", "authentication failed", "role "), "correct the user and password in PREBUILD_DATABASE_URL"),
    (("disk is full", "No space left"), "make room on its disk"),
    (("too many clients", "connection slots"), "raise its max_connections, or run fewer workers"),
    (("readonly",), "let this user write to the file and its directory"),
    (
        ("read-only", "during recovery", "not in hot standby"),
        "it takes no writes, perhaps as a standby; a primary that answers at this address is found without a restart",
    ),
)
"""Parts of a database's message, and the hint that belongs to them."""


def _next_step(message: str, *, is_sqlite: bool) -> tuple[str, Remedy | None]:
    for parts, hint in _NEXT_STEPS:
        if any(part in message for part in parts):
            return hint, None
    if is_sqlite:
        return "", Remedy(RemedyKind.CREATE_DATABASE)
    if "does not exist" in message:
        return "", Remedy(RemedyKind.CREATE_DATABASE_ON_SERVER)
    return "start it, or point PREBUILD_DATABASE_URL at one that runs", None


def _old_schema(message: str) -> UnfitDatabaseError:
    line = message.strip().split("\n", maxsplit=1)[0]
    return UnfitDatabaseError(
        f"the database is older than this release: {line}", remedy=Remedy(RemedyKind.UPGRADE_SCHEMA)
    )


def _first_line(error: object) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else "no answer"
