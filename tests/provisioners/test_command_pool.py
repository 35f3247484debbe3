"""A pool of the shell example's workspaces, from the declaration to the audit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Provisioners
from tests.support.builders import turn, workspaces
from tests.support.pool_files import load_text

SCRIPT = Path(__file__).parents[2] / "examples" / "command-shell" / "workspace.sh"
OPERATIONS = ("start", "probe", "claim", "stop", "delete", "list")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


@pytest.fixture
def fill(database: Database, settings: Settings, base: Path) -> Iterator[Callable[..., None]]:
    runner = BuildRunner(database, settings, Provisioners(settings))

    def fill(*, without: str = "") -> None:
        config = {name: ["sh", str(SCRIPT), name, str(base)] for name in OPERATIONS if name != without}
        preset = {"name": "small", "desired": 2}
        template = {"name": "dev", "provisioner": "command", "config": config, "presets": [preset]}
        apply(database, settings, load_text(json.dumps({"schema": 1, "templates": [template]})), ApplyOptions("test"))
        for build in turn(database, settings).follow_up.builds:
            assert runner.run(build.id).outcome == "succeeded"

    yield fill
    runner.close()


def test_it_is_filled_and_audited(
    database: Database, settings: Settings, fill: Callable[..., None], base: Path
) -> None:
    fill()
    assert [Path(row.directory).is_dir() for row in workspaces(database)] == [True, True]
    assert audit(database, settings, Provisioners(settings)) == []
    lost = workspaces(database)[0]
    shutil.rmtree(next(base.glob(f"*/{lost.id}")))
    [finding] = audit(database, settings, Provisioners(settings))
    assert (finding.what, finding.subject) == ("running workspace without a resource", lost.name)


def test_what_is_not_known_everywhere_at_once_is_not_taken_for_gone(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start failed for good when two probes 0.1 s apart said `gone`, as an API may for seconds after a start."""
    monkeypatch.setattr("prebuild_tasks.builds.readiness.PAUSE_GONE_AFAR", 2.5)
    made = tmp_path / "made"
    probe = f'[ $(date +%s) -gt $(( $(stat -c %Y {made}) + 1 )) ] || echo \'{{"ready": false, "gone": true}}\''
    config = {"start": f"touch {made}", "probe": probe, "delete": "true"}
    template = {"name": "dev", "provisioner": "command", "config": config, "presets": [{"name": "p", "desired": 1}]}
    apply(database, settings, load_text(json.dumps({"schema": 1, "templates": [template]})), ApplyOptions("test"))
    runner = BuildRunner(database, settings, Provisioners(settings))
    [build] = turn(database, settings, "dev/p").follow_up.builds
    assert runner.run(build.id).outcome == "succeeded"
    runner.close()


def test_without_a_list_nothing_counts_as_lost(
    database: Database, settings: Settings, fill: Callable[..., None]
) -> None:
    fill(without="list")
    assert audit(database, settings, Provisioners(settings)) == []


def test_a_claim_leaves_its_mark(database: Database, settings: Settings, fill: Callable[..., None], base: Path) -> None:
    fill()
    done = claim(database, ClaimRequest("ada", ("dev/small",)))
    runner = BuildRunner(database, settings, Provisioners(settings))
    assert [runner.run(build.id).outcome for build in done.follow_up.builds] == ["succeeded"]
    runner.close()
    assert [path.read_text() for path in base.glob("*/*/claimed")] == ["ada\n"]
