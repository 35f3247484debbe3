"""Sessions of the page: begin one by a token or by a code, look it up, end it.

A session acts as its token, with what that may do at the moment, and ends with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, update

from prebuild_tasks import clock
from prebuild_tasks.access.recent import CACHED_S, NOTED_EVERY_S, Noted, RecentAnswers
from prebuild_tasks.access.rules import digest, principal_of
from prebuild_tasks.access.session_ids import is_code, is_session_id, new_code, new_session_id
from prebuild_tasks.access.store import StoredSession, read_sessions
from prebuild_tasks.access.types import Principal
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.schema import tables as m

log = get_logger(__name__)

IDLE = timedelta(hours=8)
"""A session that was not used for so long has ended."""
LASTS = timedelta(hours=24)
CODE_LASTS = timedelta(minutes=10)
WATCHED_NOTED_EVERY = timedelta(minutes=5)
"""Time between two writes of the use of a session that is watched."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that goes on."""

    id: str = field(repr=False)
    """Its secret, which the cookie holds."""
    principal: Principal


class PageSessions:
    """The sessions of an installation, looked up at most once in two seconds per process. Threads may share it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._principals = RecentAnswers[Principal | bool]()
        """Who acts in a session, by the digest of its id; False: it has ended."""
        self._noted = Noted()
        """By the digest of the id."""

    def begin(self, token_id: str) -> str:
        """Begin a session that acts as a token, and return its id."""
        with self._database.write() as connection:
            return _begin(connection, token_id, self._database.now(connection))

    def redeem(self, code: str) -> str | None:
        """Begin a session by a code, and return its id; None: the code was used, is too old, or was never made."""
        if not is_code(code):
            return None
        table = m.LoginCode
        with self._database.write() as connection:
            now = self._database.now(connection)
            usable = (table.digest == digest(code), table.used_at.is_(None), table.expires_at > now)
            used = update(table).where(*usable).values(used_at=now).returning(table.token_id)
            token_id = connection.execute(used).scalar_one_or_none()
            return None if token_id is None else _begin(connection, token_id, now)

    def find(self, session_id: str, within: float = CACHED_S) -> Session | None:
        """Return a session that goes on, by a look that is at most so many seconds old; None: it has ended.

        Raises UnreachableError if the database did not answer.
        """
        if not is_session_id(session_id):
            return None
        key = digest(session_id)
        principal = self._principals.get(key, within)
        if principal is None:
            asked_at = clock.monotonic()
            principal = self._remember(key, self._read([key]).get(key), asked_at)
        return Session(session_id, principal) if isinstance(principal, Principal) else None

    def refresh(self, session_ids: Collection[str]) -> bool:
        """Look all of these sessions up by one statement, for those who ask next.

        Returns whether `note_watched` would write for one of them.
        """
        keys = {digest(session_id) for session_id in session_ids if is_session_id(session_id)}
        asked_at = clock.monotonic()
        stored = self._read(keys)
        for key in keys:
            self._remember(key, stored.get(key), asked_at)
        going_on = (session for session in stored.values() if _left(session) > 0)
        return any(session.now - session.last_seen_at >= WATCHED_NOTED_EVERY for session in going_on)

    def remembered(self, session_id: str, within: float = CACHED_S) -> Session | None:
        """Return a session that was looked up just now, without a read; None: it was not, or has ended."""
        if not is_session_id(session_id):
            return None
        principal = self._principals.get(digest(session_id), within)
        return Session(session_id, principal) if isinstance(principal, Principal) else None

    def was_good(self, session_id: str) -> bool:
        """Return whether a session went on when it was last looked up, however long ago, if that is known."""
        return is_session_id(session_id) and isinstance(self._principals.last(digest(session_id)), Principal)

    def end(self, session_id: str) -> None:
        """End a session. Every process notices within 2 s."""
        if not is_session_id(session_id):
            return
        key = digest(session_id)
        with self._database.write() as connection:
            connection.execute(delete(m.PageSession).where(m.PageSession.digest == key))
        self._principals.put(key, False, clock.monotonic())  # noqa: FBT003 - the value

    def is_use_due(self, session: Session) -> bool:
        """Return whether `note_use` would write."""
        return self._noted.is_due(digest(session.id))

    def note_use(self, session: Session) -> None:
        """Write that a session is in use, unless that was written less than a minute ago. Call it after the answer.

        A failure is logged, and the next use writes it.
        """
        key, table = digest(session.id), m.PageSession
        if not self._noted.take(key):
            return
        try:
            with self._database.write() as connection:
                now = self._database.now(connection)
                # Another process may have written it.
                is_due = table.last_seen_at <= now - timedelta(seconds=NOTED_EVERY_S)
                connection.execute(update(table).where(table.digest == key, is_due).values(last_seen_at=now))
        except PrebuildError as error:
            self._noted.give_back(key)
            log.warning("session_use_not_noted", token=session.principal.name, error=str(error))

    def note_watched(self, session_ids: Collection[str]) -> None:
        """Write by one statement that those of the sessions are in use for which that was written minutes ago.

        One that has ended meanwhile stays so. A failure is logged, and the next call writes it.
        """
        keys, table = {digest(session_id) for session_id in session_ids}, m.PageSession
        try:
            with self._database.write() as connection:
                now = self._database.now(connection)
                is_due = (table.last_seen_at <= now - WATCHED_NOTED_EVERY, table.last_seen_at > now - IDLE)
                connection.execute(update(table).where(table.digest.in_(keys), *is_due).values(last_seen_at=now))
        except PrebuildError as error:
            log.warning("session_use_not_noted", sessions=len(keys), error=str(error))

    def _read(self, keys: Collection[str]) -> Mapping[str, StoredSession]:
        with self._database.read() as connection:
            return read_sessions(connection, keys, self._database.now_column())

    def _remember(self, key: str, stored: StoredSession | None, asked_at: float) -> Principal | bool:
        principal = None if stored is None else principal_of(stored.token)
        if stored is None or principal is None or (left := _left(stored)) <= 0:
            return self._principals.put(key, False, asked_at)  # noqa: FBT003 - the value
        return self._principals.put(key, principal, asked_at, left)


def new_login_code(database: Database, token_id: str) -> str:
    """Return a code that begins one session as a token, within ten minutes."""
    code = new_code()
    with database.write() as connection:
        expires_at = database.now(connection) + CODE_LASTS
        values = {"digest": digest(code), "token_id": token_id, "expires_at": expires_at}
        connection.execute(insert(m.LoginCode).values(values))
    return code


def _begin(connection: Connection, token_id: str, now: datetime) -> str:
    session_id = new_session_id()
    values = {"digest": digest(session_id), "token_id": token_id}
    times = {"created_at": now, "last_seen_at": now, "ends_at": now + LASTS}
    connection.execute(insert(m.PageSession).values(values | times))
    return session_id


def _left(stored: StoredSession) -> float:
    """Return the seconds for which a session goes on unless it is used."""
    ends = [stored.ends_at, stored.last_seen_at + IDLE]
    if stored.token.expires_at is not None:
        ends.append(stored.token.expires_at)
    return (min(ends) - stored.now).total_seconds()
