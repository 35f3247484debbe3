"""Actors in the history."""

from __future__ import annotations

import pytest

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.actors import Actor, ActorKind, check_person


@pytest.mark.parametrize(
    ("value", "actor", "text"),
    [
        ("ada", Actor(ActorKind.LOCAL, "ada"), "ada"),
        ("token:portal", Actor(ActorKind.LOCAL, "token:portal"), "token:portal"),
        (Actor(ActorKind.TOKEN, "portal", "ada"), Actor(ActorKind.TOKEN, "portal", "ada"), "token:portal"),
        (Actor.system(), Actor(ActorKind.SYSTEM, "reconciler"), "reconciler"),
        (Actor.system("docker"), Actor(ActorKind.SYSTEM, "docker"), "docker"),
    ],
)
def test_a_text_is_a_local_actor(value: str | Actor, actor: Actor, text: str) -> None:
    assert Actor.of(value) == actor
    assert str(Actor.of(value)) == text


def test_a_person_is_not_named_like_a_token() -> None:
    """The history showed a local owner of such a name like a token that claimed."""
    for name in ("ada", "token", "tokens:ada", "my token:ada"):
        assert check_person(name) == name
    for name in ("token:portal", "TOKEN:portal", "token:"):
        with pytest.raises(InputError, match="taken for that of a token"):
            check_person(name)
