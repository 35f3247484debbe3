"""The commands that work over HTTP print the same with and without a database, byte by byte."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn
from sqlalchemy import update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.cli.main import main
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from tests.support.api import Api, serving
from tests.support.builders import PRESET, declare, fill, finish_builds, staffed, turn
from tests.support.http import free_port
from tests.support.wait import wait_until

READ = [
    "status", "status --problems", "status dev/*", "workspaces", "workspaces --owner ada", "explain dev/small",
    "builds", "builds --status failed", "logs {build}", "logs ada/one", "logs ada/one --follow", "history ada/one",
    "history {deleted}", "events", "events --pool dev/small --limit 2", "events --owner ada --kind claim --kind miss",
    "events --kind build_ended --after 3 --limit 3", "events --after 100000",
    "webhook list", "webhook deliveries hook", "webhook deliveries hook --limit 1", "webhook deliveries other",
    "webhook deliveries hook --status dead",
]  # fmt: skip
MISTAKES = [
    "events --pool dev/none", "events --kind party", "events --pool dev",
    "explain dev/none", "logs none", "history ada/none", "builds --preset dev/none", "claim dev/none --owner ada",
    "release ada/none", "extend ada/none 1d", "pause dev/none", "unblock dev/none", "status dev/none",
    "claim dev/big --owner ada", "workspaces --preset dev/none", "claim dev/small --owner prebuilds",
    "claim dev/small --owner ada --name one", "extend ada/one 0s", "claim dev/small --owner ada --name a/b",
    "webhook test none", "webhook rotate none", "webhook rotate hook --overlap soon", "webhook disable none",
    "webhook enable none", "webhook deliveries none", "webhook redeliver none", "webhook test other",
    "webhook redeliver 0a1b2c3d-0000-4000-8000-000000000000", "webhook create http://hooks.example.com/",
    "webhook create https://10.0.0.1/", "webhook create https://hooks.example.com/ --name hook",
    "webhook create https://hooks.example.com/ --events party",
    "webhook create https://hooks.example.com/ --preset dev",
]  # fmt: skip
WRITE = {
    "claim dev/small --owner {owner}": "",
    "pause dev/small --reason moving": "", "resume dev/small": "pause dev/small", "resume": "", "pause --for 2h": "",
    "unblock dev/small": "resume", "invalidate dev/small": "", "reconcile dev/small": "", "reconcile": "",
    "extend {owner}/one 1d": "", "release {owner}/one": "",
    "webhook create https://{owner}.example.com/in --name {number} --events miss,claim --preset dev/big": "",
    "webhook test hook": "", "webhook rotate hook --overlap 90s": "", "webhook disable hook": "webhook enable hook",
    "webhook enable hook": "webhook disable hook", "webhook redeliver {delivery}": "webhook enable hook",
}  # fmt: skip
"""Commands that write, each with the one that makes their state before they run."""
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

VARIES = re.compile(
    r"whsec_[\w+/=]+|\"created_by\": \".*?\"|\"(?:secret_version|cursor)\": \d+|\bw\d+\b|"
    r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d[0-9:.+]*|\b[a-z]+-[a-z]+-[0-9a-f]{4}\b|\bada\b|\bbob\b"
)
"""Ids, instants, generated names and owners, which differ between two claims."""


_NOT_SENT = re.compile(r"^.*wake[ _]up[ _]not[ _]sent.*\n", re.MULTILINE)


@contextmanager
def listening(api: Api) -> Iterator[str]:
    """Serve the application on a port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(api.app, port=port, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, what="the API")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


class Shell:
    """Runs commands, each in the environment of a person beside the database or afar."""

    def __init__(
        self, api: Api, near: Mapping[str, str], url: str, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        self.api, self._near, self._url = api, near, url
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def near(self, command: str, **further: str) -> tuple[int, str]:
        """Run a command beside the database, and return its exit code and all that it wrote."""
        return self._run(command, {**self._near, **further})

    def far(self, command: str, token: str = "") -> tuple[int, str]:
        """Run a command that asks the HTTP API."""
        return self._run(command, {"PREBUILD_API_URL": self._url, "PREBUILD_API_TOKEN": token or self.api.admin})

    def _run(self, command: str, environment: Mapping[str, str]) -> tuple[int, str]:
        with self._monkeypatch.context() as patch:
            for name in {*self._near, "PREBUILD_API_URL", "PREBUILD_API_TOKEN"}:
                patch.delenv(name, raising=False)
            for name, value in environment.items():
                patch.setenv(name, value)
            code = main(command.split())
        shown = self._capsys.readouterr()
        return code, shown.out + shown.err


@pytest.fixture
def shell(
    database: Database, settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shell]:  # fmt: skip
    near = {
        "PREBUILD_DATABASE_URL": database.url, "PREBUILD_REDIS_URL": redis_url,
        "PREBUILD_NAMESPACE": settings.namespace, "PREBUILD_DATA_DIR": str(settings.data_dir),
    }  # fmt: skip
    with serving(database, settings, redis_url=redis_url) as api, listening(api) as url:
        yield Shell(api, near, url, monkeypatch, capsys)


def _shown(run: Callable[[str], tuple[int, str]], form: str) -> tuple[int, str]:
    """Run a command, and leave out what may differ: the time of an explanation, and presets that others may not see."""
    for _ in range(10):
        code, text = run(form)
        if "Redis did not answer" not in text:  # as may be on a machine that is busy
            break
    text = text.replace("active presets: dev/small", "see: prebuild status")
    return varied((code, text)) if form.startswith("explain") else (code, text)


@pytest.mark.thorough
def test_what_reads(database: Database, settings: Settings, shell: Shell) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    two_have_one(database, settings)
    claim(database, ClaimRequest("ada", [PRESET], name="gone"))
    shell.near("release ada/gone")
    finish_builds(database)
    build = re.findall(r"[0-9a-f-]{36}", shell.near("builds --json")[1])[0]
    two_webhooks(shell)
    differ = []
    for command in (text.format(build=build, deleted="ada/gone") for text in [*READ, *MISTAKES]):
        for form in (command, f"{command} --json"):
            staffed(database, settings)
            near, far = (_shown(run, form) for run in (shell.near, shell.far))
            differ += [(form, near, far)] if far != near else []
    assert differ == [], "\n".join(map(str, differ))


@pytest.mark.thorough
def test_what_writes(database: Database, settings: Settings, shell: Shell) -> None:
    two_have_one(database, settings)
    delivery = two_webhooks(shell)
    differ = []
    numbers = itertools.count()
    for command, before in WRITE.items():
        for form in (command, f"{command} --json"):
            outputs = []
            for run, owner in ((shell.near, "ada"), (shell.far, "bob")):
                staffed(database, settings)
                same_end(database)
                if before:
                    shell.near(before)
                outputs.append(varied(run(form.format(owner=owner, delivery=delivery, number=f"w{next(numbers)}"))))
            differ += [(form, outputs)] if outputs[0] != outputs[1] or outputs[0][0] else []
    assert differ == [], "\n".join(map(str, differ))


@pytest.mark.parametrize(
    "command",
    ["history", "history dev/small", "history --preset dev/small", "logs ada/one --serve", "workspaces --disk",
     "release ada/one --actor eve", "pause --actor eve", "webhook disable hook --actor eve", "doctor",
     "delete ada/one"],
)  # fmt: skip
def test_what_needs_the_database_says_so(database: Database, settings: Settings, shell: Shell, command: str) -> None:
    declare(database, settings, 1)
    code, text = shell.far(command)
    assert code == 2
    assert "does not work over HTTP" in text


def test_what_needs_the_database_uses_it_where_both_are_named(
    database: Database, settings: Settings, shell: Shell
) -> None:
    two_have_one(database, settings)
    both = {"PREBUILD_API_URL": "http://127.0.0.1:1", "PREBUILD_API_TOKEN": "pbt_x"}
    assert shell.near("delete ada/one --actor eve", **both) == (0, "ada/one is being deleted\n")


def test_what_is_refused(database: Database, settings: Settings, shell: Shell) -> None:
    declare(database, settings, 1)
    first = "claim dev/small --owner ada --request-id k1"
    miss = varied(shell.near(first))
    assert (miss[0], varied(shell.far(first))) == (4, miss)
    code, text = shell.far(first, shell.api.token("read"))
    assert (code, "has the scope read, and this needs claim" in text) == (5, True)
    assert shell.far("status", "pbt_wrong")[0] == 5
    two_have_one(database, settings)
    for run in (shell.near, shell.far):
        given, text = run(f"{first} --name k-{run.__name__}")
        reused = run("claim dev/small --owner bob --request-id k1")
        run(f"release ada/k-{run.__name__}")
        ended = run(f"{first} --name k-{run.__name__} --json")
        assert (given, reused[0], ended[0]) == (0, 5, 5), text
        assert '"error": "request_ended"' in ended[1]


@pytest.mark.parametrize("form", ["", "--json", "--wait --timeout 5s", "--wait --timeout 5s --json"])
def test_a_build_that_failed(database: Database, settings: Settings, shell: Shell, form: str) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    command, outputs = "claim dev/small --owner ada --name one --request-id k", []
    for run in (shell.near, shell.far):
        assert run(f"{command} --wait --timeout 0.1s")[0] == 6
        finish_builds(database, status=BuildStatus.FAILED, error="no disk")
        outputs.append(varied(run(f"{command} {form}")))
        finish_builds(database)
        with database.write() as connection:  # so that both may use the name
            connection.execute(update(m.Workspace).values(name=m.Workspace.id))
    assert outputs[0] == outputs[1]
    assert (outputs[0][0], "could not be built for *: no disk" in outputs[0][1]) == (5, True)


def two_have_one(database: Database, settings: Settings) -> None:
    """Fill a pool, and give a workspace of the same name to two people."""
    staffed(database, settings)
    declare(database, settings, 6, start="echo fixed", extra="claimed_ttl: 1d")
    fill(database, settings)
    for owner in ("ada", "bob"):
        claim(database, ClaimRequest(owner, [PRESET], name="one"))


def two_webhooks(shell: Shell) -> str:
    """Create a webhook with two deliveries, and one that is disabled; return the id of one delivery."""
    for name in ("hook", "other"):
        shell.near(f"webhook create https://{name}.example.com/in --name {name} --events claim --preset dev/small")
    for _ in range(2):
        shell.near("webhook test hook")
    shell.near("webhook disable other --actor eve")
    [delivery, _] = re.findall(r'"id": "([0-9a-f-]{36})"', shell.near("webhook deliveries hook --json")[1])
    return str(delivery)


def varied(output: tuple[int, str]) -> tuple[int, str]:
    """Leave out what may differ, and that Redis took longer than a claim waits for it, as on a machine that is busy."""
    return output[0], VARIES.sub("*", _NOT_SENT.sub("", output[1]))


def same_end(database: Database) -> None:
    """Give all claimed workspaces the same end."""
    ends = {"claimed_until": datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)}
    with database.write() as connection:
        connection.execute(update(m.Workspace).where(m.Workspace.claimed_until.is_not(None)).values(ends))
