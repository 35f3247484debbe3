"""The sweep sends, repeats and ends builds."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces.outbox import mark_published
from tests.builds.running import pending, settings
from tests.support.builders import PRESET, declare, finish_builds, turn, workspaces

__all__ = ["settings"]


def test_the_sweep_sends_only_what_is_missing_from_the_queue(database: Database, settings: Settings) -> None:
    declare(database, settings, 4)
    turn(database, settings)
    assert sweep(database, settings, lambda _: 0).republished == 0, "just written: its message is on the way"
    with database.write() as connection:
        connection.execute(update(m.Build).values(created_at=database.now(connection) - timedelta(seconds=6)))
    assert sweep(database, settings, lambda _: 4).republished == 0
    assert sweep(database, settings, lambda _: 1).republished == 3
    assert sweep(database, settings, lambda _: None).republished == 4
    with database.write() as connection:
        mark_published(connection, pending(database), database.now(connection))
    assert sweep(database, settings, lambda _: 0).republished == 0


def test_failed_deletions_and_hooks_are_tried_again_and_leftovers_cleaned(
    database: Database, settings: Settings
) -> None:
    declare(database, settings, 5, config='claim: "true"')
    turn(database, settings)
    finish_builds(database, limit=1)
    claim(database, ClaimRequest(owner="ada", presets=[PRESET]))
    with database.write() as connection:  # the claim's build comes first
        connection.execute(
            update(m.Build)
            .where(m.Build.reason == "claim")
            .values(created_at=database.now(connection) - timedelta(days=1))
        )
    finish_builds(database, status=BuildStatus.FAILED, limit=1)
    finish_builds(database, status=BuildStatus.FAILED)
    result = sweep(database, settings, lambda _: 0)
    assert (result.cleaned, result.retried) == (2, 0), "of four failed prebuilds two are kept for diagnosis"
    with database.write() as connection:
        connection.execute(update(m.Build).values(completed_at=database.now(connection) - timedelta(seconds=31)))
    assert sweep(database, settings, lambda _: 0).retried == 1
    [row] = workspaces(database, m.Workspace.owner == "ada")
    assert (row.transition, row.status) == (Transition.START, BuildStatus.PENDING)
    finish_builds(database, status=BuildStatus.FAILED)
    with database.write() as connection:
        connection.execute(update(m.Build).values(completed_at=database.now(connection) - timedelta(seconds=3600)))
    assert sweep(database, settings, lambda _: 0).retried == 3, "one hook and two deletions"
    assert len(workspaces(database, m.Workspace.owner == "ada")) == 1


def test_claimed_workspaces_end_with_their_ttl_and_never_before(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, extra="claimed_ttl: 1h")
    turn(database, settings)
    finish_builds(database)
    claim(database, ClaimRequest(owner="ada", presets=[PRESET]))
    finish_builds(database)
    assert sweep(database, settings, lambda _: 0).cleaned == 0
    with database.write() as connection:
        past = database.now(connection) - timedelta(seconds=1)
        connection.execute(update(m.Workspace).where(m.Workspace.owner == "ada").values(claimed_until=past))
    assert sweep(database, settings, lambda _: 0).cleaned == 1
