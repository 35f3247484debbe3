"""An `owner/name` of 36 characters with four dashes was taken for an id, which PostgreSQL refused, so the workspace
could not be released by its name. Seen when row 6 of the fault table was run 500 times."""

from __future__ import annotations

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.history import read_history
from prebuild_tasks.insight.status.listings import workspaces
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill

OWNER, NAME = "d-40-99bf65", "feathered-wolverine-826b"


def test_a_workspace_is_found_by_a_name_that_looks_like_an_id(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    claim(database, ClaimRequest(OWNER, [PRESET], name=NAME))
    named = f"{OWNER}/{NAME}"
    assert (len(named), named.count("-")) == (36, 4)
    assert read_history(database, named)
    end_workspace(database, named, actor="test")
    assert [row.state for row in workspaces(database, owner=OWNER)] == ["deleting"]
