"""The versions of a template, and the way back from one that cannot be built."""

from __future__ import annotations

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.insight.explain.gather import explain_preset
from prebuild_tasks.insight.status.versions import versions
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.lost_prebuilds import take_out
from tests.support.builders import (
    PRESET,
    declare,
    fill,
    finish_builds,
    jump,
    preset_id,
    staffed,
    ticked,
    turn,
    workspaces,
)


def remedies(database: Database, settings: Settings) -> list[Remedy]:
    staffed(database, settings)
    ticked(database)
    return [step.remedy for step in explain_preset(database, settings, None, PRESET).explanation.steps]


def test_a_version_that_was_never_ready_leads_back_to_the_last_that_was(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    [first] = versions(database, "dev")
    assert (first.active, first.presets, first.ready, first.last_error) == (True, 1, 2, "")
    assert first.last_ready_at is not None

    declare(database, settings, 2, start="exit 3", extra="replace: {strategy: rolling}")
    turn(database, settings)
    assert RemedyKind.PROMOTE_VERSION not in {remedy.kind for remedy in remedies(database, settings)}, "not failed yet"
    assert versions(database, "dev")[0].starting > 0
    finish_builds(database, status=BuildStatus.FAILED, error="no such\ndisk")
    broken, good = versions(database, "dev")
    assert (broken.active, broken.ready, broken.last_ready_at, broken.last_error) == (True, 0, None, "no such\ndisk")
    assert (good.version, good.active, good.ready) == (first.version, False, 2)
    assert Remedy(RemedyKind.PROMOTE_VERSION, "dev", first.version) in remedies(database, settings)


def test_a_version_that_worked_before_has_nothing_to_go_back_to(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, start="echo old")
    fill(database, settings)
    declare(database, settings, 1, yes=True)
    fill(database, settings)
    declare(database, settings, 2)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="the registry is down")
    assert RemedyKind.PROMOTE_VERSION not in {remedy.kind for remedy in remedies(database, settings)}


@pytest.mark.parametrize("lost_after", [120, 86400])
def test_a_version_that_soon_lost_a_prebuild_is_not_the_last_good_one(
    database: Database, settings: Settings, lost_after: float
) -> None:
    declare(database, settings, 2, start="echo good")
    fill(database, settings)
    declare(database, settings, 2, start="echo later", yes=True)
    fill(database, settings)
    later, good = [row.version for row in versions(database, "dev")]
    jump(database, lost_after)
    [ill, _] = workspaces(database, m.Workspace.preset_id == preset_id(database))
    with database.write() as connection:
        take_out(connection, ill.preset_id, {ill.id: "it does not answer"}, database.now(connection))
    finish_builds(database)

    declare(database, settings, 2, start="exit 3", yes=True)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="no such disk")
    [back] = [step for step in remedies(database, settings) if step.kind is RemedyKind.PROMOTE_VERSION]
    assert back == Remedy(RemedyKind.PROMOTE_VERSION, "dev", good if lost_after < 3600 else later)


@pytest.mark.parametrize("lost_after", [120, 86400])
def test_a_version_whose_prebuilds_fail_soon_leads_back(
    database: Database, settings: Settings, lost_after: float
) -> None:
    """A server that crashed after `ready` was never led back, because its version had been ready once."""
    declare(database, settings, 1, start="echo good")
    fill(database, settings)
    [good] = [row.version for row in versions(database, "dev")]
    declare(database, settings, 1, start="echo crashes later", yes=True)
    fill(database, settings)
    jump(database, lost_after)
    [ill] = workspaces(database, m.Workspace.preset_id == preset_id(database))
    with database.write() as connection:
        take_out(connection, ill.preset_id, {ill.id: "it does not answer"}, database.now(connection))
    finish_builds(database)
    back = Remedy(RemedyKind.PROMOTE_VERSION, "dev", good)
    assert (back in remedies(database, settings)) == (lost_after < 3600), "there was no failed build"
    jump(database, 3600)
    turn(database, settings)
    assert (back in remedies(database, settings)) == (lost_after < 3600), "while the next one starts"


def test_a_version_that_lost_one_prebuild_of_several_has_nothing_to_go_back_to(
    database: Database, settings: Settings
) -> None:
    declare(database, settings, 2, start="echo good")
    fill(database, settings)
    declare(database, settings, 2, start="echo holds", yes=True)
    fill(database, settings)
    jump(database, 120)
    ill, _ = workspaces(database, m.Workspace.preset_id == preset_id(database))
    with database.write() as connection:
        take_out(connection, ill.preset_id, {ill.id: "it does not answer"}, database.now(connection))
    finish_builds(database)
    assert RemedyKind.PROMOTE_VERSION in {remedy.kind for remedy in remedies(database, settings)}
    jump(database, 86400)
    assert RemedyKind.PROMOTE_VERSION not in {remedy.kind for remedy in remedies(database, settings)}


def test_an_unknown_template(database: Database) -> None:
    with pytest.raises(NotFoundError, match="there is no template nope"):
        versions(database, "nope")
