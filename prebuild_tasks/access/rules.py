"""Rules of tokens: which may be created, which are usable, what they reach. Pure, standard library only."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Protocol

from prebuild_tasks.access.types import LOCAL_KEY, NewTokenRequest, Principal, Reach, Scope, TokenState, TokenView
from prebuild_tasks.errors import InputError, OwnerNotAllowedError
from prebuild_tasks.model.actors import ActorKind, check_person
from prebuild_tasks.model.durations import LONGEST
from prebuild_tasks.model.names import PoolName, PresetRef, check_name, check_owner
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, RECONCILER
from prebuild_tasks.remedies import Remedy, RemedyKind

TOKEN_START = "pbt_"
"""The first characters of every token, by which scanners for leaked secrets recognize one."""
TOKEN_BYTES = 32
_TOKEN = re.compile(rf"{TOKEN_START}[A-Za-z0-9_-]{{43}}", re.ASCII)
RESERVED_NAMES = frozenset({RECONCILER, PREBUILDS_OWNER, LOCAL_KEY, "system"})
"""Names that the history, or the owner of an idempotency key, could be mistaken by."""


class Ends(Protocol):
    """The ends of a token."""

    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def revoked_at(self) -> datetime | None: ...


def digest(text: str) -> str:
    """Return the SHA-256 of a token in hex, by which it is stored and found."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_token(text: str) -> bool:
    """Return whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def principal_of(token: TokenView | None) -> Principal | None:
    """Return who presents a token; None for one that cannot be used."""
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


def check_new(request: NewTokenRequest) -> NewTokenRequest:
    """Return the request with its owner in canonical form. Raises InputError for one that may not be created."""
    check_name("token", request.name)
    if request.name in RESERVED_NAMES:
        raise InputError(f"{request.name} is a reserved name", hint="choose another name for the token")
    owner = check_person(check_owner(request.owner)) if request.owner else ""
    if owner and request.any_owner:
        raise InputError("a token is for one owner or for any owner, not for both", hint="leave one of them out")
    if request.scope is Scope.CLAIM and not (owner or request.any_owner):
        raise InputError(
            "a token of scope claim must say for whom it may claim", remedy=Remedy(RemedyKind.NAME_OWNER_OF_TOKEN)
        )
    if request.organization:
        check_name("organization", request.organization)
    for name in request.presets:
        _check_pool(name)
    if request.lifetime_s is not None and not 0 < request.lifetime_s <= LONGEST:
        raise InputError(
            f"a token cannot expire after {request.lifetime_s:g} s", hint="use a time up to a hundred years"
        )
    return NewTokenRequest(
        name=request.name,
        scope=request.scope,
        organization=request.organization,
        presets=tuple(sorted(set(request.presets))),
        owner=owner,
        any_owner=request.any_owner,
        lifetime_s=request.lifetime_s,
    )


def _check_pool(name: str) -> None:
    ref = PresetRef.parse(name)
    if ref.version:
        raise InputError(
            f"a token cannot be for one version, as in {ref}", hint=f"write {ref.pool}, which is all of its versions"
        )
    check_name("template", ref.template)
    check_name("preset", ref.preset)


def check_overlap(seconds: float) -> None:
    """Raise InputError for what is not the overlap of a rotation in seconds."""
    if not 0 <= seconds <= LONGEST:
        raise InputError(f"tokens cannot overlap for {seconds:g} s", hint="use a time up to a hundred years, or 0")


def standing(token: Ends, now: datetime) -> TokenState:
    """Return whether a token can be used at `now`. One that was revoked stays so after its expiry."""
    if token.revoked_at is not None and token.revoked_at <= now:
        return TokenState.REVOKED
    if token.expires_at is not None and token.expires_at <= now:
        return TokenState.EXPIRED
    return TokenState.USABLE


def owner_for(principal: Principal, requested: str) -> str:
    """Return the owner for whom a principal claims: the requested one, or else the token's.

    Raises:
        InputError: None was requested and the token has none, or the requested one is not a valid owner.
        OwnerNotAllowedError: The principal may not claim for the requested owner.
    """
    owner = check_owner(requested) if requested or not principal.owner else principal.owner
    if not sees_owner(principal.reach, owner):
        raise OwnerNotAllowedError(
            f"the token {principal.name} may not act for {owner}",
            hint=f"leave the owner out, or ask for a token that may act for {owner}",
        )
    return owner


def sees_owner(reach: Reach, owner: str) -> bool:
    """Return whether workspaces of an owner are within reach."""
    return reach.owner in ("", owner)


def sees_preset(reach: Reach, organization: str, pool: PoolName) -> bool:
    """Return whether a pool of an organization is within reach."""
    return reach.organization in ("", organization) and (not reach.presets or str(pool) in reach.presets)


def sees_workspace(reach: Reach, organization: str, pool: PoolName, owner: str) -> bool:
    """Return whether a workspace of a pool is within reach."""
    return sees_owner(reach, owner) and sees_preset(reach, organization, pool)
