"""The command line's public interface: exit codes, JSON keys and messages. Changing this test breaks a promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from prebuild_tasks import errors
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.cli.main import COMMANDS
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill
from tests.support.commands import OTHERS, SEARCHED
from tests.support.hosts import place_on

KEYS = {
    "status": {
        "preset", "desired", "eligible", "starting", "deleting", "failed", "failed_deletions", "reason", "next_action",
        "last_error", "second_choices", "claimed",
    },
    "workspaces": {
        "workspace", "id", "owner", "preset", "state", "url", "directory", "resource_id", "host", "created_at",
        "claimed_at", "claimed_until", "ends_soon", "retry_at", "reason",
    },
    "builds": {
        "build", "workspace", "preset", "transition", "status", "reason", "initiator", "attempt", "created_at",
        "started_at", "completed_at", "seconds", "error_code", "error", "waits",
    },
    "history": {
        "at", "actor", "event", "workspace", "preset", "reason", "details", "actor_kind", "actor_name", "actor_subject",
    },
    "events": {"id", "at", "kind", "pool", "owner", "workspace", "actor", "reason", "data"},
    "explain": {
        "preset", "at", "desired", "eligible", "starting", "missing", "reason", "headline", "chain",
        "commands", "next_turn",
    },
    "claim": {
        "workspace", "workspace_id", "preset", "owner", "url", "directory", "resource_id", "host", "request_id",
        "claimed_at", "state", "id", "warning",  # no builds worker is running
    },
}  # fmt: skip


def test_exit_codes_are_those_of_the_port() -> None:
    codes = {
        errors.PrebuildError: 1, errors.InputError: 2, errors.NotFoundError: 3, errors.ClaimMissError: 4,
        errors.RefusedError: 5, errors.WaitTimeoutError: 6, errors.UnreachableError: 7, errors.AuditError: 8,
    }  # fmt: skip
    assert {kind: kind.exit_code for kind in codes} == codes


def test_json_keys(cli: Any, database: Database, settings: Settings) -> None:
    assert json.loads(cli("status", "--json")) == []
    declare(database, settings, 2)
    fill(database, settings)
    for command in ("status", "workspaces", "builds", "history", "events"):
        assert all(row.keys() == KEYS[command] for row in json.loads(cli(command, "--json")))
    explained = json.loads(cli("explain", "dev/small", "--json"))
    assert explained.keys() == KEYS["explain"]
    assert explained["next_turn"] == {"delete": 0, "cancel": 0, "create": 0}
    assert {key for link in explained["chain"] for key in link} == {"about", "reason", "words"}
    answer = json.loads(cli("claim", "dev/small", "--owner", "ada", "--json"))
    assert answer.keys() == KEYS["claim"]
    assert json.loads(cli("audit", "--json", "--database-only")) == {"clean": True, "findings": []}
    assert json.loads(cli("release", answer["workspace"], "--json")).keys() == {"workspace", "id", "state"}
    assert "dev/small" in cli("status")
    for command in (["pause"], ["resume"], ["invalidate", "dev/small"], ["unblock", "dev/small"]):
        keys = {"changed", "affected"} if command[0] == "invalidate" else {"changed"}
        assert json.loads(cli(*command, "--json")).keys() == keys
    assert cli("pause", "dev/small", "--for", "2h") == "dev/small is paused for 2h\n"
    assert cli("workspaces", "--owner", "nobody") == "no workspaces\n"
    place_on(database, "gone")
    done = {"host": "gone", "workspaces": 2, "claimed": 0}
    assert json.loads(cli("forget", "gone", "--json")) == done
    assert cli("workspaces") == "no workspaces\n"


def test_a_claim_without_redis_answers_and_says_nothing_wrong(cli: Any, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    assert "dev/small" in cli("claim", "dev/small", "--owner", "ada")
    error = json.loads(cli("claim", "dev/small", "--owner", "bob", "--json", expect=4))
    assert (error["error"], error["reason"]) == ("claim_miss", "empty_pool")
    assert "is being built for bob" in cli(
        "claim", "dev/small", "--owner", "bob", "--wait", "--timeout", "100ms", expect=6
    )


def test_a_repeated_request_whose_workspace_is_gone(cli: Any, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    arguments = ("claim", "dev/small", "--owner", "ada", "--name", "one", "--request-id", "r-1")
    cli(*arguments)
    cli("release", "ada/one", "--actor", "grace")
    body = json.loads(cli(*arguments, "--json", expect=5))
    assert body.keys() == {
        "error", "message", "hint", "reason", "state", "workspace", "workspace_id", "ended_at", "ended_by",
    }  # fmt: skip
    assert (body["error"], body["state"], body["reason"]) == ("request_ended", "ending", "released")
    assert (body["workspace"], body["ended_by"]) == ("one", "grace")
    assert "make a new request id: another --request-id, or leave it out" in cli(*arguments, expect=5)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["claim", "dev/none", "--owner", "ada"], 3, "there is no preset dev/none"),
        (["claim", "none", "--owner", "ada"], 2, "template/preset"),
        (["claim", "dev/small", "--owner", "prebuilds"], 2, "reserved owner"),
        (["claim", "dev/small", "--owner", "token:portal"], 2, "would be taken for that of a token"),
        (["pause", "--actor", "Token:portal"], 2, "would be taken for that of a token"),
        (["claim", "dev/small", "--owner", "a", "--timeout", "soon"], 2, "--timeout"),
        (["claim", "--template", "dev", "--param", "x", "--owner", "a"], 2, "NAME=VALUE"),
        (["claim", "dev/small"], 2, "--owner"),
        (["release", "nothing"], 3, "there is no workspace nothing"),
        (["logs", "nothing"], 3, "there is no build or workspace nothing"),
        (["builds", "--status", "bad"], 2, "unknown"),
        (["apply", "/nowhere/pools.yaml"], 2, "cannot be read"),
        (["decide", "/nowhere/case.json"], 2, "cannot be read"),
        (["reconcile"], 7, "did not answer"),
        (["explain", "dev/none"], 3, "there is no preset dev/none"),
        (["pause", "dev/none"], 3, "there is no preset dev/none"),
        (["pause", "--for", "ever"], 2, "--for: 'ever' is not a duration"),
        (["promote", "dev", "v9"], 3, "has no version v9"),
        (["extend", "nothing", "1h"], 3, "there is no workspace nothing"),
        (["forget", "nowhere"], 3, "there is no host nowhere"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_bad_input_is_one_sentence(
    cli: Any, database: Database, settings: Settings, arguments: list[str], code: int, words: str
) -> None:
    declare(database, settings, 1)
    text = cli(*arguments, expect=code)
    assert words in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["dev/small", "--owner", ""], 2, "the owner is empty"),
        (["dev/small", "--owner", "Prebuilds"], 2, "next: name the person who gets the workspace: --owner NAME"),
        (["dev/small", "--owner", "ada", "--name", "mine"], 5, "ada already has a workspace named mine"),
        (["dev/small", "--owner", "ada", "--name", "No Name"], 2, "'No Name' is not a valid workspace name"),
        (["dev/small", "--owner", "bob"], 5, "bob has 2 workspaces, the limit is 2"),
        (["dev/nothing", "--owner", "ada"], 3, "there is no preset dev/nothing"),
        (["dev/drained", "--owner", "ada"], 4, "the preset is no longer offered, and no prebuild of it is left"),
        (["--template", "dev", "--param", "REGION=mars", "--owner", "ada"], 3, "no preset of dev has these parameters"),
    ],
)
def test_what_a_claim_is_refused_for(
    cli: Any, database: Database, settings: Settings, arguments: list[str], code: int, words: str
) -> None:
    declare(
        database, settings, 4, extra="parameters: {REGION: eu}", organizations="[{name: default, max_per_owner: 2}]"
    )
    fill(database, settings)
    for owner, name in (("ada", "mine"), ("bob", ""), ("bob", "")):
        claim(database, ClaimRequest(owner, [PRESET], name=name))
    if "drained" in arguments[0]:
        fill(database, settings)
        with database.write() as connection:
            connection.execute(update(m.Preset).values(name="drained"))
            connection.execute(update(m.Template).values(deprecated=True))
        fill(database, settings, "dev/drained")
    text = cli("claim", *arguments, expect=code)
    assert words in text
    assert "Traceback" not in text


def test_a_broken_pools_file_exits_2_and_changes_nothing(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "pools.yaml"
    path.write_text(
        "schema: 1\ntemplates:\n  - name: t\n    config: {strat: x}\n    presets: [{name: a, desired: 1}]\n"
    )
    text = cli("apply", str(path), expect=2)
    assert f"{path}:4:" in text
    assert json.loads(cli("status", "--json")) == []


def test_passwords_are_masked(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("redis://:s3cret@127.0.0.1:1/0\n")
    monkeypatch.setenv("PREBUILD_DATABASE_URL", "postgresql://ada:s3cret@127.0.0.1:1/x")
    monkeypatch.delenv("PREBUILD_REDIS_URL")
    monkeypatch.setenv("PREBUILD_REDIS_URL_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("PREBUILD_FLOWER_BASIC_AUTH", "u:s3cret")
    shown = cli("config", "show") + cli("config", "show", "--json")
    assert "s3cret" not in shown
    assert "redis://:***@127.0.0.1:1/0" in shown
    assert "s3cret" not in cli("status", expect=7)


def test_decide_answers_one_case_and_a_list(cli: Any, tmp_path: Path) -> None:
    cases = json.loads((Path(__file__).parents[1] / "reconcile" / "rules" / "decision-cases.json").read_text())
    (tmp_path / "one.json").write_text(json.dumps(cases[0]))
    (tmp_path / "all.json").write_text(json.dumps(cases))
    assert json.loads(cli("decide", str(tmp_path / "one.json")))["id"] == cases[0]["id"]
    assert len(json.loads(cli("decide", str(tmp_path / "all.json")))) == len(cases)


def test_every_command_is_searched_for_secrets_or_named_among_the_others() -> None:
    assert set(COMMANDS) <= SEARCHED | OTHERS, "add it to tests/support/commands.py and tests/e2e/test_secrets.py"


def test_every_command_has_help_and_help_loads_none_of_them(cli: Any) -> None:
    for name in COMMANDS:
        assert "Usage" in cli(name, "--help")
    script = (
        "import sys; from prebuild_tasks.cli.main import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('sqlalchemy', 'celery', 'redis', 'pydantic')))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


@pytest.mark.timed
def test_a_claim_takes_less_than_100_ms(cli: Any, database: Database, settings: Settings) -> None:
    """From parsed arguments to the printed line, by the median of several.

    On a busy machine it may take as long as ten times a session that writes one row.
    """
    from prebuild_tasks.claims.session import ClaimSession
    from prebuild_tasks.cli.commands import claims
    from prebuild_tasks.clock import monotonic

    declare(database, settings, 9)
    fill(database, settings)
    took, floor = [], []
    for number in range(9):
        started = monotonic()
        smallest = Database(database.url)
        with smallest.write() as connection:
            connection.execute(update(m.Preset).values(desired=m.Preset.desired))
        smallest.close()
        floor.append(monotonic() - started)
        started = monotonic()
        session = ClaimSession(load_settings())
        claimed = session.claim(ClaimRequest(owner=f"o{number}", presets=["dev/small"]))
        claims.show_answer(claimed, as_json=True)
        took.append(monotonic() - started)
        session.close()
    assert sorted(took)[4] < max(0.1, 10 * sorted(floor)[4])


def test_explain_ends_in_the_command_that_fixes_it(cli: Any, database: Database, settings: Settings) -> None:
    """Also if only the database is running."""
    declare(database, settings, 2)
    text = cli("explain", "dev/small")
    assert text.startswith("dev/small: 0 of 2 eligible: no worker\n")
    assert "> processes  no worker consumes prebuild.events, prebuild.reconcile and prebuild.default" in text
    assert "  turn       Redis did not answer" in text
    next_step = text[text.index("next:") :]
    assert "celery -A prebuild_tasks worker -n worker@%h -c 2 -Q prebuild.events," in next_step
    commands = json.loads(cli("explain", "dev/small", "--json"))["commands"]
    assert commands[-1]["command"].startswith("celery -A prebuild_tasks worker -n worker@%h -c 2")


def test_explain_and_plan_tell_no_password(
    cli: Any, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    declare(database, settings, 1)
    pools = tmp_path / "pools.yaml"
    pools.write_text(
        "schema: 1\ntemplates:\n  - name: other\n    config: {start: 'true'}\n"
        "    presets: [{name: a, desired: 1, parameters: {TOKEN: {from_env: GIT_TOKEN}}}]\n"
    )
    monkeypatch.setenv("GIT_TOKEN", "s3cret")
    monkeypatch.setenv("PREBUILD_REDIS_URL", "redis://:s3cret@127.0.0.1:1/0")
    shown = [cli("explain", "dev/small", *more) + cli("plan", str(pools), *more) for more in ([], ["--json"])]
    assert "s3cret" not in "".join(shown)
    monkeypatch.setenv("PREBUILD_REDIS_URL", "http://:s3cret@127.0.0.1:1/0")
    assert "s3cret" not in cli("explain", "dev/small", expect=2)


def test_status_loads_only_the_database(cli: Any, database: Database, settings: Settings) -> None:
    """It used six times the CPU of a psycopg script: it loaded the workers' modules, kombu, a YAML reader and more."""
    declare(database, settings, 2)
    slow = ("kombu", "redis", "celery", "structlog", "yaml", "alembic", "coolname", "rich", "httpx")
    slow += ("prebuild_tasks.upkeep.strays.unlisted", "prebuild_tasks.upkeep.probes", "prebuild_tasks.remote.session")
    script = (
        "import sys; from prebuild_tasks.cli.main import main; code = main(['status']);"
        f"print(code, *[name for name in {slow} if name in sys.modules])"
    )
    environ = {**os.environ, "PREBUILD_DATABASE_URL": database.url}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environ)
    assert done.stdout.splitlines()[-1] == "0"
    assert "dev/small" in done.stdout
