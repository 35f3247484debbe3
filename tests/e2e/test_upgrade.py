"""Upgrade from v0.1.0 and back: releases side by side, and the package replaced under running processes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import redis as redis_py
from sqlalchemy import func, select

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.e2e.release_before import Environment, install, source_of_release_before
from tests.e2e.two_releases import (
    CLAIM,
    PATIENCE,
    People,
    ask_again,
    builds,
    check_all_is_well,
    check_claims,
    ended,
    in_hand,
    kept_running,
    kill_at_work,
    let_visibility_pass,
    queue_old,
    ready,
    signal_groups,
    wait_until_carried_out,
    waiting,
)
from tests.support.http import answer, free_port
from tests.support.old_tree import ROOT
from tests.support.service import Service
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(1500)]
MIX = 120.0
"""Minimum seconds for which both releases serve together."""
POOLS = """
schema: 1
templates:
  - name: dev
    provisioner: simulated
    config: {build_time: {uniform: [0.2, 1]}}
    presets: [{name: small, desired: 4}]
  - name: many
    provisioner: simulated
    config: {build_time: 0}
    presets: [{name: small, desired: 60}]
  - name: real
    provisioner: process
    config: {start: "sleep 0.3; echo made", claim: "echo for you"}
    presets: [{name: small, desired: 2}]
"""


@pytest.fixture(scope="module")
def source_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source_of_release_before(tmp_path_factory.mktemp("source"))


@pytest.fixture
def before(source_before: Path, tmp_path: Path) -> Environment:
    """Install v0.1.0 in its own environment."""
    return install(source_before, tmp_path / "before")


@pytest.fixture
def service(postgres_server: str, redis_url: str, tmp_path: Path, before: Environment) -> Iterator[Service]:
    """Deploy on a database that v0.1.0 made."""
    name, where = "before", {"host": postgres_server.partition("host=")[2], "user": "postgres"}
    with psycopg.connect(**where, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    service = Service(
        tmp_path / "x" / "d",
        PREBUILD_DATABASE_URL=postgres_server.format(name),
        PREBUILD_REDIS_URL=redis_url,
        PREBUILD_RECONCILE_INTERVAL="1s",
        # Processes start while builds run: with a lease of 2 s, a delayed build would rightly begin again.
        PREBUILD_HEARTBEAT_TIMEOUT="20s",
        PREBUILD_LOG_FORMAT="json",
    )
    service.data_dir.mkdir()
    (tmp_path / "x" / "pools.yaml").write_text(POOLS)
    prebuild = before.program("prebuild")
    try:
        service.run("db", "upgrade", program=prebuild)
        service.run("apply", "pools.yaml", program=prebuild)
        yield service
    finally:
        service.kill()
        with psycopg.connect(**where, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def wait_full_before(service: Service, before: Environment) -> None:
    """Wait for a full pool as the release before sees it: today's reads columns that are not there yet."""

    def is_full() -> bool:
        rows = json.loads(service.run("status", "--json", program=before.program("prebuild")))
        return bool(rows) and all(row["eligible"] >= row["desired"] and not row["starting"] for row in rows)

    wait_until(is_full, timeout=PATIENCE, what="a full pool")


def unnumbered(database: Database, _: Settings) -> int:
    """Count the events, also those that v0.1.0 wrote, that no sweep or other process has numbered yet."""
    with database.read() as connection:
        return connection.execute(select(func.count()).where(m.History.number.is_(None))).scalar_one()


@pytest.mark.timeout(2400)
def test_side_by_side_and_back(service: Service, before: Environment, redis_url: str) -> None:
    """All workers together, then old beat with new workers and new beat with old workers, for two minutes each."""

    def start(kind: str, age: str) -> subprocess.Popen[str]:
        return kept_running(service, kind, age, before if age == "old" else None)

    workers = {(kind, age): start(kind, age) for kind, age in (("worker", "old"), ("builds", "old"))}
    beat = start("beat", "old")
    wait_full_before(service, before)
    service.run("db", "upgrade")
    with redis_py.Redis.from_url(redis_url) as client:
        for beats, leaves in (("old", "old"), ("new", "new")):
            for kind, age in (("worker", "old"), ("builds", "old"), ("worker", "new"), ("builds", "new")):
                if (kind, age) not in workers:
                    workers[kind, age] = start(kind, age)
            ready(service, *workers.values())
            if beats == "new":
                new_beat = start("beat", "new")
                assert ended(beat) == [0]
                beat = new_beat
            began, owner = monotonic(), f"{beats}-beat"
            with People(service) as people:
                # Both control workers are stopped until all is queued; the old one resumes, and dies with a claim.
                signal_groups(signal.SIGSTOP, workers["worker", "old"], workers["worker", "new"])
                claims = queue_old(service, before, owner)
                queued = waiting(client, service)
                assert set(claims) <= queued.keys()
                signal_groups(signal.SIGCONT, workers["worker", "old"])
                wait_until(lambda: CLAIM in in_hand(client), timeout=PATIENCE, what="a claim in hand", pause=0)
                signal_groups(signal.SIGKILL, workers["worker", "old"])
                signal_groups(signal.SIGCONT, workers["worker", "new"])
                let_visibility_pass(client)
                workers["worker", "old"] = start("worker", "old")
                wait_until_carried_out(client, service, queued)
                print(f"{beats} beat: all carried out after {monotonic() - began:.0f} s")
                check_claims(service, client, ask_again(service, client, claims, owner), owner)
                assert ended(*(workers.pop((kind, leaves)) for kind in ("worker", "builds"))) == [0, 0]
                time.sleep(max(began + MIX - monotonic(), 10))
            people.check()
            check_all_is_well(service)
            if leaves == "old":  # workers of v0.1.0 alone number none
                wait_until(lambda: service.asked(unnumbered) == 0, timeout=PATIENCE, what="a number for each event")
            print(f"{beats} beat: {monotonic() - began:.0f} s, {len(people.answers)} claims", flush=True)
    old_beat = start("beat", "old")
    assert ended(beat) == [0]
    with People(service) as people:
        wait_until(lambda: len(people.answers) > 5, timeout=PATIENCE, what="claims after the way back")
    people.check()
    check_all_is_well(service, before.program("prebuild"))
    assert ended(old_beat, *workers.values()) == [0, 0, 0]


def test_the_package_is_replaced_under_a_running_deployment(
    service: Service, before: Environment, tmp_path: Path
) -> None:
    """Upgrade the database, replace all site-packages at once, then restart the processes one after another."""
    new = install(ROOT, tmp_path / "after")
    running = {name: kept_running(service, name[:-1], name, before) for name in ("worker1", "builds1", "builds2")}
    running["beat1"] = kept_running(service, "beat", "", before)
    ready(service, *running.values())
    wait_full_before(service, before)
    service.run("db", "upgrade", program=new.program("prebuild"))
    with People(service) as people:
        wait_until(lambda: len(people.answers) > 2, timeout=PATIENCE, what="claims of the old release")
        before.packages.rename(tmp_path / "replaced")
        new.packages.rename(before.packages)
        assert "0.1.0" not in service.run("--version", program=before.program("prebuild"))
        asked = len(people.answers)
        wait_until(
            lambda: len(people.answers) > asked + 9, timeout=PATIENCE, what="claims of old processes on new files"
        )
        assert {row.attempt for row in builds(service)} <= {0, 1}, "no attempt is lost"
        # A build that lost its worker is retried by another old process, in an isolated process that runs the new code.
        victim, lost = kill_at_work(service, running)
        wait_until(
            lambda: lost <= {str(row.id) for row in builds(service) if row.completed_at},
            timeout=PATIENCE, what="the end of the builds that lost their worker", pause=0.2,
        )  # fmt: skip
        running[victim] = kept_running(service, "builds", victim, before)
        ready(service, running[victim])
        for name in list(running):
            if name == victim:
                continue
            asked = len(people.answers)
            assert ended(running.pop(name)) == [0]
            running[name] = kept_running(service, name[:-1], name, before)
            ready(service, running[name])
            wait_until(lambda asked=asked: len(people.answers) > asked + 1, timeout=PATIENCE, what="a claim")  # type: ignore[misc]
    people.check()
    check_all_is_well(service)
    ended_builds = [row for row in builds(service) if row.status == "succeeded"]
    assert {str(row.id) for row in ended_builds if row.attempt != 1} <= lost, "the restarts cost no attempt"
    assert "succeeded" in {row.status for row in builds(service) if str(row.id) in lost}


def test_the_http_api_beside_processes_of_the_release_before(service: Service, before: Environment) -> None:
    """Claim over HTTP, with the new command and with the old one, while v0.1.0 builds, sweeps and ticks."""
    old = before.program("prebuild")
    running = [kept_running(service, kind, "old", before) for kind in ("worker", "builds", "beat")]
    wait_full_before(service, before)
    service.run("db", "upgrade")
    url = f"http://127.0.0.1:{free_port()}"
    running.append(service.start("serve", "--port", url.rpartition(":")[2]))
    token = service.run("token", "create", "portal", "--scope", "claim", "--any-owner").strip()

    def claimed(*arguments: str, program: str = "prebuild") -> str:
        claim = ("claim", "many/small", "--owner", "ada", "--request-id")
        return str(json.loads(service.run(*claim, *arguments, "--json", program=program))["workspace"])

    wait_until(lambda: answer(f"{url}/readyz") == 200, timeout=PATIENCE, what="the API")
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=90, trust_env=False
    ) as client:
        # A claim of v0.1.0 has no row in `claim_requests`, and its key is that of the principal `local`.
        by_old = claimed("first-by-old", program=old)
        assert claimed("first-by-old") == by_old
        by_new = claimed("first-by-new")
        assert claimed("first-by-new", program=old) == by_new
        over_http = dict[str, str]()
        for number in range(10):
            key, pool = f"http-{number}", ("many/small", "dev/small")[number % 2]
            made = client.post(
                "/v1/claims", json={"presets": [pool], "owner": f"h-{number}", "wait": 50},
                headers={"Idempotency-Key": key},
            )  # fmt: skip
            assert made.status_code == 201, made.text
            over_http[key] = made.json()["workspace"]
        # The same key of another principal is another request, for v0.1.0 too.
        assert claimed("http-0", program=old) not in over_http.values()
        for program in (old, "prebuild"):
            service.run("sweep", program=program)
        for number, (key, workspace) in enumerate(over_http.items()):
            again = client.post(
                "/v1/claims", json={"presets": [("many/small", "dev/small")[number % 2]], "owner": f"h-{number}"},
                headers={"Idempotency-Key": key},
            )  # fmt: skip
            assert (again.status_code, again.json()["workspace"]) == (201, workspace), again.text
            assert again.headers["Idempotent-Replayed"] == "true"
        assert (claimed("first-by-old", program=old), claimed("first-by-new")) == (by_old, by_new)
    check_all_is_well(service)
    check_all_is_well(service, old)
    assert ended(*running) == [0, 0, 0, 0]
