"""A claimed workspace whose process had died was `usable` for ever, and nobody said so."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update
from sqlalchemy.event import listen, remove

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimAnswer, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.insight.status.listings import workspaces as listed
from prebuild_tasks.insight.status.views import WorkspaceView
from prebuild_tasks.provisioners import Probe, Provisioners, WorkspaceSpec
from prebuild_tasks.provisioners.simulated import SimulatedProvisioner
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep import probes
from prebuild_tasks.upkeep.claimed_probes import hosts_of_due_claims, probe_claimed
from prebuild_tasks.upkeep.retention.store import prune_probes
from tests.support.builders import PRESET, build_all, declare_simulated, fill_really, jump
from tests.support.hosts import report_presence

INTERVAL = 61.0


@pytest.fixture
def claimed(database: Database, settings: Settings, runner: BuildRunner) -> str:
    """Claim a simulated workspace, and return its id."""
    declare_simulated(database, settings, 1)
    fill_really(database, settings, runner)
    answer = repeated(database, settings)
    build_all(database, runner)
    return answer.workspace_id


def repeated(database: Database, settings: Settings) -> ClaimAnswer:
    """Send ada's request, the first time or again, while a builds worker is running."""
    report_presence(database, settings, "box")
    request = ClaimRequest("ada", [PRESET], name="mine", request_id="r")
    return claim(database, request).answer  # type: ignore[union-attr]


def look(database: Database, settings: Settings) -> tuple[int, WorkspaceView]:
    """Let the interval pass, probe, and return how many fail and ada's workspace as listed."""
    jump(database, INTERVAL)
    failing = probe_claimed(database, settings, Provisioners(settings), "")
    return failing, listed(database, owner="ada")[0]


def test_it_is_said_with_the_way_out_and_nothing_else_happens(
    database: Database, settings: Settings, claimed: str
) -> None:
    assert (hosts_of_due_claims(database, settings), probe_claimed(database, settings, Provisioners(settings), "")) == (
        [],
        0,
    )
    assert look(database, settings)[0] == 0
    [path] = settings.data_dir.glob(f"simulated/*/{claimed}.json")
    kept = path.read_bytes()
    path.unlink()
    jump(database, INTERVAL)
    assert hosts_of_due_claims(database, settings) == [""]
    for number in (1, 2, 3, 4):
        failing, view = look(database, settings)
        assert (failing, view.state, view.owner) == (1, "usable", "ada")
        assert f"unhealthy: failed {number} probe" in view.reason
        assert view.reason.endswith("; release it and claim another one")
        assert repeated(database, settings).warning == view.reason
    assert probes.due_hosts(database, settings) == [], "prebuilds alone"
    assert audit(database, settings) == []
    path.write_bytes(kept)
    failing, view = look(database, settings)
    assert (failing, "unhealthy" in view.reason, repeated(database, settings).warning) == (0, False, "")


def test_one_that_could_not_be_asked_is_neither_gone_nor_unhealthy(
    database: Database, settings: Settings, claimed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot_be_asked(self: SimulatedProvisioner, spec: WorkspaceSpec) -> Probe:
        raise CannotAskError("the API is away")

    [path] = settings.data_dir.glob(f"simulated/*/{claimed}.json")
    kept = path.read_bytes()
    path.unlink()
    assert look(database, settings)[0] == 1
    with monkeypatch.context() as outage:
        outage.setattr(SimulatedProvisioner, "probe", cannot_be_asked)
        for _ in range(4):
            failing, view = look(database, settings)
            assert (failing, view.state, view.owner) == (0, "usable", "ada")
            assert "unhealthy: failed 1 probe" in view.reason, "what the last answer said stays"
    path.write_bytes(kept)
    assert "unhealthy" not in look(database, settings)[1].reason
    with monkeypatch.context() as outage:
        outage.setattr(SimulatedProvisioner, "probe", cannot_be_asked)
        failing, view = look(database, settings)
        assert (failing, view.state, "unhealthy" in view.reason) == (0, "usable", False)
    assert audit(database, settings) == []


def test_two_workers_do_not_probe_the_same_one(database: Database, settings: Settings, claimed: str) -> None:
    look(database, settings)
    assert hosts_of_due_claims(database, settings) == []


def test_without_due_ones_nothing_is_written_and_else_once_per_batch(
    database: Database, settings: Settings, runner: BuildRunner, claimed: str
) -> None:
    """A transaction began to write although nothing was due, and each due workspace had a statement of its own."""
    declare_simulated(database, settings, 3)
    fill_really(database, settings, runner)
    for number in range(3):
        claim(database, ClaimRequest(f"o{number}", [PRESET]))
    build_all(database, runner)
    sent = list[str]()
    with database.read() as connection:
        engine = connection.engine

    def note(*event: object) -> None:
        sent.append(str(event[2]).split(maxsplit=1)[0])

    jump(database, INTERVAL)
    listen(engine, "before_cursor_execute", note)
    assert probe_claimed(database, settings, Provisioners(settings), "") == 0
    assert sent.count("INSERT") == 1
    with database.read() as connection:
        assert len(connection.execute(select(m.ProbeState.workspace_id)).all()) >= 4
    sent.clear()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "write", None)
        assert probe_claimed(database, settings, Provisioners(settings), "") == 0
    assert set(sent) <= {"SELECT", "BEGIN"}
    remove(engine, "before_cursor_execute", note)


def test_retention_keeps_the_probes_of_what_is_in_use(database: Database, settings: Settings, claimed: str) -> None:
    look(database, settings)
    with database.write() as connection:
        assert prune_probes(connection) == 0
        connection.execute(update(m.Workspace).values(deleted_at=database.now(connection)))
        assert prune_probes(connection) == 1
        assert connection.execute(select(m.ProbeState.workspace_id)).all() == []
