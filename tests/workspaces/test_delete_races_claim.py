"""`prebuild delete` of a prebuild never deletes a workspace that was claimed meanwhile.

Previously, on PostgreSQL, the command read a prebuild, the prebuild was claimed and the claim answered, and the command
then canceled the claim's build, or found it ended, and deleted the new owner's workspace.
"""

from __future__ import annotations

from typing import Any

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.schema.lookup import find_workspace
from prebuild_tasks.workspaces import release
from tests.support.builders import PRESET, declare, fill, finish_builds, workspaces


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("marked", [False, True], ids=["its claim runs", "its claim has ended"])
def test_claimed_after_the_operator_looked(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    [prebuild] = workspaces(database)

    def find(connection: Any, name: str) -> Any:
        row = find_workspace(connection, name)
        claim(database, ClaimRequest("ada", [PRESET]))
        if marked:
            finish_builds(database)
        return row

    monkeypatch.setattr(release, "find_workspace", find)
    with pytest.raises(RefusedError, match="just claimed by ada") as refused:
        release.end_workspace(database, prebuild.name, actor="op", operator=True)
    [hers] = workspaces(database)
    assert refused.value.hint == f"delete ada/{hers.name} to delete it anyway"
    assert (hers.owner, hers.transition) == ("ada", Transition.START)
    assert finish_builds(database) == (0 if marked else 1), "her claim's build goes on"
