"""Deleting more than half of all eligible prebuilds at once requires `--yes`, also in a rolling pool.

Previously, rolling pools were not counted, as if each prebuild always stayed until its replacement was ready: with a
TTL that all prebuilds had exceeded, `apply` and `plan` gave no warning, and the next turn deleted all. A shorter TTL
was counted in no pool, and a paused pool not at all: resuming it emptied it. Invalidated prebuilds, which a rolling
pool keeps and gives to claims until they are replaced, were not counted either.

Later, a smaller size had to be confirmed, too, although whoever writes it wants fewer prebuilds.
"""

from __future__ import annotations

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.insight.plan.make import make_plan
from prebuild_tasks.pools.operations import invalidate, pause
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.turn import reconcile_preset
from tests.support.builders import PRESET, age, declare, fill, finish_builds, preset_id, turn
from tests.support.pool_files import load_text

ROLLING, RECREATE = "replace: {strategy: rolling}", "replace: {strategy: recreate}"
FILE = "schema: 1\ntemplates: [{{name: dev, config: {{start: '{start}'}}, presets: [{{name: small, {preset}}}]}}]"


def refused(database: Database, settings: Settings, words: str, desired: int, extra: str, start: str = "true") -> None:
    """Assert that `apply` refuses the change, and that `plan` announces the refusal."""
    text = FILE.format(start=start, preset=f"desired: {desired}, {extra}")
    assert make_plan(database, settings, load_text(text), ApplyOptions(actor="test")).report.deletes == words
    with pytest.raises(RefusedError, match=f"this would delete {words}"):
        declare(database, settings, desired, extra=extra, start=start)


def allowed(database: Database, settings: Settings, desired: int, extra: str, start: str = "true") -> None:
    """Assert that `plan` asks for no confirmation, and that `apply` needs none."""
    text = FILE.format(start=start, preset=f"desired: {desired}, {extra}")
    assert make_plan(database, settings, load_text(text), ApplyOptions(actor="test")).report.deletes == ""
    declare(database, settings, desired, extra=extra, start=start)


@pytest.mark.parametrize("strategy", [ROLLING, RECREATE])
def test_all_are_too_old(database: Database, settings: Settings, strategy: str) -> None:
    declare(database, settings, 4, extra=strategy)
    fill(database, settings)
    age(database, 7200)
    refused(database, settings, "4 of all 4 eligible prebuilds", 4, f"{strategy}, ttl: 1h")
    refused(database, settings, "4 of all 4 eligible prebuilds", 2, f"{strategy}, ttl: 1h")
    declare(database, settings, 4, extra=f"{strategy}, ttl: 3h")


@pytest.mark.parametrize("strategy", [ROLLING, RECREATE])
def test_a_changed_size_needs_no_confirmation(database: Database, settings: Settings, strategy: str) -> None:
    declare(database, settings, 4, extra=strategy)
    fill(database, settings)
    allowed(database, settings, 1, strategy)
    assert turn(database, settings).deleted == 3
    allowed(database, settings, 1, f"{strategy}, timezone: UTC, schedules: [{{cron: '* * * * *', desired: 0}}]")
    assert turn(database, settings).deleted == 1


@pytest.mark.parametrize("strategy", [ROLLING, RECREATE])
def test_it_is_paused_meanwhile(database: Database, settings: Settings, strategy: str) -> None:
    declare(database, settings, 4, extra=strategy)
    fill(database, settings)
    age(database, 7200)
    pause(database, PRESET, actor="ada")
    refused(database, settings, "4 of all 4 eligible prebuilds", 4, f"{strategy}, ttl: 1h")
    if strategy == RECREATE:
        refused(database, settings, "4 of all 4 eligible prebuilds", 4, strategy, start="true # new")
        refused(database, settings, "4 of all 4 eligible prebuilds", 1, strategy, start="true # new")
    declare(database, settings, 4, extra=ROLLING, start="true # new")


def test_a_new_version_needs_fewer(database: Database, settings: Settings) -> None:
    declare(database, settings, 4, extra=ROLLING)
    fill(database, settings)
    allowed(database, settings, 3, ROLLING, start="true # new")
    turn(database, settings)
    finish_builds(database)
    allowed(database, settings, 1, ROLLING, start="true # new")
    declare(database, settings, 4, extra=ROLLING)
    assert fill(database, settings) == 4, "going back does away with nothing that is needed"


def test_invalidated_ones_can_be_claimed(database: Database, settings: Settings) -> None:
    declare(database, settings, 4, extra=ROLLING)
    fill(database, settings)
    invalidate(database, PRESET, actor="ada")
    assert turn(database, settings).deleted == 0, "they stay until they are replaced"
    refused(database, settings, "4 of all 4 eligible prebuilds", 4, RECREATE)
    allowed(database, settings, 1, ROLLING)
    assert turn(database, settings).deleted == 3


def test_an_older_versions_invalidated_ones_can_be_claimed(database: Database, settings: Settings) -> None:
    declare(database, settings, 4, extra=ROLLING)
    fill(database, settings)
    old = preset_id(database)
    invalidate(database, PRESET, actor="ada")
    declare(database, settings, 4, extra=ROLLING, start="true # new")
    assert reconcile_preset(database, settings, old).deleted == 0
    refused(database, settings, "4 of all 4 eligible prebuilds", 4, RECREATE, start="true # new")
    allowed(database, settings, 1, ROLLING, start="true # new")
    assert reconcile_preset(database, settings, old).deleted == 3
