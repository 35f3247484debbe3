"""Create, list, rotate and revoke tokens. Each change is in the history."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, update

from prebuild_tasks.access.rules import TOKEN_BYTES, TOKEN_START, check_new, check_overlap, digest
from prebuild_tasks.access.store import insert_token, missing_names, read_tokens
from prebuild_tasks.access.types import NewToken, NewTokenRequest, Reach, TokenState, TokenView
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.records import part_of
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import lock_declaration

_LIST = Remedy(RemedyKind.LIST_TOKENS)


def create_token(database: Database, request: NewTokenRequest, *, actor: str | Actor) -> NewToken:
    """Create a token, which works at once.

    Raises:
        InputError: The request is invalid (`check_new`).
        RefusedError: There is a usable token of that name.
    """
    request = check_new(request)
    with database.write() as connection:
        lock_declaration(connection)
        now = database.now(connection)
        if _usable(read_tokens(connection, now, request.name)):
            raise RefusedError(
                f"there is a token {request.name} already",
                hint="choose another name, or rotate it to get a new one in its place",
                remedy=Remedy(RemedyKind.ROTATE_TOKEN, request.name),
            )
        expires_at = None if request.lifetime_s is None else now + timedelta(seconds=request.lifetime_s)
        made = _insert(connection, request, expires_at, actor=actor, now=now)
        _record(connection, "token_created", made.view, actor, now)
    return made


def list_tokens(database: Database) -> list[TokenView]:
    """Read every token, by name, the oldest of a name first."""
    with database.read() as connection:
        return read_tokens(connection, database.now(connection))


def rotate_token(database: Database, name: str, overlap_s: float, *, actor: str | Actor) -> NewToken:
    """Create a token in place of the one of this name, which works for `overlap_s` seconds more.

    It may do the same things, and lives as long as the former one did from its creation to its expiry.

    Raises:
        InputError: The overlap is not a duration.
        NotFoundError: There is no usable token of that name.
    """
    check_overlap(overlap_s)
    with database.write() as connection:
        lock_declaration(connection)
        now = database.now(connection)
        former = _usable(read_tokens(connection, now, name))
        if not former:
            raise NotFoundError(f"there is no usable token {name}", remedy=_LIST)
        latest = former[-1]
        lifetime = None if latest.expires_at is None else latest.expires_at - latest.created_at
        ends_at = now + timedelta(seconds=overlap_s)
        _end(connection, [token for token in former if token.expires_at is None or token.expires_at > ends_at], ends_at)
        request = NewTokenRequest(
            name=name,
            scope=latest.scope,
            organization=latest.organization,
            presets=latest.presets,
            owner=latest.owner,
            any_owner=latest.any_owner,
        )
        made = _insert(connection, request, None if lifetime is None else now + lifetime, actor=actor, now=now)
        _record(connection, "token_rotated", made.view, actor, now)
    return made


def revoke_token(database: Database, name: str, *, actor: str | Actor) -> bool:
    """End every token of this name, and return whether there was one to end. Every process notices within 2 s.

    Raises NotFoundError if there never was one.
    """
    with database.write() as connection:
        lock_declaration(connection)
        now = database.now(connection)
        tokens = read_tokens(connection, now, name)
        if not tokens:
            raise NotFoundError(f"there is no token {name}", remedy=_LIST)
        ended = update(m.Token).where(m.Token.name == name, m.Token.revoked_at.is_(None)).values(revoked_at=now)
        changed = connection.execute(ended).rowcount > 0
        if changed:
            _record(connection, "token_revoked", tokens[-1], actor, now)
    return changed


def _usable(tokens: Sequence[TokenView]) -> list[TokenView]:
    return [token for token in tokens if token.state is TokenState.USABLE]


def _insert(
    connection: Connection, request: NewTokenRequest, expires_at: datetime | None, *, actor: str | Actor, now: datetime
) -> NewToken:
    """Store a new token, and return it with its text."""
    text = TOKEN_START + secrets.token_urlsafe(TOKEN_BYTES)
    view = TokenView(
        id=str(uuid.uuid4()),
        name=request.name,
        scope=request.scope,
        organization=request.organization,
        presets=request.presets,
        owner=request.owner,
        any_owner=request.any_owner,
        created_at=now,
        created_by=str(Actor.of(actor)),
        expires_at=expires_at,
        last_used_at=None,
        revoked_at=None,
        state=TokenState.USABLE,
    )
    insert_token(connection, view, digest(text))
    return NewToken(text=text, view=view, unknown=missing_names(connection, part_of(view, Reach)))


def _end(connection: Connection, tokens: Sequence[TokenView], ends_at: datetime) -> None:
    """Bring the expiry of tokens forward. Raises RefusedError if one of them has ended in the meantime."""
    ids = [token.id for token in tokens]
    ended = update(m.Token).where(m.Token.id.in_(ids), m.Token.revoked_at.is_(None)).values(expires_at=ends_at)
    if connection.execute(ended).rowcount != len(ids):
        raise RefusedError(f"the token {tokens[0].name} has changed in the meantime", remedy=_LIST)


def _record(connection: Connection, event: str, token: TokenView, actor: str | Actor, now: datetime) -> None:
    details = {
        "token": token.id,
        "scope": token.scope.value,
        "organization": token.organization,
        "presets": list(token.presets),
        "owner": token.owner,
        "any_owner": token.any_owner,
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
    }
    add_history(connection, event, now=now, actor=actor, reason=token.name, details=details)
