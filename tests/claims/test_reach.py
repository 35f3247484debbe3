"""Claims of a principal find only what is within its reach: the rest does not exist, in the same words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import insert, select, update

from prebuild_tasks.access.types import Reach
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, OwnerNotAllowedError
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, preset_id, workspaces

REQUEST = ClaimRequest("ada", [PRESET], principal="portal")
WITHIN = (
    Reach(),
    Reach(organization="default"),
    Reach(presets=(PRESET,)),
    Reach(organization="default", presets=("x/y", PRESET), owner="ada"),
)
OUTSIDE = (Reach(organization="other"), Reach(presets=("dev/large",)), Reach(organization="other", presets=(PRESET,)))


@pytest.mark.parametrize("reach", WITHIN)
def test_what_is_within_reach_is_claimed(database: Database, settings: Settings, reach: Reach) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    with database.read() as connection:
        version = connection.execute(select(m.TemplateVersion.name)).scalar_one()
    for named in ({}, {"presets": [f"{PRESET}@{version}"]}, {"presets": [], "template": "dev"}):
        assert isinstance(claim(database, replace(REQUEST, reach=reach, request_id=str(named), **named)), Claimed)


@pytest.mark.parametrize("reach", OUTSIDE)
@pytest.mark.parametrize("wait", [False, True])
def test_what_is_out_of_reach_does_not_exist(
    database: Database, settings: Settings, reach: Reach, *, wait: bool
) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    number = str(preset_id(database))
    for named, words in (
        ({"presets": [PRESET]}, f"there is no preset {PRESET}"),
        ({"presets": [number]}, f"there is no preset with the id {number}"),
        ({"presets": [], "template": "dev"}, "there is no template dev with presets"),
    ):
        with pytest.raises(NotFoundError) as error:
            claim(database, replace(REQUEST, reach=reach, wait=wait, **named))  # type: ignore[arg-type]
        assert error.value.message == words
        assert "active presets:" not in error.value.hint, "not even a name is told"
    assert len(workspaces(database, m.Workspace.owner == "prebuilds")) == 1


def test_names_within_reach_are_told(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    with pytest.raises(NotFoundError) as error:
        claim(database, replace(REQUEST, presets=["dev/absent"], reach=Reach(organization="default")))
    assert error.value.hint == f"active presets: {PRESET}"


def test_a_template_that_has_moved_is_out_of_reach_at_once(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    reach = Reach(organization="default")
    with database.write() as connection:
        other = connection.execute(insert(m.Organization).values(name="other")).inserted_primary_key
        assert other
        connection.execute(update(m.Template).values(organization_id=other[0]))
    with pytest.raises(NotFoundError):
        claim(database, replace(REQUEST, reach=reach))
    assert isinstance(claim(database, replace(REQUEST, reach=Reach(organization="other"))), Claimed)


def test_a_start_of_the_pool_is_given_within_reach(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    for reach in WITHIN:
        begun = claim(database, replace(REQUEST, reach=reach, wait=True, request_id=str(reach)[:100]))
        assert isinstance(begun, BeingBuilt)


def test_another_owner_is_refused(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    with pytest.raises(OwnerNotAllowedError):
        claim(database, replace(REQUEST, owner="bob", reach=Reach(owner="ada")))
    assert len(workspaces(database, m.Workspace.owner == "prebuilds")) == 1
