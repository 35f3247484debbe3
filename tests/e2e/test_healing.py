"""Unhealthy or vanished prebuilds, and those of silent hosts, are replaced without help, by real workers."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from prebuild_tasks.clock import monotonic
from tests.support.service import Service, deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
PROBE_INTERVAL = 3.0
SATURATED = 90.0
"""Percent of all processors' time. Above it, probes and builds wait for a processor, and no duration is asserted."""
TIMES = {
    "PREBUILD_PROBE_INTERVAL": f"{PROBE_INTERVAL}s",
    "PREBUILD_HEARTBEAT_TIMEOUT": "2s",
    "PREBUILD_HOST_LOST": "4s",
    "PREBUILD_RESOURCE_SWEEP_INTERVAL": "1s",
    "PREBUILD_STRAY_GRACE": "1s",
}

POOLS = """
schema: 1
templates:
  - name: dev
    config: {start: "echo made > made", serve: "exec sleep 1000", ready: "test -f made"}
    presets: [{name: small, desired: 2}]
"""


@pytest.fixture
def service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    with deployed(tmp_path, POOLS, postgres_url, redis_url, **TIMES) as service:
        yield service


def prebuilds(service: Service) -> list[dict[str, Any]]:
    return [row for row in service.workspaces("prebuilds") if row["state"] == "ready"]


@pytest.mark.deploys
def test_a_killed_process_and_a_removed_directory_are_replaced(service: Service) -> None:
    for name in ("worker", "builds", "beat"):
        service.start(*procfile()[name], program="celery")
    service.run("apply", "pools.yaml")
    service.wait_full()
    one, two = prebuilds(service)
    [served] = wait_until(
        lambda: [p for p in psutil.process_iter() if _is_served(p, one["id"])], what="the served process"
    )
    psutil.cpu_percent()
    began = monotonic()
    served.kill()
    shutil.rmtree(two["directory"])
    wait_until(
        lambda: (
            {one["id"], two["id"]}.isdisjoint({row["id"] for row in prebuilds(service)})
            and len(prebuilds(service)) == 2
        ),
        timeout=120,
        what="both replaced",
    )
    if psutil.cpu_percent() < SATURATED:
        limit = 3 * PROBE_INTERVAL + 16
        assert monotonic() - began < limit, "within probe intervals and two builds, because one goes after the other"
    told = service.json("history", two["id"])
    assert ("unhealthy", "the workspace's directory is gone") in [(row["event"], row["reason"]) for row in told]
    wait_until(lambda: len(service.workspaces()) == 2, timeout=60, what="the sick ones' end")
    assert service.run("audit") == "clean\n"


@pytest.mark.faults
def test_two_hosts_each_with_its_own_and_one_lost_for_good(service: Service, tmp_path: Path) -> None:
    for name in ("worker", "beat"):
        service.start(*procfile()[name], program="celery")
    directory = str(service.data_dir)
    hosts = {}
    for host in ("one", "two"):
        (tmp_path / "x" / host).mkdir()
        service.environment |= {"PREBUILD_HOST": host, "PREBUILD_DATA_DIR": str(tmp_path / "x" / host)}
        hosts[host] = service.start(*procfile()["builds"], "-n", f"builds@{host}", program="celery")
    service.environment |= {"PREBUILD_HOST": "control", "PREBUILD_DATA_DIR": directory}
    wait_until(lambda: all("ready." in service.output(i) for i in (2, 3)), timeout=60, what="both builds workers")
    (tmp_path / "x" / "pools.yaml").write_text(
        POOLS.replace("desired: 2", "desired: 8").replace("echo", "sleep 1; echo")
    )
    service.run("apply", "pools.yaml")
    service.wait_full()
    by_host = {host: [r for r in service.workspaces() if r["host"] == host] for host in hosts}
    assert all(by_host.values()), "both had their share"
    for host, rows in by_host.items():
        assert all(Path(row["directory"]).is_relative_to(tmp_path / "x" / host) for row in rows)
    wait_until(lambda: service.json("sweep")["asked"] == 2, timeout=60, what="both heard of")
    victim = by_host["one"][0]
    service.run("delete", victim["id"])
    wait_until(lambda: not Path(victim["directory"]).exists(), timeout=60, what="its own host deletes it")
    service.wait_full()
    _kill(hosts["two"].pid)
    hosts["two"].wait()
    wait_until(
        lambda: len([row for row in prebuilds(service) if row["host"] == "one"]) == 8,
        timeout=60,
        what="all of it rebuilt on the host that is left",
    )
    assert {row["host"] for row in service.workspaces() if row["state"] == "deleting"} == {"two"}
    # The host comes back after all: its leftovers are deleted there.
    service.environment |= {"PREBUILD_HOST": "two", "PREBUILD_DATA_DIR": str(tmp_path / "x" / "two")}
    service.start(*procfile()["builds"], "-n", "builds@two", program="celery")
    wait_until(lambda: len(service.workspaces()) == 8, timeout=60, what="the lost host's own clean-up")
    assert service.run("audit", "--database-only") == "clean\n"


def _is_served(process: psutil.Process, workspace_id: str) -> bool:
    """Tell whether this is the workspace's served process; a probe's process has the same environment."""
    try:
        mine = process.environ().get("PREBUILD_WORKSPACE_ID") == workspace_id
        return mine and process.cmdline() == ["sleep", "1000"]
    except (psutil.Error, OSError):
        return False


def _kill(pid: int) -> None:
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        os.kill(process.pid, signal.SIGKILL)
