"""Of several workspaces of one name, `history` showed any, and the list of those that match had any order."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.insight.history import read_history
from prebuild_tasks.insight.status.listings import build_log
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.lookup import find_workspace
from tests.support.builders import declare, fill

OWNERS = ("ada", "bob", "eve")


@pytest.mark.parametrize("backwards", [False, True])
def test_workspaces_of_one_name_have_an_order(database: Database, settings: Settings, backwards: bool) -> None:
    declare(database, settings, len(OWNERS))
    fill(database, settings)
    owners = OWNERS[::-1] if backwards else OWNERS
    with database.write() as connection:
        now = database.now(connection)
        ids = list(connection.execute(select(m.Workspace.id).order_by(m.Workspace.id)).scalars())
        for workspace_id, owner in zip(ids, owners, strict=True):
            values = {"owner": owner, "name": "otter", "created_at": now, "claimed_at": now, "slot": None}
            connection.execute(update(m.Workspace).where(m.Workspace.id == workspace_id).values(**values))
            add_history(connection, "claimed", now=now, actor=owner, workspace_ids=[workspace_id], reason="claim")
            build = select(m.Build.id).where(m.Build.workspace_id == workspace_id).scalar_subquery()
            connection.execute(insert(m.BuildLog).values(build_id=build, attempt=1, seq=1, text=owner, at=now))
    claims = [event.actor for event in read_history(database, "otter") if event.event == "claimed"]
    assert claims == ["ada"]
    with database.read() as connection, pytest.raises(RefusedError) as refused:
        find_workspace(connection, "otter")
    assert refused.value.hint == "name one of them: ada/otter, bob/otter, eve/otter"
    for owner in OWNERS:
        name = f"{owner}/otter"
        with database.read() as connection:
            assert find_workspace(connection, name).owner == owner
        assert [event.actor for event in read_history(database, name) if event.event == "claimed"] == [owner]
        assert build_log(database, name).text == owner
