"""`invalidate` said that the prebuilds were being replaced, also when a start under way was all there was."""

from __future__ import annotations

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools.affected import Affected
from prebuild_tasks.pools.operations import invalidate
from tests.support.builders import PRESET, declare, fill, finish_builds, turn


def test_what_is_replaced_and_what_is_left_alone(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    declare(database, settings, 4)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, limit=1)
    claim(database, ClaimRequest("ada", [PRESET]))
    done = invalidate(database, PRESET, actor="eve")
    assert done.affected == Affected(replaced=1, starting=1, failed=1, claimed=1)


def test_prebuilds_of_other_versions_are_named(database: Database, settings: Settings) -> None:
    """They go on being claimed, while somebody thought that a leaked secret was gone with the replaced ones."""
    rolling = "replace: {strategy: rolling}"
    declare(database, settings, 2, extra=rolling)
    fill(database, settings)
    declare(database, settings, 2, start="echo new", extra=rolling)
    turn(database, settings)
    done = invalidate(database, PRESET, actor="eve")
    assert done.affected == Affected(replaced=0, starting=1, failed=0, claimed=0, superseded=2)
    [superseded] = [pool.preset for pool in pools(database, settings) if pool.superseded]
    done = invalidate(database, str(superseded), actor="eve")
    assert done.affected == Affected(replaced=2, starting=0, failed=0, claimed=0)
