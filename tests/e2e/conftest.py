"""One `prebuild up` with its API for the tests that only ask it something."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.http import free_port
from tests.support.service import Service
from tests.support.wait import wait_until

POOLS = """
schema: 1
templates:
  - {name: dev, provisioner: simulated, config: {}, presets: [{name: small, desired: 3}]}
  - {name: slow, provisioner: simulated, config: {build_time: 1}, presets: [{name: small, desired: 0}]}
"""


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run it with a full pool, `dev/small`, and one without prebuilds, `slow/small`. Each test has its own owners."""
    place = tmp_path_factory.mktemp("up")
    (place / "pools.yaml").write_text(POOLS)
    service = Service(place / "data", PREBUILD_SERVE_PORT=str(free_port()))
    try:
        service.start("up", "--file", "pools.yaml")
        wait_until(lambda: "every pool is full" in service.output(), timeout=120, what="a full pool")
        yield service
    finally:
        service.kill()
