"""The command `token`: what it prints, refuses and tells to do next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from prebuild_tasks.access.authenticator import Authenticator
from prebuild_tasks.access.rules import is_token
from prebuild_tasks.access.types import Reach
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.cli import output
from prebuild_tasks.cli.main import main
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import TokenRevokedError
from prebuild_tasks.model.actors import Actor, ActorKind
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill

NEW_KEYS = ["token", "id", "name", "scope", "organization", "presets", "owner", "any_owner", "expires_at"]
LISTED_KEYS = [*NEW_KEYS[1:], "created_at", "created_by", "last_used_at", "revoked_at", "state"]


def test_stdout_is_the_token_alone(
    cli: Any, database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    made = cli("token", "create", "portal", "--scope", "claim", "--any-owner", "--expires", "90d")
    assert made.endswith("\n")
    assert is_token(made[:-1])
    assert Authenticator(database).authenticate(made[:-1]).name == "portal"
    assert is_token(cli("token", "rotate", "portal")[:-1])
    declare(database, settings, 1)
    assert main(["token", "create", "ci", "--scope", "read", "--preset", "dev/small", "--preset", "dev/none"]) == 0
    captured = capsys.readouterr()
    assert is_token(captured.out[:-1])
    assert captured.err == "warning: there is no pool dev/none yet\n"


def test_the_json_of_a_new_token(cli: Any, database: Database) -> None:
    wide = json.loads(cli("token", "create", "root", "--scope", "admin", "--json"))
    assert list(wide) == NEW_KEYS
    assert is_token(wide.pop("token"))
    assert wide == {
        "id": wide["id"], "name": "root", "scope": "admin", "organization": None, "presets": [], "owner": None,
        "any_owner": False, "expires_at": None,
    }  # fmt: skip
    narrow = json.loads(
        cli(
            "token", "create", "ci", "--scope", "claim", "--organization", "acme", "--preset", "dev/small", "--owner",
            "ada", "--expires", "1d", "--json",
        )
    )  # fmt: skip
    assert narrow["expires_at"].endswith("+00:00")
    kept = [narrow[key] for key in ("organization", "presets", "owner", "any_owner")]
    assert kept == ["acme", ["dev/small"], "ada", False]
    rotated = json.loads(cli("token", "rotate", "ci", "--json"))
    assert list(rotated) == NEW_KEYS
    assert [rotated[key] for key in NEW_KEYS[2:-1]] == [narrow[key] for key in NEW_KEYS[2:-1]]
    assert all(list(row) == LISTED_KEYS for row in json.loads(cli("token", "list", "--json")))
    assert json.loads(cli("token", "revoke", "ci", "--json")) == {"name": "ci", "changed": True}
    assert json.loads(cli("token", "revoke", "ci", "--json")) == {"name": "ci", "changed": False}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "code", "message", "step"),
    [
        (["create", "x", "--scope", "claim"], 2, "must say for whom it may claim", "add --owner NAME or --any-owner"),
        (
            ["create", "x", "--scope", "claim", "--owner", "a", "--any-owner"],
            2,
            "not for both",
            "leave one of them out",
        ),
        (["create", "x", "--scope", "boss"], 2, "'boss' is not one of", ""),
        (["create", "x"], 2, "--scope", ""),
        (["create", "reconciler", "--scope", "read"], 2, "reconciler is a reserved name", "choose another name"),
        (["create", "prebuilds", "--scope", "read"], 2, "prebuilds is a reserved name", "choose another name"),
        (["create", "system", "--scope", "read"], 2, "system is a reserved name", "choose another name"),
        (["create", "X", "--scope", "read"], 2, "'X' is not a valid token name", "use 1 to 63"),
        (["create", "x", "--scope", "read", "--expires", "soon"], 2, "--expires: 'soon' is not a duration", ""),
        (["create", "x", "--scope", "read", "--expires", "0"], 2, "cannot expire after 0 s", ""),
        (["create", "x", "--scope", "read", "--preset", "dev/small@v1"], 2, "one version", "write dev/small"),
        (["create", "taken", "--scope", "read"], 5, "there is a token taken already", "prebuild token rotate taken"),
        (["rotate", "none"], 3, "there is no usable token none", "see: prebuild token list"),
        (["rotate", "taken", "--overlap", "x"], 2, "--overlap: 'x' is not a duration", ""),
        (["revoke", "none"], 3, "there is no token none", "see: prebuild token list"),
    ],
)
def test_refusals(cli: Any, arguments: list[str], code: int, message: str, step: str) -> None:
    cli("token", "create", "taken", "--scope", "read")
    told = " ".join(cli("token", *arguments, expect=code).split())
    assert message in told
    assert step in told
    assert [row["name"] for row in json.loads(cli("token", "list", "--json", "--all"))] == ["taken"]


def test_a_list_fits_a_narrow_terminal(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("token", "list") == "no tokens; create one: prebuild token create NAME --scope SCOPE\n"
    cli("token", "create", "portal", "--scope", "claim", "--any-owner", "--actor", "grace")
    cli(
        "token", "create", "ci-of-the-platform-team", "--scope", "operate", "--organization", "acme",
        "--preset", "python-dev/postgres", "--preset", "python-dev/small", "--owner", "ada", "--actor", "grace",
    )  # fmt: skip
    cli("token", "create", "gone", "--scope", "read", "--actor", "grace")
    cli("token", "revoke", "gone")
    monkeypatch.setattr(output, "screen_width", lambda: 80)
    assert cli("token", "list").splitlines() == [
        "NAME                     SCOPE    OWNER  ORGANIZATION  EXPIRES (UTC)  LAST USED",
        "ci-of-the-platform-team  operate  ada    acme          never          never",
        "  presets: python-dev/postgres, python-dev/small",
        "portal                   claim    any                  never          never",
        "(1 token that ended; more with --all)",
    ]
    assert "revoked" in cli("token", "list", "--all")


def test_a_revoked_token(cli: Any, database: Database) -> None:
    made = cli("token", "create", "ci", "--scope", "read")[:-1]
    assert cli("token", "revoke", "ci") == "ci is revoked\n"
    assert cli("token", "revoke", "ci") == "ci was revoked already\n"
    with pytest.raises(TokenRevokedError):
        Authenticator(database).authenticate(made)


def test_the_history_tells_who_changed_a_token(cli: Any) -> None:
    for arguments in (["create", "ci", "--scope", "read"], ["rotate", "ci"], ["revoke", "ci"]):
        cli("token", *arguments, "--actor", "grace")
    rows = [line.split()[2:] for line in cli("history").splitlines()[1:]]
    assert rows == [["grace", f"token_{what}", "ci"] for what in ("revoked", "rotated", "created")]
    assert "pbt_" not in cli("history", "--json")


def test_the_history_tells_on_whose_behalf_a_token_acted(cli: Any, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET], name="one"))
    end_workspace(database, "ada/one", actor=Actor(ActorKind.TOKEN, "portal", "ada"), reach=Reach(owner="ada"))
    [released] = [line.split() for line in cli("history", "ada/one").splitlines() if " released " in line]
    assert released[2:7] == ["token:portal", "for", "ada", "released", "one"]
    [event] = [row for row in json.loads(cli("history", "ada/one", "--json")) if row["event"] == "released"]
    assert event["actor"] == "token:portal"
    assert (event["actor_kind"], event["actor_name"], event["actor_subject"]) == ("token", "portal", "ada")
    assert {row["actor_kind"] for row in json.loads(cli("history", "--json")) if row["event"] == "applied"} == {"local"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_without_tokens_is_told_to_be_upgraded(cli: Any, database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0011'"))
    told = cli("token", "list", expect=2)
    assert "is at schema 0011, but this release needs" in told
    assert "run: prebuild db upgrade" in told
