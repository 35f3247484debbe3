"""An operator's journeys on one installation behind a proxy: a restore, a second machine, and its loss.

The tests share its processes, and run in this order or alone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.cli.main import main
from prebuild_tasks.config import load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners
from tests.support.builders import build_all, fill_really
from tests.support.http import answer, fetch
from tests.support.http_proxy import PACKAGES, HttpProxy
from tests.support.servers import empty, postgres_binaries, unprivileged
from tests.support.service import ROOT, Service, deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(240)]

FETCH = "exec python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())'"
POOLS = f"""
schema: 1
templates:
  - name: dev
    config:
      start: {FETCH} http://{PACKAGES}/app > app
      serve: exec python3 -m http.server --bind "$PREBUILD_WORKSPACE_BIND" "$PORT"
      ready: {FETCH} "http://127.0.0.1:$PORT/app"
      claim: echo "$PREBUILD_OWNER" > owner
    presets: [{{name: small, desired: 2, claimed_ttl: 14d}}]
"""
TIMES = {
    "PREBUILD_HOST_LOST": "10s",
    "PREBUILD_STRAY_GRACE": "1s",
    "PREBUILD_RESOURCE_SWEEP_INTERVAL": "1s",
    "PREBUILD_BUILD_CONCURRENCY": "2",
}
PAGE = (ROOT / "docs" / "operating.md").read_text()
Run = Callable[..., str]


@pytest.fixture(scope="module")
def proxy() -> Iterator[HttpProxy]:
    with HttpProxy().run() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, module_postgres_url: str, module_redis_url: str, proxy: HttpProxy
) -> Iterator[Service]:
    place, environment = tmp_path_factory.mktemp("machines"), {**TIMES, **proxy.variables, "PREBUILD_HOST": "one"}
    with deployed(place, POOLS, module_postgres_url, module_redis_url, **environment) as service:
        yield service


@pytest.fixture
def run(service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run commands on machine `one`, in this process because a process for each takes a second.

    `expect` is the exit code; -1 stands for any, and to standard output errors are added unless it is 0.
    """
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(service.data_dir.parent)

    def call(*arguments: str, expect: int = 0) -> str:
        code = main(arguments)
        printed = capsys.readouterr()
        assert expect in (code, -1), f"{arguments}: {printed.out}{printed.err}"
        return printed.out if expect == 0 else printed.out + printed.err

    return call


def start(service: Service) -> None:
    """Start the processes of machine `one`, unless an earlier test has."""
    if not service.processes:
        service.fork_celery()
        for name in ("worker", "builds", "beat"):
            service.start(*procfile()[name], program="celery")


def commands_of(section: str) -> list[str]:
    """Return the commands of a section of the operating page, without comments."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [re.sub(r" +#.*", "", line) for line in re.findall(r"^\$ (.*)", text, re.MULTILINE)]


def before_the_restore(service: Service, run: Run, dump: Callable[[], object]) -> dict[str, dict[str, Any]]:
    """Claim two workspaces that the dump has as prebuilds, and one that it does not know; return them by owner."""
    settings = load_settings(service.environment)
    database = Database.of(settings)
    runner = BuildRunner(database, settings, Provisioners(settings))
    answers = {}

    def claim(*owners: str) -> None:
        for owner in owners:
            answers[owner] = json.loads(run("claim", "dev/small", "--owner", owner, "--json"))
        build_all(database, runner)
        fill_really(database, settings, runner)

    try:
        run("apply", "pools.yaml")
        fill_really(database, settings, runner)
        dump()
        claim("ada", "bob")
        claim("carol")
    finally:
        runner.close()
        database.close()
    return answers


def test_a_restore_as_the_page_describes_it(service: Service, run: Run, tmp_path: Path, postgres_url: str) -> None:
    del postgres_url  # only for its server
    page = iter(commands_of("Backup and restore"))
    binaries = postgres_binaries(unprivileged(), tmp_path)
    address = service.environment["PREBUILD_DATABASE_URL"].replace("+psycopg", "")

    def shell(expected: str) -> None:
        line = next(page)
        assert line.startswith(expected)
        variables = {"PATH": f"{binaries}:{os.environ['PATH']}", "PREBUILD_DATABASE_URL": address}
        subprocess.run(["sh", "-ec", line], cwd=tmp_path, env=variables, check=True, timeout=60)

    claimed = before_the_restore(service, run, lambda: shell("pg_dump"))
    empty(service.environment["PREBUILD_DATABASE_URL"])
    shell("pg_restore")
    for line in ("prebuild db upgrade", 'prebuild pause --reason "restored"'):
        assert next(page) == line
        run(*line.replace('"', "").split()[1:])
    assert next(page) == "honcho start &"
    start(service)

    assert next(page) == "prebuild sweep"

    strays = {owner: item["resource_id"] for owner, item in claimed.items()}

    def are_listed() -> bool:
        rows = json.loads(run("sweep", "--json"))["resources"]
        return {row["resource_id"]: row["owner"] for row in rows} == {path: owner for owner, path in strays.items()}

    wait_until(are_listed, timeout=60, what="the three claimed ones, and no others", pause=0.5)
    assert next(page) == "prebuild audit"
    named = re.findall(r"^invariant 4: (\S+): resource without a workspace", run("audit", expect=8), re.MULTILINE)
    ids = {owner: item["workspace_id"] for owner, item in claimed.items()}
    assert sorted(named) == sorted(ids.values()), "the audit names what the commands below take"

    assert next(page) == "prebuild adopt RESOURCE"
    for owner in ("ada", "carol"):
        shown = run("adopt", ids[owner], "--dry-run")
        assert shown.startswith(f"{strays[owner]} was claimed by {owner}: {owner}/")
        assert claimed[owner]["url"] in shown
        assert f"is a workspace of {owner} again" in run("adopt", ids[owner])
        assert fetch(f"{claimed[owner]['url']}/owner").decode() == f"{owner}\n", "it was served all the time"
    assert next(page) == "prebuild sweep --remove RESOURCE"
    assert "which bob had claimed" in run("sweep", "--remove", ids["bob"])
    wait_until(lambda: not Path(strays["bob"]).exists(), timeout=60, what="the end of what bob had")
    assert next(page) == "prebuild resume"
    run("resume")
    service.wait_full()
    assert list(page) == []

    [hers] = json.loads(run("workspaces", "--owner", "ada", "--json"))
    assert (hers["id"], hers["state"]) == (claimed["ada"]["workspace_id"], "usable")
    assert hers["claimed_until"] is not None
    run("release", f"ada/{hers['workspace']}")
    wait_until(lambda: answer(hers["url"]) == 0, timeout=60, what="the end of what ada gave back")
    wait_until(lambda: run("audit") == "clean\n", what="a clean audit", pause=0.5)


def test_workspaces_behind_a_proxy(service: Service, run: Run, proxy: HttpProxy) -> None:
    """What `start` fetches comes through the proxy, and what `ready` asks the workspace itself does not."""
    run("apply", "pools.yaml")
    start(service)
    service.wait_full()
    mine = json.loads(run("claim", "dev/small", "--owner", "dora", "--json"))
    assert fetch(f"{mine['url']}/app").decode() == "/app\n"
    service.wait_full()
    assert proxy.asked == {PACKAGES}
    run("release", f"dora/{mine['workspace']}")


def test_a_second_machine_and_its_loss(service: Service, run: Run) -> None:
    start(service)
    directory = service.data_dir.with_name("d-two")
    directory.mkdir()
    here = dict(service.environment)
    service.environment |= {"PREBUILD_HOST": "two", "PREBUILD_DATA_DIR": str(directory)}
    second = service.start(*procfile()["builds"], "-n", "builds@two", program="celery")
    service.environment = here
    wait_until(lambda: "ready." in service.output(), timeout=60, what="the second machine")
    (service.data_dir.parent / "pools.yaml").write_text(POOLS.replace("desired: 2", "desired: 6"))
    run("apply", "pools.yaml")
    service.wait_full()
    hosts = {row["host"] for row in service.workspaces("prebuilds")}
    assert hosts == {"one", "two"}, "each had its share"

    claims = (json.loads(run("claim", "dev/small", "--owner", f"user{n}", "--json")) for n in range(6))
    mine = next(item for item in claims if item["host"] == "two")
    assert Path(mine["directory"]).is_relative_to(directory)
    service.wait_full()
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()

    def told() -> str:
        text = run("doctor", expect=-1)
        return text if "PREBUILD_HOST=two" in text else ""

    assert "prebuild forget two" in wait_until(told, timeout=60, what="the doctor's finding", pause=0.5)
    wait_until(
        lambda: [row["host"] for row in service.workspaces("prebuilds") if row["state"] == "ready"] == ["one"] * 6,
        timeout=60,
        what="replacements on the machine that is left",
    )
    again = json.loads(
        run("claim", "dev/small", "--owner", mine["owner"], "--request-id", mine["request_id"], "--json")
    )
    assert again["workspace_id"] == mine["workspace_id"], "nothing that a person has is touched"
    assert "no builds worker is running on two" in again["warning"]

    assert f"{mine['owner']}/{mine['workspace']}" in run("forget", "two", expect=5)
    assert "1 of them claimed" in run("forget", "two", "--claimed")
    wait_until(lambda: run("audit", "--database-only") == "clean\n", what="a clean audit", pause=0.5)
    assert {row["host"] for row in service.workspaces()} == {"one"}
