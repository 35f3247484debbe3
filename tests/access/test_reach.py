"""The reach of a principal, in SQL as in the rules."""

from __future__ import annotations

from itertools import product

import pytest
from sqlalchemy import select, update

from prebuild_tasks.access.rules import sees_preset, sees_workspace
from prebuild_tasks.access.store import sees_preset_sql, sees_workspace_sql
from prebuild_tasks.access.types import Reach
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from tests.support.organizations import fill_organizations

REACHES = [
    Reach(organization=organization, presets=presets, owner=owner)
    for organization, presets, owner in product(
        ("", "acme", "umbrella", "nobody"),
        ((), ("dev/small",), ("dev/large", "ops/small"), ("dev/unknown",)),
        ("", "ada", "bob", "prebuilds"),
    )
]


@pytest.fixture
def pools(database: Database, settings: Settings) -> Database:
    """Declare pools of two organizations, and give one workspace to a person."""
    fill_organizations(database, settings)
    claim(database, ClaimRequest("ada", ["dev/small"]))
    return database


def test_conditions_agree_with_the_rules(pools: Database) -> None:
    names = (
        m.Organization.name.label("organization"),
        m.Template.name.label("template"),
        m.Preset.name.label("preset"),
    )
    organization = (m.Organization, m.Organization.id == m.Template.organization_id)
    presets = select(m.Preset.id, *names).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION).join(*organization)
    workspaces = (
        select(m.Workspace.id, m.Workspace.owner, *names)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .join(*organization)
    )
    with pools.read() as connection:
        all_presets, all_workspaces = connection.execute(presets).all(), connection.execute(workspaces).all()
        assert (len(all_presets), len(all_workspaces)) == (3, 4)
        for reach in REACHES:
            seen = connection.execute(presets.where(*sees_preset_sql(reach))).scalars().all()
            assert set(seen) == {
                row.id
                for row in all_presets
                if sees_preset(reach, row.organization, PoolName(row.template, row.preset))
            }, reach
            of_workspaces = connection.execute(workspaces.where(*sees_workspace_sql(reach))).scalars().all()
            assert set(of_workspaces) == {
                row.id
                for row in all_workspaces
                if sees_workspace(reach, row.organization, PoolName(row.template, row.preset), row.owner)
            }, reach


def test_an_update_changes_only_what_is_within_reach(pools: Database) -> None:
    reach = Reach(organization="acme", presets=("dev/small",), owner="ada")
    with pools.write() as connection:
        changed = connection.execute(update(m.Workspace).where(*sees_workspace_sql(reach)).values(url="x")).rowcount
        assert changed == 1
        changed = connection.execute(
            update(m.Preset).where(*sees_preset_sql(Reach(organization="acme"))).values(last_error="x")
        ).rowcount
        assert changed == 2


def test_everything_needs_no_condition() -> None:
    assert sees_preset_sql(Reach()) == sees_workspace_sql(Reach()) == []
    assert sees_preset_sql(Reach(owner="ada")) == []
