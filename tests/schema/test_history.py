"""The actor of an event, in the columns of the history."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.actors import Actor, ActorKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history

LONG = "x" * 150


@pytest.mark.parametrize(
    ("actor", "columns"),
    [
        ("ada", ("ada", "local", "ada", "")),
        (LONG, (LONG[:100], "local", LONG, "")),
        (Actor(ActorKind.TOKEN, "portal"), ("token:portal", "token", "portal", "")),
        (Actor(ActorKind.TOKEN, "p" * 63, "a" * 100), ("token:" + "p" * 63, "token", "p" * 63, "a" * 100)),
        (Actor.system(), ("reconciler", "system", "reconciler", "")),
    ],
)
def test_the_columns_of_an_actor(database: Database, actor: str | Actor, columns: tuple[str, ...]) -> None:
    with database.write() as connection:
        add_history(connection, "paused", now=database.now(connection), actor=actor)
        row = connection.execute(
            select(m.History.actor, m.History.actor_kind, m.History.actor_name, m.History.actor_subject)
        ).one()
    assert tuple(row._mapping.values()) == columns


def test_release_0_1_writes_none_of_them(database: Database) -> None:
    statement = (
        "INSERT INTO history (at, actor, event, reason) SELECT created_at, 'ada', 'paused', '' FROM installation"
    )
    with database.write() as connection:
        connection.execute(text(statement))
        row = connection.execute(select(m.History)).one()
    assert (row.actor, row.actor_kind, row.actor_name, row.actor_subject) == ("ada", "", "", "")
