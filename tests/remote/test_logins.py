"""Where the HTTP API is and which token it gets, and who may read that."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from prebuild_tasks.errors import InputError
from prebuild_tasks.remote.logins import Login, login_to, read_login, write_login

URL, TOKEN = "https://prebuilds.example", "pbt_abc"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert read_login(home) is None
    path = write_login(home, Login(URL, TOKEN))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_login(home) == Login(URL, TOKEN)
    other = {"PREBUILD_API_URL": "https://other.example/", "PREBUILD_API_TOKEN": "pbt_x"}
    assert read_login({**home, **other}) == Login("https://other.example", "pbt_x")


def test_a_login_gives_way_to_a_database_that_is_named_or_is_here(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    write_login(home, Login(URL, TOKEN))
    for variable in ("PREBUILD_DATABASE_URL", "DATABASE_URL", "PREBUILD_DATABASE_URL_FILE", "PREBUILD_DATA_DIR"):
        assert read_login({**home, variable: "x"}) is None
    (tmp_path / ".prebuild").mkdir()
    assert read_login(home) is None


def test_a_file_that_others_could_read_is_replaced_by_one_that_they_cannot(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    path = write_login(home, Login(URL, "pbt_old"))
    path.chmod(0o644)
    write_login(home, Login(URL, TOKEN))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_token_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    named = {"PREBUILD_API_URL": URL, "PREBUILD_API_TOKEN_FILE": str(tmp_path / "token")}
    assert read_login(named) == Login(URL, TOKEN)
    with pytest.raises(InputError, match="cannot be read"):
        read_login({**named, "PREBUILD_API_TOKEN_FILE": "/none"})


@pytest.mark.parametrize(
    ("url", "token", "refused"),
    [
        (URL, TOKEN, ""),
        ("http://127.0.0.1:8300", TOKEN, ""),
        ("http://localhost:8300/", TOKEN, ""),
        ("http://prebuilds.example", TOKEN, "not encrypted"),
        ("ftp://prebuilds.example", TOKEN, "not the address"),
        ("https://", TOKEN, "not the address"),
        ("https://a.example:x", TOKEN, "not the address"),
        ("https://user@a.example", TOKEN, "not the address"),
        ("https://a.example?x=1", TOKEN, "not the address"),
        (URL, "", "no usable token"),
        (URL, "a b", "no usable token"),
        (URL, "a\nb", "no usable token"),
    ],
)
def test_what_is_refused(url: str, token: str, refused: str) -> None:
    if not refused:
        assert login_to(url, token)
        return
    with pytest.raises(InputError, match=refused):
        login_to(url, token)


def test_a_broken_file_says_how_to_write_it_anew(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    write_login(home, Login(URL, TOKEN)).write_text("[]")
    with pytest.raises(InputError, match="does not hold a login"):
        read_login(home)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    write_login(home, Login(URL, TOKEN)).chmod(0o644)
    with pytest.raises(InputError, match="others can read the token"):
        read_login(home)


def test_a_user_without_a_home_is_not_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert read_login({}) is None


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(Login(URL, TOKEN))


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(InputError) as raised:
        login_to("https://ada:hunter2@door.example", "pbt_x")
    assert "hunter2" not in str(raised.value)
