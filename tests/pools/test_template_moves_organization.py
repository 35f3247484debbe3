"""A template that moves to another organization takes its workspaces along.

They used to stay with the former one: its pools had no room, and the new one's limits counted nothing of them.
"""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimAnswer, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError, UnreachableError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.insight.plan.make import make_plan
from prebuild_tasks.pools import declare
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.sweep import sweep
from tests.support.builders import fill, staffed, turn, workspaces
from tests.support.pool_files import load_text

LIMITS = "{name: red, max_workspaces: 4, max_per_owner: 1}, {name: blue, max_workspaces: 3, max_per_owner: 1}"
BEFORE = f"""
schema: 1
organizations: [{LIMITS}]
templates: [{{name: t, organization: red, provisioner: simulated, presets: [{{name: s, desired: 4}}]}}]
"""
AFTER = f"""
schema: 1
organizations: [{LIMITS}]
templates:
  - {{name: t, organization: blue, provisioner: simulated, presets: [{{name: s, desired: 4}}]}}
  - {{name: new, organization: red, provisioner: simulated, presets: [{{name: s, desired: 2}}]}}
"""


def store(database: Database, settings: Settings, text: str) -> None:
    apply(database, settings, load_text(text), ApplyOptions(actor="test"))


def take(database: Database, owner: str = "ada", preset: str = "t/s") -> ClaimAnswer:
    return claim(database, ClaimRequest(owner, [preset])).answer  # type: ignore[union-attr]


def owners(database: Database) -> list[tuple[str, str]]:
    """Return the owner and the organization of every live workspace of the template `t`."""
    with database.read() as connection:
        names = dict(connection.execute(select(m.Organization.id, m.Organization.name)).all())
        of_t = select(m.Preset.id).join(m.TemplateVersion).join(
            m.Template, m.Template.id == m.TemplateVersion.template_id
        ).where(m.Template.name == "t")  # fmt: skip
        ids = connection.execute(of_t).scalars().all()
    return sorted((row.owner, names[row.organization_id]) for row in workspaces(database) if row.preset_id in ids)


def test_the_limits_of_both_organizations_count_them(database: Database, settings: Settings) -> None:
    store(database, settings, BEFORE)
    assert fill(database, settings, "t/s") == 4
    store(database, settings, AFTER)
    assert owners(database) == [("prebuilds", "blue")] * 4, "none is deleted"
    assert fill(database, settings, "new/s") == 2, "red has room again"
    take(database)
    assert turn(database, settings, "t/s").reason == "organization_quota", "blue has room for 3, and has 4"
    with pytest.raises(RefusedError, match="ada has 1 workspace, the limit is 1"):
        take(database)
    take(database, preset="new/s")
    assert audit(database, settings) == []


def test_claimed_ones_count_for_the_new_organization_too(database: Database, settings: Settings) -> None:
    store(database, settings, BEFORE)
    fill(database, settings, "t/s")
    take(database)
    store(database, settings, AFTER)
    assert ("ada", "blue") in owners(database)
    with pytest.raises(RefusedError, match="the limit is 1"):
        take(database)
    with pytest.raises(RefusedError, match="organization blue has 4 workspaces, the limit is 3"):
        for number in range(4):
            claim(database, ClaimRequest(f"owner{number}", ["t/s"], wait=True))


def test_starts_in_flight_count_for_it(database: Database, settings: Settings) -> None:
    one = BEFORE.replace("max_workspaces: 3", "max_builds_in_flight: 1").replace("desired: 4", "desired: 0")
    store(database, settings, one)
    assert isinstance(claim(database, ClaimRequest("ada", ["t/s"], wait=True)), BeingBuilt)
    store(database, settings, one.replace("organization: red", "organization: blue"))
    with database.read() as connection:
        blue = select(m.Organization.id).where(m.Organization.name == "blue").scalar_subquery()
        assert connection.execute(select(m.Build.organization_id == blue)).scalars().all() == [True]


def test_the_sweep_moves_what_was_left_behind(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies after its commit leaves them, and so does a turn that began before it."""

    def away(_: Database) -> int:
        raise UnreachableError("the database did not answer")

    store(database, settings, BEFORE)
    fill(database, settings, "t/s")
    monkeypatch.setattr(declare, "follow_templates", away)
    store(database, settings, AFTER)
    assert owners(database) == [("prebuilds", "red")] * 4
    sweep(database, settings, lambda _: 0)
    assert owners(database) == [("prebuilds", "blue")] * 4
    with database.write() as connection:
        red = select(m.Organization.id).where(m.Organization.name == "red").scalar_subquery()
        connection.execute(update(m.Workspace).values(organization_id=red))
    sweep(database, settings, lambda _: 0)
    assert owners(database) == [("prebuilds", "blue")] * 4


def test_the_plan_counts_by_the_new_organization(database: Database, settings: Settings) -> None:
    """It said that the quota held the new pool back."""
    store(database, settings, BEFORE)
    fill(database, settings, "t/s")
    staffed(database, settings)
    made = make_plan(database, settings, load_text(AFTER), ApplyOptions(actor="test"))
    assert [(str(item.preset), item.create, item.waits) for item in made.pools] == [("new/s", 2, None)]
