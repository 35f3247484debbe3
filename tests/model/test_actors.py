"""Actors in the history."""

from __future__ import annotations

import pytest

from prebuild_tasks.model.actors import Actor, ActorKind


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
