"""A control worker's process killed with -9 at each step of a turn: the pool comes out as desired, and nobody helps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service, deployed, procfile
from tests.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
STEPS = [
    "reconcile.before_commit",
    *(
        pytest.param(step, marks=pytest.mark.faults)
        for step in (
            "reconcile.after_lock",
            "reconcile.after_reread",
            "reconcile.after_insert",
            "publish.after_commit",
            "publish.before",
            "publish.after",
        )
    ),
]
POOLS = """
schema: 1
templates:
  - name: dev
    config: {start: "true"}
    presets: [{name: small, desired: 5}]
"""


@pytest.fixture
def service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    with deployed(
        tmp_path, POOLS, postgres_url, redis_url, PREBUILD_RECONCILE_INTERVAL="500ms", PREBUILD_LOCK_TTL="5s"
    ) as service:
        yield service


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(service: Service, tmp_path: Path, step: str) -> None:
    lines, armed = procfile(), tmp_path / step
    armed.write_text("SIGKILL")
    service.start(*lines["builds"], program="celery")
    service.environment["PREBUILD_FAULT_DIR"] = str(tmp_path)
    service.start(*lines["worker"], program="celery")
    del service.environment["PREBUILD_FAULT_DIR"]
    service.start(*lines["beat"], program="celery")
    service.run("apply", "pools.yaml")
    wait_until(lambda: not armed.exists(), timeout=60, what="its death")
    # The dead one's Redis lock ends by itself; until then its message waits for nothing.
    service.wait_full(timeout=120)
    rows = service.json("workspaces")
    assert [row["state"] for row in rows] == ["ready"] * 5
    assert {row["attempt"] for row in service.json("builds")} == {1}, "nothing was built twice"
    assert service.run("audit") == "clean\n"
