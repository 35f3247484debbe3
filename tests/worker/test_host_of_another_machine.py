"""A builds worker that was started by hand under the name of a host that another machine uses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet import presence
from prebuild_tasks.fleet.presence import Presence
from prebuild_tasks.worker import signals
from tests.support.wait import wait_until


def worker(*queues: str) -> Any:
    """Stand for a worker that consumes queues, in the form in which Celery passes it to a signal's handler."""
    return SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=queues))))


def test_it_ends_with_a_sentence(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database.url)
    monkeypatch.setenv("PREBUILD_HOST", settings.host)
    builds, control = worker("prebuild.builds"), worker("prebuild.reconcile")
    signals.require_own_host(builds)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(presence, "machine_id", lambda: "another")
        Presence(database, settings, "builds").announce()
    signals.require_own_host(control)  # has no workspaces of its host
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as ended:
        signals.require_own_host(builds)
    assert ended.value.code == 5
    assert f"runs processes as the host {settings.host}\n  next: set PREBUILD_HOST" in capsys.readouterr().err


def test_it_waits_for_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    signals.require_own_host(worker("prebuild.builds"))


def test_once_the_database_answers_it_ends_if_another_machine_was_first(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker that started while the database was away was never compared with the others."""
    monkeypatch.setattr(state, "should_stop", None)
    monkeypatch.setenv("PREBUILD_HOST", settings.host)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(presence, "machine_id", lambda: "another")
        Presence(database, settings, "builds").announce()
    own = Presence(Database(database.url), settings, "builds", announced=signals.end_beside_another_machine)
    own.start()
    wait_until(lambda: state.should_stop is not None, what="the end of the worker")
    own.stop()
    assert state.should_stop == 5
    assert f"runs processes as the host {settings.host}\n  next: set PREBUILD_HOST" in capsys.readouterr().err
