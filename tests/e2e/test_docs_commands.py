"""Run the commands of README.md, docs/getting-started.md and docs/adopting.md in order against one service.

Each must print every plain word that the page shows as its output, and a claim or an explanation no others. Names,
paths and numbers may differ.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from prebuild_tasks.cli.main import COMMANDS, load_command, main
from tests.support.http import free_port
from tests.support.pages import anchors, blocks, commands
from tests.support.service import BIN, ROOT, Service
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

README = (ROOT / "README.md").read_text()
GETTING_STARTED = (ROOT / "docs" / "getting-started.md").read_text()
ADOPTING = (ROOT / "docs" / "adopting.md").read_text()
PYTHON_API = (ROOT / "docs" / "python-api.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

ELSEWHERE = {
    "git clone": "how this checkout came to be",
    "make install": "how this environment came to be",
    "make test": "this very run",
    "make up": "prebuild up, with the example pools",
    "export PATH": "set for the service",
    "honcho start": "tests/e2e/test_procfile.py",
    "FLOWER_BASIC_AUTH": "tests/worker/test_flower.py",
    "prebuild up --flower": "tests/e2e/test_up.py",
}
"""Beginnings of commands that this test does not run, with the reason."""
CHANGES = ("apply", "claim", "extend", "release")
"""Commands to run once. Reading commands are repeated until they print what the page shows."""


def words(output: str) -> set[str]:
    """Return the words that are the same in every run: no names, paths, times or versions; plurals as singulars."""
    plain = (re.sub(r"^\W+|\W+$", "", token) for token in output.split())
    return {word.removesuffix("s") for word in plain if re.fullmatch(r"[A-Za-z_]{4,}|[a-z-]+/[a-z]+", word)}


def differences(line: str, output: str, said: str) -> set[str]:
    """Return the words that a sample has and its command does not print; both ways if the page shows all of it."""
    sample, printed = words(output), words(said)
    shows_all = output and "{" not in output and line.split()[1:2] in (["claim"], ["explain"])
    return sample ^ printed if shows_all else sample - printed


def labels(output: str) -> set[str]:
    """Return the labels that begin the lines of `up`."""
    return set(re.findall(r"^(\w+)  ", output, re.MULTILINE))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run `prebuild up --file site.yaml` as in getting-started, with quickly built pools of the README's names."""
    place = tmp_path_factory.mktemp("docs")
    service = Service(place / ".prebuild", LOGNAME="sam", PREBUILD_SERVE_PORT=str(free_port()))
    pools = yaml.safe_load((ROOT / "examples" / "pools.yaml").read_text())
    pools["templates"][0]["config"] = {"start": "true", "claim": "true"}
    (place / "pools.yaml").write_text(yaml.safe_dump(pools))
    (place / "site.yaml").write_text(blocks(GETTING_STARTED, "yaml")[0])
    [(up, _)] = [item for item in commands(GETTING_STARTED) if item[0].startswith("prebuild up --file")]
    service.start(*shlex.split(up)[1:])
    try:
        wait_until(lambda: "In a second terminal" in service.output(), timeout=60, what="a service")
        service.run("apply", "pools.yaml")
        service.wait_full()
        yield service
    finally:
        if service.processes and service.processes[0].poll() is None:
            service.interrupt(service.processes[0])
        service.kill()


@pytest.fixture
def shell(service: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[int, str]]:
    """Run a line in the service's directory: `prebuild` in this process, for speed, everything else in a shell."""
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(service.data_dir.parent)

    def run(line: str) -> tuple[int, str]:
        said = ""
        line = line.replace(":8300", f":{service.environment['PREBUILD_SERVE_PORT']}")
        for part in line.split(" && "):
            if part.startswith("prebuild "):
                out, err = io.StringIO(), io.StringIO()
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    code = main(shlex.split(part)[1:])
                said += out.getvalue() + err.getvalue()
            else:
                done = subprocess.run(["sh", "-c", part], capture_output=True, text=True, timeout=60, check=False)
                code, said = done.returncode, said + done.stdout + done.stderr
            if code:
                break
        return code, said

    return run


def follow(page: str, shell: Callable[[str], tuple[int, str]], service: Service) -> list[str]:
    """Run the page's commands, and return the beginnings of those in `ELSEWHERE`."""
    left = []
    for line, output in commands(page):
        if line.startswith("prebuild up --file"):
            _until_up_says(output, service)
        elif reason := next((begin for begin in ELSEWHERE if line.startswith(begin)), None):
            left.append(reason)
        elif line.split()[1:2] and line.split()[1] in CHANGES:
            code, said = shell(line)
            assert code == 0, f"{line}: {said}"
            assert not differences(line, output, said), f"{line}: {differences(line, output, said)}, {said}"
        else:
            _until_it_says(line, output, shell)
    return left


def _until_up_says(output: str, service: Service) -> None:
    wait_until(lambda: labels(output) <= labels(service.output()), timeout=60, what="the lines of up")


def _until_it_says(line: str, output: str, shell: Callable[[str], tuple[int, str]]) -> None:
    code, said = 0, ""

    def agrees() -> bool:
        nonlocal code, said
        code, said = shell(line)
        return code == 0 and not differences(line, output, said)

    try:
        wait_until(agrees, timeout=60, what=line, pause=0.3)
    except AssertionError:
        wrong = differences(line, output, said)
        raise AssertionError(f"{line} exits {code}, differs by {wrong}: {said}") from None


@pytest.mark.deploys
def test_the_commands_of_getting_started(service: Service, shell: Callable[[str], tuple[int, str]]) -> None:
    left = follow(GETTING_STARTED, shell, service)
    assert left == ["git clone", "make install", "export PATH", "prebuild up --flower"]


@pytest.mark.thorough
def test_the_commands_of_the_readme(service: Service, shell: Callable[[str], tuple[int, str]]) -> None:
    left = follow(README, shell, service)
    assert left == ["make up", "make test", "make up", "export PATH", "FLOWER_BASIC_AUTH", "honcho start"]
    [output] = [text for line, text in commands(README) if line == "make up" and text]
    assert labels(output) == {"redis", "database", "pools", "webhooks", "page", "api", "logs", "full"}
    _until_up_says(output, service)


@pytest.mark.thorough
def test_the_portals_recipe(service: Service, shell: Callable[[str], tuple[int, str]]) -> None:
    [recipe] = blocks(ADOPTING, "python")
    portal: dict[str, Any] = {}
    exec(compile(recipe, "adopting.md", "exec"), portal)
    try:
        _, answer = wait_until(
            lambda: [found for found in [portal["open_workspace"]("eve", "python-dev/small", "r1")] if found[0] == 200],
            timeout=60,
            what="a workspace",
        )[0]
        assert answer["owner"] == "eve"
        assert portal["open_workspace"]("eve", "python-dev/small", "r1")[1]["workspace"] == answer["workspace"]
        assert service.workspaces("eve")
        portal["close_workspace"]("eve", answer["workspace"])
        wait_until(lambda: not service.workspaces("eve"), timeout=60, what="it is gone")
        assert portal["open_workspace"]("eve", "python-dev/small", "r1")[0] == 410
    finally:
        portal["client"].close()


@pytest.mark.thorough
def test_the_example_of_the_python_api(service: Service, shell: Callable[[str], tuple[int, str]]) -> None:
    """Run the page's example with this service's URLs."""
    [example] = blocks(PYTHON_API, "python")
    urls = '"postgresql://…", redis_url="redis://…"'
    assert urls in example
    ready = {"preset": "python-dev/small", "state": "ready"}
    wait_until(
        lambda: any(ready.items() <= row.items() for row in service.workspaces("prebuilds")),
        timeout=60,
        what="a prebuild",
    )
    exec(compile(example.replace(urls, ""), "python-api.md", "exec"), {})
    wait_until(lambda: not service.workspaces("alan"), timeout=60, what="it is gone")


def test_every_exception_is_needed() -> None:
    lines = [line for page in (README, GETTING_STARTED) for line, _ in commands(page)]
    assert all(any(line.startswith(begin) for line in lines) for begin in ELSEWHERE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", page.read_text())
    assert [file for file in named if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_and_option_exists(page: Path) -> None:
    """Check commands in text and tables, too, of which the tests above run only some."""
    for line in re.findall(r"prebuild ([a-z]+\b[^`\n#|]*)", "\n".join(code(page.read_text()))):
        name, *rest = line.split()
        assert name in COMMANDS, line
        known = set(re.findall(r"--[a-z-]+", help_of(name)))
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, line


def code(page: str) -> list[str]:
    """Return the commands in a page, from its console blocks and between backticks."""
    lines = [line for line, _ in commands(page)]
    text = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    return [line for line in lines + re.findall(r"`([^`]+)`", text) if line.startswith("prebuild ")]


@cache
def help_of(name: str) -> str:
    """Return the help of a command and of its subcommands."""
    command = load_command(name)
    context = command.make_context(name, [], resilient_parsing=True)
    parts = getattr(command, "commands", {}).values()
    return "\n".join([command.get_help(context), *(part.get_help(context) for part in parts)])


def test_the_words_that_are_compared() -> None:
    line = (
        "mine  site/small  http://127.0.0.1:24122  .prebuild/x/a1 (being personalised) 11:51:43 auto-7e69 wise-elk-1a2b"
    )
    assert words(line) == {"mine", "site/small", "being", "personalised"}
    assert differences("prebuild claim x", line, f"{line} warmly") == {"warmly"}
    assert differences("prebuild claim x", "", line) == differences("prebuild history", line, f"{line} warmly") == set()
    assert commands("```console\n$ a b    # why\nout\n$ c 'd e'\n```\n") == [("a b", "out\n"), ("c 'd e'", "")]
    assert os.access(BIN / "prebuild", os.X_OK)
