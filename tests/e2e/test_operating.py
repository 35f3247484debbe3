"""Operators' and owners' commands, carried out by a real worker immediately: no tick runs during the test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.service import Service, deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(400)]

POOLS = """
schema: 1
templates:
  - name: {name}
    active_version: {version}
    versions:
      - name: v1
        config: {{start: "echo v1"}}
        presets: [{{name: small, desired: {desired}, claimed_ttl: 1h, replace: {{strategy: {strategy}}}}}]
      - name: v2
        config: {{start: "echo v2"}}
        presets: [{{name: small, desired: {desired}, replace: {{strategy: {strategy}}}}}]
"""


class Pool:
    """A test's own pool on the deployment that the tests share."""

    def __init__(self, service: Service, name: str) -> None:
        self.service, self.template, self.name = service, name, f"{name}/small"

    def declare(self, *, desired: int = 2, version: str = "v1", strategy: str = "recreate") -> None:
        text = POOLS.format(name=self.template, desired=desired, version=version, strategy=strategy)
        (self.service.data_dir.parent / "pools.yaml").write_text(text)
        self.service.run("apply", "pools.yaml", "--yes", "--source", self.template)

    def prebuilds(self) -> list[dict[str, Any]]:
        return [row for row in self._all() if row["state"] != "deleting"]

    def settled(self, number: int) -> None:
        def look() -> bool:
            return [(row["state"], row["preset"]) for row in self._all()] == [("ready", self.name)] * number

        wait_until(look, timeout=120, what=f"{number} ready prebuilds")

    def _all(self) -> list[dict[str, Any]]:
        return [row for row in self.service.workspaces("prebuilds") if row["preset"].startswith(self.name)]


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, module_postgres_url: str, module_redis_url: str
) -> Iterator[Service]:
    """Run control and builds workers, without beat."""
    place = tmp_path_factory.mktemp("operating")
    with deployed(place, "", module_postgres_url, module_redis_url, PREBUILD_RECONCILE_INTERVAL="1h") as service:
        service.fork_celery()
        for name in ("worker", "builds"):
            service.start(*procfile()[name], program="celery")
        yield service


@pytest.fixture
def pool(service: Service) -> Pool:
    return Pool(service, f"dev-{uuid.uuid4().hex[:6]}")


def test_from_twenty_to_one_at_once(service: Service, pool: Pool) -> None:
    pool.declare(desired=20)
    pool.settled(20)
    pool.declare(desired=1)
    pool.settled(1)
    assert service.run("audit") == "clean\n"


@pytest.mark.parametrize("strategy", ["rolling", pytest.param("recreate", marks=pytest.mark.faults)])
def test_promote_and_invalidate(service: Service, pool: Pool, strategy: str) -> None:
    pool.declare(strategy=strategy)
    pool.settled(2)
    before = {row["id"] for row in pool.prebuilds()}
    service.run("invalidate", pool.name)
    wait_until(lambda: before.isdisjoint({row["id"] for row in pool.prebuilds()}), timeout=120, what="new ones")
    pool.settled(2)
    service.run("promote", pool.template, "v2")
    pool.settled(2)
    builds = service.json("builds", "--limit", "100")
    assert {row["status"] for row in builds} == {"succeeded"}
    assert service.run("audit") == "clean\n"


def test_a_paused_pool_can_be_claimed_from_and_refills_when_resumed(service: Service, pool: Pool) -> None:
    pool.declare()
    pool.settled(2)
    service.run("pause", pool.name, "--reason", "maintenance", "--actor", "ada")
    answer = service.json("claim", pool.name, "--owner", "bob")
    wait_until(
        lambda: [row["state"] for row in service.workspaces("bob")] == ["usable"],
        timeout=60,
        what="the claim",
    )
    assert len(pool.prebuilds()) == 1
    assert "paused by ada" in service.run("status")
    service.run("resume", pool.name)
    pool.settled(2)
    before = service.workspaces("bob")[0]["claimed_until"]
    service.run("extend", f"bob/{answer['workspace']}", "1h")
    assert service.workspaces("bob")[0]["claimed_until"] > before
    service.run("release", answer["workspace"])
    wait_until(lambda: not service.workspaces("bob"), timeout=60, what="the release")
    assert service.run("audit") == "clean\n"


def test_who_waits_gets_one_from_an_empty_pool(service: Service, pool: Pool) -> None:
    pool.declare(desired=0)
    answer = service.json("claim", pool.name, "--owner", "ada", "--wait", "--timeout", "60s")
    assert (answer["owner"], answer["preset"]) == ("ada", pool.name)
    assert pool.prebuilds() == [], "nothing was built for the pool"
    assert service.run("audit") == "clean\n"
