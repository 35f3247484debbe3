"""A build ends whatever letters its error or its result has.

In a database in LATIN1, which an earlier release made, a build whose error had an arrow never ended: the database
refused the letter, and with it the end of the build. In any database half a surrogate pair, as in the name of a file,
did the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db import engine
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.listings import build_log
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.provisioners.process.adapter import ProcessProvisioner
from prebuild_tasks.schema import tables as m
from tests.builds.running import run_all, settings
from tests.support.builders import declare, turn, workspaces
from tests.support.encodings import in_encoding
from tests.support.pool_files import load_text

__all__ = ["settings"]

BY_COMMAND = r"""
schema: 1
templates:
  - name: dev
    provisioner: command
    config: {start: 'printf "{\"url\": \"http://\\342\\206\\222.example\"}"', delete: "true"}
    presets: [{name: small, desired: 1}]
"""


@pytest.fixture
def latin1(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with in_encoding(postgres_url, "LATIN1") as url:
        with monkeypatch.context() as earlier_release:
            earlier_release.setattr(engine, "COMPLETE", ("LATIN1",))
            Database(url).upgrade()
        database = Database(url)
        yield database
        database.close()


def ended(database: Database, settings: Settings) -> str:
    """Build one workspace, and return the error of its build."""
    turn(database, settings)
    runner = BuildRunner(database, settings, Provisioners(settings))
    [result] = run_all(database, runner)
    runner.close()
    with database.read() as connection:
        build = connection.execute(select(m.Build.status, m.Build.error)).one()
        preset = connection.execute(select(m.Preset.last_error, m.Preset.failures_in_row)).one()
    assert (result.outcome, build.status) == ("failed", BuildStatus.FAILED)
    assert workspaces(database)[0].reason == build.error
    assert tuple(preset) == (build.error, 1)
    return str(build.error)


def test_an_error_with_an_arrow_in_latin1(latin1: Database, settings: Settings) -> None:
    declare(latin1, settings, 1, start=r"printf 'caf\303\251 \342\206\222 here'; exit 3")
    error = ended(latin1, settings)
    assert error == r"start exited with 3: café \u2192 here"
    [row] = workspaces(latin1)
    assert build_log(latin1, row.name).text.startswith(r"café \u2192 here")


def test_an_address_with_an_arrow_in_latin1(latin1: Database, settings: Settings) -> None:
    """What names a resource is not escaped: it would name another one."""
    apply(latin1, settings, load_text(BY_COMMAND), ApplyOptions(actor="test"))
    error = ended(latin1, settings)
    assert error.startswith("the result of the build (succeeded) cannot be stored: a value cannot be stored")
    assert "LATIN1" in error


def test_half_a_surrogate_pair(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise OSError("no such file: caf\udce9")

    monkeypatch.setattr(ProcessProvisioner, "start", start)
    declare(database, settings, 1)
    assert ended(database, settings) == r"no such file: caf\udce9"
