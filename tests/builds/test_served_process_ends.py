"""A served process that ends while it should become ready failed only after `ready_timeout`, without its output."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from prebuild_tasks.builds.lost import lost_builds, take_back
from prebuild_tasks.builds.not_ready import read_not_ready
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.insight.explain.gather import explain_preset
from prebuild_tasks.insight.status.listings import build_log, builds
from prebuild_tasks.insight.status.served import served_output
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.schema import tables as m
from tests.builds.running import in_background, pending, run_all, runner, settings
from tests.support.builders import PRESET, declare, declare_simulated, turn, workspaces
from tests.support.wait import wait_until

__all__ = ["runner", "settings"]

CRASHES = "serve: 'echo listening on $PORT; echo no such module: $TOKEN >&2; exit 3', ready: 'exit 1'"


def test_the_start_fails_at_once_with_its_output_and_is_kept(
    database: Database, settings: Settings, runner: BuildRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TOKEN", "s3cret-one")
    declare(
        database, settings, 1, config=CRASHES, extra="ready_timeout: 1h, parameters: {TOKEN: {from_env: GIT_TOKEN}}"
    )
    turn(database, settings)
    [result] = run_all(database, runner)
    assert result.outcome == "failed"
    assert "the served process ended: " in result.error
    assert result.error.endswith("no such module: ***")
    [row] = workspaces(database)
    assert (row.transition, row.status, row.slot) == (Transition.START, BuildStatus.FAILED, None), "kept for diagnosis"
    said = build_log(database, row.name).text
    assert "output of the served process:\nlistening on " in said
    assert "s3cret-one" not in said + result.error

    monkeypatch.delenv("GIT_TOKEN")  # as in the terminal of a person
    shown = served_output(database, settings, Provisioners(settings), row.name)
    assert shown.text.endswith("no such module: ***\n")
    assert (shown.running, shown.sentence) == (False, "the served process has ended")
    process = Provisioners(settings).get("process")
    assert isinstance(process, ProcessProvisioner)
    assert process.serve_again() == 0, "a restarted worker does not serve it again"


def test_the_output_is_shown_only_where_it_is(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare(database, settings, 1, config="serve: 'echo up; exec sleep 1000', ready: 'true'")
    turn(database, settings)
    run_all(database, runner)
    [row] = workspaces(database)
    there = settings.model_copy(update={"host": "there"})
    with pytest.raises(RefusedError, match=r"only here has the output of .* \(repeat this on here\)"):
        served_output(database, there, Provisioners(settings), row.name)
    wait_until(
        lambda: served_output(database, settings, Provisioners(settings), row.name).text == "up\n", what="its output"
    )


def test_a_provisioner_without_output_says_so(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare_simulated(database, settings, 1)
    turn(database, settings)
    run_all(database, runner)
    with pytest.raises(RefusedError, match="the provisioner simulated keeps no output"):
        served_output(database, settings, Provisioners(settings), workspaces(database)[0].name)


def test_while_it_waits_people_are_told_and_a_changed_timeout_applies(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    waits = "serve: 'echo warming up; exec sleep 1000', ready: 'echo still cold; false'"
    declare(database, settings, 1, config=waits, extra="ready_timeout: 1h")
    turn(database, settings)
    [build_id] = pending(database)
    thread, results = in_background(runner, build_id)
    wait_until(lambda: builds(database)[0].waits, what="what it waits for")
    [view] = builds(database)
    assert (view.status, view.error, view.error_code) == (BuildStatus.RUNNING, "", "")
    assert view.waits.startswith("not ready yet: asked ")
    assert view.waits.endswith("ready exited with 1: still cold")
    assert "gives up at " in view.waits
    assert build_log(database, build_id).waits.endswith("still cold")
    wait_until(lambda: "not ready after 2 s, asked " in build_log(database, build_id).text, what="a line in the log")
    chain = explain_preset(database, settings, None, PRESET).explanation.chain
    assert any(f"1 start ran, and waits to become ready; build {build_id[:8]} asked " in it.sentence for it in chain)

    declare(database, settings, 1, config=waits, extra="ready_timeout: 2s")
    thread.join(30)
    assert not thread.is_alive(), "the shorter time does not apply"
    assert "not ready within 2 s: ready exited with 1: still cold" in results[0].error
    assert "output of the served process:\nwarming up\n" in build_log(database, build_id).text


def test_a_ready_that_hangs_is_told_and_is_given_only_what_is_left(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    """The time began with the first answer, so that nothing was told until then, and 20 s lasted for 65 s."""
    hangs = "ready: 'sleep 1000'"
    declare(database, settings, 1, config=hangs, extra="ready_timeout: 1h")
    turn(database, settings)
    [build_id] = pending(database)
    thread, results = in_background(runner, build_id)
    wait_until(lambda: builds(database)[0].waits, what="what it waits for")
    waits = builds(database)[0].waits
    assert waits.startswith("not ready yet: asked 1 time in ")
    assert waits.endswith(": no answer yet")
    declare(database, settings, 1, config=hangs, extra="ready_timeout: 3s")
    thread.join(20)
    assert not thread.is_alive(), "the probe is given more time than is left"
    assert [result.error for result in results] == ["not ready within 3 s: no answer yet"]


def test_a_probe_ends_when_its_build_is_canceled(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare(database, settings, 1, config="ready: 'touch asked; sleep 1000'")
    turn(database, settings)
    [build_id] = pending(database)
    thread, results = in_background(runner, build_id)
    wait_until(lambda: list((settings.data_dir / "workspaces").glob("*/a1/asked")), what="the probe")
    with database.write() as connection:
        connection.execute(update(m.Build).values(status=BuildStatus.CANCELING))
    thread.join(20)
    assert [result.outcome for result in results] == ["canceled"]


def test_a_longer_timeout_applies_at_the_last_moment(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    waits = "ready: 'test -e go'"
    declare(database, settings, 1, config=waits, extra="ready_timeout: 2500ms")
    turn(database, settings)
    [build_id] = pending(database)
    thread, results = in_background(runner, build_id)
    wait_until(lambda: builds(database)[0].waits, what="what it waits for")
    declare(database, settings, 1, config=waits, extra="ready_timeout: 1h")
    wait_until(lambda: "gives up after 60 min" in build_log(database, build_id).text, what="the longer time")
    for directory in (settings.data_dir / "workspaces").glob("*/a1"):
        (directory / "go").touch()
    thread.join(30)
    assert [result.outcome for result in results] == ["succeeded"]
    assert builds(database)[0].error == ""


def test_a_lost_start_no_longer_waits(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    with database.write() as connection:
        now = database.now(connection)
        stored = "not ready, asked 2 times since 2026-03-01T10:00:00+00:00: still cold"
        connection.execute(
            update(m.Build).values(
                status=BuildStatus.RUNNING, runner="x/1", heartbeat_at=now, error=stored, error_code="not_ready_yet"
            )
        )
        [row] = lost_builds(connection, now, "x/")
        assert take_back(connection, row, BuildStatus.PENDING, now, "", "")
        build = connection.execute(select(m.Build.error, m.Build.error_code)).one()
    assert tuple(build) == ("", "")


def test_what_is_stored_can_be_read() -> None:
    waits = read_not_ready("not_ready_yet", "not ready, asked 1 time since 2026-03-01T10:00:00+00:00: a: b\nc")
    assert waits is not None
    assert read_not_ready("not_ready_yet", waits.stored()) == waits
    more = replace(waits, asked=12)
    assert read_not_ready("not_ready_yet", more.stored()) == more
    assert read_not_ready("provisioner_failed", waits.stored()) is None
