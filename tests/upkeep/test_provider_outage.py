"""A hiccup of a provisioner used to empty a pool: what could not be asked decides nothing, and no list is believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.insight.doctor.facts import Examination
from prebuild_tasks.insight.doctor.rules import diagnose
from prebuild_tasks.insight.doctor.silences import read_silences
from prebuild_tasks.insight.explain.gather import explain_preset
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus, Transition
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Probe, Provisioners
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.lost_prebuilds import replace_lost
from prebuild_tasks.upkeep.probes import probe_prebuilds
from prebuild_tasks.upkeep.strays.compare import sweep_resources
from prebuild_tasks.upkeep.strays.store import confirm
from prebuild_tasks.upkeep.strays.to_confirm import waiting
from prebuild_tasks.upkeep.types import StrayResult
from tests.support.builders import PRESET, build_all, fill_really, jump, staffed, turn, workspaces
from tests.support.pool_files import load_text

GRACE = 601.0
SCRIPT = """
case $1 in
start) touch "$PLACE/$PREBUILD_WORKSPACE_ID"; [ ! -e "$PLACE/away" ] || exit 4 ;;
probe)
    if [ -e "$PLACE/away" ]; then echo "no route" >&2; exit 4; fi
    if [ -e "$PLACE/$PREBUILD_WORKSPACE_ID" ] && [ ! -e "$PLACE/blank" ]; then exit 0; fi
    echo '{"ready": false, "gone": true, "message": "no such pod"}' ;;
delete) [ ! -e "$PLACE/away" ] || exit 4; rm -f "$PLACE/$PREBUILD_WORKSPACE_ID" ;;
list)
    if [ -e "$PLACE/away" ]; then echo "no route" >&2; exit 4; fi
    if [ -e "$PLACE/silent" ]; then exit 0; fi
    if [ -e "$PLACE/flap" ] || [ -e "$PLACE/blank" ]; then echo '[]'; exit 0; fi
    cd "$PLACE"
    ls | grep -- - | sed 's/.*/{"workspace_id": "&"}/' | paste -sd, | sed 's/.*/[&]/' ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The cluster: a file per pod. `away`, `silent`, `flap` and `blank` say what its API does."""
    made = tmp_path / "cluster"
    made.mkdir()
    (tmp_path / "script").write_text(f"PLACE={made}\n{SCRIPT}")
    return made


def declare(database: Database, settings: Settings, place: Path, desired: int = 6, *, probe: bool = True) -> None:
    script = str(place.parent / "script")
    config = {name: ["sh", script, name] for name in ("start", "delete", "list", "claim")}
    config |= {"probe": ["sh", script, "probe"]} if probe else {}
    preset = {"name": "small", "desired": desired}
    template = {"name": "dev", "provisioner": "command", "config": config, "presets": [preset]}
    apply(
        database,
        settings,
        load_text(json.dumps({"schema": 1, "templates": [template]})),
        ApplyOptions(actor="t", yes=True),
    )


def look(database: Database, settings: Settings) -> StrayResult:
    return sweep_resources(database, settings, Provisioners(settings))


def probe(database: Database, settings: Settings) -> int:
    return probe_prebuilds(database, settings, Provisioners(settings), "").replaced


def ready(database: Database) -> set[str]:
    rows = workspaces(database, m.Workspace.transition == Transition.START)
    return {row.id for row in rows if row.status is BuildStatus.SUCCEEDED}


TOLD = {
    "away": ("6 prebuilds could not be probed since", "the provisioner command could not be asked since"),
    "silent": ("a list of its provisioner could not be read since", "list printed nothing"),
    "flap": ("6 prebuilds missing from its provisioner's list", ""),
}


def told_by(database: Database, settings: Settings) -> dict[str, str]:
    """Return what explain and doctor say."""
    links = explain_preset(database, settings, None, PRESET).explanation.chain
    with database.read() as connection:
        silences = read_silences(connection)
    findings = diagnose(Examination((), "", silences=silences))
    return {
        "explain": "\n".join(link.sentence for link in links),
        "doctor": "\n".join(finding.sentence for finding in findings),
    }


@pytest.mark.parametrize("trouble", ["away", "silent", "flap"])
def test_a_hiccup_takes_nothing_out(
    database: Database, settings: Settings, runner: BuildRunner, place: Path, trouble: str
) -> None:
    declare(database, settings, place)
    fill_really(database, settings, runner)
    before = ready(database)
    (place / trouble).touch()
    for _ in range(5):
        jump(database, GRACE)
        assert look(database, settings).vanished == 0
        assert probe(database, settings) == 0
    told = told_by(database, settings)
    assert TOLD[trouble][0] in told["explain"]
    assert TOLD[trouble][1] in told["doctor"]
    (place / trouble).unlink()
    jump(database, GRACE)
    assert (look(database, settings).missing, probe(database, settings)) == (0, 0)
    assert ready(database) == before
    assert turn(database, settings).outcome == "steady"
    with database.read() as connection:
        assert connection.execute(select(m.UnansweredList)).all() == []
        assert not any(connection.execute(select(m.ProbeState.doubtful)).scalars())


@pytest.mark.parametrize("first", ["probe", "list"])
def test_one_look_that_finds_everything_gone_takes_nothing_out(
    database: Database, settings: Settings, runner: BuildRunner, place: Path, first: str
) -> None:
    """An API that is consistent only eventually answers lists and single requests with nothing for some seconds."""
    declare(database, settings, place)
    fill_really(database, settings, runner)
    before = ready(database)
    looks = [lambda: probe(database, settings), lambda: look(database, settings).vanished]
    jump(database, 61)
    (place / "blank").touch()
    for answer in looks if first == "probe" else reversed(looks):
        assert answer() == 0
    (place / "blank").unlink()
    jump(database, 61)
    assert (probe(database, settings), look(database, settings).missing) == (0, 0)
    assert ready(database) == before
    with database.read() as connection:
        assert not any(connection.execute(select(m.ProbeState.doubtful)).scalars())


def test_all_that_is_really_deleted_is_replaced_a_third_at_a_time(
    database: Database, settings: Settings, runner: BuildRunner, place: Path
) -> None:
    declare(database, settings, place)
    fill_really(database, settings, runner)
    before = ready(database)
    for path in place.iterdir():
        path.unlink()
    first = look(database, settings)
    assert (first.missing, first.vanished) == (6, 0), "a suspicion"
    assert probe(database, settings) == 0
    jump(database, GRACE)
    assert look(database, settings).vanished == 2, "a third of the pool"
    assert replace_lost(database, settings).builds == (), "its replacements are not there yet"
    for _ in range(3):
        fill_really(database, settings, runner)
        replace_lost(database, settings)
    assert len(ready(database)) == 6
    assert not ready(database) & before
    assert audit(database, settings, Provisioners(settings)) == []


def test_where_no_probe_can_tell_a_person_confirms(
    database: Database, settings: Settings, runner: BuildRunner, place: Path
) -> None:
    declare(database, settings, place, probe=False)
    fill_really(database, settings, runner)
    for path in place.iterdir():
        path.unlink()
    for _ in range(3):
        assert look(database, settings).vanished == 0
        jump(database, GRACE)
    assert waiting(database) == 6
    assert "no probe can tell, and 6 wait for a confirmation" in told_by(database, settings)["explain"]
    assert confirm(database, actor="ada") == 6
    assert waiting(database) == 0
    for _ in range(3):
        replace_lost(database, settings)
        fill_really(database, settings, runner)
    assert audit(database, settings, Provisioners(settings)) == []


def test_a_few_that_no_probe_can_tell_are_replaced(
    database: Database, settings: Settings, runner: BuildRunner, place: Path
) -> None:
    declare(database, settings, place, probe=False)
    fill_really(database, settings, runner)
    lost, back, *_ = sorted(ready(database))
    for name in (lost, back):
        (place / name).rename(place.parent / name)
    assert look(database, settings).vanished == 0
    (place.parent / back).rename(place / back)
    jump(database, GRACE)
    assert look(database, settings).vanished == 1
    assert lost not in ready(database)
    assert back in ready(database)


def test_one_list_that_is_silent_does_not_hide_another(
    database: Database, settings: Settings, runner: BuildRunner, place: Path
) -> None:
    declare(database, settings, place, 1)
    fill_really(database, settings, runner)
    silent = {"start": "true", "delete": "true", "claim": "true", "list": "true"}
    template = {"name": "mute", "provisioner": "command", "config": silent, "presets": [{"name": "s", "desired": 1}]}
    apply(
        database,
        settings,
        load_text(json.dumps({"schema": 1, "templates": [template]})),
        ApplyOptions(actor="t", yes=True),
    )
    fill_really(database, settings, runner, "mute/s")
    [pod] = list(place.iterdir())
    pod.unlink()
    for expected in (0, 1):
        result = look(database, settings)
        assert (result.missing, result.vanished) == (1, expected)
        assert "list printed nothing" in result.problems[0]
        jump(database, GRACE)


def test_builds_are_held_and_count_as_no_failure(
    database: Database, settings: Settings, runner: BuildRunner, place: Path
) -> None:
    declare(database, settings, place, 3)
    (place / "away").touch()
    turn(database, settings)
    for _ in range(6):
        assert build_all(database, runner) == 3
        jump(database, 61)
    with database.read() as connection:
        builds = connection.execute(select(m.Build)).all()
        preset = connection.execute(select(m.Preset)).one()
        events = connection.execute(select(m.History.event)).scalars().all()
    held = (BuildStatus.PENDING, "provisioner_unreachable")
    assert {(row.status, row.error_code) for row in builds} == {held}
    assert sorted((row.attempt, row.holds) for row in builds) == [(0, 0), (0, 0), (6, 6)], "one finds out for all"
    assert (preset.failures_in_row, preset.status) == (0, PresetStatus.HEALTHY)
    assert events.count("start_held") == 1, "told once"
    assert turn(database, settings).created == 0
    staffed(database, settings)
    assert explain_preset(database, settings, None, PRESET).explanation.reason is Reason.PROVISIONER_UNREACHABLE
    assert "3 builds on hold" in told_by(database, settings)["doctor"]
    (place / "away").unlink()
    assert build_all(database, runner) == 3
    assert len(ready(database)) == 3


def test_a_deletion_is_held(database: Database, settings: Settings, runner: BuildRunner, place: Path) -> None:
    declare(database, settings, place, 1)
    fill_really(database, settings, runner)
    declare(database, settings, place, 0)
    (place / "away").touch()
    turn(database, settings)
    build_all(database, runner)
    assert [(row.transition, row.status) for row in workspaces(database)] == [(Transition.DELETE, BuildStatus.PENDING)]
    (place / "away").unlink()
    jump(database, 61)
    build_all(database, runner)
    assert list(place.iterdir()) == []


def test_claims_prefer_what_answered(database: Database, settings: Settings, runner: BuildRunner, place: Path) -> None:
    declare(database, settings, place, 3)
    fill_really(database, settings, runner)
    oldest, middle, newest = [row.id for row in sorted(workspaces(database), key=lambda row: (row.created_at, row.id))]
    with pytest.MonkeyPatch.context() as patch:

        def answer(_self: object, spec: object) -> Probe:
            if getattr(spec, "workspace_id", "") == middle:
                return Probe(ready=True)
            raise CannotAskError("no route")

        patch.setattr("prebuild_tasks.provisioners.command.adapter.CommandProvisioner.probe", answer)
        jump(database, 61)
        assert probe(database, settings) == 0
    taken = [claim(database, ClaimRequest(f"o{number}", [PRESET])).answer.workspace_id for number in range(3)]
    assert taken == [middle, oldest, newest], "those in doubt are still better than a miss"
