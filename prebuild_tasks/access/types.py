"""Scopes, principals and tokens as values. Standard library only: a claim imports this module and must be quick."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from prebuild_tasks.model.actors import Actor, ActorKind

LOCAL_KEY = "local"
"""The key of the principal that needs no token."""


class Scope(StrEnum):
    """What a token may do. Each scope allows what the ones before it allow."""

    READ = "read"
    CLAIM = "claim"
    OPERATE = "operate"
    ADMIN = "admin"

    def allows(self, needed: Scope) -> bool:
        """Return whether this scope is enough for what needs the other one."""
        scopes = tuple(Scope)
        return scopes.index(self) >= scopes.index(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a principal sees and acts on. The default is everything."""

    organization: str = ""
    """Name of the organization; empty: any."""
    presets: tuple[str, ...] = ()
    """Names of pools, `template/preset`, in all their versions; none: any."""
    owner: str = ""
    """The owner whose workspaces are meant; empty: any, and prebuilds too."""

    @property
    def is_everything(self) -> bool:
        """Whether nothing is out of reach."""
        return not (self.organization or self.presets or self.owner)


EVERYTHING = Reach()
"""The reach of who needs no token, and of a token without a restriction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks, and what they may do."""

    kind: ActorKind
    """`local` or `token`."""
    name: str
    """The token's name, which stays the same when it is rotated."""
    token_id: str = ""
    """The id of the token; empty for a local principal."""
    scope: Scope
    organization: str = ""
    presets: tuple[str, ...] = ()
    owner: str = ""
    any_owner: bool = False
    """Whether a token of scope `claim` may claim for everyone."""
    expires_at: datetime | None = None

    @property
    def key(self) -> str:
        """The principal to whom an idempotency key belongs."""
        return self.name if self.kind is ActorKind.TOKEN else LOCAL_KEY

    @property
    def reach(self) -> Reach:
        """What the principal sees and acts on."""
        return Reach(organization=self.organization, presets=self.presets, owner=self.owner)

    def acting_for(self, subject: str = "") -> Actor:
        """Return the actor for the history, with the owner on whose behalf the principal acts, if there is one."""
        return Actor(self.kind, self.name, subject)


LOCAL = Principal(kind=ActorKind.LOCAL, name=LOCAL_KEY, scope=Scope.ADMIN, any_owner=True)
"""The principal of the command line, of `Client` with a database URL and of the Celery task: nothing is refused."""


class TokenState(StrEnum):
    """Whether a token can be used, and if not, why."""

    USABLE = "usable"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTokenRequest:
    """A token to be created."""

    name: str
    scope: Scope
    organization: str = ""
    presets: tuple[str, ...] = ()
    owner: str = ""
    any_owner: bool = False
    lifetime_s: float | None = None
    """Seconds after which it expires; None: it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A token as it is listed. Its text is not stored."""

    id: str
    name: str
    scope: Scope
    organization: str
    presets: tuple[str, ...]
    owner: str
    any_owner: bool
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    """Exact to a minute; None: it was not used yet."""
    revoked_at: datetime | None
    state: TokenState


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token that was created or rotated, with its text, which is told only now."""

    text: str
    view: TokenView
    unknown: tuple[str, ...] = ()
    """Restrictions to what does not exist yet, such as `pool dev/small`."""
