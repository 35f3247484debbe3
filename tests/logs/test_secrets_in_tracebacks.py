"""Secrets in the places where they once leaked.

A traceback in a worker's log showed the values of local variables, including passwords and secret parameters; the
message of a crashed adapter was not masked; a URL showed a password that followed the question mark, or that should
have been percent-encoded and was not; a multi-line secret was masked only if all of it arrived in one piece; and an
error that was cut to 500 characters could begin with the second half of a secret.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.cli.main import main
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BuildStoppedError
from prebuild_tasks.insight.status.listings import build_log, builds
from prebuild_tasks.logs import configure_logging
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.provisioners.shared.output import summarized
from prebuild_tasks.provisioners.simulated import SimulatedProvisioner
from tests.support.builders import declare_simulated, turn, workspaces

SECRET = "s3cr3t-0f-mine"
KEY = f"-----BEGIN KEY-----\n{SECRET}AAAA\nBBBB{SECRET}\n-----END KEY-----"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_values(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure_logging(Settings(log_format=log_format))  # type: ignore[arg-type]  # pydantic reads it
    parameters = {"TOKEN": SECRET}
    try:
        raise RuntimeError(f"{len(parameters)} parameters")
    except RuntimeError:
        logging.getLogger("celery.app.trace").exception("a library's record")
    said = capsys.readouterr().err
    assert "1 parameters" in said
    assert "test_a_traceback_shows_no_values" in said
    assert SECRET not in said


@pytest.mark.parametrize("error", [KeyError(f"{SECRET}!"), BuildStoppedError(SECRET, reason="timeout")])
def test_what_an_adapter_says_when_it_fails_is_masked(
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    configure_logging(settings)

    def start(*_: object) -> None:
        raise error

    monkeypatch.setenv("PLACE_TOKEN", SECRET)
    monkeypatch.setattr(SimulatedProvisioner, "start", start)
    declare_simulated(database, settings, 1, extra="parameters: {TOKEN: {from_env: PLACE_TOKEN}}")
    [build] = turn(database, settings).follow_up.builds
    runner = BuildRunner(database, settings, Provisioners(settings))
    result = runner.run(build.id)
    runner.close()
    [row] = workspaces(database)
    seen = result.error + build_log(database, row.name).text + str(builds(database)) + capsys.readouterr().err
    assert result.outcome == "failed"
    assert "***" in seen
    assert SECRET not in seen


def test_every_line_of_a_secret_is_one(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_KEY", KEY)

    def start(_self: object, spec: object, context: object) -> None:
        for line in KEY.splitlines():
            context.log(f"{line}\n")  # type: ignore[attr-defined]
        raise ValueError(summarized(KEY))

    monkeypatch.setattr(SimulatedProvisioner, "start", start)
    declare_simulated(database, settings, 1, extra="parameters: {KEY: {from_env: PLACE_KEY}}")
    [build] = turn(database, settings).follow_up.builds
    runner = BuildRunner(database, settings, Provisioners(settings))
    result = runner.run(build.id)
    runner.close()
    assert result.error == "*** / … / *** / ***"
    [row] = workspaces(database)
    assert SECRET not in build_log(database, row.name).text


def test_an_error_is_cut_between_words() -> None:
    assert summarized(f"{SECRET} {'x' * 490} end") == f"{'x' * 490} end"
    assert summarized("x" * 501) == "one word too long to show"
    assert summarized("\n one \n\n two\n") == "one / two"
    git = "git: 'clnoe' is not a git command. See 'git --help'.\n\nThe most similar commands are\n\tclone\n\tclean\n"
    assert summarized(git) == "git: 'clnoe' is not a git command. See 'git --help'. / … / clone / clean"
    assert summarized(git.replace("\tclean\n", "")).endswith("git --help'. / The most similar commands are / clone")
    assert summarized("\n".join(map(str, range(9)))) == "7 / 8", "of many commands"
    assert summarized(f"{'x' * 1000}\nb\nc\nd") == "c / d", "its beginning may be missing"
    assert summarized(" \n", "no words") == "no words"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://u:{SECRET}@h:5432/db", "postgresql://u:***@h:5432/db"),
        (f"postgresql://u:{SECRET}/x@h/db", "postgresql://u:***@h/db"),
        (f"postgresql://u:x@{SECRET}@h/db", "postgresql://u:***@h/db"),
        (f"postgresql://u:x#?{SECRET}@h/db", "postgresql://u:***@h/db"),
        (f"postgresql://u@h/db?password={SECRET}&sslmode=require", "postgresql://u@h/db?password=***&sslmode=require"),
        (f"postgresql://h/db?sslpassword={SECRET}", "postgresql://h/db?sslpassword=***"),
        (f"redis://:{SECRET}@h:6379/0", "redis://:***@h:6379/0"),
        (f"unix://:{SECRET}@/redis.sock", "unix://:***@/redis.sock"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("sqlite:////data/a@b:c@d.db", "sqlite:////data/a@b:c@d.db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked_url(url) == shown


@pytest.mark.parametrize(
    ("variable", "url", "code"),
    [
        ("DATABASE", f"postgresql://u:x@{SECRET}@127.0.0.1:1/db", 2),
        ("DATABASE", f"postgresql://u:x/{SECRET}@127.0.0.1:1/db", 7),
        ("DATABASE", f"postgresql://u:{SECRET}@h:port/db", 2),
        ("REDIS", f"redis://:{SECRET}/x@127.0.0.1:1/0", 2),
        ("REDIS", f"redis://:x#{SECRET}@127.0.0.1:1/0", 2),
        ("REDIS", f"redsi://:{SECRET}@127.0.0.1:1/0", 2),
        ("REDIS", f"redis://127.0.0.1:1/0?password={SECRET}", 2),
        ("REDIS", f"unix:///nowhere.sock?password={SECRET}", 2),
        ("REDIS", f"unix://:{SECRET}@/nowhere.sock", 7),
    ],
)
def test_a_bad_url_is_said_in_a_sentence_without_its_password(
    variable: str,
    url: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PREBUILD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(f"PREBUILD_{variable}_URL", url)
    assert main(["status"] if variable == "DATABASE" else ["reconcile"]) == code
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert "unexpected" not in said.err
    assert "***" in said.err
    assert "next:" in said.err
