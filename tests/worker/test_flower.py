"""Flower starts with a password and on a free port, or prints the problem."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from prebuild_tasks.worker.flower import TASKS_COLUMNS, require_flower_password, show_pools_and_results
from tests.support.fork_server import COMMANDS, shared
from tests.support.service import ROOT
from tests.support.wait import wait_until

FLOWER = ["-A", "prebuild_tasks", "flower", "--port=5555"]


def test_without_a_password_it_does_not_start() -> None:
    celery = str(Path(sys.executable).with_name("celery"))
    done = subprocess.run([celery, *FLOWER], capture_output=True, text=True, check=False, timeout=60, env={})
    assert done.returncode == 2
    assert done.stderr == "Flower has no password\n  next: set FLOWER_BASIC_AUTH=user:password\n"


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (FLOWER, {"FLOWER_BASIC_AUTH": "user:password"}),
        ([*FLOWER, "--basic-auth=user:password"], {}),
        ([*FLOWER, "--auth=.*@example.com", "--auth-provider=flower.views.auth.GoogleAuth2LoginHandler"], {}),
        (["-A", "prebuild_tasks", "worker"], {}),
        (FLOWER, {"FLOWER_basic_auth": "user:password"}),
        (FLOWER, {"FLOWER_basic_auth": "", "FLOWER_BASIC_AUTH": "user:password"}),
    ],
)
def test_with_one_it_does(arguments: list[str], environ: dict[str, str]) -> None:
    before = dict(environ)
    require_flower_password(arguments, environ)
    assert environ == before


def test_its_list_of_tasks_shows_pools_and_results() -> None:
    environ: dict[str, str] = {}
    show_pools_and_results(environ)
    assert environ == {"FLOWER_TASKS_COLUMNS": TASKS_COLUMNS}
    assert {"args", "result"} <= set(TASKS_COLUMNS.split(","))
    assert f"FLOWER_TASKS_COLUMNS:-{TASKS_COLUMNS}}}" in (ROOT / "docker-compose.yml").read_text()


@pytest.mark.parametrize("variable", ["FLOWER_TASKS_COLUMNS", "FLOWER_tasks_columns"])
def test_columns_of_ones_own_are_left(variable: str) -> None:
    environ = {variable: "name,uuid"}
    show_pools_and_results(environ)
    assert environ == {variable: "name,uuid"}


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {"FLOWER_BASIC_AUTH": "user:password"}
        done = shared(COMMANDS).run(["-A", "prebuild_tasks", "flower", f"--port={port}"], environment, tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"Flower's port {port} is in use\n  next: choose another with --port=N\n"


def test_a_password_of_our_settings_is_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable, value in (("FLOWER_BASIC_AUTH", "a:b"), ("FLOWER_BASIC_AUTH_FILE", str(tmp_path / "password"))):
        (tmp_path / "password").write_text("a:b\n")
        with monkeypatch.context() as patch:
            patch.setenv(f"PREBUILD_{variable}", value)
            environ: dict[str, str] = {}
            require_flower_password(FLOWER, environ)
        assert environ == {"FLOWER_BASIC_AUTH": "a:b"}


@pytest.mark.parametrize("option", ["--basic-auth=", "--basic_auth=", "--auth=", "--auth-provider=some.Handler"])
def test_an_option_that_leaves_it_open_is_not_a_password(option: str) -> None:
    with pytest.raises(SystemExit) as ended:
        require_flower_password([*FLOWER, option], {})
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--", "debug", "--basic-auth=user:secret", "--help"],
        ["--basic-auth", "user:secret"],
        ["-", "--basic-auth=user:secret"],
        ["--port=many", "--basic-auth=user:secret"],
    ],
    ids=" ".join,
)
def test_options_that_flower_would_not_read_end_it(options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        require_flower_password([*FLOWER, *options], {"FLOWER_BASIC_AUTH": "user:secret"})
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("file", "options", "open_to_everyone"),
    [
        ("basic_auth = ['user:secret']", [], False),
        ("basic_auth = 'user:secret'", [], False),
        ("auth = 'someone@example.com'", [], False),
        ("max_tasks = 10", ["-basic_auth=user:secret"], False),
        ("basic_auth = []", ["--basic-auth=user:secret"], False),
        ("max_tasks = 10", [], True),
        ("basic_auth = []", ["--auth="], True),
        ("basic_auth = ['user:secret']", ["--basic-auth="], True),
        ("basic_auth = 1", [], True),
        ("1 / 0", [], True),
        (None, [], True),
    ],
)
@pytest.mark.parametrize("named", ["option", "variable", "lower-case variable", "default"])
def test_the_configuration_file_counts(  # the fixtures are two of them
    file: str | None,
    options: list[str],
    open_to_everyone: bool,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "flowerconfig.py" if named == "default" else "other.py"
    if file is not None:
        (tmp_path / name).write_text(file)
    environ = {"variable": {"FLOWER_CONF": name}, "lower-case variable": {"FLOWER_conf": name}}.get(named, {})
    options = [f"--conf={name}", *options] if named == "option" else options
    if open_to_everyone:
        with pytest.raises(SystemExit) as ended:
            require_flower_password([*FLOWER, *options], environ)
        assert ended.value.code == 2
    else:
        require_flower_password([*FLOWER, *options], environ)


def test_a_configuration_file_wins_over_the_environment(tmp_path: Path) -> None:
    (tmp_path / "open.py").write_text("basic_auth = []")
    with pytest.raises(SystemExit):
        require_flower_password([*FLOWER, f"--conf={tmp_path / 'open.py'}"], {"FLOWER_BASIC_AUTH": "user:password"})


def test_an_empty_option_wins_over_the_environment_and_is_refused() -> None:
    with pytest.raises(SystemExit):
        require_flower_password([*FLOWER, "--basic-auth="], {"FLOWER_BASIC_AUTH": "user:password"})


@pytest.mark.parametrize("last", ["FLOWER_basic_auth", "FLOWER_Basic_Auth"])
def test_the_last_of_two_variables_wins_as_in_flower(last: str) -> None:
    with pytest.raises(SystemExit):
        require_flower_password(FLOWER, {"FLOWER_BASIC_AUTH": "user:password", last: ""})


def test_a_password_of_our_settings_wins_over_an_empty_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREBUILD_FLOWER_BASIC_AUTH", "a:b")
    environ = {"FLOWER_basic_auth": ""}
    require_flower_password(FLOWER, environ)
    assert list(environ.items()) == [("FLOWER_basic_auth", ""), ("FLOWER_BASIC_AUTH", "a:b")]


def test_help_needs_no_password(tmp_path: Path) -> None:
    done = shared(COMMANDS).run(["-A", "prebuild_tasks", "flower", "--help"], {}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: celery flower")


def test_a_word_that_is_not_an_option_is_named(tmp_path: Path) -> None:
    line = ["-A", "prebuild_tasks", "flower", "debug", "--basic-auth=user:secret"]
    done = shared(COMMANDS).run(line, {}, tmp_path)
    assert done.returncode == 2
    assert done.stderr == "Flower takes only options, not 'debug'\n  next: write each as --name=value\n"


def test_a_word_of_the_celery_command_is_not_a_password() -> None:
    with pytest.raises(SystemExit) as ended:
        require_flower_password(["--workdir", "basic_auth=user:password", *FLOWER], {})
    assert ended.value.code == 2


@pytest.mark.servers
@pytest.mark.parametrize(
    ("given", "options", "listens"),
    [
        ("variable", [], True),
        ("setting", [], True),
        ("file", [], True),
        ("lower-case variable", [], True),
        ("lower-case file", [], False),
        ("nothing", ["--basic-auth=user:secret"], True),
        ("nothing", ["--conf=open.py", "--basic-auth=user:secret"], True),
        ("nothing", [], False),
        ("nothing", ["basic_auth=user:secret"], False),
        ("nothing", ["debug", "--basic-auth=user:secret"], False),
        ("nothing", ["port=58999", "--basic-auth=user:secret"], False),
        ("nothing", ["--", "--basic-auth=user:secret"], False),
        ("variable", ["--conf=open.py"], False),
    ],
    ids=lambda value: value if isinstance(value, str) else "_".join(value) if isinstance(value, list) else None,
)
def test_it_listens_with_a_password_only(
    given: str, options: list[str], listens: bool, redis_url: str, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "password").write_text("user:secret\n")
    (tmp_path / "open.py").write_text("basic_auth = []\n")
    environment = {
        "variable": {"FLOWER_BASIC_AUTH": "user:secret"},
        "lower-case variable": {"FLOWER_basic_auth": "user:secret"},
        "lower-case file": {"FLOWER_BASIC_AUTH": "user:secret", "FLOWER_conf": "open.py"},
        "setting": {"PREBUILD_FLOWER_BASIC_AUTH": "user:secret"},
        "file": {"PREBUILD_FLOWER_BASIC_AUTH_FILE": str(tmp_path / "password")},
    }.get(given, {})
    line = ["-A", "prebuild_tasks", "flower", "--address=127.0.0.1", f"--port={port}", *options]
    with (tmp_path / "output").open("w") as output:
        process = shared(COMMANDS).fork(
            line, (output.fileno(), output.fileno()), {"PREBUILD_REDIS_URL": redis_url, **environment}, tmp_path
        )

    def status(auth: str = "") -> int:
        """Return the status of Flower's response; 0 while nothing listens."""
        headers = {"Authorization": "Basic " + base64.b64encode(auth.encode()).decode()} if auth else {}
        try:
            with urlopen(Request(f"http://127.0.0.1:{port}/workers", headers=headers), timeout=5) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    answers = set()
    try:
        wait_until(lambda: process.poll() is not None or answers.add(status()) or answers != {0}, timeout=60)
        if listens:
            assert (answers - {0}, status("user:secret")) == ({401}, 200)
        else:
            assert (process.wait(60), answers - {0}) == (2, set())
    finally:
        process.kill()
        process.wait()
