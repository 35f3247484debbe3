"""Find who presents a token, with at most one indexed read in two seconds per process and token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import or_, update

from prebuild_tasks import clock
from prebuild_tasks.access.recent import CACHED_S, NOTED_EVERY_S, Noted, RecentAnswers
from prebuild_tasks.access.rules import digest, is_token, principal_of
from prebuild_tasks.access.store import read_token
from prebuild_tasks.access.types import Principal, TokenState, TokenView
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import AuthenticationError, PrebuildError, TokenExpiredError, TokenRevokedError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m

log = get_logger(__name__)

_ANOTHER = Remedy(RemedyKind.CREATE_TOKEN)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The token of a text."""

    token: TokenView | None
    principal: Principal | None
    """Who presents it; None: it cannot be used."""


class Authenticator:
    """Finds the principals of tokens. It may be shared between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._answers = RecentAnswers[_Answer]()
        """By the digest of the text."""
        self._noted = Noted()
        """By the id of the token."""

    def authenticate(self, text: str, within: float = CACHED_S) -> Principal:
        """Return who presents a token, by a look at the database that is at most so many seconds old.

        Raises:
            AuthenticationError: There is no such token; as one of its subclasses: it has expired, or was revoked.
            UnreachableError: The database did not answer, and the token was not presented in the last two seconds.
        """
        if not is_token(text):
            raise _error_of(None)
        key = digest(text)
        answer = self._answers.get(key, within) or self._read(key)
        if answer.principal is None:
            raise _error_of(answer.token)
        return answer.principal

    def remembered(self, text: str, within: float = CACHED_S) -> Principal | None:
        """Return who presents a token, without a read; None: it was not looked up within so many seconds.

        Raises AuthenticationError for one of which it is known that it cannot be used.
        """
        if not is_token(text):
            raise _error_of(None)
        answer = self._answers.get(digest(text), within)
        if answer is None:
            return None
        if answer.principal is None:
            raise _error_of(answer.token)
        return answer.principal

    def was_good(self, text: str) -> bool:
        """Return whether a token was good when it was last looked up, however long ago that is, if that is known."""
        answer = self._answers.last(digest(text)) if is_token(text) else None
        return answer is not None and answer.principal is not None

    def is_use_due(self, principal: Principal) -> bool:
        """Return whether `note_use` would write."""
        return bool(principal.token_id) and self._noted.is_due(principal.token_id)

    def note_use(self, principal: Principal) -> None:
        """Write that a token is in use, unless that was written less than a minute ago. Call it after the answer.

        A failure is logged: the last use is for people, and the next one writes it.
        """
        if not principal.token_id or not self._noted.take(principal.token_id):
            return
        try:
            with self._database.write() as connection:
                now = self._database.now(connection)
                # Another process may have written it.
                is_due = or_(
                    m.Token.last_used_at.is_(None), m.Token.last_used_at <= now - timedelta(seconds=NOTED_EVERY_S)
                )
                connection.execute(
                    update(m.Token).where(m.Token.id == principal.token_id, is_due).values(last_used_at=now)
                )
        except PrebuildError as error:
            self._noted.give_back(principal.token_id)
            log.warning("token_use_not_noted", token=principal.name, error=str(error))

    def _read(self, key: str) -> _Answer:
        asked_at = clock.monotonic()
        with self._database.read() as connection:
            stored = read_token(connection, key, self._database.now_column())
        token, lasts = None, CACHED_S
        if stored is not None:
            token, now = stored
            if token.state is TokenState.USABLE and token.expires_at:
                lasts = min(lasts, (token.expires_at - now).total_seconds())
        return self._answers.put(key, _Answer(token, principal_of(token)), asked_at, lasts)


def _error_of(token: TokenView | None) -> AuthenticationError:
    if token is None:
        return AuthenticationError("the token is not one of this installation", remedy=_ANOTHER)
    if token.state is TokenState.REVOKED:
        return TokenRevokedError(f"the token {token.name} was revoked", remedy=_ANOTHER)
    return TokenExpiredError(f"the token {token.name} has expired", remedy=_ANOTHER)
