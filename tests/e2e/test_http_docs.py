"""Run every request of docs/http.md in order against a served process: each must get the answer that the page shows.

Ids differ from run to run, so those of the page stand for the ids of the answers.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from prebuild_tasks.web.api.app import OPERATIONS
from prebuild_tasks.web.api.docs_page import problem_codes
from prebuild_tasks.web.api.problems import fragment_of
from tests.support.answers import ids_in, read_answer, wrong
from tests.support.http import free_port
from tests.support.pages import anchors, commands
from tests.support.service import ROOT, Service
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(400)]

PAGE = (ROOT / "docs/http.md").read_text()
PORT = "8300"
"""The port in the page's commands."""
POOLS = """
schema: 1
templates:
  - name: python-dev
    config:
      start: test "$SIZE" = small || sleep 2; echo ready
      serve: exec python3 -m http.server --bind "$PREBUILD_WORKSPACE_BIND" "$PORT"
    presets:
      - {name: small, desired: 2, claimed_ttl: 8h, parameters: {SIZE: small}}
      - {name: large, desired: 0, parameters: {SIZE: large}}
"""
ELSEWHERE = {
    "pip install": "how this environment came to be",
    "prebuild serve": "tests/e2e/test_serve.py",
    "prebuild login": "tests/remote/test_logins.py",
    "prebuild claim": "tests/cli/test_afar.py",
}
"""Beginnings of commands that this test does not run, with the test that does."""
# Tells which requests were made, beside what the commands of the page print.
CURLRC = 'write-out = "%{stderr}%{method} %{url_effective} %{http_code}\\n"\nnoproxy = "*"\n'
_REQUEST = re.compile(r"^(\w+) (http://\S+) (\d{3})$", re.MULTILINE)


class Reader:
    """Follows the page in one directory, as a person with a shell does."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._exports: list[str] = []
        self._ids: dict[str, str] = {}
        self.requests: list[tuple[str, str, int]] = []
        """Method, path and status of each request."""

    def follow(self, command: str, output: str) -> None:
        """Run a command. One that changes nothing, or is answered `busy`, is repeated until it is the page's."""
        if command.startswith("export "):
            self._exports.append(self._of_this_run(command))
            return
        if "-X DELETE" in command and "/v1/claims/" in command:  # what has not begun would be canceled, not built
            wait_until(lambda: self._service.json("builds", "--status", "running"), timeout=30, what="the build")
        reads = "curl" in command and not re.search(r" -d | -X ", command)
        said, differences = "", list[str]()

        def is_answered() -> bool:
            nonlocal said, differences
            said = self._run(command)
            differences = list(wrong(read_answer(output), read_answer(said))) if output else []
            return not differences or not (reads or '"code":"busy"' in said)

        with suppress(AssertionError):
            wait_until(is_answered, timeout=30, what=command, pause=0.3)
        assert not differences, f"{command}\ndiffers: {differences}\nin {said}"
        self._ids.update(zip(ids_in(output), ids_in(said), strict=False))

    def _of_this_run(self, command: str) -> str:
        for shown, real in self._ids.items():
            command = command.replace(shown, real)
        return command.replace(f":{PORT}", f":{self._service.environment['PREBUILD_SERVE_PORT']}")

    def _run(self, command: str) -> str:
        if command.startswith("prebuild "):
            return self._run_prebuild(command)
        script = "\n".join([*self._exports, self._of_this_run(command)])
        done = subprocess.run(
            ["sh", "-c", script], cwd=self._service.data_dir.parent, env=self._service.environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"
        self.requests += [
            (method, re.sub(r"^http://[^/]+|\?.*$", "", url), int(status))
            for method, url, status in _REQUEST.findall(done.stderr)
        ]
        return done.stdout

    def _run_prebuild(self, command: str) -> str:
        line, _, file = command.partition(" > ")
        said = self._service.run(*shlex.split(line)[1:])
        if not file:
            return said
        (self._service.data_dir.parent / file).write_text(said)
        return ""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Follow the page from its first command to its last, beside `prebuild up`."""
    service = started(tmp_path_factory.mktemp("http"))
    try:
        reader = Reader(service)
        for command, output in commands(PAGE):
            if not any(command.startswith(begin) for begin in ELSEWHERE):
                reader.follow(command, output)
        yield reader
    finally:
        service.kill()


def started(place: Path) -> Service:
    (place / "pools.yaml").write_text(POOLS)
    (place / ".curlrc").write_text(CURLRC)
    service = Service(place / ".prebuild", PREBUILD_SERVE_PORT=str(free_port()), LOGNAME="sam", COLUMNS="80")
    service.start("up", "--file", "pools.yaml")
    try:
        wait_until(service.is_full, timeout=180, what="full pools")
        wait_until(lambda: "startup complete" in (service.data_dir / "logs/serve.log").read_text(), what="the API")
    except BaseException:
        service.kill()
        raise
    return service


def test_every_route_has_a_request_and_its_answer(reader: Reader) -> None:
    made = {(method, path) for method, path, status in reader.requests if status < 400}
    shown = {
        operation.name
        for operation in OPERATIONS
        for method, path in made
        if method == operation.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", operation.path), path)
    }
    assert {operation.name for operation in OPERATIONS} - shown == set(), "add a request with its answer to the page"


def test_the_statuses_of_a_claim_are_shown(reader: Reader) -> None:
    claims = [status for method, path, status in reader.requests if (method, path) == ("POST", "/v1/claims")]
    assert claims == [201, 201, 429, 202]


def test_every_answer_is_shown() -> None:
    silent = [command for command, output in commands(PAGE) if command.startswith("curl") and not output]
    assert [command for command in silent if "DELETE" not in command] == []


def test_every_reason_code_has_its_anchor() -> None:
    assert {fragment_of(code) for code in problem_codes()} - anchors(PAGE) == set()


def test_every_exception_is_needed() -> None:
    lines = [line for line, _ in commands(PAGE)]
    assert [begin for begin in ELSEWHERE if not any(line.startswith(begin) for line in lines)] == []
