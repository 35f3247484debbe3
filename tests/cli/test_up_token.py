"""The file of `prebuild up` holds an admin token that works, and nobody else's token is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from prebuild_tasks.access.authenticator import Authenticator
from prebuild_tasks.access.tokens import create_token, list_tokens, revoke_token, rotate_token
from prebuild_tasks.access.types import NewTokenRequest, Scope, TokenState
from prebuild_tasks.cli.up.token import keep_token, name_for
from prebuild_tasks.db.engine import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def keep(database: Database, directory: Path) -> str:
    """Keep the token of a data directory, check it, and return it."""
    path = keep_token(database, directory, "ada")
    text = path.read_text().strip()
    principal = Authenticator(database).authenticate(text)
    assert (principal.scope, principal.reach.is_everything) == (Scope.ADMIN, True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in directory.iterdir()] == ["admin.token"]
    return text


def usable(database: Database) -> list[str]:
    return [token.name for token in list_tokens(database) if token.state is TokenState.USABLE]


def test_it_is_made_once(database: Database, data_dir: Path) -> None:
    assert keep(database, data_dir) == keep(database, data_dir)
    assert usable(database) == [name_for(data_dir)]


def test_a_file_that_others_can_read_is_closed_to_them(database: Database, data_dir: Path) -> None:
    text = keep(database, data_dir)
    (data_dir / "admin.token").chmod(0o644)
    assert keep(database, data_dir) == text


@pytest.mark.parametrize("how", ["rotated", "revoked", "replaced", "lost", "cut off"])
def test_a_token_that_is_dead_or_not_an_admins_is_replaced(database: Database, data_dir: Path, how: str) -> None:
    text, path, name = keep(database, data_dir), data_dir / "admin.token", name_for(data_dir)
    match how:
        case "rotated":
            rotate_token(database, name, 0, actor="ada")
        case "revoked":
            revoke_token(database, name, actor="ada")
        case "replaced":
            reader = NewTokenRequest(name="reader", scope=Scope.READ)
            path.write_text(create_token(database, reader, actor="ada").text)
        case "lost":
            path.unlink()
        case "cut off":
            path.write_text(text[:20])
            (data_dir / "admin.new").write_text("of a start that was killed")
    assert keep(database, data_dir) != text
    assert usable(database).count(name) == 1


def test_data_directories_beside_one_database_leave_each_others_token(database: Database, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    texts = [keep(database, one), keep(database, two)]
    assert [keep(database, one), keep(database, two)] == texts


def test_somebody_elses_token_of_the_name_is_left(database: Database, data_dir: Path) -> None:
    request = NewTokenRequest(name=name_for(data_dir), scope=Scope.READ)
    theirs = create_token(database, request, actor="bob").text
    keep(database, data_dir)
    assert Authenticator(database).authenticate(theirs).scope is Scope.READ
