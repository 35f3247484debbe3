"""Find who presents a token, with at most one indexed read in two seconds per process and token."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import or_, update

from prebuild_tasks import clock
from prebuild_tasks.access.rules import digest, is_token
from prebuild_tasks.access.store import read_token
from prebuild_tasks.access.types import Principal, TokenState, TokenView
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import AuthenticationError, PrebuildError, TokenExpiredError, TokenRevokedError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import ActorKind
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m

log = get_logger(__name__)

CACHED_S = 2.0
"""Seconds for which an answer is used again: within them a revoked token ends everywhere."""
NOTED_EVERY_S = 60.0
"""Seconds between two writes of a token's last use."""
CACHED_MAX = 10_000
"""Answers that are kept, so that random tokens do not fill the memory."""
_ANOTHER = Remedy(RemedyKind.CREATE_TOKEN)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The token of a text, which is known from the one to the other time of the process's clock."""

    asked_at: float
    until: float
    token: TokenView | None
    principal: Principal | None
    """Who presents it; None: it cannot be used."""


class Authenticator:
    """Finds the principals of tokens. It may be shared between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._answers: dict[str, _Answer] = {}
        """By the digest of the text."""
        self._noted: dict[str, float] = {}
        """When the last use of a token was written, by its id."""
        self._guard = threading.Lock()

    def authenticate(self, text: str, within: float = CACHED_S) -> Principal:
        """Return who presents a token, by a look at the database that is at most so many seconds old.

        Raises:
            AuthenticationError: There is no such token; as one of its subclasses: it has expired, or was revoked.
            UnreachableError: The database did not answer, and the token was not presented in the last two seconds.
        """
        if not is_token(text):
            raise _error_of(None)
        key, now = digest(text), clock.monotonic()
        answer = self._answers.get(key)
        if answer is None or answer.until <= now or answer.asked_at + within <= now:
            answer = self._read(key)
        if answer.principal is None:
            raise _error_of(answer.token)
        return answer.principal

    def remembered(self, text: str, within: float = CACHED_S) -> Principal | None:
        """Return who presents a token, without a read; None: it was not looked up within so many seconds.

        Raises AuthenticationError for one of which it is known that it cannot be used.
        """
        if not is_token(text):
            raise _error_of(None)
        answer, now = self._answers.get(digest(text)), clock.monotonic()
        if answer is None or answer.until <= now or answer.asked_at + within <= now:
            return None
        if answer.principal is None:
            raise _error_of(answer.token)
        return answer.principal

    def was_good(self, text: str) -> bool:
        """Return whether a token was good when it was last looked up, however long ago that is, if that is known."""
        answer = self._answers.get(digest(text)) if is_token(text) else None
        return answer is not None and answer.principal is not None

    def is_use_due(self, principal: Principal) -> bool:
        """Return whether `note_use` would write."""
        noted_at = self._noted.get(principal.token_id)
        return bool(principal.token_id) and (noted_at is None or clock.monotonic() >= noted_at + NOTED_EVERY_S)

    def note_use(self, principal: Principal) -> None:
        """Write that a token is in use, unless that was written less than a minute ago. Call it after the answer.

        A failure is logged: the last use is for people, and the next one writes it.
        """
        asked_at = clock.monotonic()
        with self._guard:
            noted_at = self._noted.get(principal.token_id)
            if not principal.token_id or (noted_at is not None and asked_at < noted_at + NOTED_EVERY_S):
                return
            self._noted[principal.token_id] = asked_at
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
            with self._guard:
                self._noted.pop(principal.token_id, None)
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
        answer = _Answer(asked_at=asked_at, until=asked_at + lasts, token=token, principal=_principal_of(token))
        with self._guard:
            if len(self._answers) >= CACHED_MAX:
                self._forget(asked_at)
            self._answers[key] = answer
        return answer

    def _forget(self, now: float) -> None:
        """Drop the answers that are no longer used; all of them, if that is not enough."""
        self._answers = {key: answer for key, answer in self._answers.items() if answer.until > now}
        if len(self._answers) >= CACHED_MAX:
            self._answers = {}


def _principal_of(token: TokenView | None) -> Principal | None:
    if token is None or token.state is not TokenState.USABLE:
        return None
    return Principal(
        kind=ActorKind.TOKEN,
        name=token.name,
        token_id=token.id,
        scope=token.scope,
        organization=token.organization,
        presets=token.presets,
        owner=token.owner,
        any_owner=token.any_owner,
        expires_at=token.expires_at,
    )


def _error_of(token: TokenView | None) -> AuthenticationError:
    if token is None:
        return AuthenticationError("the token is not one of this installation", remedy=_ANOTHER)
    if token.state is TokenState.REVOKED:
        return TokenRevokedError(f"the token {token.name} was revoked", remedy=_ANOTHER)
    return TokenExpiredError(f"the token {token.name} has expired", remedy=_ANOTHER)
