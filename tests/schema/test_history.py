"""The actor, the owner and the workspace of an event, in the columns of the history."""

from __future__ import annotations

import pytest
from sqlalchemy import or_, select, text, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.actors import Actor, ActorKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill

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


def test_rows_keep_the_owner_and_the_name_of_that_time(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    answer = claim(database, ClaimRequest("ada", [PRESET], name="work")).answer
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(name="other"))
    end_workspace(database, answer.workspace_id, actor="ada")
    with database.write() as connection:
        add_history(connection, "given_up", now=database.now(connection), actor="bob", owner="bob")
        rows = connection.execute(
            select(m.History.event, m.History.owner, m.History.workspace)
            .where(or_(m.History.workspace_id.is_not(None), m.History.owner != ""))
            .order_by(m.History.id)
        ).all()
    assert [tuple(row) for row in rows] == [
        ("claimed", "ada", "work"), ("claim_canceled", "ada", "other"), ("released", "ada", "other"),
        ("given_up", "bob", ""),
    ]  # fmt: skip
