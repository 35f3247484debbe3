"""A workspace that is out of reach is told in the words of one that does not exist, and nothing changes."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from prebuild_tasks.access.types import Reach
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.model.actors import Actor, ActorKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.extension import extend
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill


def test_what_is_out_of_reach_is_not_ended(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, extra="claimed_ttl: 1d")
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET], name="one"))
    token = Actor(ActorKind.TOKEN, "portal")
    for reach in (Reach(owner="bob"), Reach(organization="acme"), Reach(presets=("dev/large",))):
        with pytest.raises(NotFoundError, match="there is no workspace ada/one"):
            end_workspace(database, "ada/one", actor=token, operator=True, reach=reach)
        with pytest.raises(NotFoundError, match="there is no workspace ada/one"):
            extend(database, "ada/one", 60, actor=token, reach=reach)
    with database.read() as connection:
        history = connection.execute(select(m.History.event)).scalars().all()
    assert {"operator", "extended"} & set(history) == set()
