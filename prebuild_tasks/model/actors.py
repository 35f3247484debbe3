"""Actors as the history records them: a person, a token, or the service itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.vocabulary import RECONCILER

TOKEN_PREFIX = "token:"
"""Begins the text of an actor that is a token, so that it is not taken for a person of that name."""


def check_person(name: str) -> str:
    """Return the name of a person who does something. Raises InputError for one that is shown as a token is."""
    if name.casefold().startswith(TOKEN_PREFIX):
        raise InputError(
            f"a name that begins with {TOKEN_PREFIX} would be taken for that of a token", hint="use another name"
        )
    return name


class ActorKind(StrEnum):
    """The kinds of actors."""

    LOCAL = "local"
    """A person or program with access to the database: the command line, the Python API, the Celery task."""
    TOKEN = "token"
    """Whoever presented a token to the HTTP API."""
    SYSTEM = "system"
    """The service itself: the reconciliation loop, upkeep, a provisioner."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, and for whom."""

    kind: ActorKind
    name: str
    """The user or owner; of a token its name; of the system the part of it that acts."""
    subject: str = ""
    """The owner on whose behalf a token acts; empty: none in particular."""

    def __str__(self) -> str:
        """Return the name, for a token with the prefix that tells it from a person."""
        return f"{TOKEN_PREFIX}{self.name}" if self.kind is ActorKind.TOKEN else self.name

    def acting_for(self, owner: str) -> Actor:
        """Return a token's actor on behalf of an owner; any other acts for itself."""
        return replace(self, subject=owner) if self.kind is ActorKind.TOKEN else self

    @classmethod
    def of(cls, value: str | Actor) -> Actor:
        """Return the actor; a text is the name of a local one."""
        return cls(ActorKind.LOCAL, value) if isinstance(value, str) else value

    @classmethod
    def system(cls, name: str = RECONCILER) -> Actor:
        """Return a part of the service as the actor."""
        return cls(ActorKind.SYSTEM, name)
