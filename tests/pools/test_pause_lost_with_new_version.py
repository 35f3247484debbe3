"""A pause belongs to the pool, whichever version is active, and resuming it resumes all versions.

Previously it was stored with the active version only: `apply` of a new version or `promote` lifted it, the older
version stayed paused forever, and `resume` said that the pool was not paused. Pausing during a rollout stopped only
the new version.
"""

from __future__ import annotations

import pytest
from sqlalchemy import select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.history import read_history
from prebuild_tasks.pools import operations
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, finish_builds, preset_id, turn
from tests.support.pool_files import load_text

NEW = "true # new"


def outcomes(database: Database, settings: Settings, *presets: int) -> list[str]:
    return [reconcile_preset(database, settings, identity).outcome for identity in presets]


def version_of(database: Database, identity: int) -> str:
    query = select(m.TemplateVersion.name).join(m.Preset, m.Preset.template_version_id == m.TemplateVersion.id)
    with database.read() as connection:
        return str(connection.execute(query.where(m.Preset.id == identity)).scalar_one())


@pytest.mark.parametrize("by", ["apply", "promote", "promote, paused before"])
def test_the_new_version_is_paused_too(database: Database, settings: Settings, by: str) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    old = preset_id(database)
    if by == "promote":
        declare(database, settings, 2, start=NEW, promote=False)
    operations.pause(database, PRESET, actor="ada", reason="registry down")
    declare(database, settings, 2, start=NEW, promote=by == "apply", yes=True)
    if by != "apply":
        with database.read() as connection:
            newest = connection.execute(select(m.Preset.id).order_by(m.Preset.id.desc())).scalars().first()
        assert newest is not None
        operations.promote(database, "dev", version_of(database, newest), actor="ada")
    new = preset_id(database)
    assert new != old
    assert outcomes(database, settings, new, old) == ["paused", "paused"]
    done = operations.resume(database, PRESET, actor="ada")
    assert (done.changed, done.follow_up.wake.keys()) == (True, {old, new})
    assert reconcile_preset(database, settings, old).deleted == 2
    assert fill(database, settings) == 2
    assert not operations.resume(database, PRESET, actor="ada").changed
    told = [row.event for row in read_history(database, preset=PRESET) if row.event in ("paused", "resumed")]
    assert told == ["paused", "resumed"]


def test_a_rollout_is_stopped_halfway(database: Database, settings: Settings) -> None:
    rolling = "replace: {strategy: rolling}"
    declare(database, settings, 2, extra=rolling)
    fill(database, settings)
    old = preset_id(database)
    declare(database, settings, 2, extra=rolling, start=NEW)
    turn(database, settings)
    finish_builds(database)
    new = preset_id(database)
    operations.pause(database, PRESET, actor="ada")
    assert outcomes(database, settings, new, old) == ["paused", "paused"]
    operations.resume(database, PRESET, actor="ada")
    assert reconcile_preset(database, settings, old).deleted == 1, "its replacement is ready"


def test_a_preset_that_comes_back_is_still_paused(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    operations.pause(database, PRESET, actor="ada")
    gone = "schema: 1\ntemplates: [{name: dev, config: {start: 'true'}, presets: [{name: big, desired: 0}]}]"
    apply(database, settings, load_text(gone), ApplyOptions(actor="test", prune=True))
    declare(database, settings, 1, start=NEW)
    assert turn(database, settings).outcome == "paused"


def test_one_version_is_paused_by_its_name(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    old = preset_id(database)
    declare(database, settings, 1, start=NEW, yes=True)
    name = f"{PRESET}@{version_of(database, old)}"
    operations.pause(database, name, actor="ada")
    assert outcomes(database, settings, preset_id(database), old) == ["changed", "paused"]
    declare(database, settings, 1, start="true # newest", yes=True)
    assert turn(database, settings).outcome == "changed", "the pool was not paused"
    assert operations.resume(database, name, actor="ada").follow_up.wake.keys() == {old}
