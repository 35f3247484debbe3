"""What operators and owners do, carried out by a real worker: no tick comes to help, so each acts at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service, deployed, procfile
from tests.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

POOLS = """
schema: 1
templates:
  - name: dev
    active_version: {version}
    versions:
      - name: v1
        config: {{start: "echo v1"}}
        presets: [{{name: small, desired: {desired}, claimed_ttl: 1h, replace: {{strategy: {strategy}}}}}]
      - name: v2
        config: {{start: "echo v2"}}
        presets: [{{name: small, desired: {desired}, replace: {{strategy: {strategy}}}}}]
"""


@pytest.fixture
def service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    """Control and builds workers, without beat."""
    with deployed(tmp_path, "", postgres_url, redis_url, PREBUILD_RECONCILE_INTERVAL="1h") as service:
        for name in ("worker", "builds"):
            service.start(*procfile()[name], program="celery")
        yield service


def declare(service: Service, *, desired: int = 2, version: str = "v1", strategy: str = "recreate") -> None:
    path = service.data_dir.parent / "pools.yaml"
    path.write_text(POOLS.format(desired=desired, version=version, strategy=strategy))
    service.run("apply", "pools.yaml", "--yes")


def prebuilds(service: Service) -> list[dict[str, Any]]:
    return [row for row in service.workspaces("prebuilds") if row["state"] != "deleting"]


def settled(service: Service, number: int, version: str = "") -> None:
    suffix = f"@{version}" if version else ""

    def look() -> bool:
        rows = service.workspaces("prebuilds")
        states = [(row["state"], row["preset"]) for row in rows]
        return states == [("ready", f"dev/small{suffix}")] * number

    wait_until(look, timeout=60, what=f"{number} ready prebuilds")


def test_from_twenty_to_one_at_once(service: Service) -> None:
    declare(service, desired=20)
    settled(service, 20)
    declare(service, desired=1)
    settled(service, 1)
    assert service.run("audit") == "clean\n"


@pytest.mark.parametrize("strategy", ["rolling", pytest.param("recreate", marks=pytest.mark.faults)])
def test_promote_and_invalidate(service: Service, strategy: str) -> None:
    declare(service, strategy=strategy)
    settled(service, 2)
    before = {row["id"] for row in prebuilds(service)}
    service.run("invalidate", "dev/small")
    wait_until(lambda: before.isdisjoint({row["id"] for row in prebuilds(service)}), timeout=60, what="new ones")
    settled(service, 2)
    service.run("promote", "dev", "v2")
    settled(service, 2)
    builds = service.json("builds", "--limit", "100")
    assert {row["status"] for row in builds} == {"succeeded"}
    assert service.run("audit") == "clean\n"


def test_a_paused_pool_can_be_claimed_from_and_refills_when_resumed(service: Service) -> None:
    declare(service)
    settled(service, 2)
    service.run("pause", "dev/small", "--reason", "maintenance", "--actor", "ada")
    answer = service.json("claim", "dev/small", "--owner", "bob")
    wait_until(
        lambda: [row["state"] for row in service.workspaces("bob")] == ["usable"],
        timeout=30,
        what="the claim",
    )
    assert len(prebuilds(service)) == 1
    assert "paused by ada" in service.run("status")
    service.run("resume", "dev/small")
    settled(service, 2)
    before = service.workspaces("bob")[0]["claimed_until"]
    service.run("extend", f"bob/{answer['workspace']}", "1h")
    assert service.workspaces("bob")[0]["claimed_until"] > before
    service.run("release", answer["workspace"])
    wait_until(lambda: not service.workspaces("bob"), timeout=30, what="the release")
    assert service.run("audit") == "clean\n"


def test_who_waits_gets_one_from_an_empty_pool(service: Service) -> None:
    declare(service, desired=0)
    answer = service.json("claim", "dev/small", "--owner", "ada", "--wait", "--timeout", "60s")
    assert (answer["owner"], answer["preset"]) == ("ada", "dev/small")
    assert prebuilds(service) == [], "nothing was built for the pool"
    assert service.run("audit") == "clean\n"
