"""`prebuild up` from nothing: it fills, refills immediately, stops cleanly, and restarts with the same workspaces."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from tests.support.http import answer
from tests.support.service import Service
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

POOLS = """
schema: 1
templates:
  - name: dev
    config:
      start: echo once >> starts
      serve: exec python3 -m http.server --bind 127.0.0.1 "$PORT"
      claim: echo "$PREBUILD_OWNER" > owner
    presets:
      - {name: small, desired: 2, parameters: {SIZE: small}}
      - {name: big, desired: 1, timezone: UTC, schedules: [{cron: "* 0-23 * * *", desired: 1}]}
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def build(name: str = "one", pools: str = POOLS, **environment: str) -> Service:
        service = Service(tmp_path / name / "d", **environment)
        (tmp_path / name / "pools.yaml").write_text(pools)
        made.append(service)
        return service

    yield build
    for service in made:
        service.kill()


def test_the_main_job(make: Callable[..., Service]) -> None:
    service = make()
    up = service.start("up", "--no-serve", "--file", "pools.yaml")
    service.wait_full()

    claimed = service.json("claim", "dev/small", "--owner", "ada")
    assert claimed["state"] == "personalising"
    with urlopen(claimed["url"], timeout=60) as page:
        assert page.status == 200
    service.wait_full()  # no tick for an hour: the claim itself caused the refill
    mine = wait_until(lambda: service.json("workspaces", "--owner", "ada", "--state", "usable"), what="personalised")
    assert (Path(mine[0]["directory"]) / "owner").read_text() == "ada\n"
    assert service.run("audit") == "clean\n"

    service.fork_celery()
    # As a user would, with the variables that `up` prints.
    assert f"export PREBUILD_DATA_DIR={service.data_dir}" in service.output()
    assert "worker is running" not in service.output(), "workers that are starting are no trouble"
    for call in (["prebuild_tasks.reconcile_all"], ["prebuild_tasks.reconcile_preset", "--args", '["dev/small"]']):
        assert len(service.run("-A", "prebuild_tasks", "call", *call, program="celery").strip()) == 36
    ping = service.run("-A", "prebuild_tasks", "inspect", "--timeout", "5", "ping", program="celery")
    assert "3 nodes online" in ping

    refused = service.run("up", expect=5)
    assert "another prebuild up" in refused

    before = {row["id"]: row for row in service.json("workspaces")}
    assert service.interrupt(up) == 0
    assert service.output().splitlines()[-1] == "stopping  Ctrl-C", "once, in words"
    assert "SIGINT" not in service.output()
    service.wait_gone()

    second = service.start("up", "--no-serve")
    service.wait_full()
    wait_until(lambda: "4 workspaces again" in service.output(), timeout=60, what="the workspaces served again")
    after = {row["id"]: row for row in service.json("workspaces")}
    kept = ("owner", "directory", "url", "workspace")
    assert {i: [r[k] for k in kept] for i, r in after.items()} == {i: [r[k] for k in kept] for i, r in before.items()}
    for row in after.values():
        assert (Path(row["directory"]) / "starts").read_text() == "once\n"
        # It is restarted, and listens a moment later.
        wait_until(lambda url=row["url"]: answer(url) == 200, timeout=60, what=row["url"])  # type: ignore[misc]
    assert service.run("audit") == "clean\n"

    released = service.json("release", claimed["workspace"])
    assert released["state"] == "deleting"
    wait_until(lambda: not service.json("workspaces", "--owner", "ada"), what="the released workspace is gone")
    assert service.interrupt(second, signal.SIGTERM) == 0
    service.wait_gone()


@pytest.mark.deploys
def test_killed_with_9_nothing_is_lost_and_nothing_double(make: Callable[..., Service], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waits = POOLS.replace("echo once >> starts", f"echo once >> starts; until [ -e {gate} ]; do sleep 0.1; done")
    service = make(pools=waits)
    up = service.start("up", "--no-serve", "--file", "pools.yaml")
    wait_until(lambda: _running(service), timeout=60, what="builds under way")

    def worker(name: str) -> psutil.Process | None:
        for process in psutil.Process(up.pid).children():
            if f"{name}@" in " ".join(process.cmdline()):
                return process
        return None

    builds = worker("builds")
    assert builds is not None
    builds.kill()
    wait_until(lambda: "builds ended with -9" in service.output(), what="its restart", timeout=60)
    gate.touch()
    service.wait_full()
    assert [row["attempt"] for row in service.json("builds") if row["transition"] == "start"].count(2) >= 1
    assert service.run("audit") == "clean\n"

    control = worker("worker")
    assert control is not None
    control.kill()
    answer = service.json("claim", "dev/small", "--owner", "ada")
    service.wait_full()
    assert service.run("audit") == "clean\n"

    up.kill()
    up.wait()
    assert service.json("workspaces", "--owner", "ada")[0]["workspace"] == answer["workspace"]
    again = service.start("up", "--no-serve")
    # The pool was full all the time, so only the output shows that it is up and handles signals.
    wait_until(lambda: "In a second terminal" in service.output(), timeout=60, what="up, again")
    service.wait_full()
    assert service.json("workspaces", "--owner", "ada")[0]["url"] == answer["url"]
    assert service.run("audit") == "clean\n"
    assert service.interrupt(again) == 0
    service.wait_gone()


@pytest.mark.deploys
def test_two_side_by_side_and_until_full(make: Callable[..., Service]) -> None:
    one, two = make("one"), make("two")
    running = [
        s.start("up", "--no-serve", "--file", "pools.yaml", "--until-full", "--timeout", "120") for s in (one, two)
    ]
    assert [process.wait(150) for process in running] == [0, 0], one.output() + two.output()
    urls = [row["url"] for service in (one, two) for row in service.json("workspaces")]
    assert len(set(urls)) == 6
    for service in (one, two):
        assert "every pool is full after" in service.output()
        service.wait_gone()


@pytest.mark.deploys
def test_a_start_that_fails_is_seen_backed_off_and_never_a_hot_loop(make: Callable[..., Service]) -> None:
    failing = POOLS.replace("echo once >> starts", "echo no disk; exit 7")
    service = make(pools=failing, PREBUILD_RECONCILE_INTERVAL="500ms")
    up = service.start("up", "--no-serve", "--file", "pools.yaml", "--until-full", "--timeout", "20s")
    assert up.wait(60) == 6
    assert "start exited with 7: no disk" in service.output()
    rows = {row["preset"]: row for row in service.json("status")}
    assert rows["dev/small"]["last_error"] == "start exited with 7: no disk"
    assert "dev/small 0/2, back off until" in service.output()
    assert rows["dev/small"]["reason"] == "no_worker", "it has ended, and its workers with it"
    starts = [row for row in service.json("builds") if row["transition"] == "start"]
    assert len(starts) == 3, "two presets asked for three: each was tried once"
    assert "no disk" in service.run("logs", starts[0]["build"])
    service.wait_gone()


@pytest.mark.deploys
def test_a_database_or_redis_that_is_not_there(make: Callable[..., Service]) -> None:
    service = make(PREBUILD_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    for command in (["up"], ["status"], ["claim", "dev/small", "--owner", "ada"], ["db", "upgrade"]):
        text = service.run(*command, expect=7)
        assert "could not be used" in text
        assert "next:" in text
    service = make("two", PREBUILD_REDIS_URL="redis://127.0.0.1:1/0")
    assert "Redis at redis://127.0.0.1:1/0 did not answer" in service.run("up", expect=7)
    service.wait_gone()


@pytest.mark.deploys
def test_flower_shows_the_workers_and_asks_for_a_password(make: Callable[..., Service]) -> None:
    from base64 import b64encode
    from urllib.error import HTTPError, URLError
    from urllib.request import Request

    service = make()
    up = service.start("up", "--no-serve", "--file", "pools.yaml", "--flower")
    service.wait_full()
    line = next(text for text in service.output().splitlines() if text.startswith("flower"))
    url, auth = line.split()[1], line.split()[2].strip("()")
    assert auth not in " ".join(part for p in psutil.process_iter() for part in _command(p)), (
        "no secret in a process list"
    )

    def fetch(path: str, *, with_password: bool) -> tuple[int, bytes]:
        headers = {"Authorization": f"Basic {b64encode(auth.encode()).decode()}"} if with_password else {}
        try:
            with urlopen(Request(url + path, headers=headers), timeout=5) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, b""
        except (URLError, OSError):
            return 0, b""

    wait_until(lambda: fetch("/api/workers?refresh=1", with_password=True)[0] == 200, timeout=60, what="Flower")
    assert fetch("/workers", with_password=False)[0] == 401
    page = fetch("/tasks", with_password=True)[1].decode()
    assert all(f'data-column="{column}"' in page for column in ("args", "result")), "the pool, and what was done"

    def names() -> set[str]:
        workers = json.loads(fetch("/api/workers?refresh=1", with_password=True)[1] or b"{}")
        return {name.split("@")[0] for name in workers}

    # It lists the processes that have answered by then: perhaps only one.
    wait_until(lambda: names() == {"worker", "builds", "webhooks"}, timeout=60, what="all workers in Flower")
    assert service.interrupt(up) == 0
    service.wait_gone()


@pytest.mark.deploys
def test_a_password_of_ones_own_for_flower_is_used_and_not_shown(make: Callable[..., Service]) -> None:
    service = make(FLOWER_BASIC_AUTH="operator:0ne-of-my-own")
    up = service.start("up", "--no-serve", "--file", "pools.yaml", "--flower")
    line = wait_until(
        lambda: [text for text in service.output().splitlines() if text.startswith("flower")], timeout=60
    )[0]
    url = line.split()[1]
    wait_until(lambda: answer(url, "operator:0ne-of-my-own") == 200, timeout=60, what="Flower")
    assert answer(url) == 401
    service.wait_full()
    assert service.interrupt(up) == 0
    logs = [path.read_text() for path in (service.data_dir / "logs").iterdir()]
    assert "0ne-of-my-own" not in service.output() + "".join(logs)


def _running(service: Service) -> bool:
    if not (service.data_dir / "prebuild.db").exists():
        return False
    done = service.json("workspaces") if "logs" in service.output() else []
    return any((Path(service.data_dir) / "workspaces" / row["id"] / "a1" / "starts").exists() for row in done)


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.Error, OSError):
        return []
